"""Flags and digests of a sync, both ways. Part of `_mitogen_syncput` and `_mitogen_syncget`."""
from copy_records import PIECE, ZEROS, errno, os, pack, sha256, sys
from copy_status import STAY
from zlib import adler32, crc32
# Further flags.
OWNERS, CHECK, DRY, LINKS, XATTRS, ALL, PARTIAL = 16, 32, 64, 256, 512, 1024, 2048
PART = '.mitogen-partial-'.encode()     # and the name of a file whose copy was interrupted


def content(name):
    """The digest of a file."""
    if not sha256:
        raise OSError(errno.ENOSYS, 'this Python has no SHA-256')
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | STAY)
    try:
        total = sha256()
        data = ZEROS
        while data:
            data = os.read(fd, PIECE)
            total.update(data)
        return total.digest()
    finally:
        os.close(fd)


def sum_of(block):
    return pack('>LL', adler32(block) & 0xFFFFFFFF, crc32(block) & 0xFFFFFFFF)


def capable(flags):
    if flags & XATTRS and not hasattr(os, 'listxattr'):
        raise OSError(errno.ENOSYS,
                      'this Python has no extended attributes: it needs 3.3, and Linux')


def covered(name, all):
    return name[:5] == 'user.'.encode() or all and name[:7] != 'system.'.encode()


def extended(at, all, **how):
    """The extended attributes of a file, no more than a record holds."""
    found, size = {}, 0
    try:
        names = os.listxattr(at, **how)
    except OSError:
        if sys.exc_info()[1].errno != errno.EOPNOTSUPP:
            raise
        names = []
    for name in map(os.fsencode, names):
        if covered(name, all):
            found[name] = os.getxattr(at, name, **how)
            size += len(name) + len(found[name]) + 6
            if size > 1 << 20:
                raise OSError(errno.E2BIG, 'more than 1 MiB of extended attributes')
    return found
