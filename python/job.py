"""Processes that a task has: their output, input and end. Part of `_mitogen_ansible`.

A Job and what serves it run in an account's context, in the thread that reads; what child() calls,
in the job's own process. Temporary directories are removed where they were made: in the hop, or in
root's account for the login.
"""
from _mitogen import (ARMED, BEFORE, DIRECTORY, DUE, EMPTY, ERR, FDS, FLOWS, FULL, IMPORTER, ITEM,
    LENT, MEMBERS, PATIENCE, POLL, POLLIN, POLLOUT, PY3, Place, QUIET, S, STALE, TEMPS, TUNNELS, UP,
    WAKE, WHO, WINDOW, ZERO, after, again, by_login, close_all_but, credit, deque, dumpable,
    exit_code, fcntl, frame, os, posix, private, program_signals, remove, restore_os, signal, spend,
    state, sys, utf8)
import errno
import gc
import time

JOBS = []       # processes that run for a connection
SETTLED = []    # once jobs run here: what SIGHUP does to them
ENDING = signal.SIGTERM, signal.SIGHUP  # of a job that ends early: engine or terminal have gone


class Output:
    """The output of files that are open here, as items whose first byte names the file."""
    gone = 0
    eof = 1     # of what is fed
    w = None
    late = 0    # the engine looks at it only after its end
    tty = None  # a terminal's master

    def begin(self, key, outs):
        self.key = key
        self.outs = outs
        TUNNELS[key] = self
        FLOWS[key] = WINDOW
        for fd in outs:
            private(fd)
            FDS[fd] = self.reader(fd)
            POLL.register(fd, POLLIN)

    def reader(self, fd):
        def read(ev):
            self.take(fd)
            if not self.late or FLOWS.get(self.key, 0) < WINDOW // 2:
                UP.flush()
        return read

    def take(self, fd):
        """Pass on what is there now, of much a part. True: there may be more."""
        if FLOWS[self.key] <= 0:
            if self not in FULL:
                FULL.append(self)
                for fd in self.outs:
                    POLL.unregister(fd)
            return 0
        try:
            data = os.read(fd, 65536)
        except OSError:
            if again(sys.exc_info()[1]):
                return 0
            data = EMPTY    # a terminal that no process has open
        if not data:
            self.shut_out(fd)
            return 0
        FLOWS[self.key] -= len(data) + 1
        UP.put(frame(self.key[0], self.key[1], self.outs[fd] + data, ITEM))
        return 1

    def shut_out(self, fd):
        if self not in FULL:
            POLL.unregister(fd)
        del FDS[fd]
        del self.outs[fd]
        if fd != self.tty:
            os.close(fd)

    def resume(self):
        if FLOWS[self.key] > 0:
            FULL.remove(self)
            for fd in self.outs:
                POLL.register(fd, POLLIN)

    def over(self, data):
        for fd in list(self.outs):
            self.shut_out(fd)
        if self.tty is not None:
            os.close(self.tty)
        if self in FULL:
            FULL.remove(self)
        del TUNNELS[self.key]
        spend(self.key)
        UP.put(frame(self.key[0], self.key[1], data))
        UP.flush()

    def end(self, patience=0):
        self.over(EMPTY)


class Job(Output):
    """A process that run() is called in, and doesn't return. It has a session of its own, so that
    what it leaves behind stays.

    It may finish when the engine drops it or is gone, unless it ends with that: as with sshd, whose
    programs lose their output then, and those with a terminal are hung up.
    """
    status = None
    eof = 0

    def __init__(self, key, tty, run, ends, apart=0, temps=()):
        self.ends = ends
        fds = []
        if tty:
            master, slave = os.openpty()
            stdin, feed, ends, outs = slave, None, [slave, slave], {master: '1'.encode()}
            fds = [master, slave]
            # Closed when the process has ended: that hangs up, also if it has closed its own.
            self.tty = master
        else:
            stdin, feed = os.pipe()
            out, out_w = os.pipe()
            err, err_w = os.pipe()
            ends, outs = [out_w, err_w], {out: '1'.encode(), err: '2'.encode()}
            fds = [stdin, feed, out, out_w, err, err_w]
        for fd in fds:
            private(fd, 1)
        kept = hold(temps)
        try:
            self.pid = os.fork()
        except OSError:
            for fd in fds + kept:
                os.close(fd)
            raise
        if not self.pid:
            child([stdin] + ends, tty, run, apart, kept, self.ends)
        for fd in [stdin] + [fd for fd in ends if fd != stdin] + kept:
            os.close(fd)
        self.w = feed
        self.out = deque()
        if feed is not None:
            private(feed)
            FDS[feed] = self.flush
        self.waits = 0
        self.begin(key, outs)
        JOBS.append(self)

    # Input

    def put(self, data):
        self.out.append(data)

    def flush(self, ev=None):
        while self.out and self.w is not None:
            data = self.out.popleft()
            try:
                n = os.write(self.w, data)
            except OSError:
                if not again(sys.exc_info()[1]):
                    self.eof = 1
                    self.shut()     # no process reads it
                    break
                n = 0
            if n < len(data):
                self.out.appendleft(data[n:])
            if n:
                credit(self.key[0], self.key[1], n)
            else:
                if not self.waits:
                    self.waits = 1
                    POLL.register(self.w, POLLOUT)
                return
        if self.waits:
            self.waits = 0
            POLL.unregister(self.w)
        if self.eof and not self.out:
            self.shut()

    def shut(self):
        self.out.clear()
        if self.w is not None:
            if self.waits:
                self.waits = 0
                POLL.unregister(self.w)
            del FDS[self.w]
            os.close(self.w)
            self.w = None

    # Its end

    def reap(self):
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except OSError:
            pid, status = self.pid, 0
        if pid:
            JOBS.remove(self)
            self.status = 255   # as ssh has it, where a signal has ended what sshd has started
            if os.WIFEXITED(status):
                self.status = os.WEXITSTATUS(status)
            if self.key in TUNNELS:
                self.finish()

    def finish(self):
        """Pass on what is left; other processes may have its output open still."""
        for fd in list(self.outs):
            while fd in self.outs and self.take(fd):
                pass
        if self in FULL and not self.gone:
            return UP.flush()
        self.shut()
        self.over((str(self.status)
                   + STALE[[state(p) for p in WHO] != BEFORE[0][:len(WHO)]]).encode())

    def resume(self):
        Output.resume(self)
        if self.status is not None and self not in FULL:
            self.finish()

    def end(self, patience=.3):
        """The engine has dropped it."""
        if self.gone:
            return
        self.gone = 1
        if self.ends:
            self.stop()
            after(5, self.kill)    # its leader does so before, unless something holds it
        else:
            self.shut()
            self.over(EMPTY)

    def stop(self):
        """Have the leader end the job, which is to end early."""
        if self in JOBS:
            send_signal(signal.SIGTERM, [self.pid])

    def kill(self):
        if self in JOBS:
            send_signal(9, [-self.pid, self.pid])   # it may have no session yet


def send_signal(sig, targets):
    """Send a signal to processes and, by negative numbers, groups that are still there."""
    for pid in targets:
        try:
            os.kill(pid, sig)
        except OSError:
            pass


def job_timers():
    for j in JOBS[:]:
        j.reap()
    return PATIENCE


def tidying_die(die=die):
    """The parent is gone: so are jobs that end with it. If it hasn't told us to end, temporary
    directories go too."""
    try:
        for j in JOBS:
            if j.ends:
                j.stop()
        if TEMPS and not S.stop:
            by_login(LENT, remove_temps)
    finally:
        die()


def remove_temps():
    for dir in list(TEMPS):
        try:
            tidy_dir(dir)
        except OSError:
            pass    # nothing can be started that waits for a job: this one stays


# Temporary directories of a job that may finish stay until then: it has a lock on them.


def hold(dirs):
    """Take a shared lock on each directory. Returns the files that have it."""
    kept = []
    for dir in dirs:
        try:
            kept.append(os.open(utf8(dir), os.O_RDONLY | DIRECTORY | QUIET))
            fcntl.flock(kept[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (IOError, OSError):
            pass    # not for this account, or not on this file system
    return kept


def tidy_dir(dir):
    """Remove a directory once no job holds it, without waiting for that."""
    TEMPS.pop(dir, 0)
    try:
        fd = os.open(dir, os.O_RDONLY | DIRECTORY | QUIET)
    except OSError:
        return remove(dir)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (IOError, OSError):
            if again(sys.exc_info()[1]):
                return tidy_later(fd, dir)
        remove(dir)
    finally:
        os.close(fd)


def tidy_later(fd, dir):
    """Have a process that belongs to no context wait a day at most for the lock, and remove dir."""
    pid = posix.fork()
    if pid:
        status_of(pid)
        return
    try:
        os.setsid()
        if not posix.fork():
            close_all_but((fd,))
            if lock_within(fd, 86400):
                remove(dir)
    finally:
        os._exit(0)


def lock_within(fd, patience):
    """Take a file's lock. False: it has no name any more, a job has had the lock for patience
    seconds, or there are no locks."""
    pause = .1
    while patience > 0:
        try:
            if not os.fstat(fd).st_nlink:
                return 0    # the job has removed it
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return 1
        except (IOError, OSError):
            if not again(sys.exc_info()[1]):
                return 0
        time.sleep(pause)
        patience -= pause
        pause = min(pause * 2, 30, patience)
    return 0


def see_the_end():
    """Have the end of the parent seen by us, who have something to do then, instead
    of the kernel."""
    global die
    if die is not tidying_die:
        die = tidying_die
        if ARMED:
            fcntl.fcntl(ERR, fcntl.F_SETFL, ARMED[0])


def settle_in():
    """Become a context that runs jobs and nothing else: it asks for no modules, and sees its
    parent's end itself."""
    see_the_end()
    restore_os()    # jobs start without a guard: what they leave behind stays
    dumpable(0)
    for hooks, ours in ((sys.meta_path, IMPORTER), (sys.path_hooks, Place)):
        hooks[:] = [h for h in hooks if h is not ours]
    sys.path_importer_cache.clear()
    signal.signal(signal.SIGCHLD, lambda sig, stack: None)
    signal.set_wakeup_fd(WAKE[1])
    DUE.insert(0, job_timers)
    # The end of become's terminal must not end us before we have seen to jobs.
    SETTLED.append(signal.signal(signal.SIGHUP, signal.SIG_IGN) or signal.SIG_DFL)


def child(fds, tty, run, apart, kept, ends):
    """The life of a job's process. Apart, or if the job ends early, one below it calls run()."""
    code = 1
    try:
        try:
            os.setsid()
            dumpable(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, SETTLED[0])
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for i in range(3):
                os.dup2(fds[i], i)
            if tty:
                import termios
                fcntl.ioctl(0, getattr(termios, 'TIOCSCTTY', 21518), 0)
            if 'faulthandler' in sys.modules:
                sys.modules['faulthandler'].disable()
            close_all_but([0, 1, 2] + kept)
            if apart or ends:
                stand_apart(tty, kept, apart, ends)
            code = run()
        except:
            code = uncaught()
    finally:
        os._exit(code)


def stand_apart(tty, kept, apart, ends):
    """Return in a new process; this one leads the session, waits for that, and ends as it does.

    With the ssh plugin there is a shell before a module, and a become program before what that
    starts. So a module may call setsid(), and what it leaves behind isn't hung up: at the end the
    terminal is this process's, as with sudo. If it isn't to be seen (not apart), neither holds.

    A job that ends early does so by this process, which keeps the job's locks until then.
    """
    below, before, early = [], [], []

    def end(sig, stack):
        if below:
            end_below(below)
        early.append(sig)       # the process that is to end isn't known yet

    if ends:
        before = [(sig, signal.signal(sig, end)) for sig in ENDING]
    pid = os.fork()
    if not pid:
        for sig, old in before:
            signal.signal(sig, old)
        for fd in kept:
            os.close(fd)
        if tty:
            os.setpgid(0, 0)
            take_terminal()
        return
    below.append(pid)
    if early:
        end_below(below)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not tty:
        close_all_but(kept)
    status = status_of(pid)
    if tty and apart:
        take_terminal()
    if os.WIFSIGNALED(status) and not apart:
        os._exit(255)   # as Job.reap has it
    os._exit(exit_code(status))


def end_below(below):
    """End a job, which may ignore SIGTERM: its process, the group of that, if any, and our own."""
    for sig in ENDING:
        signal.signal(sig, signal.SIG_IGN)
    groups = [-pid for pid in below] + [0]
    send_signal(signal.SIGTERM, groups)
    time.sleep(.25)
    send_signal(9, below + groups)


def status_of(pid):
    while 1:
        try:
            return os.waitpid(pid, 0)[1]
        except OSError:
            if not again(sys.exc_info()[1]):
                raise


def take_terminal():
    """Have our process group be the group that the terminal hangs up, and sends signals to."""
    old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        try:
            os.tcsetpgrp(0, os.getpgrp())
        except OSError:
            pass    # it has been hung up
    finally:
        signal.signal(signal.SIGTTOU, old)


def uncaught():
    """The exit status of the exception that is being handled, which is shown as an
    interpreter does."""
    t, e, tb = sys.exc_info()
    if t is SystemExit:
        code = e.code
        if code is None:
            return 0
        if isinstance(code, int):
            return code & 255
        sys.stderr.write('%s\n' % (code,))
    else:
        while tb and tb.tb_next and tb.tb_frame.f_globals is globals():
            tb = tb.tb_next
        if PY3:
            setattr(e, '__traceback__', tb)     # some show that instead
        # the wrapper's zip file is gone by now: no source lines are to be had of it
        MEMBERS.files = {}
        sys.excepthook(t, e, tb)
        sys.stderr.flush()
        if t is KeyboardInterrupt and sys.version_info >= (3, 8):
            return 128 + 2      # as a shell has it, of an interpreter that ends by the signal
    return 1


# Programs


def execute_job(argv, env, dirs):
    """Execute a program. It and what it starts hold dirs, unless they close inherited files."""
    program_signals()
    for fd in hold(dirs):
        fcntl.fcntl(fd, fcntl.F_SETFD, 0)
    full = dict(getattr(os, 'environb', os.environ))
    if coerced():
        full.pop('LC_CTYPE'.encode(), None)
    full.update(dict([(utf8(k), utf8(v)) for k, v in env.items()]))
    argv = [utf8(a) for a in argv]
    program = argv[0] or utf8(login_shell())
    if not argv[0]:
        argv[0] = os.path.basename(program)     # as sshd does
    try:
        os.execvpe(program, argv, full)
    except OSError:
        e = sys.exc_info()[1]
        os.write(2, program + (': %s\n' % e.strerror).encode())
        return {errno.ENOENT: 127}.get(e.errno, 126)


def coerced():
    """True if the interpreter has set LC_CTYPE for itself."""
    try:
        f = open('/proc/self/environ', 'rb')
        try:
            return '\0LC_CTYPE='.encode() not in ZERO + f.read()
        finally:
            f.close()
    except (IOError, OSError):
        return 0


def login_shell():
    try:
        import pwd
        return pwd.getpwuid(os.getuid())[6] or '/bin/sh'
    except (ImportError, KeyError):
        return '/bin/sh'


def ended(code, before):
    """Do what an interpreter does at its end: finalize what there is that wasn't there before.

    The rest of the memory isn't freed one by one.
    """
    try:
        if 'threading' in sys.modules:
            sys.modules['threading']._shutdown()
        if 'atexit' in sys.modules:
            sys.modules['atexit']._run_exitfuncs()
        for name in [name for name in sys.modules if name not in before]:
            del sys.modules[name]
        gc.collect()
    except:
        uncaught()
    for f in (sys.stdout, sys.stderr):
        try:
            f.flush()
        except Exception:
            pass
    return code
