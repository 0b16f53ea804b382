#!/usr/bin/python
"""Answers what an expression is in a module's interpreter."""
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({'imports': {'type': 'list', 'elements': 'str'}, 'expression': {'type': 'str'}})
try:
    names = dict((name, __import__(name)) for name in module.params['imports'])
    value = str(eval(module.params['expression'], names))
except Exception as e:
    module.fail_json(msg='%s: %s' % (type(e).__name__, e))
module.exit_json(value=value)
