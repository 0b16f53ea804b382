"""Frames addressed to this context: who may send them, values in pieces, and their handlers."""
from _mitogen import (BUILTINS, BytesIO, CREDIT, DEAD, HANDLERS, LARGE, LIMIT, ME, PARENTS, PART,
    PARTS, SIZES, credit, dead)


def deliver(src, auth, handle, reply, kind, data):
    if handle < 1000 and (auth not in PARENTS or handle not in HANDLERS) and (
            handle != CREDIT or kind):
        return dead(src, reply, 'context %d refuses handle %d' % (ME, handle))
    if kind == PART or PARTS:
        key = src, handle, handle < 1000 and reply
        p = None
        if handle not in HANDLERS:
            PARTS.pop(key, 0)
        elif kind == PART or key in PARTS:
            p = PARTS.setdefault(key, [0, BytesIO()])
            if kind == PART and not data:
                return PARTS.pop(key)   # given up
            if p[0] <= LIMIT and data:
                p[0] += len(data)
                p[1].write(data)
                if p[0] > LIMIT:
                    del p[1]    # what is left of it will be dropped
                    dispatch(src, handle, reply, DEAD, LARGE.encode())
        if kind == PART:
            flow = handle
            if handle < 1000:
                flow = reply
            return credit(src, flow, len(data))
        if p:
            PARTS.pop(key, 0)
            if p[0] > LIMIT:
                return
            data = p[1].getvalue()
    dispatch(src, handle, reply, kind, data)


def dispatch(src, handle, reply, kind, data):
    fn = HANDLERS.get(handle)
    if kind == DEAD and handle < 1000:
        dead(src, reply, LARGE)
    elif fn and len(data) == SIZES.get(handle, len(data)):
        fn(src, reply, kind, data)
    else:
        dead(src, reply, 'context %d refuses handle %d' % (ME, handle))


def register(fn):
    """Give fn a handle that nothing else has; returns it."""
    for h in NUMBERS:   # takes one, whichever thread comes
        HANDLERS[h] = fn
        return h


NUMBERS = iter(getattr(BUILTINS, 'xrange', range)(1000, 1 << 30))
