"""Frames between this program and its engine: docs/protocol/wire.md, sections 1, 2 and 11.

Who reads: a thread that waits for an answer and finds the lock R free. Other threads sleep on locks
until the reader wakes them. A background thread, which a Link starts, reads what comes unasked
(output, log records, questions): it takes R when nothing was read for PAUSE seconds, and gives R
back when a thread wants it. So a call costs no change of threads.

What arrives for the program's code (output, callbacks) is delivered by the reader once it has let R
go, in its order. Who waits for an answer has it once what came before it is delivered.
"""

from __future__ import annotations

import os
import select
import struct
from time import monotonic

from ._outbox import Outbox
from ._primitives import Flag, Lock, deque, get_ident
from .errors import EngineLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple, Union

    from ._outbox import Data
    from ._pieces import Pieces

    Payload = Union[bytes, Pieces]

MAGIC = 0xF14D4700
TRAILER = b'\x47\xf1'
MAX_PAYLOAD = 131072
WINDOW = 1048576
DATA, DEAD, ERROR, ITEM, PART = range(5)
CALL, CANCEL, CREDIT, STDIN, LOAD_MODULE, PING = 1, 2, 3, 4, 5, 8
STDOUT, STDERR, LOG, LOST = 17, 18, 19, 21
DO, PREPARE, WANT = 25, 26, 27
FIRST_REPLY = 1 << 30
PAUSE = 0.005
LITTLE, MUCH = 16384, 262144  # bytes that are read at once
TOGETHER = 12  # buffers, from which on no frame is added to one write of a large argument
PATIENCE = 5.0  # seconds that an answer waits for the program's code to take what came before it
REQUEST = b'\0'  # begins an item that is no value: a request to a served object
ITEM_COST = 64  # bytes that an item takes besides its own
_AT_ONCE = (False,)  # how a lock is taken, for map: an interrupt can't come between
MOST = 1000  # receivers that are remembered as closed; another one says so again

_header = struct.Struct('>7L')
_two = struct.Struct('>LL')
_pack = _header.pack


def above(fd: int, lowest: int = 3) -> int:
    """A descriptor of the same file that is `lowest` at least, in place of fd, which is then
    closed: a program that was started without standard descriptors would write there.
    """
    if fd >= lowest:
        return fd
    import fcntl

    new = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return new


def frame(dst: int, handle: int, payload: bytes = b'', kind: int = DATA, reply: int = 0) -> bytes:
    return _pack(MAGIC + kind, dst, 0, 0, handle, reply, len(payload)) + payload + TRAILER


_NONE: Deque[Tuple[bytes, int]] = deque(maxlen=0)  # of requests without items


class Request:
    """A question and what has come of its answer. kind is None until the last frame."""

    kind: Optional[int] = None
    payload: Any = b''  # bytes; a bytearray if it came in parts
    parts: Optional[bytearray] = None  # what has come of a value in parts
    room = WINDOW  # that may still be sent of the request itself
    more: Optional[Callable[[], None]] = None  # called once there is an item
    done: Optional[Callable[[], None]] = None  # called once it is answered
    held = 0  # bytes of parts whose credit is given with an item's
    total = 0  # bytes that items of no stream take
    last: Tuple[int, int] = (0, 0)  # where its newest piece was read
    over: Optional[Callable[[int], Any]] = None  # called with kind by the reader
    order: Any = None  # has this appended for each item, by the thread that reads
    grant: Optional[Callable[[bytes], None]] = None  # takes requests to served objects, as items
    items: Deque[Tuple[bytes, int]] = _NONE  # with what each is of the window; see item

    def __init__(self, dst: int, reply: int, limit: int, streaming: bool, cost: int) -> None:
        self.dst = dst
        self.reply = reply
        self.streaming = streaming  # items are taken one by one: their credit is given then
        self.cost = cost  # that was reserved for it
        self.limit = limit

    def item(self, payload: bytes, cost: int) -> None:
        """Note an item."""
        if self.items is _NONE:
            self.items = deque()
        self.items.append((payload, cost))


class Inlet(Request):
    """What one context sends to a receiver, by the senders that its calls were given. The context
    has closed the sender once it has said so, and no call that was given the sender runs that
    hasn't. A call that ends without doing so keeps nothing open.
    """

    def __init__(self, src: int, handle: int, limit: int, order: Deque[Request]) -> None:
        super().__init__(src, handle, limit, True, 0)
        self.order = order
        self.calls: Dict[int, int] = {}  # ends that each call which goes on has not said
        self.granted = 0  # ends that the engine lets pass
        self.ended: Optional[int] = None  # kind of the newest end
        self.why = 'its context has ended'  # there is no more, if no end was said
        self.heard = False  # the receiver knows of the end

    def give(self, call: int) -> None:
        """Note that a call is given a sender."""
        self.calls[call] = self.calls.get(call, 0) + 1
        self.granted += 1

    def say(self, kind: int) -> None:
        """Note an end. Calls of one context run one after another, so that it is the oldest's."""
        self.ended = kind
        self.granted -= 1
        for call in list(self.calls)[:1]:
            self.calls[call] = max(0, self.calls[call] - 1)

    def waits(self) -> bool:
        """Whether a call goes on that has an end to say."""
        return any(list(self.calls.values()))


class Link:
    """The socket to the engine. Its methods may be called from any thread."""

    def __init__(self, fd: int, limit: int) -> None:
        self.fd = fd
        self.limit = limit  # bytes of a value
        self.pid = os.getpid()
        self.requests: Dict[int, Request] = {}
        self.unasked: Callable[[int, int, int, int, bytes], None] = lambda *a: (
            None
        )  # (kind, src, handle, reply, payload)
        self.known: Set[int] = set()  # contexts that have not ended
        self.flows: Dict[
            Tuple[int, int], int
        ] = {}  # (context, handle): what may still be sent to it; missing: nothing takes it
        self.unanswered: Dict[int, int] = {}  # context: bytes of its calls, and of what waits
        self.refused: Dict[Tuple[int, int], None] = {}  # the newest MOST flows that nothing takes
        self.inlets: Dict[Tuple[int, int], Inlet] = {}  # by context and handle
        # inlets that have ended, though the engine lets more pass
        self.owed: Dict[Tuple[int, int], None] = {}
        self.deliveries: Deque[Callable[[], None]] = deque()
        self.error: Optional[EngineLost] = None
        self.hint = ''  # what the error says besides
        self.silent = False  # the end was begun: nothing is sent any more
        self._next = FIRST_REPLY
        self._fds = (fd,)
        self._most = LITTLE  # that is read at once: memory for much costs more than a small read
        self._chunks: Deque[bytes] = deque()  # read, and not taken yet
        self._data, self._pos = b'', 0  # taken up to there
        self._out = Outbox(fd)
        self._r = Lock()
        self._delivering = Lock()
        self._deliverer = 0  # the thread that has it
        self._counts = Lock()  # for the counts of all threads; held for no longer
        self._waiters: List[Any] = []
        self._wake = tuple(above(f) for f in os.pipe())
        for f in self._wake:
            os.set_blocking(f, False)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(self._wake[0], select.POLLIN)
        self._reads = 0  # counts rounds of reading, for the background thread
        self._wants = 0  # threads that want R of it
        self._background = False  # it has R
        self._hurry = Flag()  # the background thread has something to do
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Have what comes unasked read."""
        if self._thread is None and self.error is None:
            import threading

            self._thread = threading.Thread(target=self._run, name='mitogo', daemon=True)
            self._thread.start()

    # Sending

    def send(self, *data: Data) -> None:
        """Send whole frames, which may be in pieces. Blocks while the engine is behind."""
        with self._out.lock:
            self._send(*data)

    def _send(self, *data: Data) -> None:
        self.check()
        if self.silent:
            return
        try:
            self._out.send(*data)
        except OSError as e:
            self.lose('its socket: %s' % e)
            self.check()

    def flush(self) -> None:
        """Send what is queued."""
        with self._out.lock:
            self._out.armed = False
            if self._out.waits():
                self._send()

    def writes_by(self, arm: Callable[[bool], bool]) -> None:
        """Have calls that are begun one after another queued; see Outbox.arm."""
        self._out.arm = arm

    def check(self) -> None:
        if self.error is not None:
            raise EngineLost(*self.error.args)
        if os.getpid() != self.pid:
            raise EngineLost(
                'this engine belongs to process %d, which process %d was forked from: '
                'make an Engine of your own there' % (self.pid, os.getpid())
            )

    def ask(
        self,
        dst: int,
        handle: int,
        payload: Payload,
        before: bytes = b'',
        streaming: bool = False,
        cost: int = 0,
        until: Optional[float] = None,
        grant: Optional[Callable[[bytes], None]] = None,
        over: Optional[Callable[[int], None]] = None,
        order: Any = None,
        soon: bool = False,
    ) -> Request:
        """Send a request, with the frames before it in the same write. Larger ones wait for
        their window; TimeoutError if `until` (monotonic) comes first. cost was reserved: the
        answer releases it, and the caller does if this raises. over and order are the request's.
        With soon it may be queued, if another one was sent just before.
        """
        with self._out.lock:
            self._next = reply = self._next + 1
            q = self.requests[reply] = Request(
                dst, reply, self.limit, streaming, cost
            )
            if over is not None or order is not None or grant is not None:
                q.over, q.order, q.grant = over, order, grant
            try:
                if len(payload) <= MAX_PAYLOAD:
                    head = _pack(MAGIC, dst, 0, 0, handle, reply, len(payload))
                    if not isinstance(payload, bytes):
                        payload = b''.join(payload.take(len(payload)))
                    data = b''.join((before, head, payload, TRAILER))
                    if not soon or self.error is not None or not self._out.later(data):
                        self._send(data)
                    return q
                from ._pieces import Pieces

                # The first part is sent here, since new reply handles have to rise.
                rest = Pieces(payload) if isinstance(payload, bytes) else payload
                head = _pack(MAGIC + PART, dst, 0, 0, handle, reply, MAX_PAYLOAD)
                self._send(before, head, *rest.take(MAX_PAYLOAD), TRAILER)
            except BaseException:
                self.requests.pop(reply, None)
                raise
        with self._counts:
            q.room -= MAX_PAYLOAD
        self._parts(q, handle, rest, until)
        return q

    def _parts(self, q: Request, handle: int, rest: Pieces, until: Optional[float]) -> None:
        head = _pack(MAGIC + PART, q.dst, 0, 0, handle, q.reply, MAX_PAYLOAD)
        try:
            while q.kind is None and len(rest) > MAX_PAYLOAD:
                if not self.wait(lambda: q.room > 0 or q.kind is not None, until):
                    raise TimeoutError('arguments of which %d bytes were left' % len(rest))
                frames: List[Data] = []
                with self._counts:
                    while q.room > 0 and len(rest) > MAX_PAYLOAD and len(frames) < TOGETHER:
                        q.room -= MAX_PAYLOAD
                        frames += [head, *rest.take(MAX_PAYLOAD), TRAILER]
                self.send(*frames)
        except BaseException:
            if self.error is None:
                self.send(frame(q.dst, handle, b'', PART, q.reply))  # half a value is none
            self.requests.pop(q.reply, None)
            raise
        if q.kind is None:
            head = _pack(MAGIC, q.dst, 0, 0, handle, q.reply, len(rest))
            self.send(head, *rest.take(len(rest)), TRAILER)
        else:
            self.send(frame(q.dst, handle, b'', PART, q.reply))

    def reserve(
        self, dst: int, size: int, over: Callable[[], bool], until: Optional[float]
    ) -> bool:
        """Wait until a context has so few calls that one of size bytes may follow. False: `until`
        has come. What was reserved is given back when the call ends.
        """
        with self._counts:
            waiting = self.unanswered.get(dst, 0)
            if not waiting or waiting + size <= WINDOW:
                self.unanswered[dst] = waiting + size
                return True
        got: List[bool] = []

        def taken() -> bool:
            with self._counts:
                waiting = self.unanswered.get(dst, 0)
                if not got and (not waiting or waiting + size <= WINDOW or over()):
                    self.unanswered[dst] = waiting + size
                    got.append(True)
            return bool(got)

        try:
            return self.wait(taken, until)
        except BaseException:
            if got:
                self.release(dst, size)
            raise

    def release(self, dst: int, size: int) -> None:
        """Give back what was reserved."""
        with self._counts:
            left = self.unanswered.get(dst, 0) - size
            if left > 0:
                self.unanswered[dst] = left
            else:
                self.unanswered.pop(dst, None)

    def number(self) -> int:
        """A new handle of this program's."""
        with self._out.lock:
            self._next += 1
            return self._next

    def credit(self, dst: int, flow: int, n: int) -> bytes:
        return frame(dst, CREDIT, _two.pack(flow, n))

    def open(self, dst: int, handle: int, anew: bool = False) -> None:
        """Begin to send to a handle of a context, or go on, unless the context has ended."""
        with self._counts:
            if dst in self.known and (anew or (dst, handle) not in self.flows):
                self.flows[dst, handle] = WINDOW

    def spend(self, dst: int, handle: int, n: int) -> bool:
        """Take n bytes of what may be sent to a handle. False: nothing takes what is sent there."""
        with self._counts:
            if (dst, handle) not in self.flows:
                return False
            self.flows[dst, handle] -= n
            return True

    def feed(
        self,
        dst: int,
        handle: int,
        data: bytes,
        over: Callable[[], bool],
        until: Optional[float] = None,
    ) -> bool:
        """Send one item to a handle of a context, which was opened, once its window has room;
        nothing if over, or the context, says that it isn't wanted. False: there was no room until
        `until` (monotonic).
        """
        key = dst, handle
        if not self.wait(lambda: self.flows.get(key, 1) > 0 or over(), until):
            return False
        if not over() and self.spend(dst, handle, len(data)):
            self.send(frame(dst, handle, data, ITEM))
        return True

    # Waiting and reading

    def wait(self, ready: Callable[[], Any], until: Optional[float] = None) -> bool:
        """Wait until ready() is true, and read meanwhile. False: it is not, and `until`
        (monotonic) has come.
        """
        while not ready():
            self.check()
            if self._out.waits():
                self.flush()
            self.deliver()  # what an interrupt has left
            got: List[bool] = []  # whether this thread has R, whenever an interrupt comes
            try:
                got.extend(map(self._r.acquire, _AT_ONCE))
                if got[0]:
                    self._read(ready, until)
            finally:
                if got and got[0]:
                    self._r.release()
                    self._rouse()
            if got[0]:
                self.deliver()
            elif not self._sleep(ready, until):
                return False
            if until is not None and monotonic() >= until:
                return bool(ready())
        return True

    def answered(self, q: Request) -> None:
        """Wait for the answer of q. This is wait, with less to do where no other thread waits."""
        if self._out.waits():
            self.flush()
        got: List[bool] = []  # as in wait
        try:
            got.extend(map(self._r.acquire, _AT_ONCE))
            while q.kind is None and got[0] and not self._undelivered():
                self._round()
        finally:
            if got and got[0]:
                self._r.release()
                if self._waiters:
                    self._rouse()
        if q.kind is None:
            self.wait(lambda: q.kind is not None)
        elif self.deliveries:
            self.deliver()

    def _read(self, ready: Callable[[], Any], until: Optional[float]) -> None:
        while self.error is None:
            # It may make it ready, so that it is looked at first.
            elsewhere = self.deliveries or self._delivering.locked()
            if ready():
                return
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return
            if left is not None or elsewhere:
                if not self._readable(None if left is None else left * 1000 + 1):
                    continue
            self._round()
            if self.deliveries:
                return

    def _sleep(self, ready: Callable[[], Any], until: Optional[float]) -> bool:
        """Wait for the thread that reads. False: `until` has come."""
        lock = Lock()
        lock.acquire()
        self._wants += 1
        self._waiters.append(lock)
        try:
            if self._background:
                self._poke()
            if ready() or not self._r.locked():
                return True
            left = -1.0
            if until is not None:
                left = max(0, until - monotonic())
            return lock.acquire(True, left)
        finally:
            self._wants -= 1

    def _rouse(self) -> None:
        """Have those who sleep look whether it is their turn."""
        while self._waiters:
            try:
                self._waiters.pop().release()
            except IndexError:
                pass  # another thread took the last one

    def _poke(self) -> None:
        try:
            os.write(self._wake[1], b'\0')
        except OSError:
            pass

    def _readable(self, ms: Optional[float]) -> bool:
        """Wait until the engine has written, which counts, or _poke was called."""
        ready = [fd for fd, _ in self._poll.poll(ms)]
        if self._wake[0] in ready:
            try:
                os.read(self._wake[0], 4096)
            except OSError:
                pass
        return self.fd in ready

    def _round(self) -> None:
        """Read once, blocking. The caller has R."""
        self._reads += 1
        try:
            # What is read is in _chunks before an interrupt can come between.
            self._chunks.extend(map(os.read, self._fds, (self._most,)))
            self._take()
        except KeyboardInterrupt:
            self._take()  # goes on where it was
            raise
        except OSError as e:
            self.lose(str(e))
        if self._waiters:
            self._rouse()

    def _take(self) -> None:
        """Take the frames that have been read, and keep the rest."""
        if self._chunks:
            new = self._chunks[0]
            if not new:
                self.lose('it has ended')
                return
            self._most = LITTLE if len(new) < LITTLE else MUCH
            if self._data:
                new = self._data[self._pos :] + new
            self._data, self._pos = new, 0
            self._chunks.clear()
        data, pos = self._data, self._pos
        end = len(data)
        unpack, requests = _header.unpack_from, self.requests
        while end - pos >= 30:
            kind, dst, src, auth, handle, reply, size = unpack(data, pos)
            kind -= MAGIC
            if not 0 <= kind <= PART or size > MAX_PAYLOAD:
                self.lose('it has sent what is no frame')
                return
            stop = pos + 28 + size
            if stop + 2 > end:
                break
            q = requests.get(handle)
            if kind == PART and size == MAX_PAYLOAD and q is not None:
                payload: Any = memoryview(data)[pos + 28 : stop]  # it is copied once
            else:
                payload = data[pos + 28 : stop]
            if q is None:
                self._other(kind, src, handle, reply, payload, pos)
            elif (
                kind == DATA
                and q.parts is None
                or kind == DEAD
                or kind == ERROR
                and q.parts is None
            ):
                q.payload = payload
                self._end(q, kind)
            elif q.last != (self._reads, pos):  # after an interrupt it comes again
                q.last = self._reads, pos
                self._piece(q, kind, payload)
            self._pos = pos = stop + 2
        self._data, self._pos = data[pos:], 0

    def _end(self, q: Request, kind: int) -> None:
        q.kind = kind
        if q.over is not None:
            q.over(kind)
        if q.done is not None:
            self.deliveries.append(q.done)
        if self.requests.pop(q.reply, None) is not None and q.cost:
            self.release(q.dst, q.cost)

    def _piece(self, q: Request, kind: int, payload: bytes) -> None:
        if kind == PART and not payload:
            q.parts = None  # given up
            return
        if kind == ITEM and q.parts is None:
            self._item(q, payload, len(payload))
            return
        if q.parts is None:
            q.parts = bytearray()
        if len(q.parts) + len(payload) + q.total > q.limit:
            self._too_large(q)
            return
        q.parts += payload
        if kind == PART:
            self._part(q, len(payload))
            return
        whole, q.parts = q.parts, None
        if kind == ITEM:
            self._item(q, bytes(whole), len(payload))
        else:
            q.payload = whole
            self._end(q, kind)

    def _part(self, q: Request, size: int) -> None:
        """Give the credit of a part: at once, if nothing before it waits to be taken."""
        with self._counts:
            q.held += size
            if q.streaming and q.items:
                return
            size, q.held = q.held, 0
        self.send(self.credit(q.dst, q.reply, size))

    def _item(self, q: Request, payload: bytes, cost: int) -> None:
        if q.grant is not None and payload[:1] == REQUEST:
            with self._counts:
                if not q.items:
                    cost, q.held = cost + q.held, 0
            self.send(self.credit(q.dst, q.reply, cost))
            q.grant(payload[1:])
            return
        with self._counts:
            q.item(payload, q.held + cost)
            q.held = 0
        if q.order is not None:
            q.order.append(q)
        if q.more is not None:
            self.deliveries.append(q.more)
        if q.streaming:
            return
        q.total += len(payload) + ITEM_COST
        if q.total > q.limit:
            self._too_large(q)
        else:
            self.send(self.credit(q.dst, q.reply, cost))

    def take(self, q: Request) -> bytes:
        """Take the next item of a stream, which is there, and give its credit."""
        with self._counts:
            payload, cost = q.items.popleft()
            if not q.items:
                cost, q.held = cost + q.held, 0
        if q.kind is None:
            self.send(self.credit(q.dst, q.reply, cost))
        return payload

    def _too_large(self, q: Request) -> None:
        q.payload = b'more than %d bytes, the limit of a value (max_message)' % q.limit
        q.items.clear()
        q.parts = None
        self._end(q, DEAD)
        self.send(frame(q.dst, CANCEL, struct.pack('>L', q.reply)))

    def _other(
        self, kind: int, src: int, handle: int, reply: int, payload: bytes, pos: int
    ) -> None:
        if handle != CREDIT:
            inlet = self.inlets.get((src, handle))
            if inlet is None and kind in (ITEM, PART) and (src, handle) in self.owed:
                self.owed.pop((src, handle), None)
                self.send(self.credit(src, handle, 0))
            elif inlet is None:
                self.unasked(kind, src, handle, reply, payload)
            elif inlet.last != (self._reads, pos):  # after an interrupt it comes again
                inlet.last = self._reads, pos
                self._value(inlet, kind, payload)
            return
        if len(payload) != 8:
            return
        flow, n = _two.unpack(payload)
        q = self.requests.get(flow)
        with self._counts:
            if q is not None and q.dst == src:
                q.room = min(q.room + n, WINDOW)
            elif (src, flow) in self.flows:
                if n:
                    self.flows[src, flow] = min(self.flows[src, flow] + n, WINDOW)
                    return
                del self.flows[src, flow]
                self.refused[src, flow] = None
                while len(self.refused) > MOST:
                    del self.refused[next(iter(self.refused))]

    def _value(self, q: Inlet, kind: int, payload: bytes) -> None:
        """Take a frame for a receiver."""
        if kind in (ITEM, PART):
            self._piece(q, kind, payload)
            if q.kind is not None:  # a value was too large
                self.refuse(q, 'a value was larger than max_message')
            return
        q.parts = None
        q.say(kind)
        self.settle_inlet(q)

    def settle_inlet(self, q: Inlet, why: str = '') -> None:
        """End what a context sends to a receiver, if the context has closed all senders, or, with
        why, if no call goes on that has to.
        """
        with self._counts:
            if q.waits() or q.ended is None and not why:
                return
            if self.inlets.pop((q.dst, q.reply), None) is None:
                return
            if q.granted > 0:
                self.owed[q.dst, q.reply] = None
        q.why = why or q.why
        self._told(q, DEAD if why or q.ended is None else q.ended)

    def end_inlet(self, q: Inlet, kind: int) -> None:
        """Nothing more comes of a context to a receiver."""
        with self._counts:
            if self.inlets.pop((q.dst, q.reply), None) is None:
                return
        self._told(q, kind)

    def _told(self, q: Inlet, kind: int) -> None:
        q.kind = kind
        if q.order is not None:
            q.order.append(q)
        if q.more is not None:
            self.deliveries.append(q.more)

    def refuse(self, q: Inlet, why: str) -> None:
        """Take nothing more of a context, which is told."""
        q.why = why
        if self.error is None:
            self.send(self.credit(q.dst, q.reply, 0))
        self.end_inlet(q, DEAD)

    def gone(self, src: int) -> None:
        """A context has ended: its receivers get no more of it, and it takes nothing."""
        for q in list(self.inlets.values()):
            if q.dst == src:
                self.end_inlet(q, DEAD)
        with self._counts:
            self.known.discard(src)
            for key in [k for k in self.flows if k[0] == src]:
                del self.flows[key]
            for keys in (self.refused, self.owed):
                for key in [k for k in keys if k[0] == src]:
                    del keys[key]

    def _undelivered(self) -> bool:
        return bool(self.deliveries) or self._delivering.locked()

    def deliver(self) -> None:
        """Do what has come for the program's code, unless another thread does. What it raises
        is reported: the thread that reads has nothing to do with it.
        """
        while self.deliveries:
            got: List[bool] = []  # as in wait
            try:
                got.extend(map(self._delivering.acquire, _AT_ONCE))
                if not got[0]:
                    return
                self._deliverer = get_ident()
                while self.deliveries:
                    try:
                        do = self.deliveries.popleft()
                    except IndexError:
                        break
                    try:
                        do()
                    except EngineLost:
                        pass  # all who wait are told
                    except Exception as e:
                        self._report(e)
            finally:
                if got and got[0]:
                    self._deliverer = 0
                    self._delivering.release()
                    self._rouse()
                    if self._r.locked():
                        self._poke()  # it may be ready now

    def delivered(self, until: Optional[float]) -> None:
        """Have what has come up to now delivered: by this thread, or by a thread that delivers
        already. That may wait for this one, and is waited for no longer than PATIENCE.
        """
        if not self._undelivered():
            return
        self.deliver()
        if not self._delivering.locked() or self._deliverer == get_ident():
            return
        lock = Lock()
        lock.acquire()
        self.deliveries.append(lock.release)
        self.deliver()
        left = PATIENCE if until is None else min(PATIENCE, until - monotonic())
        lock.acquire(True, max(0.0, left))

    # The background thread

    def _run(self) -> None:
        self._out.arm = self._hurries
        seen, since = -1, 0.0  # rounds of reading, and when there were so many first
        while self.error is None:
            self._hurry.wait(PAUSE)
            self._write_over()
            if self._reads != seen:
                seen, since = self._reads, monotonic()
                continue
            if monotonic() - since < PAUSE or self._wants or not self._r.acquire(False):
                continue
            self._background = True
            try:
                while not self._wants and self.error is None and not self.deliveries:
                    self._write_over()
                    if self._readable(None) and not self._wants:
                        self._round()
            finally:
                self._background = False
                self._r.release()
                self._rouse()
            if self.deliveries:
                self._serve()

    def _serve(self) -> None:
        """Deliver, which may take however long: meanwhile no call is left to this thread."""
        with self._out.lock:
            self._out.arm = None
        self._write_over()
        try:
            self.deliver()
        finally:
            self._out.arm = self._hurries

    def _hurries(self, armed: bool) -> bool:
        """Have the background thread write."""
        if not armed:
            self._hurry.set()
            if self._background:
                self._poke()
        return True

    def _write_over(self) -> None:
        """Write what other threads have queued."""
        if self._out.armed or self._out.waits():
            try:
                self.flush()
            except EngineLost:
                pass  # all who wait are told

    @staticmethod
    def _report(e: Exception) -> None:
        import sys

        sys.excepthook(type(e), e, e.__traceback__)

    # The end

    def lose(self, why: str) -> None:
        """Nothing will come any more: fail all that waits."""
        if self.error is None:
            self.error = EngineLost('the engine is lost: ' + why + self.hint)
        text = str(self.error).encode()
        for q in list(self.requests.values()):
            q.payload = text
            self._end(q, DEAD)
        for i in list(self.inlets.values()):
            self.end_inlet(i, DEAD)
        self._out.drop()
        self._hurry.set()
        self._poke()
        self._rouse()

    def drained(self, until: float) -> None:
        """Read what comes until the engine has closed its end."""
        while self.error is None and monotonic() < until:
            if self._r.acquire(False):
                try:
                    if self._readable(50):
                        self._round()
                finally:
                    self._r.release()
                self.deliver()
            else:
                self._wants += 1
                self._poke()
                if self._r.acquire(True, 0.05):
                    self._r.release()
                self._wants -= 1

    def close(self) -> None:
        """Close the descriptors. Nothing may use the link any more."""
        self.lose('it was closed')
        if self._thread is not None and self._thread.ident != get_ident():
            self._thread.join(1)
        fds, self._wake = (self.fd,) + tuple(self._wake), (-1, -1)
        self.fd = -1
        for fd in fds:
            try:
                os.close(fd)
            except OSError:
                pass

    def forget(self) -> None:
        """In a forked child: the descriptors are the parent's."""
        self.error = EngineLost(
            'this engine belongs to process %d, which this one was forked from: make an Engine of '
            'your own here' % self.pid
        )
        for fd in (self.fd,) + tuple(self._wake):
            try:
                os.close(fd)
            except OSError:
                pass
        self._out = Outbox(-1)
        self._r, self._delivering, self._counts = (
            Lock(),
            Lock(),
            Lock(),
        )
