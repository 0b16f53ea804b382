"""What `mitogen demo` calls on "the remote host"."""

import logging
import os
import platform
import sys
import time

log = logging.getLogger('facts')


def collect():
    """A few facts as a dict, which becomes a struct in Go."""
    return {
        'host': platform.node(),
        'system': platform.system() + ' ' + platform.release(),
        'python': platform.python_version(),
        'pid': os.getpid(),
        'uid': os.getuid(),
        'files': sorted(os.listdir('/'))[:5],
    }


def settings(name):
    known = {'colour': 'green', 'size': 3}
    return known[name]


def work(steps):
    """Writes and logs while it runs."""
    for i in range(steps):
        sys.stdout.write('step %d of %d\n' % (i + 1, steps))
        log.info('step %d took no time', i + 1)
        time.sleep(0.2)
    log.warning('nothing left to do')
    return steps


def whoami():
    return {'pid': os.getpid(), 'uid': os.getuid()}
