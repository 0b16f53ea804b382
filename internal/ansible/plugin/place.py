# Where this user's sockets are, and whether one is the user's. Each client in Python has this text;
# docs/protocol/daemon.md, section 9, has the rule.
import errno
import os
import pwd
import socket
import stat
import struct


class PlaceError(Exception):
    """A socket that another user could have made, or listens at. Nothing was sent."""

    def __init__(self, path, why):
        Exception.__init__(self, '%s %s: remove it or give it back, or set XDG_RUNTIME_DIR to a '
                           'directory of your own with mode 0700' % (path, why))


def socket_directory():
    """Return the directory of this user's sockets, which need not exist."""
    uid = os.getuid()
    runtime = os.environ.get('XDG_RUNTIME_DIR') or ''
    if os.path.isabs(runtime):
        return os.path.normpath(os.path.join(runtime, 'mitogen'))
    runtime = '/run/user/%d' % uid
    try:
        st = os.lstat(runtime)
        if stat.S_ISDIR(st.st_mode) and st.st_uid == uid and not st.st_mode & 0o077:
            return os.path.join(runtime, 'mitogen')
    except OSError:
        pass
    home = os.environ.get('HOME') or ''
    if not os.path.isabs(home):
        try:
            home = pwd.getpwuid(uid).pw_dir
        except KeyError:
            home = ''
    cache = os.path.normpath(os.path.join(home, '.cache', 'mitogen'))
    if os.path.isabs(home) and len(os.fsencode(cache)) <= 80 and can_hold(home, uid):
        return cache
    return '/tmp/mitogen-%d' % uid


def can_hold(home, uid):
    """Whether home is the user's, and .cache can be made there or written to."""
    place = home
    for path in (home, os.path.join(home, '.cache')):
        try:
            st = os.stat(path)
        except OSError as e:
            if e.errno == errno.ENOENT and path != home:
                continue
            return False
        if not stat.S_ISDIR(st.st_mode) or st.st_uid != uid or others_write(st):
            return False
        place = path
    return os.access(place, os.W_OK | os.X_OK)


def others_write(st):
    """Whether other users can remove what is in a directory."""
    return bool(st.st_mode & 0o022) and not st.st_mode & stat.S_ISVTX


def check_directory(path):
    """Raise PlaceError unless only this user can make sockets in a directory; an OSError of ENOENT
    if it doesn't exist."""
    uid = os.getuid()
    st = os.lstat(path)
    if not stat.S_ISDIR(st.st_mode):
        raise PlaceError(path, 'is no directory')
    if st.st_uid != uid:
        raise PlaceError(path, 'belongs to user %d, and not to %d' % (st.st_uid, uid))
    if st.st_mode & 0o077:
        raise PlaceError(path, 'is open to others (mode %04o)' % stat.S_IMODE(st.st_mode))
    parent = os.path.dirname(path)
    st = os.stat(parent)
    if st.st_uid not in (uid, 0):
        raise PlaceError(parent, 'belongs to user %d, and not to %d' % (st.st_uid, uid))
    if others_write(st):
        raise PlaceError(parent, 'can be written by others (mode %04o)' % stat.S_IMODE(st.st_mode))


def peer_uid(s):
    """Return the uid of the process that listens at the other end of a connected socket."""
    if hasattr(socket, 'SO_PEERCRED'):
        return struct.unpack('3i', s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED,
                                                struct.calcsize('3i')))[1]
    # LOCAL_PEERCRED: struct xucred begins with version and uid
    return struct.unpack('2I', s.getsockopt(0, 1, 256)[:8])[1]


def dial(path, timeout=None):
    """Return a socket that is connected to one of this user's, or raise PlaceError, or the OSError
    of connect. Nothing has been sent."""
    check_directory(os.path.dirname(os.path.abspath(path)))
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        s.settimeout(timeout)
        s.connect(path)
        if peer_uid(s) not in (os.getuid(), 0):
            raise PlaceError(path, 'is served by another user')
        return s
    except BaseException:
        s.close()
        raise
