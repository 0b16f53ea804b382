"""Ends all that a context has started once the context has ended, for whatever reason. Sent as
`_mitogen_guard`.

Runs in the namespace of the core before the first program starts, once for each thread that starts
one at that moment. Uses process.py and execute.py. Does something on Linux alone.
"""
from _mitogen import (EMPTY, FDS, GROUP, PID, POLL, POLLIN, PY3, WAKE, atomic, close_all_but, fcntl,
    imp, os, posix, private, restore_os, sys, thread, time)
# A file for each guard that there has been: at its end when that guard is.
GUARDS = globals().setdefault('GUARDS', [])
# Held by the thread that makes the guard; other threads wait for it.
GUARDING = globals().setdefault('GUARDING', thread.allocate_lock())
# Functions of core's, in whose place other functions are below.
KEPT_OWN = globals().setdefault('KEPT_OWN', (error, flush_stdio))


def end_of_copy(code=0):
    """A forked process of a call's function comes back: let it end as an interpreter does."""
    if os.getpid() != PID:
        if code is KeyboardInterrupt:   # has been told, and the interpreter ends by the signal
            sys.excepthook = lambda *args: None
            raise KeyboardInterrupt
        raise SystemExit(code)
    KEPT_OWN[1]()


def error_of_copy(t, v, tb):
    """As error(); what a forked process fails with goes to its stderr."""
    if os.getpid() == PID:
        return KEPT_OWN[0](t, v, tb)
    code = 1
    if isinstance(v, SystemExit):
        code = v.code
    elif isinstance(v, KeyboardInterrupt):
        code = KeyboardInterrupt
    use_in_copies(lambda: end_of_copy(code))
    if not isinstance(v, SystemExit):
        trace = KEPT_OWN[0](t, v, tb)[3]
        if not PY3:
            trace = trace.encode('utf-8')
        sys.stderr.write(trace)
    return EMPTY


def use_in_copies(flush):
    global error, flush_stdio
    error, flush_stdio = error_of_copy, flush


use_in_copies(end_of_copy)


def guard(ev=None, mark=None):
    """Start a guard of what bears mark. With ev, the one before has been killed."""
    mark = mark or MARK
    if ev:
        fd = GUARDS[-1]
        POLL.unregister(fd)
        del FDS[fd]
        os.close(fd)
    if len(GUARDS) > 99:
        return      # something doesn't let it live
    r, w = posix.pipe()
    try:
        try:
            pid = posix.fork()
        except OSError:
            os.close(r)
            if ev:
                return
            raise       # nothing is started without a guard
        if not pid:
            guard_life(w, mark)
        GUARDS.append(r)
        private(r)
        FDS[r] = guard
        POLL.register(r, POLLIN)
        try:
            os.waitpid(pid, 0)
        except OSError:
            pass        # it isn't waited for: SIGCHLD is ignored
    finally:
        os.close(w)


def guard_life(w, mark):
    """The life of the guard, a copy of this process: once the lock is free, kill our group and all
    that has mark, until no more is found."""
    try:
        os.setsid()
        if posix.fork():
            return
        close_all_but((w, WAKE[1]))
        fcntl.lockf(WAKE[1], 2)
        try:
            os.kill(-GROUP, 9)
        finally:
            guard_sweep(mark, {str(os.getpid()): 1})
    finally:
        os._exit(0)


def guard_sweep(mark, seen):
    more = 1
    while more:
        more = 0
        for pid in os.listdir('/proc'):
            try:
                if pid not in seen and mark in limits_of(pid):
                    os.kill(int(pid), 9)
                    more = seen[pid] = 1
            except Exception:
                pass    # it has ended, or is no process


def limits_of(pid):
    f = open('/proc/%s/limits' % pid)
    try:
        return f.read()
    finally:
        f.close()


def guard_wait():
    """Wait for the modules that are on their way, where any are: a fork can't ask for them."""
    globals().get('arrived', int)()


def guard_begin():
    """Have a guard. Then os may have its own functions back: all that they start has the mark."""
    if os.getpid() == PID and sys.platform[:5] == 'linux':
        # An import in another thread may start a program and so wait for GUARDING. All that waits
        # for imports comes before: resource, and the lock of all imports, which fork takes.
        resource = resource_module()
        if sys.version_info < (3, 4):
            imp.acquire_lock()
        GUARDING.acquire()
        try:
            if 'MARK' not in globals():
                guard_once(resource)
        finally:
            GUARDING.release()
            if sys.version_info < (3, 4):
                imp.release_lock()


def resource_module():
    try:
        return __import__('resource')   # sys.modules may have half of it yet
    except Exception:
        pass


def new_mark():
    return str((4000000 + PID) * 10 ** 12 + int(time.time() * 1e6) % 10 ** 12)


def bear_mark(resource, mark=None):
    """Have this process, and what it starts, bear mark, or none: a limit of real-time scheduling
    that is none, kept whatever becomes of parents, sessions and users. It has no name in resource,
    which may be None."""
    try:
        most = resource.getrlimit(15)[1]
        if mark is None:
            mark = most
        resource.setrlimit(15, (int(mark), most))
    except Exception:
        pass


def guard_once(resource):
    """Take the mark, which all that is started inherits, and have a guard: MARK says that there is
    one. In the process of a program (run_copy.py) both are the context's."""
    global MARK
    ask = globals().get('ask_mark')
    if ask:
        mark = ask()
    else:
        mark = new_mark()
    bear_mark(resource, mark)
    if not ask:
        fcntl.lockf(WAKE[1], 2)     # ours alone: programs inherit the file, but not the lock
        guard(None, mark)
    MARK = mark


def warn_of_threads(name):
    """Have a fork's warning about threads, Python 3.12 and later, name the line that forks."""
    def fork():
        os.__dict__[name] = getattr(posix, name)
        f = sys._getframe(1)
        if f.f_globals is globals():    # core's, which loads this module first
            f = f.f_back
        if 'threading' in sys.modules:
            import warnings     # without it the interpreter looks for the line on disk
        code = compile('\n' * (f.f_lineno - 1) + 'fork()', f.f_code.co_filename, 'eval')
        return eval(code, f.f_globals, {'fork': getattr(posix, name)})
    if sys.version_info >= (3, 12) and hasattr(posix, name):
        os.__dict__[name] = fork


if globals().get('AT_ONCE') == thread.get_ident():
    # session.py, in the thread that reads: it executes another program at once
    atomic(guard_begin)
else:
    guard_wait()
    atomic(guard_begin)
    restore_os()
    warn_of_threads('fork')
    warn_of_threads('forkpty')
