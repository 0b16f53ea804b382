#!/usr/bin/python
# Leads a session of its own.
import os

from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec={})
os.setsid()
module.exit_json(leads=os.getsid(0) == os.getpid())
