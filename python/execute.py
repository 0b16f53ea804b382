"""Functions of guard.py and spawn.py alike, for what becomes another program. Part of
`_mitogen_guard` and `_mitogen_spawn`.

Runs in the namespace of the core, and twice where both modules are used.
"""
from _mitogen import os, posix, signal


def restore_os():
    """Give os back its own functions, in place of those that load the guard first."""
    for name in dir(posix):
        if getattr(getattr(os, name, 0), '__name__', 0) == 'load':
            setattr(os, name, getattr(posix, name))


def program_signals():
    """Those that an interpreter ignores or handles, or was started to ignore, are to be as a
    program expects them."""
    for name in ('SIGPIPE', 'SIGXFSZ', 'SIGINT', 'SIGHUP', 'SIGCHLD'):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
