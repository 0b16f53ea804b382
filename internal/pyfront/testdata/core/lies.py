"""Runs in a context, with its runtime at hand, and sends what it likes."""

import struct


def send(frames):
    import _mitogen as core

    for dst, src, auth, handle, reply, kind, data in frames:
        core.UP.put(
            struct.pack('>7L', 0xF14D4700 + kind, dst, src, auth, handle, reply, len(data))
            + data
            + core.TRAILER
        )
    core.UP.flush()


def twice():
    import _mitogen as core

    src, reply = core.S.current
    send([(0, core.ME, core.ME, reply, 0, 0, core.strict('first'))] * 2)


def flood():
    import _mitogen as core

    src, reply = core.S.current
    yield 1
    send([(0, core.ME, core.ME, reply, 0, 3, core.strict(b'x' * 130000))] * 64)
    yield 2


def ask_served(number, name, args=(), own=True, handle=0, times=1, tail=None):
    """Send requests to a served object as no runtime would. Returns kinds and texts of answers, or
    nothing if they go to another handle than one of this context's own.
    """
    import _mitogen as core
    import pickle

    src, reply = core.S.current
    got = []
    mine = core.register(lambda src, reply, kind, data: got.append((kind, data)))
    if own:
        handle = mine
    if tail is None:
        tail = pickle.dumps((args, {}), 2)
    head = core.ZERO + core.pack('>LL', handle, number) + name.encode() + core.ZERO
    for _ in range(times):
        core.emit(src, reply, head + tail, core.ITEM)
    if not own:
        return []
    core.wait(lambda: len([k for k, _ in got if k != core.ITEM]) >= times)
    return [(k, repr(core.loads(d))) for k, d in got if d]


def ask_with(served, *args, **kwargs):
    return ask_served(*args, **kwargs)


def ask_other(served, id, reply):
    """Send a request as another context, or within another call than this one."""
    import _mitogen as core

    head = core.ZERO + core.pack('>LL', 1000, 0) + 'add'.encode() + core.ZERO
    data = head + core.dumps(((1,), {}), 2)
    send([(0, id or core.ME, id or core.ME, reply, 0, 3, data)])
    return reply


def reply_of():
    import _mitogen as core

    return core.S.current[1]
