"""Starts the program of a child. Part of `_mitogen_spawn`.

Runs in the namespace of the core, in the thread that reads (the holder of R). Uses process.py and
execute.py.
"""
from _mitogen import (IMPORTER, MODULES, PY3, S, close_all_but, fcntl, os, posix, private,
    program_signals, reborn, sys, utf8, zlib)
import _socket


def absolute(env):
    """Take relative paths from what leads to an interpreter, and what that goes by before it runs
    any of our code."""
    slash = '/'.encode()
    colon = ':'.encode()
    for name in ('PATH', 'PYTHONPATH', 'PYTHONHOME', 'PYTHONUSERBASE', 'PYTHONPYCACHEPREFIX'):
        name = utf8(name)
        if name in env:
            paths = env[name].split(colon)
            kept = [p for p in paths if p.startswith(slash)]
            if kept and (name.endswith('PATH'.encode()) or paths == kept):
                env[name] = colon.join(kept)
            else:
                del env[name]
    env[utf8('PYTHONSAFEPATH')] = utf8('1')
    # Python's own begins with the current directory
    env.setdefault(utf8('PATH'), utf8('/usr/local/bin:/usr/bin:/bin'))
    return env


def open_channels(fds, tty, echo):
    """Open a child's channels: their fds, of the terminal first, are appended to fds as soon as
    each is open."""
    if tty:
        # Before err, so that err closes first if this process is killed (Linux lets the last file
        # go first, since 4.3): at a terminal's end sudo passes SIGHUP on, which would end the
        # context alone, without its group.
        try:
            fds += os.openpty()
        except (OSError, AttributeError):
            raise OSError('open terminal: %s' % sys.exc_info()[1])
        import termios      # not everywhere
        mode = termios.tcgetattr(fds[1])
        mode[3] = mode[3] & ~termios.ECHO       # no answer may come back into an error text
        if echo:
            # the program that asks turns it off: so it is known to ask
            mode[3] = mode[3] | termios.ECHO
        termios.tcsetattr(fds[1], termios.TCSANOW, mode)
    fds += posix.pipe()
    fds += posix.pipe()
    pair = _socket.socketpair(1, 1)
    for s in pair:
        fds.append(os.dup(s.fileno()))
    for s in pair:
        s.close()
    fds += posix.pipe()
    for fd in fds:
        private(fd, 1)


def execute(argv, env, tty, wait, warm, echo=0):
    """Start argv, or if warm a copy of us. Returns (pid, in, out, err, tty, slave, error)."""
    fds = []
    if warm and 'reborn' not in globals():
        text = zlib.decompress(MODULES['_mitogen_fork'][2])
        exec(compile(text, '<_mitogen_fork>', 'exec'), globals())
    if tty:
        import termios      # not everywhere
        own_terminal = getattr(termios, 'TIOCSCTTY', 21518)
    try:
        open_channels(fds, tty, echo)
        pid = posix.fork()
    except Exception:
        for fd in fds:
            os.close(fd)
        raise
    in_r, in_w, out_r, out_w, err, err_w, failed_r, failed_w = fds[-8:]
    master, slave = (fds[:-8] + [None, None])[:2]
    if not pid:
        try:
            os.setsid()
            if slave is not None:
                fcntl.ioctl(slave, own_terminal, 0)
                if wait:
                    in_r = out_w = slave
            os.dup2(in_r, 0)
            os.dup2(out_w, 1)
            os.dup2(err_w, 2)
            program_signals()
            full = dict(getattr(os, 'environb', os.environ))
            full.update(env)
            if warm:
                reborn(failed_w)
            os.execve = posix.execve    # without code to load first; os.execvpe calls it
            os.execvpe(argv[0], argv, absolute(full))
        except SystemExit:
            raise       # a program has ended in the copy (run_copy.py): now its interpreter does
        except:
            try:
                os.write(failed_w, str(sys.exc_info()[1]).encode())
            finally:
                os._exit(127)   # what follows is the hop's
        os._exit(127)
    for fd in (in_r, out_w, err_w, failed_w):
        os.close(fd)
    why = os.read(failed_r, 4096)
    os.close(failed_r)
    if wait:
        os.close(in_w)
        os.close(out_r)
        in_w, out_r = os.dup(master), os.dup(master)
        os.close(slave)     # so that reading ends with the program, which has it already
        slave = None
    for fd in (in_w, out_r, err, master):
        if fd is not None:
            private(fd)
    # Until the program opens its terminal, slave keeps reads of master from ending.
    return pid, in_w, out_r, err, master, slave, why


def remove_program(made):
    """Remove a directory that golang.py has made for the binary of a program."""
    for fn, path in ((os.unlink, os.path.join(made, 'go')), (os.rmdir, made)):
        try:
            fn(path)
        except OSError:
            pass


def dumpable(yes):
    """Let the account's other processes read and write the memory of this one, or not.

    An administrator's always may. Works on Linux alone, and on CPython with ctypes, of which this
    uses the part that costs nothing to import.
    """
    if S.calls and not PY3 or not IMPORTER.local('_ctypes', None):
        return      # Python 2 can't import while another thread does; nothing may be asked for here
    try:
        import _ctypes
        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), 'prctl')
        _ctypes.call_function(prctl, (4, yes, 0, 0, 0))
    except Exception:
        pass


def close_others():
    """Close all files but the three that programs know."""
    close_all_but((0, 1, 2))


def same_python(path):
    """True if path is empty, or the interpreter that runs this: by its name, or as a link to it in
    the same directory."""
    here = sys.executable
    return (not path or path == here or os.path.dirname(path) == os.path.dirname(here)
            and os.path.realpath(path) == os.path.realpath(here))
