"""The orderly end."""
from _mitogen import (ARMED, ERR, LEAVE, R, S, UP, die, fcntl, flush_stdio, private, settle,
    signal, start_watch, sys)


def leave():
    """Orderly end: what was registered to run at exit, the last output, then everything we started.

    From here on it does not matter whether the parent waits. SIGALRM ends what takes longer than a
    second.
    """
    S.idle = 0
    R.release()
    S.leaving = 1
    if ARMED:
        fcntl.fcntl(ERR, fcntl.F_SETFL, ARMED[0])
    signal.signal(14, 0)
    signal.alarm(1)
    start_watch()   # what is written must have a reader
    for fn in LEAVE:
        fn()
    if 'atexit' in sys.modules:
        try:
            sys.modules['atexit']._run_exitfuncs()
        except:
            pass
    flush_stdio()
    settle(1)
    private(UP.w, 1)
    UP.flush()
    die()
