"""Handlers of what every context takes, and those that load their code at first use."""
from _mitogen import (BUSY_TIMEOUT, EARLY, ERROR, FEED, GET_MODULE, MAIN, MODULES, PID, Q, S,
    dead, dumps, os, send, signal, spend, unpack, urgent, wait, zlib)


def on_call(src, reply, kind, data):
    S.timeout = BUSY_TIMEOUT
    Q.append((src, reply, data))


def on_cancel(src, reply, kind, data):
    key = (src, unpack('>L', data)[0])
    calls = []
    try:
        while 1:        # deques of Python 2.4 remove nothing from their middle
            calls.append(Q.popleft())
    except IndexError:
        pass
    Q.extend([c for c in calls if c[:2] != key])
    if [1 for c in calls if c[:2] == key]:
        return send(key[0], key[1], dumps(('builtins', 'KeyboardInterrupt', '', '', ()), 2), ERROR)
    S.late = key
    if S.current == key:
        S.cancel = key
        interrupt()


def interrupt():
    getattr(signal, 'pthread_kill', lambda t, s: os.kill(PID, s))(MAIN, 2)


def on_interrupt(sig, stack):
    key, S.cancel = S.cancel, None
    if not key and S.again:
        S.again = 0
    elif S.current and key in (None, S.current):
        if S.crit:
            S.interrupt = 1
        else:
            raise KeyboardInterrupt


def on_credit(src, reply, kind, data):
    flow, n = unpack('>LL', data)
    spend((src, flow), n)


def on_stdin(src, reply, kind, data):
    EARLY.append((reply, data))
    if FEED:
        FEED[0]()


def on_shutdown(src, reply, kind, data):
    S.stop = 1
    Q.clear()


def on_ping(src, reply, kind, data):
    if reply:
        urgent(src, reply, data)


def later(module, table, handle):
    """A function that first loads its code, here: importing could wait for a lock.

    A handler whose code was not sent refuses the frame: the thread that reads can't wait for what
    only it can read.
    """
    def load(*args, **kw):
        if module not in MODULES:
            if type(handle) is int:
                return len(args) > 2 and args[1] > 999 and dead(
                    args[0], args[1], '%s was not sent' % module)
            send(0, GET_MODULE, module.encode())
            wait(lambda: module in MODULES)
        # Up to Python 2.7.8 a nested function can't have exec.
        eval(compile(zlib.decompress(MODULES[module][2]), '<%s>' % module, 'exec'), globals())
        return table[handle](*args, **kw)
    table[handle] = load


def cut_off():
    """Contexts are gone: nothing that was meant for them will come any more."""
