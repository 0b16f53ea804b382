"""Calls: the function, its arguments, and the way of its value or error back."""
from _mitogen import (ANSWERS, DATA, EMPTY, ERROR, FLOWS, ITEM, LARGE, LIMIT, MAX_PAYLOAD,
    PART, PROTO, PY3, S, UP, WINDOW, ZERO, atomic, dumped, dumps, error, frame, loads, log,
    native, send, settle, spend, sys, text, wait)

GENERATOR = type(i for i in ())


def function(name):
    """The function that `module:function` or `module:Class.method` names."""
    module, path = TARGETS.get(name, (None, None))
    if not module:
        module, path = native(name).split(':', 1)
        path = path.split('.')
        TARGETS[name] = module, path
    fn = sys.modules.get(module)
    if fn is None:
        __import__(module)
        fn = sys.modules[module]
    for p in path:
        try:
            fn = getattr(fn, p)
        except AttributeError:
            raise AttributeError('module %s has no function %s' % (module, '.'.join(path)))
    return fn


TARGETS = {}


def fits(data):
    if len(data) > LIMIT:
        raise ValueError(LARGE)
    return data


def emit(dst, handle, data, kind, reply=0):
    """Send a value of any length, waiting for the window."""
    key = (dst, handle >= 1000 and handle or reply)
    out = ANSWERS.append
    if kind == ITEM:
        out = UP.put
    fits(data)
    pos = 0
    try:
        while kind == ITEM or len(data) - pos > MAX_PAYLOAD:
            if key not in FLOWS:
                FLOWS[key] = WINDOW
            wait(lambda: FLOWS[key] > 0)
            k = PART
            if len(data) - pos <= MAX_PAYLOAD:
                k = kind
            piece = data[pos:pos + MAX_PAYLOAD]
            atomic(lambda: spend(key, -len(piece)) or send(dst, handle, piece, k, reply))
            if k != PART:
                return
            pos += MAX_PAYLOAD
        out(frame(dst, handle, data[pos:], kind, reply))
    except:
        out(frame(dst, handle, EMPTY, PART, reply))     # interrupted: half a value is none
        raise


def answer(src, reply, data):
    """Run one call; returns (kind, payload) of its answer."""
    pos = data.index(ZERO) + 1
    fn = function(data[:pos - 1])
    if data[pos:pos + 1]:
        args, kwargs = loads(data, pos)
        if not PY3:
            kwargs = dict([(str(k), v) for k, v in kwargs.items()])
        r = fn(*args, **kwargs)
    else:
        r = fn()
    if type(r) is GENERATOR:
        for item in r:
            flush_stdio()
            settle(1)
            if reply:
                emit(src, reply, dumped(item), ITEM)
        r = None
    if r is None:
        return DATA, EMPTY
    return DATA, fits(dumped(r))


def run(call):
    src, reply, data = call
    S.calls += 1
    try:
        try:
            S.current = call[:2]
            if S.late == S.current:
                raise KeyboardInterrupt     # between the queue and here
            kind, data = answer(src, reply, data)
            S.current = None
        except:
            S.current = None
            kind, data = ERROR, fits(dumps(error(*sys.exc_info()), PROTO))
    except:
        # Interrupted, or out of memory, while the error was being put together, or it is too
        # large. This one always fits.
        S.current = None
        t, v = sys.exc_info()[:2]
        kind, data = ERROR, dumps(('builtins', text(t.__name__)[:200], text(v)[:200], '', None), 2)
    if len(FLOWS) > 2:
        spend(call[:2])
    flush_stdio()
    if not reply:
        if kind == ERROR:
            log(40, 'mitogen', 'a call without an answer failed', loads(data)[3])
    elif len(data) > MAX_PAYLOAD:
        settle(1)
        emit(src, reply, data, kind)
    else:
        ANSWERS.append(frame(src, reply, data, kind))


def flush_stdio():
    for f in (sys.stdout, sys.stderr):
        try:
            f.flush()
        except Exception:
            pass
