"""Captured output. Sent before the answers of the calls that wrote it."""
from _mitogen import (ANSWERS, CAPTURED, DRAIN, FDS, FLOWS, OUTPUT, POLL, POLLIN, STDERR,
    STDOUT, UP, WINDOW, atomic, frame, high, os, posix, private, wait)


def suck(handle):
    """Send what one captured pipe held when last written to. False if the window is used up."""
    fd = CAPTURED[handle]
    if FLOWS[0, handle] > 0:
        try:
            data = os.read(fd, 65536)   # all that a pipe holds
        except OSError:
            return 1
        FLOWS[0, handle] -= len(data)
        UP.put(frame(0, handle, data))
        return 1
    if fd in FDS:
        del FDS[fd]
        POLL.unregister(fd)


def spend(key, n=None):
    """Change what may still be sent of a flow, or forget it; any thread may do so."""
    OUTPUT.acquire()
    try:
        if n is None:
            FLOWS.pop(key, 0)
        elif key in FLOWS:
            FLOWS[key] += n
            if key[1] in CAPTURED and CAPTURED[key[1]] not in FDS:
                listen(key[1])
    finally:
        OUTPUT.release()


def settled():
    OUTPUT.acquire()
    try:
        n = len(ANSWERS)
        full = 0
        for fd, ev in DRAIN.poll(0):
            if not suck(fd == CAPTURED[STDOUT] and STDOUT or STDERR):
                full = 1
        if full:
            return 0
        for a in ANSWERS[:n]:
            UP.put(a)
        del ANSWERS[:n]
        return 1
    finally:
        OUTPUT.release()


def settle(block):
    """Queue output, then the answers that waited for it. With block, wait for the window."""
    while not atomic(settled):
        if not block:
            break
        wait(lambda: FLOWS[0, STDOUT] > 0 and FLOWS[0, STDERR] > 0)
    UP.flush()


def capture(fd, handle):
    r, w = posix.pipe()
    CAPTURED[handle] = high(r)
    os.dup2(w, fd)
    private(high(w), 1)     # so that it has no end, whatever a program closes; fd blocks like it
    os.close(r)
    os.close(w)
    FLOWS[0, handle] = WINDOW
    DRAIN.register(CAPTURED[handle], POLLIN)
    listen(handle)


def listen(handle):
    FDS[CAPTURED[handle]] = lambda ev: settle(0)
    POLL.register(CAPTURED[handle], POLLIN)
