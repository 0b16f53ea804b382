"""Changes files in directories that may belong to another account. Names are bytes.

Part of `_mitogen_paths` and of `_mitogen_ansible`.

The other account may exchange names at any moment, so a path is walked once: each directory is
opened, and what happens after that happens in the directory that is open. A link is followed if it
belongs to root or to the account that walks. Any other link is an error, and so is a file that has
a second name in a directory of another account.

Linux can name a file in an open directory (/proc/self/fd). Elsewhere the directory is found by its
path, and only the last name is held to the rule.
"""
import errno
import os
import stat
import sys

HELD = sys.platform[:5] == 'linux' and os.path.isdir('/proc/self/fd')
SLASH = '/'.encode()
QUIET = os.O_NOCTTY | os.O_NONBLOCK | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_CLOEXEC', 0)
PLACE_FLAGS = os.O_RDONLY | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_CLOEXEC', 0)
if HELD:
    PLACE_FLAGS = PLACE_FLAGS | getattr(os, 'O_PATH', 2097152)  # which takes no right to read
DIRECTORY = getattr(os, 'O_DIRECTORY', 0)
MAX_LINKS = 40
MAX_DEPTH = 200     # of what is removed


def wrong(number, path, why=None):
    return OSError(number, why or os.strerror(number), path)


def trusted(st):
    return st.st_uid in (0, os.geteuid())


def held(fd):
    return ('/proc/self/fd/%d' % fd).encode()


class Held:
    """The directory that a path is in, open, and the name there. The name is no link,
    unless last is 0."""
    fd = None

    def __init__(self, path, make=0, last=1):
        self.path = path
        try:
            if HELD:
                self.walk(make, last)
            else:
                self.find(make)
        except:
            self.close()
            raise

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def at(self, name=None):
        """The path of a name in the directory."""
        if self.fd is None:
            return os.path.join(self.dir, name or self.name)
        return held(self.fd) + SLASH + (name or self.name)

    def find(self, make):
        self.dir, self.name = os.path.split(self.path.rstrip(SLASH))
        if make and self.dir and not os.path.isdir(self.dir):
            os.makedirs(self.dir)

    def walk(self, make, last):
        links = 0
        names = self.start(self.path)
        while names:
            self.name = names.pop(0)
            if names or last:
                to = self.step(names, make)
                if to is not None:
                    links += 1
                    if links > MAX_LINKS:
                        raise wrong(errno.ELOOP, self.path)
                    names = self.start(to) + names

    def start(self, path):
        """Begin where path does. Returns its names."""
        self.name = '.'.encode()
        if path[:1] == SLASH:
            self.enter(SLASH)
        elif self.fd is None:
            self.enter(self.name)
        return [n for n in path.split(SLASH) if n not in (self.name, ''.encode())]

    def enter(self, path):
        fd = os.open(path, PLACE_FLAGS | DIRECTORY)
        self.close()
        self.fd = fd

    def step(self, more, make):
        """Enter a directory, if there is more to come. Returns the text of a link that is
        to be followed."""
        if more:
            number = self.number(self.enter)
            if number == errno.ENOENT and make:
                number = self.number(os.mkdir)
                if number in (0, errno.EEXIST):     # another process makes it
                    number = self.number(self.enter)
            if not number:
                return
            if number not in (errno.ENOTDIR, errno.ELOOP):
                raise wrong(number, self.path)
        try:
            fd = self.open(PLACE_FLAGS)
        except OSError:
            if sys.exc_info()[1].errno == errno.ENOENT and not more:
                return
            raise
        try:
            return self.link(fd, more)
        finally:
            os.close(fd)

    def open(self, flags, mode=0):
        try:
            return os.open(self.at(), flags, mode)
        except OSError:
            raise wrong(sys.exc_info()[1].errno, self.path)

    def number(self, do):
        """The number of the error that do has with the name; 0: none."""
        try:
            do(self.at())
            return 0
        except OSError:
            return sys.exc_info()[1].errno

    def link(self, fd, more):
        st = os.fstat(fd)
        if not stat.S_ISLNK(st.st_mode):
            if more:
                raise wrong(errno.ENOTDIR, self.path)
            return
        if not trusted(st):
            raise wrong(errno.EPERM, self.path,
                        'a symbolic link of user %d is on the way' % st.st_uid)
        try:
            return os.readlink(''.encode(), dir_fd=fd)
        except (TypeError, NotImplementedError):   # it came with Python 3.3
            to = os.readlink(self.at())
            now = os.lstat(self.at())
            if (now.st_ino, now.st_dev, now.st_ctime) != (st.st_ino, st.st_dev, st.st_ctime):
                raise wrong(errno.EAGAIN, self.path)
            return to

    def check(self, st):
        """Raise an error if the name is not a file's, or if another account may have given
        the file a second name."""
        if stat.S_ISDIR(st.st_mode) or stat.S_ISCHR(st.st_mode) and trusted(st):
            return
        if not stat.S_ISREG(st.st_mode):
            raise wrong(errno.EINVAL, self.path, 'not a file')
        if st.st_nlink > 1 and not self.closed():
            raise wrong(errno.EPERM, self.path, 'the file has a second name')

    def closed(self):
        """True if only root and this account can make names in the directory."""
        if self.fd is None:
            st = os.stat(self.dir or os.curdir)
        else:
            st = os.fstat(self.fd)
        return trusted(st) and not st.st_mode & 18


def writable(path, mode):
    """Open a file, which is made, or emptied."""
    place = Held(path)
    try:
        fd = place.open(os.O_WRONLY | os.O_CREAT | QUIET, mode)
        try:
            st = os.fstat(fd)
            place.check(st)
            if stat.S_ISREG(st.st_mode):
                os.ftruncate(fd, 0)
        except:
            os.close(fd)
            raise
        return fd
    finally:
        place.close()


def readable(path):
    """Open a file. A pipe is refused, because opening it waits for a writer."""
    fd = os.open(path, os.O_RDONLY | QUIET & ~getattr(os, 'O_NOFOLLOW', 0))
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise wrong(errno.EINVAL, path, 'not a file')
    return fd


def set_mode(fd, mode):
    """As fchmod, which came with Python 2.6 and doesn't take what is open without the
    right to read."""
    if HELD:
        os.chmod(held(fd), mode)
    else:
        os.fchmod(fd, mode)


def add_mode(bits, path):
    place = Held(path)
    try:
        fd = place.open(PLACE_FLAGS)
        try:
            st = os.fstat(fd)
            place.check(st)
            set_mode(fd, st.st_mode & 4095 | bits)
        finally:
            os.close(fd)
    finally:
        place.close()


def make_dir(path):
    """Make a directory, and those above that are missing."""
    place = Held(path, 1, 0)
    try:
        number = place.number(os.mkdir)
        if number:
            raise wrong(number, path)
    finally:
        place.close()


def remove(path):
    """As rm -rf."""
    try:
        place = Held(path, 0, 0)
    except OSError:
        return
    try:
        clear(place.at(), MAX_DEPTH)
    finally:
        place.close()


def clear(path, depth):
    """Remove a name, and what is below. What can't be removed stays."""
    try:
        fd = os.open(path, os.O_RDONLY | DIRECTORY | QUIET)
    except OSError:
        return attempt(os.unlink, path)
    try:
        if HELD:
            below = held(fd)
        else:
            below = path
        if depth:
            for name in attempt(os.listdir, below) or ():
                clear(os.path.join(below, name), depth - 1)
    finally:
        os.close(fd)
    attempt(os.rmdir, path)


def attempt(do, path):
    """The value of do(path); None if that is an error."""
    try:
        return do(path)
    except OSError:
        pass
