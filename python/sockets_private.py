"""Listeners that no other account can enter, and a process that removes sockets when this one was
killed. Part of `_mitogen_sockets`; uses sockets_stream.py, sockets_listen.py and, for the process,
guard.py.
"""
from _mitogen import (EMPTY, _socket, bear_mark, close_all_but, close_socket, failure, imp,
    inode_of, new_socket, os, pack, posix, private, sys, unpack)

CLEANER = []        # a pipe to the process that removes sockets when this one was killed
UNTOLD = []         # what it is to be told
NUL = pack('B', 0)


def remove_socket(path, inode, dir):
    """Remove a listener's socket, and the directory that was made for it, if there is one."""
    try:
        if inode and inode_of(path) == inode:
            os.unlink(path)
        if dir:
            os.rmdir(dir)
    except OSError:     # it has just gone
        pass


def tell_cleaner(path, inode=(), dir=EMPTY):
    """Have path be removed once this context has ended, however that comes. Without
    inode: no longer."""
    UNTOLD.append(NUL.join([path, ' '.join(map(str, inode or ())).encode(), dir, EMPTY]))
    pass_on()


def pass_on():
    """Tell the cleaner what it isn't told yet."""
    # fork would wait for an import, which may wait for this thread.
    if not UNTOLD or sys.version_info < (3, 4) and imp.lock_held():
        return
    try:
        if not CLEANER:
            start_cleaner()
        os.write(CLEANER[0], EMPTY.join(UNTOLD))
    except OSError:     # it was killed, or there are no more processes: the next one is told less
        while CLEANER:
            os.close(CLEANER.pop())
    del UNTOLD[:]


def start_cleaner():
    r, w = posix.pipe()
    CLEANER.append(w)
    private(w, 1)
    try:
        pid = posix.fork()
        if not pid:
            cleaner_life(r)
    finally:
        os.close(r)
    try:
        os.waitpid(pid, 0)
    except OSError:
        pass        # it isn't waited for: SIGCHLD is ignored


def cleaner_life(r):
    """The life of the cleaner, a copy of this process that has nothing of its open files, nor its
    group: what ends the context doesn't end it. It ends once it has removed what is left."""
    try:
        os.setsid()
        if posix.fork():
            return
        os.chdir('/')
        if 'MARK' in globals():
            bear_mark(sys.modules.get('resource'))
        close_all_but((r,))
        left, rest, data = {}, EMPTY, NUL
        while data:
            data = os.read(r, 65536)
            rest = note_sockets(left, rest + data)
        for path in left:
            remove_socket(path, *left[path])
    finally:
        os._exit(0)


def note_sockets(left, data):
    """Note in left what the cleaner is told. Returns what isn't whole yet."""
    fields = data.split(NUL)
    while len(fields) > 3:
        path, inode, dir = fields[:3]
        if inode:
            left[path] = tuple([int(n) for n in inode.split()]), dir
        else:
            left.pop(path, 0)   # a context may have any number in its life
        del fields[:3]
    return NUL.join(fields)


def listen_private():
    """Listen in a new directory that no other account can enter. Returns the socket, its path and
    the directory."""
    env = getattr(os, 'environb', os.environ)
    failed = failure('EACCES')
    for at in (env.get('TMPDIR'.encode()), '/tmp'.encode(), '/var/tmp'.encode()):
        if not at or at[:1] != '/'.encode():
            continue
        at = os.path.realpath(at)   # a link may be another's
        if not keeps_names(at):
            continue
        own = at + ('/mitogen-agent-%08x%08x' % unpack('>LL', os.urandom(8))).encode()
        path = own + '/agent'.encode()
        sock = None
        try:
            os.mkdir(own, int('700', 8))
            try:
                sock = new_socket(_socket.AF_UNIX)
                sock.bind(path)
                os.chmod(path, int('600', 8))
                sock.listen(128)
                return sock, path, own
            except Exception:
                failed = sys.exc_info()[1]
                if sock:
                    close_socket(sock)
                remove_socket(path, inode_of(path), own)
        except OSError:
            failed = sys.exc_info()[1]
    raise failed


def keeps_names(dir):
    """Whether no other account, but root, can rename what this one makes in dir, or a directory
    above that. dir has no links in it."""
    above = None
    while dir != above:
        above = dir
        try:
            st = os.stat(dir)
        except OSError:
            return 0
        if st.st_uid not in (0, os.getuid()) or (
                st.st_mode & int('22', 8) and not st.st_mode & int('1000', 8)):
            return 0
        dir = os.path.dirname(dir)
    return 1
