"""Tells of files, and sends those that are asked for. Part of `_mitogen_syncget`; uses copy_get.py
and copy_sync.py.
"""
from copy_records import (ATTRIBUTES, EMPTY, FAILURES, HERE, OUT, SERVE, SLASH, UNCHANGED, enter,
    here, os, pack, parted, record, report, say, sha256, stat, unpack)
from copy_status import SHORTER, STAY
from copy_get import Get, paired
from copy_sync import CHECK, LINKS, OWNERS, XATTRS, capable, content, extended, sum_of
class SyncGet(Get):
    """Files are told of, and sent if they are asked for."""
    sending = 0

    def __init__(self, flags):
        capable(flags)
        self.flags = flags
        self.told, self.files, self.links = {}, [], {}

    def attributes(self, st):
        if self.flags & OWNERS:
            import grp
            import pwd
            for kind, n, look in (('u', st.st_uid, pwd.getpwuid), ('g', st.st_gid, grp.getgrgid)):
                if (kind, n) not in self.told:
                    self.told[kind, n] = 1
                    try:
                        say(kind, kind.encode() + pack('>L', n) + look(n)[0].encode())
                    except KeyError:
                        pass
        if self.flags & XATTRS and not stat.S_ISLNK(st.st_mode):
            at = HERE
            if stat.S_ISREG(st.st_mode):
                at = self.name
            found = extended(at, 0, follow_symlinks=False)
            say('X', EMPTY.join([paired(n, pack('>L', len(found[n])) + found[n]) for n in found]))
        return Get.attributes(self, st)

    def file(self, name, flags):
        self.name = name
        if self.sending:
            return Get.file(self, name, flags)
        st = os.stat(name)
        if flags:
            st = os.lstat(name)
        else:
            self.where = here(), EMPTY, EMPTY
        inode = st.st_dev, st.st_ino
        first, digest = self.links.get(inode) or (len(self.files), EMPTY)
        if self.flags & CHECK and not digest:
            digest = content(name)
        data = self.attributes(st) + pack('>Q', st.st_size) + digest
        if self.flags & LINKS and st.st_nlink > 1:
            self.links[inode] = first, digest
            say('h', pack('>L', first) + data + name)
        else:
            say('q', data + name)
        self.files.append(self.where + (self.path, name))

    def serve(self):
        say('E')
        self.sending = 1
        OUT.flush()
        kind, data = record()
        while kind != '.':
            number = data[:4]
            root, below, top, path, name = self.files[unpack('>L', number)[0]]
            try:
                os.fchdir(root)
                enter(parted(below))
                if kind == 'n':
                    at = os.path.join(top, below).rstrip(SLASH)
                    say('d', pack(ATTRIBUTES, UNCHANGED, 0, 0, 0, 0) + at)
                    self.file(name, STAY)
                else:
                    self.differing(kind, number, name, data)
            except FAILURES:
                if kind == 'n':
                    report(os.path.join(path, name))
                else:
                    say('v', number)    # it will be asked for whole
            OUT.flush()
            kind, data = record()

    def differing(self, kind, number, name, data):
        """The sums of a file, or parts of it."""
        self.name = name
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | STAY)
        try:
            if kind == 'N':
                say('v', number + self.sums(fd, unpack('>L', data[4:])[0]))
                return
            say('w', number)
            for i in range(4, len(data), 12):
                at, n = unpack('>QL', data[i:i + 12])
                os.lseek(fd, at, 0)
                self.pieces(fd, n, None)
            say('e')
        finally:
            os.close(fd)

    def sums(self, fd, block):
        """What is to be known of a file, so that only parts of it are asked for."""
        st = os.fstat(fd)
        if not sha256 or st.st_size // block > 131000:  # it grew: a record doesn't hold so many
            raise ValueError
        total, left, all = sha256(), st.st_size, [pack('>L', block)]
        while left:
            data = os.read(fd, min(left, block))
            if not data:
                raise SHORTER
            left -= len(data)
            total.update(data)
            if len(data) == block:
                all.append(sum_of(data))
        return (self.attributes(st) + pack('>Q', st.st_size) + total.digest()
                + EMPTY.join(all))


def serve_sync_get(flags, source):
    g = SyncGet(flags)
    g.named(source)
    g.serve()


SERVE['T'] = serve_sync_get
