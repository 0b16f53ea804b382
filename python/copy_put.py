"""Makes files of records. Part of `_mitogen_put` and `_mitogen_syncput`; uses copy_records.py."""
from copy_records import (ASK_ALIAS, EMPTY, FAILURES, HERE, INTO, KEEP_ALIAS, OUT, PRESERVE, SERVE,
    SLASH, SPARSE, UNCHANGED, ZEROS, cut, enter, errno, here, os, pair, parted, record, report,
    same, say, sha256, stat, sys, unpack)
class Put:
    """Files below a directory."""
    fd = tmp = alias = None
    name = path = EMPTY
    ancient = sys.version_info < (3, 3)     # before which attributes are given by names
    by_name = ancient and sys.platform[:5] != 'linux'   # where an open file has a name
    bad = 0     # the current directory isn't where the files belong

    def __init__(self, flags, dest):
        self.flags = flags
        self.mask = os.umask(63)
        os.umask(self.mask)
        self.dirs = []
        if dest[:1] == SLASH:
            os.chdir(SLASH)
        names = parted(dest) or [HERE]
        enter(names[:-1], 1)
        up, last = here(), names[-1:]
        alias = flags & KEEP_ALIAS
        try:
            alias or enter(last, 1)
        except OSError:
            # A device, pipe or socket isn't replaced, nor is a directory that can't be entered.
            if flags & INTO or os.path.isfile(*last) < os.path.exists(*last):
                raise
            os.fchdir(up)
            alias = 1
        if alias:
            self.alias, = last
            if flags & ASK_ALIAS:
                say('D')
                OUT.flush()
        self.root = here()

    def name_of(self, name):
        """A name in the current directory: what is copied to a new name has that."""
        if self.alias and not self.path:
            return self.alias
        return name

    def directory(self, data):
        attributes, path = cut(data)
        self.name = self.path = EMPTY
        self.bad, made = 1, 0
        os.fchdir(self.root)
        names = parted(path)
        names[:1] = map(self.name_of, names[:1])
        self.path = SLASH.join(names)
        enter(names[:-1])
        for name in names[-1:]:
            made = self.make(name, attributes[0] & 511 & ~self.mask | 448)
            enter([name])
        if attributes[0] != UNCHANGED and (made or self.flags & (PRESERVE | KEEP_ALIAS)):
            self.dirs.append((names, attributes))
        self.bad = 0

    def make(self, name, mode):
        try:
            os.mkdir(name, mode)
            return 1
        except OSError:
            if sys.exc_info()[1].errno != errno.EEXIST:
                raise

    def small(self, data):
        attributes, data = cut(data)
        name, rest = pair(data[32:])
        self.begin(attributes, name)
        self.piece(rest)
        self.end(data[:32])

    def large(self, data):
        attributes, data = cut(data)
        self.begin(attributes, data[8:])

    def begin(self, attributes, name):
        self.attributes, self.name, self.hole = attributes, self.name_of(name), 0
        if not self.bad:
            self.sum = sha256 and sha256()
            self.fd = os.open(self.free(), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 384)

    def free(self):
        """A name that can't have been guessed."""
        self.tmp = ('.mitogen-%016x' % unpack('>Q', os.urandom(8))).encode()
        return self.tmp

    def piece(self, data):
        if self.fd is not None:
            self.note(data)
            while data:
                data = data[os.write(self.fd, data):]

    def note(self, data):
        self.hole = 0
        if self.sum:
            self.sum.update(data)

    def zeros(self, data):
        if self.fd is not None:
            self.note(data)
            n, = unpack('>Q', data)
            if self.flags & SPARSE:
                self.hole = os.lseek(self.fd, n, 1)
                n = 0
            while n > 0:
                n -= os.write(self.fd, ZEROS[:n])

    def end(self, digest):
        if self.fd is None:
            return
        if self.sum and self.sum.digest() != digest:
            raise OSError(errno.EIO, 'other bytes arrived than were sent')
        if self.hole:
            os.ftruncate(self.fd, self.hole)
        self.dress()
        st = os.fstat(self.fd)
        fd, self.fd = self.fd, None
        os.close(fd)    # which may say that the disk is full
        self.place(st)

    def place(self, st=None):
        """The new name takes the place of the old one."""
        if st and not same(st, os.lstat(self.tmp)):
            raise OSError(errno.EPERM, 'the new file was exchanged for another')
        os.rename(self.tmp, self.name)
        self.tmp = None

    def dress(self):
        """Give the open file its mode and times."""
        at, mode = self.fd, self.attributes[0]
        if self.by_name:
            at = self.tmp
        elif self.ancient:
            at = '/proc/self/fd/%d' % self.fd
        self.own(at)
        if not self.flags & PRESERVE:
            mode = self.usual(mode & 511)
        os.chmod(at, mode & 4095)
        self.date(at)

    def own(self, at):
        pass

    def date(self, at, **how):
        if self.flags & PRESERVE:
            t = self.attributes[3] * 10 ** 9 + self.attributes[4]
            try:
                os.utime(at, ns=(t, t), **how)
            except TypeError:   # before Python 3.3
                how or os.utime(at, (t * 1e-9, t * 1e-9))

    def usual(self, mode):
        """The mode of the account's old file; else what a new one may have."""
        try:
            st = os.lstat(self.name)
            if stat.S_ISREG(st.st_mode) and st.st_uid == os.geteuid():
                return st.st_mode & 511
        except OSError:
            pass
        return mode & ~self.mask

    def drop(self, data=EMPTY):
        """The file won't be whole. None: because the copy has ended."""
        if self.fd is not None:
            os.close(self.fd)
        try:
            self.tmp and os.unlink(self.tmp)
        except OSError:
            pass
        self.fd = self.tmp = None

    def link(self, data):
        self.attributes, data = cut(data)
        name, to = pair(data)
        self.name = self.name_of(name)
        if not self.bad:
            os.symlink(to, self.free())
            self.date(self.tmp, follow_symlinks=False)
            self.place()

    def finish(self, data):
        """Directories get what they are to have once nothing is made in them any more."""
        while self.dirs:
            names, self.attributes = self.dirs.pop()
            try:
                os.fchdir(self.root)
                enter(names)
                mode = self.attributes[0]
                if not self.flags & PRESERVE:
                    inherited = os.stat(HERE).st_mode & 1024
                    mode = mode & 511 & ~self.mask | inherited
                self.own(HERE)
                os.chmod(HERE, mode)
                self.date(HERE)
            except FAILURES:
                report(SLASH.join(names))

    def table(self):
        return {'d': self.directory, 's': self.small, 'f': self.large, 'b': self.piece,
                'z': self.zeros, 'e': self.end, 'x': self.drop, 'l': self.link, '.': self.finish}

    def serve(self):
        do = self.table()
        kind = None
        try:
            while kind != '.':
                kind, data = record()
                try:
                    do[kind](data)
                except FAILURES:
                    self.drop()
                    report(os.path.join(self.path, self.name))
        finally:
            self.drop(None)


SERVE['P'] = lambda flags, dest: Put(flags, dest).serve()
