"""What a fork finds out about the context that it was forked from."""
import os
def memory():
    try:
        f = open('/proc/%d/status' % os.getppid())
    except (IOError, OSError):
        return 0
    try:
        for line in f:
            if line.startswith('VmRSS:'):
                return int(line.split()[1]) * 1024
    finally:
        f.close()
    return 0
