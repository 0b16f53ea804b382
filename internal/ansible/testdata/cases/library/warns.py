#!/usr/bin/python
import atexit
import sys
import threading
from ansible.module_utils.basic import AnsibleModule

m = AnsibleModule(argument_spec={})
m.warn('careful')
sys.stderr.write('on stderr\n')
threading.Thread(target=lambda: None).start()
atexit.register(sys.stderr.write, 'at exit\n')
m.exit_json(changed=True, tmp=m.tmpdir.split('/')[-1][:19], main=sys.modules['__main__'].__name__, argv=len(sys.argv), stdin=sys.stdin.read())
