"""Work: one function, called on many targets. What a fleet's call, each, start and stream do."""

from __future__ import annotations

from collections import deque
from time import monotonic

from ._call import GRACE, Stream
from .errors import EngineLost, Error

LONG = 86400.0  # seconds until results looks again, if nothing comes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Iterator, Mapping, Optional, Sequence, Tuple

    from ._call import Call
    from ._fleet import Fleet


class Begun:
    """A call at one target, and when it was begun."""

    def __init__(self, target: str, call: Call[Any], begun: float) -> None:
        self.target, self.call, self.begun = target, call, begun
        self.items: Stream[Any] = Stream(call)
        self.due = call._until  # when the call is to be interrupted, and then killed
        self.late: Optional[Exception] = None  # why it was interrupted
        self.interrupted = False


class Work:
    """The calls: up to forks of them run at once. Of streams, which may have no end, up to forks
    wait for their contexts at once.
    """

    def __init__(
        self,
        fleet: Fleet,
        fn: Any,
        args: Tuple[Any, ...],
        kwargs: Dict[str, Any],
        args_for: Optional[Mapping[str, Sequence[Any]]],
        timeout: Optional[float],
        streaming: bool = False,
    ) -> None:
        self.fleet, self.link = fleet, fleet._engine._link
        self._fn, self._args, self._kwargs = fn, args, kwargs
        self._args_for, self._timeout, self._streaming = args_for or {}, timeout, streaming
        self._waiting: Deque[str] = deque(fleet.targets)
        self._running: Dict[int, Begun] = {}
        self._came: Deque[Any] = deque()  # a Begun that something has come of, or a result
        self._given_up = False  # by another thread
        self._cancelled = False

    def _room(self) -> bool:
        """Whether a call may be begun."""
        if not self._waiting or self._given_up:
            return False
        busy = len(self._running)
        if self._streaming:
            busy = len([b for b in list(self._running.values()) if b.call._s.coming()])
        return busy < self.fleet._forks

    def begin(self) -> None:
        """Begin calls while there is room. Mistakes of the program's are raised."""
        if not self._room():
            return
        free = self.fleet._forks - (0 if self._streaming else len(self._running))
        self.fleet._reach(list(self._waiting)[:free])
        while self._room():
            target = self._waiting.popleft()
            begun, own = monotonic(), self._args_for.get(target, self._args)
            try:
                call = self.fleet._begin(
                    target, self._timeout, self._fn, own, self._kwargs, self._streaming
                )
            except EngineLost:
                raise
            except (Error, TimeoutError) as e:
                self._came.append((target, None, e, monotonic() - begun))
                continue
            self._watch(Begun(target, call, begun))

    def _watch(self, b: Begun) -> None:
        self._running[id(b)] = b
        if not self._streaming:
            b.call.add_done_callback(lambda _: self._came.append(b))
            return
        q = b.call._q
        q.more = q.done = lambda: self._came.append(b)
        if q.items or q.kind is not None:
            self._came.append(b)  # it came before that was set

    def results(self) -> Iterator[Tuple[str, Any, Optional[Exception], float]]:
        """(target, value, error, seconds) as they come, of all targets. Ending the iteration early
        interrupts what runs.
        """
        try:
            while self._waiting or self._running or self._came:
                self.begin()
                self.link.wait(self._ready, self._next_due())
                if self._given_up and not self._cancelled:
                    self._cancel()
                self._end_late()
                if self._came:
                    got = self._result(self._came.popleft())
                    if got is not None:
                        yield got
        finally:
            self.interrupt()

    def interrupt(self) -> None:
        """Interrupt what runs, and take nothing more of it."""
        for b in self._running.values():
            b.call._q.more = None
            if not b.call.done() and self.link.error is None:
                b.call.cancel()

    def _ready(self) -> bool:
        return bool(self._came) or self._room() or self._given_up and not self._cancelled

    def _next_due(self) -> float:
        due = [b.due for b in self._running.values() if b.due is not None]
        return min(due, default=monotonic() + LONG)  # give_up wakes what polls

    def _result(self, came: Any) -> Optional[Tuple[str, Any, Optional[Exception], float]]:
        if isinstance(came, tuple):
            return came
        b: Begun = came
        if id(b) not in self._running:
            return None
        if not b.call.done() and not b.call._q.items:
            return None
        value: Any = None
        error: Optional[Exception] = None
        over = b.call.done() and not b.call._q.items
        if over:
            del self._running[id(b)]
            error = b.late
        else:
            self._came.append(b)  # there may be more
        if error is None:
            try:
                value = next(b.items) if self._streaming else b.call.result()
            except StopIteration:
                return None
            except Exception as e:
                error = e
        return b.target, value, error, monotonic() - b.begun

    # The end

    def give_up(self) -> None:
        """Have what runs interrupted, and nothing begun any more. Any thread may call this."""
        self._given_up = True
        self.link._poke()
        self.link._rouse()

    def _cancel(self) -> None:
        self._cancelled = True
        while self._waiting:
            t = self._waiting.popleft()
            self._came.append((t, None, Error('%s: cancelled before it was begun' % t), 0.0))
        for b in self._running.values():
            b.due = 0.0

    def _end_late(self) -> None:
        """Interrupt what has run for too long, and end the contexts of what was interrupted and
        still runs. Each call has its own time, and none is waited for here.
        """
        now = monotonic()
        for b in list(self._running.values()):
            if b.due is None or now < b.due or b.call.done():
                continue
            if not b.interrupted and b.call._cancel_up():
                b.due = now + GRACE
            else:
                b.due = None
                b.call._kill()
            b.interrupted = True
            if b.late is None and not self._cancelled:
                b.late = b.call._late()
