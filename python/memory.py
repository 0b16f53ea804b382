"""Files in memory. Part of `_mitogen_native` and of `_mitogen_go`.

Runs in the namespace of the core, and twice where both modules are used.
"""
import os

MEMFD_CALLS = {'x86_64': 319, 'i686': 356, 'i386': 356, 'aarch64': 279, 'armv7l': 385,
               'ppc64le': 360, 's390x': 350,
               'riscv64': 279}
NO_NAME = getattr(os, 'O_TMPFILE', int('20000000', 8) | os.O_DIRECTORY)


def memory_file(flags):
    """A descriptor of a new file in memory. Of flags the first counts that the kernel takes."""
    create = getattr(os, 'memfd_create', None) or memfd_by_number
    for n in flags[:-1]:
        try:
            return create('mitogen', n)
        except OSError:
            pass
    return create('mitogen', flags[-1])


def memfd_by_number(name, flags):
    """memfd_create of Python before 3.8."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(MEMFD_CALLS[os.uname()[4]], ctypes.c_char_p(name.encode()),
                      ctypes.c_uint(flags))
    if fd < 0:
        n = ctypes.get_errno()
        raise OSError(n, os.strerror(n))
    return fd
