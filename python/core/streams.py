"""Frames, and the streams that bring and take them."""
from _mitogen import (BUSY_TIMEOUT, CREDIT, DATA, DEAD, EMPTY, FDS, FLOWS, HEARTBEAT, LIMIT,
    MAGIC, MAX_PAYLOAD, ME, PASSES, PID, POLL, POLLIN, ROUTES, S, STDERR, STDOUT, STREAMS,
    TRAILER, UP, USES, WRITE, again, atomic, deliver, deque, die, now, os, pack, poke, sys,
    unpack)


def frame(dst, handle, data=EMPTY, kind=DATA, reply=0):
    return EMPTY.join((pack('>7L', MAGIC + kind, dst, ME, ME, handle, reply, len(data)), data,
        TRAILER))


class Stream:
    """Bytes to and from one peer. Any thread puts and flushes; the holder of R reads."""
    written = None
    buf = rest = EMPTY
    blocked = waits = 0     # waits: registered for POLLOUT
    room = 1        # 0: parse takes no more frames

    def __init__(self, r, w):
        self.r = r
        self.w = w
        self.out = deque()
        self.pieces = []        # read behind buf, which is a frame's beginning
        self.have = 0           # bytes of pieces
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
        if os.getpid() != PID:
            raise OSError       # forked: no lock may be waited for
        WRITE.acquire()
        try:
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
                    known = self.blocked
                    self.blocked = 1
                    known or poke()     # the reader, which else knows it
                else:
                    self.lost(.3)
        finally:
            WRITE.release()

    def fill(self):
        size = len(self.rest)
        take = size and [self.rest] or []   # of one alone, join makes no copy
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
            data = os.read(self.r, self.buf and self.missing() or MAX_PAYLOAD)
        except OSError:
            if again(sys.exc_info()[1]):
                return
            data = EMPTY
        if not data:
            return self.lost()
        S.heard = now()
        S.timeout = (not S.idle or max(map(len, USES))) and BUSY_TIMEOUT or HEARTBEAT
        self.gather(data)

    def gather(self, data):
        """Take frames once the first is whole: it is put together once, of however many pieces."""
        if self.buf:
            self.pieces.append(data)
            self.have += len(data)
            if self.missing():
                return
            data = EMPTY.join([self.buf] + self.pieces)
            self.pieces = []
            self.have = 0
        self.take_some(data)

    def missing(self):
        """How many bytes the frame lacks that buf begins with; 0: none, or that isn't known."""
        if len(self.buf) < 30:
            return 0
        size = unpack('>L', self.buf[24:28])[0]
        if size > MAX_PAYLOAD:
            return 0    # parse looks at it
        return max(0, size + 30 - len(self.buf) - self.have)

    def take_some(self, data):
        self.parse(data)

    def parse(self, buf):
        """Take the frames at the start of buf, keep the rest."""
        self.buf = EMPTY
        pos = 0
        while self.room and len(buf) - pos >= 30:
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
