"""Puts a new file in the place of an old one. Part of `_mitogen_paths`; uses
paths.py, before it."""
from paths import Held, QUIET, attempt, errno, os, set_mode, stat, wrong


def replace(path, mode, fill):
    """Have fill write a new file, which takes the place of what is at path once it is whole.

    With mode 0 the new file has the mode of the old one; if the old one belongs to another account,
    only as much of it as a new file may have.
    """
    place = Held(path, 0, 0)
    try:
        if is_special(place):
            raise wrong(errno.EEXIST, path, 'a device, pipe or socket is there')
        random = ''.join(['%02x' % ord(c) for c in os.urandom(8).decode('latin-1')])
        new = ('.mitogen-' + random).encode()
        try:
            # An interrupt may come between the making of the file and the next line.
            fd = os.open(place.at(new), os.O_CREAT | os.O_EXCL | os.O_WRONLY | QUIET, 384)
            try:
                fill(fd)
                set_mode(fd, mode or old_mode(place))
                st, now = os.fstat(fd), os.lstat(place.at(new))
                if (st.st_ino, st.st_dev) != (now.st_ino, now.st_dev):
                    raise wrong(errno.EPERM, path, 'the new file was exchanged for another')
            finally:
                os.close(fd)
            os.rename(place.at(new), place.at())
        except:
            attempt(os.unlink, place.at(new))
            raise
    finally:
        place.close()


def is_special(place):
    """A device, pipe or socket isn't replaced: its name is rarely meant so."""
    try:
        kind = os.lstat(place.at()).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISLNK(kind) or stat.S_ISDIR(kind))


def old_mode(place):
    mask = os.umask(63)
    os.umask(mask)
    try:
        st = os.lstat(place.at())
    except OSError:
        return 438 & ~mask
    if not stat.S_ISREG(st.st_mode):
        return 438 & ~mask
    if st.st_uid == os.geteuid():
        return st.st_mode & 4095
    return st.st_mode & 511 & ~mask
