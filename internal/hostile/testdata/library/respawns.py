# Starts itself again, as modules do that need another interpreter.
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, respawn_module


def main():
    module = AnsibleModule({})
    if not has_respawned():
        respawn_module(sys.executable)
    module.exit_json(path=sys.path)


if __name__ == '__main__':
    main()
