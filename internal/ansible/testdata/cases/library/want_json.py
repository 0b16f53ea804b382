#!/usr/bin/python3
# WANT_JSON
import json, sys
with open(sys.argv[1]) as f:
    args = json.load(f)
print(json.dumps({'changed': False, 'a': args.get('a'), 'name': sys.argv[0].split('/')[-1]}))
