"""What may come at any moment: the end of all, and a call's interrupt, which atomic() puts off."""
from _mitogen import MAIN, S, os, thread


def die():
    """The parent is gone: end this context and all it has started, whatever main does."""
    os.kill(0, 9)


def atomic(fn, *args):
    """Run fn so that an interrupt of the call waits for its end."""
    if thread.get_ident() != MAIN:
        return fn(*args)
    S.crit += 1
    try:
        return fn(*args)
    finally:
        S.crit -= 1
        if S.interrupt and not S.crit:
            S.interrupt = 0
            raise KeyboardInterrupt
