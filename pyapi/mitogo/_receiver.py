"""Receivers and senders: values that contexts send while calls run, to this program or each other.

Passing a Sender in an argument of a call is what lets a context send, and nothing else does: the
engine is told before the call.
"""

from __future__ import annotations

from collections import deque
from time import monotonic

from . import _link, _values, errors
from ._call import _Base
from ._link import DATA, DEAD, DO, ITEM, PART, Inlet, frame
from ._state import _op, _State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Tuple, TypeVar

    from ._engine import Engine

    T = TypeVar('T')

FIRST, LAST = 1000, (1 << 31) - 1  # handles of receivers
LONG = 86400.0  # seconds that get() waits before it looks again


class Receiver(_Base['T']):
    """Takes values that contexts send by its sender. Engine.receiver makes one.

    Iterate over it, or get values one by one; several threads may. They come in the order of each
    context, which sends at most 1 MiB ahead. Values are read by the same list as results, widened
    by the class that the receiver was made for.

    The iteration ends once each context that was given a sender has closed the sender, and once the
    receiver is closed. Of several calls of one context each closes what it was given. Once one has,
    a call that ends without doing so keeps nothing open. If a context ends, or the call fails that
    was given the sender, SenderLost is raised after the last value; the next get goes on with the
    remaining contexts.
    """

    def __init__(self, engine: Engine, types: Dict[Tuple[str, str], Any]) -> None:
        engine._check()
        self._engine, self._types = engine, types
        self._handle = engine._link.number()
        self._order: Deque[Any] = deque()  # an Inlet for each item, and for its end
        self._open = 0  # contexts that may still send; guarded by the link's _counts
        self._given = False
        self._closed = False
        self._tells: List[Callable[[], None]] = []  # of tasks that wait
        self._names: Dict[int, str] = {}  # the targets of contexts that were given the sender

    @property
    def sender(self) -> Sender[T]:
        """What contexts send by. A context may send once this was passed to it."""
        return Sender(0, self._handle, self)

    def get(self, timeout: Optional[float] = None) -> T:
        """The next value; waits for it. TimeoutError after timeout seconds, ReceiverClosed when no
        more will come, SenderLost if a context can't send any more and hasn't closed its sender.
        """
        link = self._engine._link
        until = monotonic() + (LONG if timeout is None else timeout)  # close() wakes who polls
        while True:
            got = self._next()
            if got is not None:
                return got[0]  # type: ignore[no-any-return]
            if not link.wait(lambda: self._order or self._over(), until) and timeout is not None:
                raise TimeoutError('the receiver got nothing within %g s' % timeout)

    def _over(self) -> bool:
        return self._closed or self._given and not self._open

    def _next(self) -> Optional[Tuple[Any]]:
        """A value in a tuple, None: there is none yet. ReceiverClosed: there won't be any."""
        while not self._closed:
            try:
                q = self._order.popleft()
                payload = self._engine._link.take(q) if q.items else None
            except IndexError:
                break  # another thread was faster
            if payload is not None:
                return (self._load(q.dst, payload),)
            with self._engine._link._counts:
                if q.kind is None or q.heard:
                    continue
                q.heard = True
                self._open -= 1
            if q.kind != DATA:
                raise self._lost(q)
        if self._over():
            raise errors.ReceiverClosed('the receiver is closed, or each of its senders is')
        return None

    def _load(self, src: int, payload: bytes) -> Any:
        allowed = {**self._engine._types, **self._types}
        return _values.load(payload, allowed, lambda: (self._names[src], 'a sender'))

    def _lost(self, q: Inlet) -> errors.Error:
        link = self._engine._link
        if link.error is not None:
            return errors.EngineLost(*link.error.args)
        return errors.SenderLost('%s: no more values will come: %s' % (self._names[q.dst], q.why))

    def __iter__(self) -> Receiver[T]:
        return self

    def __next__(self) -> T:
        try:
            return self.get()
        except errors.ReceiverClosed:
            raise StopIteration from None

    def __enter__(self) -> Receiver[T]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Take nothing more. Senders there raise ReceiverClosed from then on."""
        link = self._engine._link
        self._closed = True
        for q in list(link.inlets.values()):
            if q.reply == self._handle:
                if link.error is None:
                    link.send(link.credit(q.dst, q.reply, 0))
                link.end_inlet(q, DATA)
        self._order.clear()
        link._poke()
        link._rouse()
        self._tell()

    def _tell(self) -> None:
        while self._tells:
            self._tells.pop()()

    def _grant(self, s: _State, call: int) -> bytes:
        """Let a call's context send. Returns the frame that tells the engine."""
        if s.engine is not self._engine:
            raise TypeError('call: the sender is of another engine')
        link = self._engine._link
        key = s.id, self._handle
        self._names[s.id] = s.target
        with link._counts:
            q = link.inlets.get(key)
            if q is None:
                q = link.inlets[key] = Inlet(s.id, self._handle, link.limit, self._order)
                link.owed.pop(key, None)
                q.more = self._tell
                self._open += 1
            q.give(call)
            self._given = True
        if s.error is not None:
            link.end_inlet(q, DEAD)
        return _allowed(s.id, 0, self._handle)

    def _ended(self, s: _State, call: int, failed: bool) -> None:
        """A call that was given the sender has ended. The caller reads, and doesn't wait."""
        q = self._engine._link.inlets.get((s.id, self._handle))
        if q is None or call not in q.calls:
            return
        del q.calls[call]
        why = 'the call that was given the sender has failed' if failed else ''
        self._engine._link.settle_inlet(q, why)


class Sender(_Base['T']):
    """Sends values to a receiver. Receiver.sender is one; a context returns one of a receiver of
    its own. An argument of a call; only then may the called function's context use it.

    Between contexts, and from the program to a context, values are plain ones.
    """

    def __init__(self, context: int, handle: int, owner: Any) -> None:
        self._context, self._handle, self._owner = context, handle, owner
        self._closed = False

    def __repr__(self) -> str:
        whose = self._owner.target if isinstance(self._owner, _State) else 'the program'
        return '<mitogo.Sender to %s>' % whose

    def __reduce__(self) -> Any:
        raise TypeError('a Sender can only be an argument of a call')

    def send(self, value: T) -> None:
        """Send a value to a receiver in a context; waits while that is more than 1 MiB behind.

        Raises ReceiverClosed once nothing takes values there, TypeError for what isn't plain.
        """
        s = self._to()
        p = _values.dump(value, s.protocol())
        if p.modules or p.served or p.senders:
            raise TypeError('send: got %r, want a plain value' % (value,))
        link, key, data = s.engine._link, (s.id, self._handle), p.payload
        with s.sending:
            if key not in link.refused:
                link.open(*key)
            try:
                for at in range(0, len(data), _link.MAX_PAYLOAD):
                    self._piece(s, data, at)
            except BaseException:
                if link.error is None and len(data) > _link.MAX_PAYLOAD:
                    link.send(frame(s.id, self._handle, b'', PART))  # half a value is none
                raise

    def _piece(self, s: _State, data: bytes, at: int) -> None:
        link, key = s.engine._link, (s.id, self._handle)
        piece = data[at : at + _link.MAX_PAYLOAD]
        link.wait(lambda: link.flows.get(key, 1) > 0)
        if self._closed or not link.spend(*key, len(piece)):
            raise errors.ReceiverClosed('%s: the receiver is closed, or gone' % s.target)
        kind = ITEM if at + _link.MAX_PAYLOAD >= len(data) else PART
        link.send(frame(s.id, self._handle, piece, kind))

    def close(self) -> None:
        """Tell the receiver that no more will come."""
        s = self._to()
        if not self._closed and s.error is None:
            self._closed = True
            link, key = s.engine._link, (s.id, self._handle)
            link.send(frame(*key))
            with link._counts:
                link.flows.pop(key, None)
                link.refused.pop(key, None)

    def _to(self) -> _State:
        if not isinstance(self._owner, _State):
            raise TypeError('a sender to the program is for contexts: pass it in a call')
        if self._owner.error is not None:
            raise errors.ReceiverClosed('%s is gone, and its receiver' % self._owner.target)
        return self._owner

    def _grant(self, s: _State, call: int) -> bytes:
        """Let a call's context send. Returns the frame that tells the engine."""
        to = self._owner
        if isinstance(to, Receiver):
            return to._grant(s, call)
        if s.engine is not to.engine:
            raise TypeError('call: the sender is of another engine')
        if s is to:
            return b''
        s.engine._permits.setdefault(s.id, {})[to.id, self._handle] = None
        return _allowed(s.id, to.id, self._handle)


def _allowed(src: int, to: int, handle: int) -> bytes:
    return frame(0, DO, _op('allow', {'from': src, 'to': to, 'handle': handle}))


def sent_by(s: _State) -> Dict[Tuple[str, str], Any]:
    """What senders in a value of a context's are read as: senders to receivers of that context."""

    class Made(Sender['Any']):
        def __init__(self, context: Any, handle: Any) -> None:
            if context != s.id or type(handle) is not int or not FIRST <= handle <= LAST:
                raise TypeError('a sender to a receiver of another context')
            super().__init__(s.id, handle, s)

    Made.__name__ = 'Sender'
    return {('mitogo', 'Sender'): Made, ('mitogen', 'Sender'): Made}


def over(s: _State, senders: List[Sender[Any]]) -> Callable[[int], None]:
    """What has receivers learn of the end of a call that was given senders, and is called with its
    kind: where the call has failed, nothing else says that no values will come.
    """

    def told(kind: int) -> None:
        for sender in senders:
            owner = sender._owner
            if isinstance(owner, Receiver):
                owner._ended(s, id(senders), kind != DATA)
            elif kind != DATA and isinstance(owner, _State) and owner is not s:
                s.engine._link.deliveries.append(s.engine._dead(owner.id, sender._handle))

    return told
