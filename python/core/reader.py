"""Who reads, and how a thread waits for what that brings (docs/design.md, section 4)."""
from _mitogen import (ANSWERS, DUE, ERR, FDS, MAIN, POLL, POLLOUT, R, S, STREAMS, WAITERS,
    WAKE, ZERO, atomic, die, interrupt, lock, now, os, private, select, settle, sys, thread)


def poke():
    """Make the reader look again."""
    try:
        os.write(WAKE[1], ZERO)
    except OSError:
        pass


def woken(ev):
    os.read(WAKE[0], 4096)


def react(ms):
    """Wait for events, and handle them."""
    try:
        events = POLL.poll(ms)
    except select.error:
        events = ()
    # What one handler does may close a file, and give its number to another, whose event it isn't.
    for fd, ev, fn in [(fd, ev, FDS.get(fd)) for fd, ev in events]:
        if fn and FDS.get(fd) is fn:
            fn(ev)


def pump():
    """Wait for events and handle them. The caller holds R."""
    if S.started and ANSWERS and thread.get_ident() != MAIN:
        settle(0)
    for s in STREAMS:
        if s.blocked != s.waits:
            s.waits = s.blocked
            if s.waits:
                POLL.register(s.w, POLLOUT)
            else:
                POLL.unregister(s.w)
    t = max(0, min([f() for f in DUE])) + 1
    cancel = S.cancel
    if cancel:
        t = 1.05
    since = now()
    react(int(t * 1000) - 999)
    if now() - since > t:
        S.heard = now()     # this process was stopped; so may have been the parent
    since -= S.heard
    if 0 < S.timeout < since:
        try:
            private(ERR)    # which may be full
            os.write(ERR, ('%d s of silence (--heartbeat)\n' % since).encode())
        finally:
            die()
    if cancel and S.cancel is cancel:
        # Python looked for signals, this one came, and then it blocked.
        S.again = 1
        interrupt()
    wake()


def wake():
    try:
        while WAITERS:
            WAITERS.pop().release()
    except IndexError:
        pass        # another thread took the last one


def turn(ready):
    """Read once, if no other thread does, and main doesn't wait for R."""
    if not S.want and R.acquire(0):
        try:
            if not ready() and not S.want:      # again: poke() has woken who had R before
                pump()
        finally:
            R.release()
            wake()
        return 1


def claim():
    """Take R for main from the thread that reads."""
    if not R.acquire(0):
        S.want = 1
        poke()
        try:
            R.acquire()
        finally:
            S.want = 0


def alone(fn):
    """Run fn in main while no thread reads and nothing interrupts."""
    claim()
    try:
        fn()
    finally:
        R.release()
        wake()


def wait(ready):
    """Block the calling thread until ready() is true, and read if no other thread does.

    The lock of all imports is lent out meanwhile: what looks for a module is called under it,
    and the reader may have to collect garbage, for which some of importlib's takes it.
    """
    n = 0
    try:
        imp = sys.modules['_imp']   # from 3.3 on; before, all of an import has one lock
        while imp.lock_held():
            imp.release_lock()
            n += 1
    except Exception:
        pass    # it is another thread's, or was; or there is none
    try:
        while not ready():
            l = lock()
            WAITERS.append(l)   # first: the thread that reads now wakes these when it stops
            if not atomic(turn, ready) and not ready():
                l.acquire()
    finally:
        for i in range(n):
            imp.acquire_lock()
