"""What differs between a program and its contexts: how a thread waits, and who this is.

A context imports _context, a program _program, which has parts that contexts can't use: so its name
isn't written where the search for what a module imports would find it.
"""
import sys

IS_MASTER = '_mitogen' not in sys.modules   # which is the runtime's core

if IS_MASTER:
    _side = __import__('mitogen._' + 'program', fromlist=['pause'])
else:
    from mitogen import _context as _side

pause, wake = _side.pause, _side.wake
check = getattr(_side, 'check', None)   # of what contexts send, which a program doesn't trust
CONTEXT_ID, PARENT_IDS = _side.identity()


def router():
    """The router of this context; a program has as many as it makes, so None there."""
    return None if IS_MASTER else _side.router()
