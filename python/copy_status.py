"""How files are opened and dated that are read. Part of `_mitogen_get`, `_mitogen_syncput` and
`_mitogen_syncget`; uses copy_records.py.
"""
from copy_records import errno, os
STAY = getattr(os, 'O_NOFOLLOW', 0)
SHORTER = OSError(errno.EIO, 'it became shorter while it was read')


def nanoseconds(st):
    ns = getattr(st, 'st_mtime_ns', None)
    if ns is None:
        ns = int(st.st_mtime * 1e6) * 1000
    return ns
