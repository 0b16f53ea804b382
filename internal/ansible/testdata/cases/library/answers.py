#!/usr/bin/python
"""Answers with facts, as any module of a compromised host can."""
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({'facts': {'type': 'dict'}})
module.exit_json(ansible_facts=module.params['facts'])
