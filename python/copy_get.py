"""Makes records of files. Part of `_mitogen_get` and `_mitogen_syncget`; uses copy_records.py."""
from copy_records import (ATTRIBUTES, EMPTY, FAILURES, HERE, PIECE, SERVE, SLASH, UNCHANGED, ZEROS,
    enter, errno, here, os, pack, pair, parted, report, say, sha256, stat)
from copy_status import SHORTER, STAY, nanoseconds


class Get:
    """Files below what was asked for."""
    path = EMPTY
    where = None    # the current directory: the root, the path below, and the root's name

    def __init__(self, flags):
        self.flags = flags

    def attributes(self, st):
        whole, part = divmod(nanoseconds(st), 10 ** 9)
        return pack(ATTRIBUTES, st.st_mode & 4095, st.st_uid, st.st_gid, whole, part)

    def named(self, path):
        """What a person has named, or all that fits its pattern. Links are followed."""
        found = [path]
        if not os.path.lexists(path):
            import glob
            found = glob.glob(path) or found
            found.sort()
        start = path[:1] != SLASH and here()    # which may be closed to the account
        for self.path in found:
            try:
                path[:1] != SLASH and os.fchdir(start)
                where, name = os.path.split(self.path.rstrip(SLASH) or SLASH)
                if where:
                    os.chdir(where)
                if not os.path.isdir(name or HERE):
                    say('d', pack(ATTRIBUTES, UNCHANGED, 0, 0, 0, 0))
                    self.file(name, 0)
                    continue
                os.chdir(name or HERE)
                if name in (HERE, HERE + HERE):
                    name = EMPTY
                self.tree(name)
            except FAILURES:
                report(self.path)

    def tree(self, top):
        """All that is in the current directory, which is called top in the records."""
        root, outside = here(), self.path
        todo = [EMPTY]
        while todo:
            below = todo.pop()
            self.path, self.where = os.path.join(outside, below), (root, below, top)
            try:
                if below.count(SLASH) > 254:    # the engine takes 256 names
                    raise OSError(errno.ENAMETOOLONG, 'too deep')
                os.fchdir(root)
                enter(parted(below))
                names = os.listdir(HERE)
                names.sort()
                say('d', self.attributes(os.stat(HERE)) + os.path.join(top, below).rstrip(SLASH))
            except FAILURES:
                report(self.path)
                continue
            for name in names:
                try:
                    st = os.lstat(name)
                    if stat.S_ISDIR(st.st_mode):
                        todo.append(os.path.join(below, name))
                    elif stat.S_ISLNK(st.st_mode):
                        say('l', self.attributes(st) + paired(name, os.readlink(name)))
                    elif not stat.S_ISREG(st.st_mode):
                        raise OSError(errno.EINVAL, 'neither file, directory nor link')
                    else:
                        self.file(name, STAY)
                except FAILURES:
                    report(os.path.join(self.path, name))

    def file(self, name, flags):
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | flags)
        try:
            st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode):
                raise OSError(errno.EINVAL, 'not a file')
            if st.st_size > PIECE:
                return self.large(fd, st, name)
            data = os.read(fd, st.st_size)
            if len(data) < st.st_size:
                raise SHORTER
            say('s', self.attributes(st) + digest(data) + paired(name, data))
        finally:
            os.close(fd)

    def large(self, fd, st, name):
        """As many bytes as it had when it was opened."""
        say('f', self.attributes(st) + pack('>Q', st.st_size) + name)
        total = sha256 and sha256()
        try:
            self.pieces(fd, st.st_size, total)
        except FAILURES:
            say('x')
            raise
        say('e', total and total.digest() or ZEROS[:32])

    def pieces(self, fd, left, total):
        while left:
            data = os.read(fd, min(left, PIECE))
            if not data:
                raise SHORTER
            left -= len(data)
            kind = 'b'
            if data == ZEROS:
                kind, data = 'z', pack('>Q', PIECE)
            total and total.update(data)
            say(kind, data)


def paired(a, b):
    return pack('>H', len(a)) + a + b


def digest(data):
    return sha256 and sha256(data).digest() or ZEROS[:32]


def serve_get(flags, data):
    g = Get(flags)
    while data:
        source, data = pair(data)
        g.named(source)


SERVE['G'] = serve_get
