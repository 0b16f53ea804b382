"""What ends all that a context has started once the context has ended, however that came. Sent as `_mitogen_guard`.

Runs in the namespace of core.py, before the first program starts. On Linux alone does it do anything.
"""
GUARDS = []     # a file for each guard that there has been: at its end when that guard is


def guard(ev=None):
    """Start a guard. With ev, the one before has been killed."""
    if ev:
        fd = GUARDS[-1]
        POLL.unregister(fd)
        del FDS[fd]
        os.close(fd)
    if len(GUARDS) > 99:
        return      # something doesn't let it live
    r, w = posix.pipe()
    try:
        pid = posix.fork()
        if not pid:
            guard_life(w)
        GUARDS.append(r)
        private(r)
        FDS[r] = guard
        POLL.register(r, POLLIN)
        os.waitpid(pid, 0)
    except OSError:
        pass
    os.close(w)


def guard_life(w):
    """The life of the guard, a copy of this process: once the lock is free, kill our group and all that has the mark, until no more is found."""
    try:
        os.setsid()
        if posix.fork():
            return
        for fd in range(1024):
            try:
                if fd not in (w, WAKE[1]):
                    os.close(fd)
            except OSError:
                pass
        fcntl.lockf(WAKE[1], 2)
        try:
            os.kill(-GROUP, 9)
        finally:
            guard_sweep({str(os.getpid()): 1})
    finally:
        os._exit(0)


def guard_sweep(seen):
    more = 1
    while more:
        more = 0
        for pid in os.listdir('/proc'):
            try:
                if pid not in seen and MARK in open('/proc/%s/limits' % pid).read():
                    os.kill(int(pid), 9)
                    more = seen[pid] = 1
            except Exception:
                pass    # it has ended, or is no process


def guard_begin():
    """Give os its own functions back, take the mark, which all that is started inherits, and have a guard."""
    global MARK
    for name in dir(posix):
        if getattr(getattr(os, name, 0), '__name__', 0) == 'load':
            setattr(os, name, getattr(posix, name))
    if 'MARK' in globals() or os.getpid() != PID or sys.platform[:5] != 'linux':
        return
    MARK = str((4000000 + PID) * 10 ** 12 + int(time.time() * 1e6) % 10 ** 12)
    try:
        # A limit of real-time scheduling that is none: kept whatever becomes of parents, sessions and users. It has no name in resource,
        # which Python 2 can't import here while another thread imports.
        resource = sys.modules.get('resource') or __import__('resource')
        resource.setrlimit(15, (int(MARK), resource.getrlimit(15)[1]))
    except Exception:
        pass
    fcntl.lockf(WAKE[1], 2)     # ours alone, whoever inherits the file
    guard()


atomic(guard_begin)
