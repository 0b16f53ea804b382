"""Asks for what differs from the source. Part of `_mitogen_syncput`; uses copy_put.py and
copy_sync.py.
"""
from copy_records import (EMPTY, FAILURES, HERE, OUT, PIECE, SERVE, SLASH, UNCHANGED, cut, enter,
    errno, here, os, pack, pair, parted, report, same, say, sha256, stat, unpack)
from copy_status import SHORTER, STAY, nanoseconds
from copy_put import Put
from copy_sync import (ALL, CHECK, DRY, LINKS, OWNERS, PART, PARTIAL, XATTRS, capable, content,
    covered, extended, sum_of)
class SyncPut(Put):
    """What differs from the source is asked for."""
    count = 0   # of the files that were asked about
    new = 0     # there is no such directory, and none is made
    nowhere = 0
    old = extended = None   # the file that is replaced, open; what the next one is to have

    def __init__(self, flags, dest):
        self.ids, self.kept = {}, {}
        self.firsts = {}    # the first path of a file with several names, by its question
        self.ready = {}     # by that path: its status, once it is as at the source
        self.further = []   # first path, and a further one
        self.inodes = {}    # with several names, that are kept
        capable(flags)
        if os.geteuid():
            flags = flags & ~OWNERS & ~ALL  # which root alone may give away
        Put.__init__(self, flags, dest)
        if self.alias:
            if flags & DRY:
                self.nowhere = 1
            else:
                os.mkdir(self.alias, 511 & ~self.mask)
                enter([self.alias])
                self.root = here()
            self.alias = None

    def table(self):
        t = Put.table(self)
        t.update({'q': self.question, 'u': self.owner, 'g': self.owner, 'a': self.names,
                  'k': self.remove, 'E': self.asked, 'h': self.linked, 'X': self.extend,
                  'm': self.old_bytes})
        return t

    def owner(self, data):
        """The number that an owner of the source has here: the same if the name is unknown."""
        if not self.flags & OWNERS:
            return
        import grp
        import pwd
        look = pwd.getpwnam
        if data[:1] != 'u'.encode():
            look = grp.getgrnam
        try:
            self.ids[data[:1], data[1:5]] = look(str(data[5:].decode()))[2]
        except (KeyError, ValueError):
            pass

    def wanted(self):
        """User and group of the current file."""
        numbers = zip('ug', self.attributes[1:3])
        return [self.ids.get((kind.encode(), pack('>L', n)), n) for kind, n in numbers]

    def own(self, at):
        if self.flags & OWNERS:
            os.chown(at, *self.wanted())
        if at != HERE:      # a directory has got them already
            self.give(at)

    def extend(self, data):
        """The extended attributes of what comes next."""
        self.extended = {}
        while data:
            name, data = pair(data)
            n = 4 + unpack('>L', data[:4])[0]
            if covered(name, self.flags & ALL):
                self.extended[name] = data[4:n]
            data = data[n:]

    def give(self, at):
        """Give what is at a name, or open, extended attributes, which may need the
        right to write."""
        if not self.flags & XATTRS:
            return
        old, new = extended(at, self.flags & ALL), self.extended
        if old == new:
            return
        os.chmod(at, os.stat(at).st_mode & 4095 | 128)
        for name in old:
            name in new or os.removexattr(at, name)
        for name in new:
            if old.get(name) != new[name]:
                os.setxattr(at, name, new[name])

    def directory(self, data):
        self.new = self.nowhere
        if not self.flags & DRY:
            Put.directory(self, data)
            if cut(data)[0][0] != UNCHANGED:
                self.give(HERE)
            return
        self.name, self.path = EMPTY, cut(data)[1]
        try:
            self.go(self.path)
        except OSError:
            self.new = 1

    def make(self, name, mode):
        if not self.flags & DRY:
            try:
                os.unlink(name)     # which removes no directory
            except OSError:
                pass
        return Put.make(self, name, mode)

    def question(self, data):
        self.count += 1
        self.attributes, data = cut(data)
        size, data = unpack('>Q', data[:8])[0], data[8:]
        digest = None
        if self.flags & CHECK:
            digest, data = data[:32], data[32:]
        self.name = data
        if self.bad:
            return
        try:
            st = os.lstat(data)
        except OSError:
            st = None
        equal = st and not self.new and self.equal(st, size, digest)
        if equal and self.flags & LINKS and st.st_nlink > 1:
            inode = st.st_dev, st.st_ino
            equal = inode not in self.inodes    # else two files of the source are one here
            self.inodes[inode] = 1
        # A file with further names may be another account's way to a file that is elsewhere. A
        # file that runs as its owner must have the source's bytes, not another account's. A name
        # may come to mean another file.
        careful = equal and (st.st_nlink > 1 or self.attributes[0] & 3072 or self.by_name
                             or self.flags & ALL and self.extended)
        if not equal or careful and self.differs(st):
            sums = EMPTY
            # To read what another account has planted takes no longer than to send a large file.
            old = self.base()[1]
            short = old >> 42 == 0 and old // 16 <= size
            if short and min(old, size) > PIECE and sha256:
                try:
                    sums = self.sums(old)
                except FAILURES:    # it may not be read
                    self.drop()
            say('n', pack('>L', self.count - 1) + sums)
            return
        self.settle(st)
        if self.differs(st):
            self.changed()
            if not self.flags & DRY:
                self.adjust(st)

    def linked(self, data):
        """A question about a file that has several names. The first one stands for all."""
        first, = unpack('>L', data[:4])
        self.name = data[34 + (self.flags & CHECK):]    # which is the size of a digest, too
        if not self.bad and first not in self.firsts:
            path = os.path.join(self.path, self.name)
            self.firsts[first], self.ready[path] = path, None
            return self.question(data[4:])
        self.count += 1
        if self.new:
            self.changed()
        elif not self.bad:
            self.further.append((self.firsts[first], self.path, self.name))

    def settle(self, st):
        """The current name is as at the source."""
        path = os.path.join(self.path, self.name)
        if path in self.ready:
            self.ready[path] = st

    def finish(self, data):
        for first, self.path, self.name in self.further:
            try:
                self.join(first, self.ready[first])
            except FAILURES:
                self.drop()
                report(os.path.join(self.path, self.name))
        Put.finish(self, data)

    def go(self, path):
        os.fchdir(self.root)
        enter(parted(path))

    def join(self, first, st):
        """Make the current name one of the file that was copied to the first path."""
        self.go(self.path)
        try:
            if st and same(st, os.lstat(self.name)):
                return
        except OSError:
            pass
        self.changed()
        if self.flags & DRY:
            return
        if not st:
            raise OSError(errno.EIO, 'its first name was not copied')
        at, name = os.path.split(first)
        self.go(at)
        fd = here()
        try:
            self.go(self.path)
            if self.ancient:
                os.link(('/proc/self/fd/%d/' % fd).encode() + name, self.free())
            else:
                os.link(name, self.free(), src_dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISREG(os.lstat(self.tmp).st_mode):    # with the number that was free
                raise OSError(errno.EAGAIN, 'it was exchanged for another')
            self.place(st)
        finally:
            os.close(fd)

    def sums(self, size):
        """Those of the blocks of a file, about as many as a block has bytes."""
        block = 4096
        while block * block < size or size // block > 65536:
            block *= 2
        all = [pack('>L', block)]
        self.open_old()
        for _ in range(size // block):  # however large it has become
            all.append(sum_of(os.read(self.old, block)))
        self.drop()
        return EMPTY.join(all)

    def base(self):
        """The name and size of the largest file that may have bytes of the new one."""
        best, size = self.name, 0
        for name in (self.name, PART + self.name):
            try:
                st = os.lstat(name)
            except OSError:
                continue
            usable = stat.S_ISREG(st.st_mode) and (self.flags & PARTIAL or name == self.name)
            if usable and st.st_size > size:
                best, size = name, st.st_size
        return best, size

    def open_old(self):
        self.old = os.open(self.base()[0], os.O_RDONLY | os.O_NONBLOCK | STAY)

    def old_bytes(self, data):
        """Bytes that the old file has, too."""
        if self.fd is None:
            return
        if self.old is None:
            self.open_old()
        at, n = unpack('>QL', data)
        os.lseek(self.old, at, 0)
        while n:
            data = os.read(self.old, min(n, PIECE))
            if not data:
                raise SHORTER
            self.piece(data)
            n -= len(data)

    def drop(self, data=EMPTY):
        if self.old is not None:
            os.close(self.old)
        self.old = None
        if data is None and self.flags & PARTIAL and self.fd is not None:
            try:
                if os.fstat(self.fd).st_size > max(PIECE, self.base()[1]):
                    os.rename(self.tmp, PART + self.name)
            except OSError:
                pass
        Put.drop(self)

    def place(self, st=None):
        Put.place(self, st)
        self.settle(st)
        self.drop()
        if self.flags & PARTIAL:
            try:
                os.unlink(PART + self.name)
            except OSError:
                pass

    def equal(self, st, size, digest):
        if not stat.S_ISREG(st.st_mode) or st.st_size != size:
            return 0
        if digest is not None:
            return content(self.name) == digest
        return self.dated(st)

    def dated(self, st):
        return abs(nanoseconds(st) - self.attributes[3] * 10 ** 9 - self.attributes[4]) < 3000

    def differs(self, st):
        owners = self.flags & OWNERS and self.wanted() != [st.st_uid, st.st_gid]
        xattrs = self.flags & XATTRS and self.extended != extended(
            self.name, self.flags & ALL, follow_symlinks=False)
        return owners or xattrs or (self.attributes[0] ^ st.st_mode) & 4095 or not self.dated(st)

    def adjust(self, st):
        self.fd = os.open(self.name, os.O_RDONLY | os.O_NONBLOCK | STAY)
        if not same(st, os.fstat(self.fd)):
            raise OSError(errno.EAGAIN, 'it was exchanged for another')
        self.dress()
        self.drop()

    def changed(self):
        say('c', os.path.join(self.path, self.name))

    def link(self, data):
        self.name, to = pair(cut(data)[1])
        try:
            if not self.new and os.readlink(self.name) == to:
                return
        except OSError:
            pass
        self.changed()
        if not self.flags & DRY:
            Put.link(self, data)

    def names(self, data):
        """The names of a directory at the source; none: that was all of them."""
        more = data
        while more:
            name, more = pair(more)
            self.kept[name] = 1
            if self.flags & PARTIAL:
                self.kept[PART + name] = 1
        if not data:
            kept, self.kept = self.kept, {}
            if not self.new and not self.bad:
                self.extra(self.path, kept)

    def extra(self, path, kept):
        """Tell what is in the current directory beyond that, deepest first."""
        for name in sorted(os.listdir(HERE)):
            if name not in kept:
                kind, below = 'f'.encode(), os.path.join(path, name)
                if below.count(SLASH) > 255:
                    raise OSError(errno.ENAMETOOLONG, 'too deep')
                if stat.S_ISDIR(os.lstat(name).st_mode):
                    kind = 'd'.encode()
                    enter([name])
                    self.extra(below, {})
                    self.go(path)
                say('r', kind + below)

    def remove(self, path):
        self.path, self.name = os.path.split(path)
        self.go(self.path)
        if stat.S_ISDIR(os.lstat(self.name).st_mode):
            os.rmdir(self.name)
        else:
            os.unlink(self.name)

    def asked(self, data):
        say('E')
        OUT.flush()


SERVE['S'] = lambda flags, dest: SyncPut(flags, dest).serve()
