"""Functions of guard.py and spawn.py alike. Part of `_mitogen_guard` and of `_mitogen_spawn`.

Runs in the namespace of core.py, and twice where both modules are used.
"""


def restore_os():
    """Give os back its own functions, in place of those that load the guard first."""
    for name in dir(posix):
        if getattr(getattr(os, name, 0), '__name__', 0) == 'load':
            setattr(os, name, getattr(posix, name))


def open_files():
    """Numbers of all files that may be open."""
    try:
        return [int(fd) for fd in os.listdir('/proc/self/fd')]
    except OSError:
        limit = os.sysconf('SC_OPEN_MAX')
        if not 0 < limit < 65536:     # there is none, or closing so many would take seconds
            limit = 65536
        return getattr(BUILTINS, 'xrange', range)(limit)


def close_all_but(kept):
    for fd in open_files():
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass
