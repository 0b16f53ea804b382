"""Programs beside a context, each with its own stdin, stdout, stderr, terminal and exit status.
Sent as `_mitogen_session`.

Runs in the namespace of the core, in the thread that reads; uses feed.py, and guard.py, which ends
with the context what is started here.
"""
from _mitogen import (BUSY_TIMEOUT, DATA, DUE, EMPTY, ERROR, FDS, FLOWS, Fed, HANDLERS, ITEM, LEAVE,
    MODULES, PATIENCE, POLL, POLLIN, PROTO, PY3, S, STREAMS, TABLES, TUNNELS, USES, WINDOW, again,
    close_all_but, credit, deque, dumps, errno, fcntl, imp, loads, native, no_input, now, os, pack,
    poke, posix, private, program_signals, restore_os, send, spend, sys, text, thread, unpack,
    unpacked, wait)
SESSIONS = {}       # (src, reply): Session
CLOCK = []          # [when, function]
HOLD = 2            # seconds that what a program leaves behind may keep its output open
LATE = 1 << 21      # bytes that are passed on after that: as much as two pipes may hold
LOOK = .5           # seconds at most between two looks whether a program has ended
PICKLED = pack('B', 128)
USES.append(SESSIONS)
TABLES += SESSIONS, CLOCK


class Session(Fed):
    """A program. Its output comes as items for the reply handle and, apart from that,
    for spec['err']."""
    r = w = pid = None
    end = 1e99          # when what still has the output open is waited for no longer
    status = None       # exit status, or minus the number of the signal that has ended it
    told = 0            # it was signalled: what it has read may not be the whole
    gone = 0            # the engine has dropped it
    held = 0            # its output was closed, because something else kept that open
    late = 0            # bytes read since self.end
    pause = .001        # until the next look whether it has ended
    terminal = None
    agent = None        # path of a socket

    def __init__(self, key, spec):
        self.key = key
        self.spec = spec
        self.out = deque()
        self.outs = {}      # file: reply handle
        self.full = []      # files that aren't read, because there is no window
        SESSIONS[key] = self
        self.begin()

    def begin(self):
        if self.gone:
            return SESSIONS.pop(self.key)
        if sys.version_info < (3, 4) and imp.lock_held():
            # fork would wait for an import, which may wait for this thread
            return at(.01, self.begin)
        files = []
        try:
            guard_programs()
            self.start(files)
        except Exception:
            for fd in files:
                os.close(fd)
            del SESSIONS[self.key]
            return refuse_session(self.key)
        self.flush()
        self.look()

    def start(self, files):
        spec = self.spec
        if spec.get('agent'):   # of a listener that the engine has asked for before
            self.agent = TUNNELS[self.key[0], spec['agent']].path
        if spec.get('pty'):
            master, slave = os.openpty()
            files += [slave, master]
            files.insert(0, os.dup(master))
            ends = [slave] * 3
            self.terminal = master
            import termios
            self.controls = termios.TIOCSWINSZ, getattr(termios, 'TIOCSCTTY', 21518)
            self.resize(spec['pty'][1:])
            outs = [(master, self.key[1])]
        else:
            files += posix.pipe()
            'module' in spec and widen(files[1])
            files += posix.pipe()
            ends = [files[0], files[3], files[3]]
            outs = [(files[2], self.key[1])]
            if spec.get('err'):
                files += posix.pipe()
                ends[2] = files[5]
                outs.append((files[4], spec['err']))
        for fd in files:
            private(fd, 1)
        self.pid = posix.fork()
        if not self.pid:
            self.become(ends)
        for fd in set(ends):
            os.close(fd)
            files.remove(fd)
        self.w = files[0]
        private(self.w)
        self.eof = self.eof or spec.get('null')
        STREAMS.append(self)
        FDS[self.w] = self.flush
        for fd, handle in outs:
            private(fd)
            self.outs[fd] = handle
            FLOWS[self.key[0], handle] = WINDOW
            FDS[fd] = self.reader(fd)
            POLL.register(fd, POLLIN)
        del files[:]

    def become(self, ends):
        """The life of the process until it is another program."""
        spec = self.spec
        code = 126
        try:
            os.setsid()
            for i in range(3):
                os.dup2(ends[i], i)
            close_all_but((0, 1, 2))
            what = 'cannot start'
            try:
                if self.terminal is not None:
                    fcntl.ioctl(1, self.controls[1], 0)
                if spec.get('null'):
                    no_input()
                program_signals()
                restore_os()
                'module' in spec and run_module(spec['module'], {})
                full = dict(getattr(os, 'environb', os.environ))
                path, argv = program_of(spec, full)
                full.update(dict(spec.get('env') or ()))
                if self.agent:
                    full['SSH_AUTH_SOCK'.encode()] = self.agent
                if spec.get('cwd'):
                    what = 'cd ' + native(spec['cwd'])
                    os.chdir(spec['cwd'])
                what = native(path)
                if spec.get('pty'):
                    full['TERM'.encode()] = spec['pty'][0]
                os.execvpe(path, argv, full)
            except Exception:
                e = sys.exc_info()[1]
                code += getattr(e, 'errno', 0) == errno.ENOENT
                os.write(2, octets('mitogen: %s: %s\n' % (what, getattr(e, 'strerror', e))))
        finally:
            os._exit(code)

    def reader(self, fd):
        def read(ev):
            self.read_from(fd)
            if not self.outs:
                self.pause = .001
                self.look()
        return read

    def read_from(self, fd):
        """Pass on what is there. True: there was something, or there may be."""
        flow = self.key[0], self.outs[fd]
        if FLOWS[flow] <= 0:
            POLL.unregister(fd)
            self.full.append(fd)
            return 1
        try:
            data = os.read(fd, 65536)
        except OSError:
            if again(sys.exc_info()[1]):
                return 0
            data = EMPTY    # a terminal that no process has open
        if not data:
            self.shut_out(fd)
            return 1
        FLOWS[flow] -= len(data)
        send(flow[0], flow[1], data, ITEM)
        if now() >= self.end:
            self.late += len(data)
        return self.late < LATE or self.cut(fd)

    def cut(self, fd):
        """Read what something else keeps open no longer."""
        self.held = 1
        self.shut_out(fd)
        return 1

    def resume(self):
        for fd in self.full[:]:
            if FLOWS[self.key[0], self.outs[fd]] > 0:
                self.full.remove(fd)
                POLL.register(fd, POLLIN)

    def shut_out(self, fd):
        if fd in self.full:
            self.full.remove(fd)
        else:
            POLL.unregister(fd)
        del FDS[fd]
        os.close(fd)
        if fd == self.terminal:
            self.terminal = None
        handle = self.outs.pop(fd)
        spend((self.key[0], handle))
        if handle != self.key[1] and not self.gone:
            send(self.key[0], handle)

    def shut(self):
        if self.terminal is None:   # a terminal has no end of input
            Fed.shut(self)

    def look(self):
        """Answer once the program has ended, and its output."""
        if self.key not in SESSIONS or self.pid is None:
            return
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except OSError:
                # a function that was called here has waited for it
                pid, status = self.pid, 255 << 8
            if pid:
                self.status = -os.WTERMSIG(status) or os.WEXITSTATUS(status)
                self.end = now()
                if not self.spec.get('pty'):
                    self.end += self.spec.get('wait', HOLD)
        if now() >= self.end:
            for fd in list(self.outs):
                fd in self.full or self.read_from(fd) or self.cut(fd)
        if self.status is not None and not self.outs:
            return self.finish()
        at(self.pause, self.look)
        self.pause = min(LOOK, 2 * self.pause)

    def finish(self):
        del SESSIONS[self.key]
        if self.w is not None:
            if self.told and not self.eof and not self.spec.get('pty'):
                self.keep()
            else:
                self.unwritable()
        if not self.gone:
            send(self.key[0], self.key[1], dumps((self.status, self.held), PROTO))
        if self.spec.get('last'):
            S.stop = 1

    def keep(self):
        """Leave what it was fed by open until nothing reads it, so that nothing takes a part
        for the whole."""
        if self.waits:
            POLL.unregister(self.w)
        self.blocked = self.waits = 1
        POLL.register(self.w, 0)
        FDS[self.w] = lambda ev: self.shut()

    def take(self, kind, data):
        """A frame from the engine."""
        if kind == ITEM and self.eof:
            credit(self.key[0], self.key[1], len(data))
        elif kind == ITEM:
            self.put(data)
            self.flush()
        elif kind == ERROR:
            self.drop()
        elif not data:
            self.eof = 1
            self.flush()
        elif native(data[:1]) == 'c':
            self.unread(*unpack('>L', data[1:5]))
        elif native(data[:1]) == 'w':
            self.resize(unpack('>4H', data[1:9]))
        else:
            self.signal(native(data[1:]))

    def unread(self, handle):
        """Nothing reads this output any more: as if its reader had closed a pipe, or hung
        up a terminal."""
        for fd in list(self.outs):
            if self.outs[fd] == handle:
                self.shut_out(fd)
                if self.spec.get('pty'):
                    self.unwritable()
        self.pause = .001
        self.look()

    def resize(self, size):
        """Rows, columns, and the same in pixels."""
        if self.terminal is not None:
            fcntl.ioctl(self.terminal, self.controls[0], pack('4H', *size))

    def signal(self, name):
        if name.isalnum() and hasattr(signal, 'SIG' + name):     # SIG_IGN is none
            self.told = 1
            self.kill(getattr(signal, 'SIG' + name))

    def kill(self, sig):
        for fn in (os.killpg, os.kill):
            try:
                return self.pid and fn(self.pid, sig)
            except OSError:     # it has no group yet, or has ended
                if self.status is not None:
                    return

    def drop(self):
        """The engine has: SIGHUP, and soon SIGKILL; later for a copy, which may have to remove
        a file that isn't whole."""
        if self.gone:
            return
        self.gone = self.told = 1
        self.kill(1)
        for fd in list(self.outs):
            self.shut_out(fd)
        at('module' in self.spec and 10 or .3, lambda: self.kill(9))
        self.look()


def widen(fd):
    """Have the pipe of a copy take two frames, instead of half of one: that saves turns."""
    try:
        fcntl.fcntl(fd, 1031, 262144)   # F_SETPIPE_SZ of Linux
    except (IOError, ValueError):
        pass    # the system has none, or the account has its share


def at(seconds, fn):
    CLOCK.append([now() + seconds, fn])
    poke()


def run_clock():
    """Run what is due, and have those read again that have a window; returns seconds until the
    next may be due."""
    for s in list(SESSIONS.values()):
        if s.full:
            s.resume()
    for c in [c for c in CLOCK if c[0] <= now()]:
        CLOCK.remove(c)
        c[1]()
    return min([PATIENCE] + [max(0, c[0] - now()) for c in CLOCK])


def guard_programs():
    """Have the guard before the first program. Its module comes with ours."""
    global AT_ONCE
    if 'MARK' in globals():
        return
    AT_ONCE = thread.get_ident()
    try:
        run_module('guard', NAMES)
    finally:
        AT_ONCE = None


NAMES = globals()


def run_module(name, names):
    exec(unpacked(MODULES['_mitogen_' + name]), names)


def octets(s):
    """A name of the system's as bytes."""
    if PY3:
        return s.encode('utf-8', 'surrogateescape')
    return s


def program_of(spec, env):
    """What is to be executed, and its arguments; env becomes the environment of a login,
    if it is one."""
    shell = '/bin/sh'.encode()
    if spec.get('login'):
        import pwd
        try:
            account = pwd.getpwuid(os.getuid())
        except KeyError:
            account = [str(os.getuid()), 0, 0, 0, 0, '/', '']
        user, home = octets(account[0]), octets(account[5])
        shell = octets(account[6]) or shell
        env.update(zip('HOME USER LOGNAME SHELL'.encode().split(), (home, user, user, shell)))
        try:
            os.chdir(home)
        except OSError:
            os.chdir('/')
    base = shell.split('/'.encode())[-1]
    if spec.get('argv'):
        return spec['argv'][0], spec['argv']
    if spec.get('command'):
        return shell, [base, '-c'.encode(), spec['command']]
    return shell, ['-'.encode() + base]


def refuse_session(key):
    e = sys.exc_info()[1]
    send(key[0], key[1], dumps(('builtins', e.__class__.__name__, text(e), '', None), PROTO), ERROR)


def on_session(src, reply, kind, data):
    s = SESSIONS.get((src, reply))
    if s:
        return s.take(kind, data)
    if kind != DATA or data[:1] != PICKLED:
        return
    S.timeout = BUSY_TIMEOUT
    try:
        if len(SESSIONS) > 1023:
            raise RuntimeError('1024 sessions are open')
        spec = loads(data)
        Session((src, reply), dict([(str(k), spec[k]) for k in spec]))
    except Exception:
        refuse_session((src, reply))


def leave_sessions():
    for s in list(SESSIONS.values()):
        s.drop()
    end = now() + .9
    wait(lambda: not SESSIONS or now() > end)


def die_with_sessions(die=die):
    for s in list(SESSIONS.values()):
        s.kill(9)
    if S.leaving and 'MARK' in globals():
        os._exit(0)     # the guard ends the rest; of SIGKILL a login shell would tell
    die()


globals().update({'die': die_with_sessions})
LEAVE.append(leave_sessions)
HANDLERS[15] = on_session
DUE.append(run_clock)
