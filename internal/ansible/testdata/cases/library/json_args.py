#!/usr/bin/python3
import json
json_arguments = r'''<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>'''
print(json.dumps({'changed': False, 'a': json.loads(json_arguments)['a']}))
