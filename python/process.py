"""Functions of guard.py, spawn.py and run_relay.py alike. Part of `_mitogen_guard`,
`_mitogen_spawn` and `_mitogen_run`.

Runs in the namespace of the core, and twice where both modules are used; in `_mitogen_run` in the
namespace of its other parts.
"""
from _mitogen import BUILTINS, os


def open_files():
    """Numbers of all files that may be open."""
    try:
        return [int(fd) for fd in os.listdir('/proc/self/fd')]
    except OSError:
        limit = os.sysconf('SC_OPEN_MAX')
        if not 0 < limit < 65536:     # there is none, or closing so many would take seconds
            limit = 65536
        return getattr(BUILTINS, 'xrange', range)(limit)


def exit_code(status):
    """A shell's number for what waitpid says."""
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def close_all_but(kept):
    for fd in open_files():
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass
