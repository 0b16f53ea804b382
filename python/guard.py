"""Ends all that a context has started once the context has ended, for whatever reason. Sent as `_mitogen_guard`.

Runs in the namespace of core.py before the first program starts, once for each thread that starts one
at that moment. Uses process.py. Does something on Linux alone.
"""
# A file for each guard that there has been: at its end when that guard is.
GUARDS = globals().setdefault('GUARDS', [])
# Held by the thread that makes the guard; the others wait for it.
GUARDING = globals().setdefault('GUARDING', thread.allocate_lock())


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
    """The life of the guard, a copy of this process: once the lock is free, kill our group and all that has
    the mark, until no more is found."""
    try:
        os.setsid()
        if posix.fork():
            return
        close_all_but((w, WAKE[1]))
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
                if pid not in seen and MARK in limits_of(pid):
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


def guard_begin():
    """Have a guard, then give os its own functions back: all that they start has the mark."""
    if os.getpid() == PID and sys.platform[:5] == 'linux':
        # An import in another thread may start a program and so wait for GUARDING. All that waits for
        # imports comes before: resource, and the lock of all imports, which fork takes.
        resource = resource_module()
        if sys.version_info < (3, 4):
            imp.acquire_lock()
        GUARDING.acquire()
        try:
            if 'MARK' not in globals():
                try:
                    guard_once(resource)
                except:
                    globals().pop('MARK', None)     # the next start tries again
                    raise
        finally:
            GUARDING.release()
            if sys.version_info < (3, 4):
                imp.release_lock()
    restore_os()


def resource_module():
    try:
        return __import__('resource')   # sys.modules may have half of it yet
    except Exception:
        pass


def guard_once(resource):
    """Take the mark, which all that is started inherits, and have a guard."""
    global MARK
    MARK = str((4000000 + PID) * 10 ** 12 + int(time.time() * 1e6) % 10 ** 12)
    try:
        # A limit of real-time scheduling that is none: kept whatever becomes of parents, sessions and
        # users. It has no name in resource.
        resource.setrlimit(15, (int(MARK), resource.getrlimit(15)[1]))
    except Exception:
        pass
    fcntl.lockf(WAKE[1], 2)     # ours alone: programs inherit the file, but not the lock
    guard()


atomic(guard_begin)
