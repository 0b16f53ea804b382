"""Records of files that are copied, both ways. Part of `_mitogen_put`, `_mitogen_get`,
`_mitogen_syncput` and `_mitogen_syncget`.

Runs in a process of its own, which session.py forks, with its records on fds 0 and 1:
docs/protocol/files.md. Names are bytes. A file is made and read by a name alone, in the current
directory, and that is entered from one directory to the next, so that no link leads elsewhere.
"""
import errno
import os
import signal
import stat
import sys
from struct import error as malformed, pack, unpack
try:
    from hashlib import sha256
except ImportError:     # Python 2.4: sizes alone are checked
    sha256 = None

PRESERVE, SPARSE, INTO, ASK_ALIAS, KEEP_ALIAS = 1, 2, 4, 8, 128     # flags
ATTRIBUTES = '>HLLqL'       # mode, uid, gid, seconds and nanoseconds of the last change: 22 bytes
UNCHANGED = 65535           # as a mode: the directory stays as it is
SLASH, HERE, EMPTY = '/'.encode(), '.'.encode(), ''.encode()
PIECE = 65536
ZEROS = pack('%dx' % PIECE)
IN, OUT = os.fdopen(0, 'rb', PIECE), os.fdopen(1, 'wb', PIECE)
FAILURES = (OSError, IOError, ValueError, KeyError, malformed, MemoryError, OverflowError,
            RuntimeError)
SERVE = {}      # first record: function


def say(kind, data=EMPTY):
    OUT.write(kind.encode() + pack('>L', len(data)) + data)


def report(path):
    e = sys.exc_info()[1]
    why = getattr(e, 'strerror', 0) or str(e)
    say('!', pack('>L', getattr(e, 'errno', 0) or 0) + path + ('\0' + why).encode())
    OUT.flush()


def record():
    data = IN.read(5)
    if len(data) < 5:
        raise EOFError
    kind, n = unpack('>cL', data)
    data = IN.read(min(n, 1 << 20))
    if len(data) < n:
        raise EOFError
    return kind.decode('latin-1'), data


def cut(data):
    """Attributes of a record, and the rest."""
    return unpack(ATTRIBUTES, data[:22]), data[22:]


def pair(data):
    """A text behind its length, and the rest."""
    n = 2 + unpack('>H', data[:2])[0]
    return data[2:n], data[n:]


def parted(path):
    return [n for n in path.split(SLASH) if n]


def same(a, b):
    return (a.st_ino, a.st_dev) == (b.st_ino, b.st_dev)


def enter(names, follow=0):
    """Make a directory the current one. With follow, root's and the account's links
    are followed."""
    links = 40
    while names:
        name, names = names[0], names[1:]
        if follow:
            os.stat(name)   # has an automounter mount it
        st = os.lstat(name)
        if stat.S_ISLNK(st.st_mode):
            to, links = os.readlink(name), links - 1
            now = os.lstat(name)
            kept = same(st, now) and st.st_ctime == now.st_ctime     # which a rename changes
            if not (follow and links and kept and st.st_uid in (0, os.geteuid())):
                raise OSError(errno.ELOOP, 'a symbolic link is on the way')
            if to[:1] == SLASH:
                os.chdir(SLASH)
            names = parted(to) + names
        else:
            os.chdir(name)
            if not same(st, os.stat(HERE)):
                raise OSError(errno.EAGAIN, 'a directory was exchanged for another')


def here():
    return os.open(HERE, getattr(os, 'O_PATH', 0))  # which takes no right to read


def leave(*signal):
    raise SystemExit


signal.signal(signal.SIGHUP, leave)
signal.signal(signal.SIGTERM, leave)
