#!/usr/bin/python
import os
import signal
from ansible.module_utils.basic import AnsibleModule

AnsibleModule(argument_spec={})
os.kill(os.getpid(), signal.SIGKILL)
