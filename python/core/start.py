"""The parts of the start: standard files, the tie to the parent, the import system, HELLO."""
from _mitogen import (ARMED, BUILTINS, EMPTY, ERR, GROUP, HELLO, HOOKS, IMPORTER, NAME, PID,
    PROTO, PY3, Place, Poll, S, STDERR, STDOUT, UP, ZERO, capture, die, dumps, fcntl,
    hook_logging, now, on_interrupt, os, pack, posix, select, send, serve, signal, sys, unpack)


def arm():
    """On Linux let the kernel kill our group when the parent's end of the old stderr closes."""
    kind = os.fstat(ERR).st_mode & 0xF000
    if 'linux' not in sys.platform or kind not in (0xC000, 0x1000):  # sockets, pipes
        return
    if kind == 0x1000 and unpack('i', fcntl.ioctl(ERR, 21531, pack('i', 0)))[0]:
        return      # reading what is left there would look like an event
    fcntl.fcntl(ERR, 10, 9)
    fcntl.fcntl(ERR, fcntl.F_SETOWN, -GROUP)
    ARMED.append(fcntl.fcntl(ERR, fcntl.F_GETFL))
    fcntl.fcntl(ERR, fcntl.F_SETFL, ARMED[0] | getattr(fcntl, 'FASYNC', 8192))
    p = getattr(select, 'poll', Poll)()
    p.register(ERR, 16)     # POLLHUP: it may have closed before
    if p.poll(0):
        die()
    try:
        import faulthandler
        faulthandler.enable(ERR)    # subset: ok, 3.3 and 3.4 want a file and go without
    except Exception:
        pass


def no_input():
    """Give fd 0 something that is at its end, in a tree without devices too."""
    try:
        r = os.open('/dev/null', 0)
    except OSError:
        r, w = posix.pipe()
        os.close(w)
    os.dup2(r, 0)
    os.close(r)


def stdio():
    """Give fds 0, 1 and 2 to the programs that run here."""
    no_input()
    capture(1, STDOUT)
    capture(2, STDERR)
    if PY3:
        import io
        for fd, n in ((1, 'stdout'), (2, 'stderr')):
            f = getattr(sys, n)
            setattr(sys, n, io.open(fd, 'w', 1, f.encoding, f.errors, None, False))
    else:
        sys.stdout = os.fdopen(1, 'w', 1)


def descriptive():
    """Show the context's name instead of the boot command in ps."""
    try:
        f = open('/proc/self/stat', 'rb')
        start, end = [int(x) for x in f.read().split(')'.encode())[-1].split()[45:47]]
        f.close()
        f = open('/proc/self/mem', 'r+b', 0)
        f.seek(start)
        f.write(('mitogen: ' + NAME).encode()[:end - start - 1].ljust(end - start, ZERO))
        f.close()
    except Exception:
        pass


def start():
    os.environ.pop('PYTHONSAFEPATH', 0)     # ours; programs that run here go without it
    path = os.environ.pop('MITO_PATH', '')
    if path:
        # Relative paths of the user's PYTHONPATH may bring modules that the standard library
        # hasn't.
        os.environ['PYTHONPATH'] = path
        n = 0
        for i in range(len(sys.path)):
            if sys.path[i].startswith(os.path.dirname(
                    os.__file__)) and sys.path[i][-8:] != 'packages':
                n = i + 1
        sys.path[n:n] = [os.path.abspath(p) for p in path.split(':') if p[:1] != '/']
    sys.meta_path.insert(0, IMPORTER)
    sys.path_hooks.append(Place)
    sys.argv[:] = ['']
    HOOKS[0] = sys.modules['__main__']      # must not be freed: it still runs
    main = sys.modules['__main__'] = type(sys)('__main__')
    main.__builtins__ = BUILTINS
    if 'logging' in sys.modules:
        hook_logging()
    signal.signal(2, on_interrupt)
    signal.signal(signal.SIGCHLD, 0)    # ignored, it would leave no status to wait for
    S.heard = now()
    send(0, HELLO, dumps({
        'version': tuple(sys.version_info), 'platform': sys.platform,
        'implementation': getattr(getattr(sys, 'implementation', S), 'name',
                                  hasattr(sys, 'pypy_version_info') and 'pypy' or 'cpython'),
        'uid': os.getuid(), 'hostname': os.uname()[1], 'pid': PID,
        'executable': sys.executable, 'pickle': PROTO}, 2))
    descriptive()
    UP.parse(globals().get('AHEAD', EMPTY))     # frames that came with the head
    serve()
