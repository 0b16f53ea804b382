#!/usr/bin/python
# Starts itself again with another interpreter.
import os
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module


def main():
    module = AnsibleModule(argument_spec={'interpreter': {'type': 'path'}})
    if not has_respawned():
        found = probe_interpreters_for_module(['/nonexistent/python', module.params['interpreter']], 'json')
        if not found:
            module.fail_json(msg='no interpreter')
        respawn_module(found)
    module.exit_json(executable=os.path.realpath(sys.executable), pid_differs=os.getpid() != os.getppid(), read=sys.stdin.read())


main()
