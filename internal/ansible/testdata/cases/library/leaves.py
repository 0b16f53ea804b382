#!/usr/bin/python
# Leaves to an interpreter's end what its objects are to do then.
import tempfile

from ansible.module_utils.basic import AnsibleModule


class Last:
    def __init__(self, path):
        self.path = path

    def __del__(self):
        with open(self.path, 'w') as f:
            f.write('last\n')


module = AnsibleModule(argument_spec={'path': {'type': 'path'}})
last = Last(module.params['path'])
last.itself = last
temporary = tempfile.NamedTemporaryFile(prefix='mitogen-differ-')
module.exit_json()
