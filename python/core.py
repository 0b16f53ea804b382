"""The runtime core: turns a bare interpreter into a context.

It arrives over stdin (docs/protocol.md, section 5) and runs as module `_mitogen` with two names set: C, the
configuration tuple, and IMAGE, its own compressed text, which a hop passes on; a third, AHEAD, where frames came with it. CPython 2.4 to 3.14 and PyPy, in their
common subset; tools/subset holds it there.

Who reads: the holder of lock R. While nothing is called that is the main thread itself, so that a short call costs no
hand-over between threads. A second thread exists from the first call on; it looks every few ms whether one call still
runs, and then reads in main's place until main asks for R back. While nothing is called it sleeps on a lock.
"""
import sys
# No import may find anything in the current directory. A relative entry is one that PYTHONPATH or a .pth file has.
sys.path[:] = [p for p in sys.path if p[:1] == '/']
import errno
import fcntl
import os
import posix
import select
import struct
import time
import zlib

try:
    import _thread as thread
except ImportError:
    import thread
try:
    import _signal as signal
except ImportError:
    import signal
try:
    from _collections import deque
except ImportError:
    from collections import deque
try:
    from _pickle import Unpickler, dumps
except ImportError:
    try:
        from cPickle import Unpickler, dumps
    except ImportError:
        from pickle import Unpickler, dumps
if sys.version_info < (3, 4):
    import imp
    import _socket  # for a hop: Python 2 can't import while another thread does
try:
    from io import BytesIO
except ImportError:
    from cStringIO import StringIO as BytesIO

BUILTINS = sys.modules[object.__module__]
PY3 = sys.version_info[0] > 2
EMPTY = ''.encode()
ZERO = '\0'.encode()
MAGIC = 0xF14D4700
TRAILER = struct.pack('>H', 0x47F1)
MAX_PAYLOAD = 131072
WINDOW = 1048576
DATA, DEAD, ERROR, ITEM, PART = range(5)
(CALL, CANCEL, CREDIT, STDIN, LOAD_MODULE, CONNECT, SHUTDOWN, PING, KILL, BUNDLE, FORWARD, ASK, COMING, TUNNEL) = range(1, 15)
(HELLO, STDOUT, STDERR, LOG, GET_MODULE, LOST, LACKS, DROPPED) = range(16, 24)

ME, PARENTS, NAME, LIMIT, HEARTBEAT, BUSY_TIMEOUT, LEVEL = C
LARGE = 'message is larger than %d bytes' % LIMIT
SIZES = {CANCEL: 4, CREDIT: 8}  # length of a payload
PID = os.getpid()
MAIN = thread.get_ident()
PROTO = 2
if sys.version_info > (3, 4):
    PROTO = 4
elif PY3:
    PROTO = 3

pack = struct.pack
unpack = struct.unpack
now = getattr(time, 'monotonic', None) or (lambda: os.times()[4])


class S:
    """The state that the threads share; only the thread named behind a name writes to it."""
    idle = 1        # main: reads, nothing is called
    late = None     # reader: the call cancelled last that did not wait any more
    calls = 0       # main: calls started
    current = None  # main: (src, reply) of the running call
    crit = 0        # main: inside runtime code that must not be interrupted
    interrupt = 0   # main: an interrupt waits for crit to end
    cancel = None   # reader: the call that an interrupt is meant for
    again = 0       # reader: an interrupt was sent once more
    watch = 0       # both: the second thread does not sleep on GATE
    started = 0     # main: the second thread exists
    want = 0        # main: wants R back
    stop = 0        # reader: SHUTDOWN has come
    leaving = 0     # main: in leave()
    heard = 0       # reader: when the parent was last heard
    timeout = HEARTBEAT     # reader: seconds after that when it is gone


def lock():
    """A lock that is held."""
    l = thread.allocate_lock()
    l.acquire()
    return l


R = lock()                     # the right to read
GATE = lock()                  # the second thread sleeps on it
WRITE = thread.allocate_lock()
OUTPUT = thread.allocate_lock()
WAITERS = []                   # locks of threads that wait for something the reader brings
Q = deque()                    # calls: (src, reply, payload)
USES = [Q]                      # what holds something while something runs here, or behind this context
ANSWERS = []                   # frames that wait for the output written before them
PARTS = {}                     # (src, handle, reply): [size, piece, ...]
FLOWS = {}                     # (dst, flow): bytes that may still be sent
ROUTES = {}                    # context id: the Stream it is behind
STREAMS = []
FDS = {}                       # fd: function(events), called by the reader


class Poll:
    """select.poll for where there is none."""

    def __init__(self):
        self.fds = {}

    def register(self, fd, mask):
        self.fds[fd] = mask

    def unregister(self, fd):
        del self.fds[fd]

    def poll(self, ms):
        r = [f for f in self.fds if self.fds[f] == 1]
        r, w, x = select.select(r, [f for f in self.fds if self.fds[f] == 4], [], ms / 1000.0)
        return [(f, 1) for f in r + w]


POLL = getattr(select, 'poll', Poll)()
POLLIN, POLLOUT = 1, 4


def private(fd, blocking=0):
    """Close fd on exec, and set whether its calls block."""
    fcntl.fcntl(fd, fcntl.F_SETFD, 1)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK
    fcntl.fcntl(fd, fcntl.F_SETFL, flags ^ os.O_NONBLOCK * blocking)


def high(fd):
    """A copy of fd above the three that programs know, as private."""
    fd = fcntl.fcntl(fd, fcntl.F_DUPFD, 3)
    private(fd)
    return fd


def again(e):
    return e.args[0] in (errno.EAGAIN, errno.EINTR)


def die():
    """The parent is gone: end this context and all it has started, whatever the main thread does."""
    os.kill(0, 9)


def atomic(fn, *args):
    """Run fn so that an interrupt of the call waits for its end."""
    if thread.get_ident() != MAIN:
        return fn(*args)
    S.crit += 1
    try:
        return fn(*args)
    finally:
        S.crit -= 1
        if S.interrupt and not S.crit:
            S.interrupt = 0
            raise KeyboardInterrupt


# Streams


def frame(dst, handle, data=EMPTY, kind=DATA, reply=0):
    return pack('>7L', MAGIC + kind, dst, ME, ME, handle, reply, len(data)) + data + TRAILER


class Stream:
    """Bytes to and from one peer. Any thread puts and flushes; the holder of R reads."""
    written = None
    buf = rest = EMPTY
    blocked = waits = 0     # waits: registered for POLLOUT

    def __init__(self, r, w):
        self.r = r
        self.w = w
        self.out = deque()
        STREAMS.append(self)
        FDS[w] = self.flush
        if r is not None:
            FDS[r] = self.read
            POLL.register(r, POLLIN)

    def put(self, data):
        self.out.append(data)

    def flush(self, ev=None):
        atomic(self.locked_flush)

    def locked_flush(self):
        WRITE.acquire()
        try:
            if os.getpid() != PID:
                os._exit(1)     # a fork of user code came back here
            try:
                while self.rest or self.out:
                    self.fill()
                    n = os.write(self.w, self.rest)
                    self.rest = self.rest[n:]
                    if self.written:
                        self.written(n)
                self.blocked = 0
            except OSError:
                if again(sys.exc_info()[1]):
                    self.blocked = 1
                    poke()
                else:
                    self.lost(.3)
        finally:
            WRITE.release()

    def fill(self):
        size = len(self.rest)
        take = [self.rest]
        while size < 65536 and self.out:
            f = self.out.popleft()
            if type(f) is not tuple:
                f = f,
            for f in f:
                take.append(f)
                size += len(f)
        self.rest = EMPTY.join(take)

    def read(self, ev):
        try:
            data = os.read(self.r, MAX_PAYLOAD)
        except OSError:
            if again(sys.exc_info()[1]):
                return
            data = EMPTY
        if not data:
            return self.lost()
        S.heard = now()
        S.timeout = (not S.idle or [1 for b in USES if b]) and BUSY_TIMEOUT or HEARTBEAT
        self.parse(self.buf + data)

    def parse(self, buf):
        """Take the frames at the start of buf, keep the rest."""
        self.buf = EMPTY
        pos = 0
        while len(buf) - pos >= 30:
            kind, dst, src, auth, handle, reply, size = unpack('>7L', buf[pos:pos + 28])
            kind -= MAGIC
            end = pos + 28 + size
            if not 0 <= kind <= 4 or size > MAX_PAYLOAD:
                pos = self.foreign(buf, pos, 0)
            elif len(buf) < end + 2:
                break
            elif buf[end:end + 2] != TRAILER:
                pos = self.foreign(buf, pos, end)
            else:
                self.take(dst, src, auth, handle, reply, kind, buf[pos:end + 2])
                pos = end + 2
        self.buf = buf[pos:]

    def lost(self, grace=0):
        if not S.leaving:
            die()
        # Its parent does not wait for the end; nothing more can be sent.
        if self.r in FDS:
            del FDS[self.r]
            POLL.unregister(self.r)
        self.out.clear()
        self.rest = EMPTY
        FLOWS[0, STDOUT] = FLOWS[0, STDERR] = LIMIT

    def foreign(self, buf, pos, end):
        die()

    def take(self, dst, src, auth, handle, reply, kind, raw):
        """One frame from the parent."""
        if dst == ME:
            deliver(src, auth, handle, reply, kind, raw[28:-2])
        elif dst in ROUTES:
            if handle in PASSES:
                PASSES[handle](dst, raw)
            ROUTES[dst].put(raw)
            ROUTES[dst].flush()
        elif reply:
            dead(src, reply, 'no route to context %d' % dst)


def send(dst, handle, data=EMPTY, kind=DATA, reply=0):
    """Send one frame up; payload at most MAX_PAYLOAD."""
    UP.put(frame(dst, handle, data, kind, reply))
    UP.flush()


def urgent(dst, handle, data):
    UP.out.appendleft(frame(dst, handle, data))
    UP.flush()


def dead(dst, reply, why):
    if reply:
        way = ROUTES.get(dst, UP)   # a child's question has not come by the engine
        way.put(frame(dst, reply, why.encode(), DEAD))
        way.flush()


def credit(dst, flow, n):
    urgent(dst, CREDIT, pack('>LL', flow, n))


def poke():
    """Make the reader look again."""
    try:
        os.write(WAKE[1], ZERO)
    except OSError:
        pass


def woken(ev):
    os.read(WAKE[0], 4096)


def due():
    """Seconds until something must be done without an event."""
    return S.timeout and S.heard + S.timeout - now() or PATIENCE


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
    t = max(0, min(DUE[0](), PATIENCE / 4.0)) + 1
    cancel = S.cancel
    if cancel:
        t = 1.05
    since = now()
    try:
        events = POLL.poll(int(t * 1000) - 999)
    except select.error:
        events = ()
    for fd, ev in events:
        fn = FDS.get(fd)
        if fn:
            fn(ev)
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
        while 1:
            WAITERS.pop().release()
    except IndexError:
        pass        # not asked before: another thread may take the last one


def turn(ready):
    """Read once, if no other thread does."""
    if R.acquire(0):
        try:
            if not ready():
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
        R.acquire()
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
    """Block the calling thread until ready() is true, and read if no other thread does."""
    while not ready():
        if not atomic(turn, ready):
            l = lock()
            WAITERS.append(l)
            if not ready():
                l.acquire()


# Captured output. Sent before the answers of the calls that wrote it.


def suck(handle):
    """Send what one captured pipe held when it was last written to. False if the window is used up."""
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
    """Change what may still be sent of a flow, or forget it; senders and the reader do so at once."""
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
        if [1 for fd, ev in DRAIN.poll(0) if not suck(fd == CAPTURED[STDOUT] and STDOUT or STDERR)]:
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


def captured(ev):
    settle(0)


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
    FDS[CAPTURED[handle]] = captured
    POLL.register(CAPTURED[handle], POLLIN)


# Frames addressed to this context


def deliver(src, auth, handle, reply, kind, data):
    if handle < 1000 and (auth not in PARENTS or handle not in HANDLERS) and (handle != CREDIT or kind):
        return dead(src, reply, 'context %d refuses handle %d' % (ME, handle))
    if kind == PART or PARTS:
        key = src, handle, handle < 1000 and reply
        p = None
        if handle not in HANDLERS:
            PARTS.pop(key, 0)
        elif kind == PART or key in PARTS:
            p = PARTS.setdefault(key, [0])
            if kind == PART and not data:
                return PARTS.pop(key)   # given up
            if p[0] <= LIMIT and data:
                p[0] += len(data)
                p.append(data)
                if p[0] > LIMIT:
                    del p[1:]   # what is left of it will be dropped
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
            data = EMPTY.join(p[1:])
    dispatch(src, handle, reply, kind, data)


def dispatch(src, handle, reply, kind, data):
    fn = HANDLERS.get(handle)
    if kind == DEAD and handle < 1000:
        dead(src, reply, LARGE)
    elif fn and len(data) == SIZES.get(handle, len(data)):
        fn(src, reply, kind, data)
    else:
        dead(src, reply, 'context %d has no handle %d' % (ME, handle))


def register(fn):
    """Give fn a handle that nothing else has; returns it."""
    for h in NUMBERS:   # takes one, whichever thread comes
        HANDLERS[h] = fn
        return h


NUMBERS = iter(getattr(BUILTINS, 'xrange', range)(1000, 1 << 30))


def on_call(src, reply, kind, data):
    S.timeout = BUSY_TIMEOUT
    Q.append((src, reply, data))


def on_cancel(src, reply, kind, data):
    key = (src, unpack('>L', data)[0])
    for c in list(Q):
        if c[:2] == key:
            try:
                Q.remove(c)
            except ValueError:
                continue
            return send(key[0], key[1], dumps(('builtins', 'KeyboardInterrupt', '', '', ()), 2), ERROR)
    S.late = key
    if S.current == key:
        S.cancel = key
        interrupt()


def interrupt():
    getattr(signal, 'pthread_kill', lambda t, s: os.kill(PID, s))(MAIN, signal.SIGINT)


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
    """A function that first loads its code, into this namespace: importing could wait for a lock."""
    def load(*args, **kw):
        if module not in MODULES:
            send(0, GET_MODULE, module.encode())
            wait(lambda: module in MODULES)
        exec(compile(zlib.decompress(MODULES[module][2]), '<%s>' % module, 'exec'), globals())
        return table[handle](*args, **kw)
    table[handle] = load


def cut_off():
    """Contexts are gone: nothing that was meant for them will come any more."""


# Values

NAMES = {('_codecs', 'encode'): lambda text, coding: text.encode('latin1')}
for n in 'set frozenset complex bytearray bytes'.split():
    m = BUILTINS
    if hasattr(m, n):
        NAMES['builtins', n] = NAMES['__builtin__', n] = getattr(m, n)


def named(module, name):
    if module == 'mitogen' and name in ('Context', 'Sender', 'Secret', 'Blob', 'Error'):
        return getattr(__import__(module), name)
    if (module, name) not in NAMES:
        raise TypeError('%s.%s is not a plain value' % (module, name))
    return NAMES[module, name]


if PY3:
    class Loader(Unpickler):
        find_class = staticmethod(named)

    def loads(data):
        return Loader(BytesIO(data)).load()
else:
    def loads(data):
        u = Unpickler(BytesIO(data))
        u.find_global = named
        return u.load()


def text(v):
    """v as text, whatever it is."""
    for convert in (TEXT, lambda v: str(v).decode('utf-8', 'replace'), repr):
        try:
            return convert(v)
        except Exception:
            pass
    return ''


TEXT = type(''.encode('ascii').decode('ascii'))


def plain(v, depth=0):
    """True if v can be sent as a value without naming a class."""
    if depth > 50:
        return 0
    if type(v) is dict:
        return plain(list(v.items()), depth + 1)
    if type(v) in (list, tuple, set, frozenset):
        return not [1 for x in v if not plain(x, depth + 1)]
    return v is None or type(v).__name__ in ('bool', 'int', 'long', 'float', 'complex', 'str', 'unicode', 'bytes') and \
        type(v).__module__ == object.__module__


def error():
    """The exception being handled, as the payload of an ERROR."""
    import traceback
    t, v, tb = sys.exc_info()
    while tb and tb.tb_frame.f_globals is globals():
        tb = tb.tb_next
    args = getattr(v, 'args', None)
    if not plain(args):
        args = None
    trace = EMPTY
    if tb or isinstance(v, SyntaxError):
        trace = ''.join(traceback.format_exception(t, v, tb))
    name = getattr(t, '__qualname__', None) or getattr(t, '__name__', str(t))
    return dumps((getattr(t, '__module__', ''), name, text(v), text(trace or ''), args), PROTO)


# Calls


GENERATOR = type(i for i in ())


def function(name):
    """The function that `module:function` or `module:Class.method` names."""
    module, path = TARGETS.get(name, (None, None))
    if not module:
        s = PY3 and name.decode('utf-8') or name
        module, path = s.split(':', 1)
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
    name, args = data.split(ZERO, 1)
    fn = function(name)
    if args:
        args, kwargs = loads(args)
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
                emit(src, reply, dumps(item, PROTO), ITEM)
        r = None
    if r is None:
        return DATA, EMPTY
    return DATA, fits(dumps(r, PROTO))


def run(call):
    src, reply, data = call
    S.calls += 1
    kind = None
    try:
        try:
            S.current = call[:2]
            if S.late == S.current:
                raise KeyboardInterrupt     # between the queue and here
            kind, data = answer(src, reply, data)
            S.current = None
        except:
            S.current = None
            kind, data = ERROR, fits(error())
    except:
        # Interrupted, or out of memory, while the error was being put together, or it is too large. This one always fits.
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


def serve():
    """The main thread's life: read while nothing is called, call what has come."""
    while 1:
        if Q:
            S.idle = 0
            R.release()
            start_watch()
            while Q:
                try:
                    call = Q.popleft()
                except IndexError:
                    break       # it was cancelled just now
                run(call)
                if len(ANSWERS) > 200:
                    settle(1)
            settle(1)
            claim()
            S.idle = 1
        elif S.stop:
            return leave()
        else:
            pump()


def whole(fn):
    """Run fn, without which this context is none: it ends with fn's failure, in words."""
    try:
        fn()
    except:
        import traceback
        os.write(ERR, ''.join(traceback.format_exception(*sys.exc_info())).encode())
        os._exit(1)


def start_watch():
    if not S.started:
        S.started = S.watch = 1
        thread.start_new_thread(whole, (watch,))
    elif not S.watch:
        S.watch = 1
        try:
            GATE.release()
        except Exception:
            pass        # not asleep yet; it will see that main is not idle


def watch():
    """The second thread: reads while a call runs for longer than a few ms, and sends the answers before it."""
    while 1:
        S.watch = 1
        last = None
        while not S.idle:
            if not ROUTES:
                time.sleep(.005)
            if (ROUTES or S.calls == last) and R.acquire(0):
                while not S.want:
                    pump()
                R.release()
                time.sleep(.0005)
            last = S.calls
        S.watch = 0
        if S.idle:
            GATE.acquire()


def leave():
    """Orderly end: what was registered to run at exit, the last output, then everything we started.

    From here on it does not matter whether the parent waits. SIGALRM ends what takes longer than a second.
    """
    S.idle = 0
    R.release()
    if LEAVE or 'atexit' in sys.modules:
        S.leaving = 1
        if ARMED:
            fcntl.fcntl(ERR, fcntl.F_SETFL, ARMED[0])
        signal.signal(14, 0)
        signal.alarm(1)
    start_watch()   # what is written must have a reader
    for fn in LEAVE:
        fn()
    if 'atexit' in sys.modules:
        try:
            sys.modules['atexit']._run_exitfuncs()
        except:
            pass
    flush_stdio()
    settle(1)
    private(UP.w, 1)
    UP.flush()
    die()


# Modules and logging

MODULES = {}    # name: (letter, path, rest); with a fourth element rest is not compressed
ASKED = {}
COMES = []      # what takes bundles in, once there are any: function(name), waits for what may still bring name
PATIENCE = 60   # seconds that an import waits
# Modules that the standard library looks for in vain, elsewhere than on Windows and where it isn't
# CPython's.
NOWHERE = ('_winapi _winreg winreg msvcrt nt org java vms_lib _overlapped _sha2 _sha256 _wmi _scproxy _asyncio _bisect'
           ' _datetime _decimal _elementtree _functools _heapq _json _pickle _queue _stat _statistics _uuid _zoneinfo').split()


def on_load_module(src, reply, kind, data):
    name, path, rest = data.split(ZERO, 2)
    letter = native(rest[:1])
    rest = rest[1:]
    if letter in 'MP':
        rest = zlib.compress(rest)
    MODULES[native(name)] = (letter.lower(), native(path), rest)


def native(b):
    if PY3:
        return b.decode('utf-8', 'surrogateescape')
    return b


def source(m):
    """Source text of an entry of MODULES: bytes, on Python 3 decoded as its coding line says."""
    if m[0] not in 'mp':
        return ''
    s = unpacked(m)
    if PY3:
        try:
            import _frozen_importlib_external as b
        except ImportError:
            import _frozen_importlib as b
        s = b.decode_source(s)
    return s


def unpacked(m):
    if m[3:]:
        return m[2]
    return zlib.decompress(m[2])


# Below /dev/null, which is no directory: no user can make a file there. A relative path would be
# one below the current directory.
PLACE = '/dev/null/'


class Place(object):
    """The finder that PLACE + name in a package's __path__ leads to, for pkgutil and runpy, which
    list and run its modules."""

    def __init__(self, path):
        if not path.startswith(PLACE):
            raise ImportError(path)
        self.name = path[len(PLACE):]

    def find_spec(self, name, target=None):
        pass

    def find_module(self, name, path=None):
        if name.startswith(self.name + '.') and not PY3:
            return IMPORTER.find_module(name)

    def iter_modules(self, prefix=''):
        return IMPORTER.modules_in(self.name, prefix)


class Importer:
    """Serves modules that LOAD_MODULE brought, and asks for those that the target lacks."""

    def __getattr__(self, name):
        if name not in ('get_data', 'get_resource_reader', 'find_distributions', 'modules_in'):
            raise AttributeError(name)
        __import__('_mitogen_files')
        return getattr(self, name)

    def ours(self, name, path):
        """Entry of MODULES for name, else what the target's own import system has, else None."""
        if COMES:
            COMES[0](None)
        m = MODULES.get(name)
        if m and m[0] in 'mp':
            return m
        package = sys.modules.get('.'.join(name.split('.')[:-1]))
        theirs = package and getattr(package, '__loader__', None) is not self
        if theirs and not COMES:
            return None
        if package and not path:
            path = package.__path__     # pkgutil of Python 2 gives none
        spec = name[:8] != '_mitogen' and self.local(name, path)    # ours are never the target's
        if spec:
            return spec
        if name in NOWHERE:
            self.nowhere(name, 'not on this platform')
        if name not in MODULES and os.getpid() != PID:
            self.nowhere(name, 'a fork cannot ask')
        if COMES:
            COMES[0](name)
        if name not in MODULES:
            if theirs:
                return None
            if name not in ASKED:
                ASKED[name] = 1
                send(0, GET_MODULE, name.encode('utf-8'))
            end = now() + PATIENCE
            wait(lambda: name in MODULES or COMES or now() > end)
            if COMES:
                COMES[0](name)
        if name not in MODULES:
            self.nowhere(name, 'no answer within %d s' % PATIENCE)
        return MODULES[name]

    def nowhere(self, name, why):
        MODULES[name] = '-', '', why.encode()

    def refuse(self, name):
        if MODULES[name][0] == '-':
            e = getattr(BUILTINS, 'ModuleNotFoundError', ImportError)(
                'No module named %r: %s' % (name, native(MODULES[name][2])))
            e.name = name
            raise e

    def find_spec(self, name, path=None, target=None):
        if name in HOOKABLE and name not in HOOKS:
            m = HOOKABLE[name]()
            del sys.modules[name]   # or the import system would load it once more, from its first spec
            return self.spec(name, m)
        m = self.ours(name, path)
        if type(m) is tuple:
            self.refuse(name)
            return self.spec(name, m)
        return m

    def spec(self, name, m):
        import _frozen_importlib as b
        s = b.ModuleSpec(name, self, origin=m[1], is_package=m[0] in 'pn')
        if s.submodule_search_locations is not None:
            s.submodule_search_locations.append(PLACE + name)
        s.has_location = m[0] in 'mp'
        return s

    def local(self, name, path):
        for f in sys.meta_path:
            if f is not self and hasattr(f, 'find_spec'):
                spec = f.find_spec(name, path)
                if spec:
                    return spec

    def create_module(self, spec):
        return HOOKS.get(spec.name)

    def exec_module(self, module):
        name = module.__name__
        if name in HOOKS:
            module.__spec__ = HOOKS[name + '.spec']
        elif MODULES[name][0] != 'n':
            exec(self.get_code(name), module.__dict__)

    def get_code(self, name):
        self.refuse(name)
        m = MODULES[name]
        s = unpacked(m)
        if not PY3:
            s = s.replace('\r\n'.encode(), '\n'.encode()) + '\n'.encode()
        return compile(s, m[1], 'exec', 0, 1)

    def get_source(self, name):
        if name in MODULES:
            return source(MODULES[name])

    def get_filename(self, name):
        return MODULES[name][1]

    def is_package(self, name):
        return MODULES[name][0] in 'pn'

    # Python up to 3.3

    def find_module(self, name, path=None):
        if name == 'logging' and name not in HOOKS:
            hook_logging()
            return self
        m = self.ours(name, path)
        # A dotted name may be an import that is implicitly relative: what comes next may find it.
        if type(m) is tuple and (m[0] != '-' or '.' not in name):
            return self

    def local2(self, name, path):
        tail = name.split('.')[-1]
        try:
            f = imp.find_module(tail, path)[0]
            if f:
                f.close()
            return 1
        except ImportError:
            for p in path or sys.path:
                for h in sys.path_hooks:
                    try:
                        if h(p).find_module(tail):
                            return 1
                    except Exception:
                        pass

    def load_module(self, name):
        if name in HOOKS:
            return sys.modules[name]
        self.refuse(name)   # here, because Python 2 forgets what find_module raises
        m = MODULES[name]
        mod = sys.modules[name] = type(sys)(name)
        mod.__file__ = m[1]
        mod.__loader__ = self
        mod.__package__ = name
        if m[0] in 'pn':
            mod.__path__ = [PLACE + name]
        else:
            mod.__package__ = '.'.join(name.split('.')[:-1])
        if m[0] != 'n':
            try:
                exec(self.get_code(name), mod.__dict__)
            except:
                sys.modules.pop(name, None)
                raise
        return sys.modules[name]


if sys.version_info < (3, 4):
    Importer.local = Importer.local2
    del Importer.find_spec


def log(level, logger, message, trace='', when=None):
    """Send one log record, cut to fit a frame."""
    n = 65536
    data = None
    while not data or len(data) > MAX_PAYLOAD:
        n = n // 2
        data = dumps((level, logger[:n], when or time.time(), message[:n], trace[-n:]), PROTO)
    send(0, LOG, data)


def hooked(name):
    """Import a module whose place in sys.modules an entry for spec() takes then."""
    HOOKS[name] = 1
    try:
        module = __import__(name, None, None, ['x'])
    finally:
        del HOOKS[name]
    HOOKS[name] = module
    HOOKS[name + '.spec'] = getattr(module, '__spec__', None)
    return module


def hook_logging():
    """Import logging and put our handler on its root; returns an entry for spec()."""
    module = hooked('logging')

    class Handler(module.Handler):
        def emit(self, r):
            if os.getpid() != PID:
                return module.StreamHandler().emit(r)   # a fork of user code can't send
            trace = ''
            if r.exc_info:
                trace = module.Formatter().formatException(r.exc_info)
            try:
                log(r.levelno, text(r.name), text(r.getMessage()), text(trace), r.created)
            except Exception:
                self.handleError(r)

    module.root.addHandler(Handler())
    module.root.setLevel(LEVEL)
    return 'm', getattr(module, '__file__', None)


HANDLERS = {CALL: on_call, CANCEL: on_cancel, CREDIT: on_credit, STDIN: on_stdin, LOAD_MODULE: on_load_module,
            SHUTDOWN: on_shutdown, PING: on_ping}
PASSES = {}     # what is done with frames on their way to a child
for n in (CONNECT, KILL):
    later('_mitogen_spawn', HANDLERS, n)
for n in (BUNDLE, FORWARD, ASK, COMING):
    later('_mitogen_forward', HANDLERS, n)
later('_mitogen_tunnel', HANDLERS, TUNNEL)
later('_mitogen_forward', PASSES, BUNDLE)
HOOKS = {}
HOOKABLE = {'logging': hook_logging}
if sys.version_info[:2] == (3, 9):
    HOOKABLE['importlib._common'] = lambda: __import__('_mitogen_files').hook_resources()
IMPORTER = Importer()
DUE = [due]
LEAVE = []      # what a hop does before it ends
ARMED = []      # flags of the old stderr before arm()
CAPTURED = {}
EARLY = []      # STDIN frames that no run has taken yet: (reply handle of the run, data)
FEED = []       # the function of a run that takes them
DRAIN = getattr(select, 'poll', Poll)()


# Start


def arm():
    """On Linux let the kernel kill our process group when the parent's end of the old stderr closes."""
    kind = os.fstat(ERR).st_mode & 0xF000
    if not sys.platform.startswith('linux') or kind not in (0xC000, 0x1000):  # sockets, pipes
        return
    if kind == 0x1000 and unpack('i', fcntl.ioctl(ERR, 21531, pack('i', 0)))[0]:
        return      # reading what is left there would look like an event
    fcntl.fcntl(ERR, 10, 9)
    fcntl.fcntl(ERR, fcntl.F_SETOWN, -GROUP)
    ARMED.append(fcntl.fcntl(ERR, fcntl.F_GETFL))
    fcntl.fcntl(ERR, fcntl.F_SETFL, ARMED[0] | getattr(fcntl, 'FASYNC', 8192))
    p = getattr(select, 'poll', Poll)()
    p.register(ERR, 16)     # POLLHUP: it may have closed before
    if p.poll(0):
        die()
    try:
        import faulthandler
        faulthandler.enable(ERR)
    except ImportError:
        pass


def stdio():
    """Give fds 0, 1 and 2 to the programs that run here."""
    fd = os.open('/dev/null', os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)
    capture(1, STDOUT)
    capture(2, STDERR)
    if PY3:
        import io
        for fd, n in ((1, 'stdout'), (2, 'stderr')):
            f = getattr(sys, n)
            setattr(sys, n, io.open(fd, 'w', 1, f.encoding, f.errors, None, False))
    else:
        sys.stdout = os.fdopen(1, 'w', 1)


def descriptive():
    """Show the context's name instead of the boot command in ps."""
    try:
        f = open('/proc/self/stat', 'rb')
        start, end = [int(x) for x in f.read().split(')'.encode())[-1].split()[45:47]]
        f.close()
        f = open('/proc/self/mem', 'r+b', 0)
        f.seek(start)
        f.write(('mitogen: ' + NAME).encode()[:end - start - 1].ljust(end - start, ZERO))
        f.close()
    except Exception:
        pass


def start():
    os.environ.pop('PYTHONSAFEPATH', 0)     # ours; programs that run here go without it
    path = os.environ.pop('MITO_PATH', '')
    if path:
        # Relative paths of the user's PYTHONPATH may bring modules that the standard library
        # hasn't.
        os.environ['PYTHONPATH'] = path
        n = 0
        for i in range(len(sys.path)):
            if sys.path[i].startswith(os.path.dirname(os.__file__)) and sys.path[i][-8:] != 'packages':
                n = i + 1
        sys.path[n:n] = [os.path.abspath(p) for p in path.split(':') if p[:1] != '/']
    sys.meta_path.insert(0, IMPORTER)
    sys.path_hooks.append(Place)
    sys.argv[:] = ['']
    HOOKS[0] = sys.modules['__main__']      # must not be freed: it still runs
    main = sys.modules['__main__'] = type(sys)('__main__')
    main.__builtins__ = BUILTINS
    if 'logging' in sys.modules:
        hook_logging()
    signal.signal(signal.SIGINT, on_interrupt)
    implementation = getattr(getattr(sys, 'implementation', S), 'name', hasattr(sys, 'pypy_version_info') and 'pypy' or 'cpython')
    S.heard = now()
    send(0, HELLO, dumps({
        'version': tuple(sys.version_info), 'implementation': implementation, 'platform': sys.platform,
        'uid': os.getuid(), 'hostname': os.uname()[1], 'pid': PID, 'executable': sys.executable, 'pickle': PROTO}, 2))
    descriptive()
    UP.parse(globals().get('AHEAD', EMPTY))     # frames that came with the head
    serve()


if os.getpgrp() != PID and not os.isatty(0):     # in another group a terminal's reader would be stopped
    try:
        os.setpgid(0, 0)
    except OSError:
        pass
GROUP = os.getpgrp()
ERR = high(2)
private(ERR, 1)
WAKE = posix.pipe()
for fd in WAKE:
    private(fd)
FDS[WAKE[0]] = woken
POLL.register(WAKE[0], POLLIN)
UP = Stream(high(0), high(1))
for n in dir(posix):    # what programs are started by; posix_s: posix_spawn and posix_spawnp
    if n[:7] in 'pipe pipe2 fork forkpty execv execve system popen posix_s'.split():
        later('_mitogen_guard', os.__dict__, n)
whole(lambda: (stdio(), arm(), start()))
