"""What goes to the engine: frames, in the order in which they are queued.

Calls that are begun one after another leave in one write, because a write wakes the engine. A
thread that queues a call first arms what writes it later: the thread of the Link, or the event
loop. A thread that sends anything else, or waits for an answer, writes what is queued before.
"""

from __future__ import annotations

import os
from time import monotonic

from ._primitives import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple, Union

    Data = Union[bytes, memoryview]

LAG = 0.001  # seconds after a write in which calls are queued
BOUND = 65536  # bytes that are queued at most
MOST = 64  # buffers of one write


class Outbox:
    """The end of a socket that is written to."""

    def __init__(self, fd: int) -> None:
        self.lock = Lock()  # held by who queues and who writes
        # Has what this thread queues written soon, by another thread or later; is told whether
        # that was done before. False: it can't. lock is held.
        self.arm: Optional[Callable[[bool], bool]] = None
        self.armed = False
        self._fds = (fd,)
        # Frames; what is being written of those before them; how much of that was. It is replaced
        # as a whole, so that an interrupt between any two steps loses nothing.
        self._state: Tuple[List[Data], List[Data], List[int]] = ([], [], [])
        self._since = 0.0  # when a call was written last
        self._queued = 0  # bytes

    def waits(self) -> bool:
        """Whether something is to be written."""
        state = self._state
        return bool(state[0] or state[1])

    def later(self, data: bytes) -> bool:
        """Queue a frame that may be written later. False: it is not queued, and has to be sent.
        lock is held.
        """
        now = monotonic()
        size = self._queued + len(data)
        if now - self._since > LAG or size > BOUND or self.arm is None:
            self._since = now
            return False
        before, self.armed = self.armed, True  # first: what is armed looks at it
        try:
            if not self.arm(before):
                self.armed = before
                return False
        except BaseException:
            self.armed = False
            raise
        self._queued = size
        self._state[0].append(data)
        return True

    def send(self, *data: Data) -> None:
        """Write a frame, which may be in pieces, behind what is queued. lock is held."""
        if len(data) == 1 and not self.waits():
            self._alone(data[0])
            return
        self._state[0].extend(data)
        self.flush()

    def _alone(self, data: Data) -> None:
        """Write a frame before which nothing waits, as flush would."""
        sent: List[int] = []
        try:
            self._state = [], [data], sent
            sent.extend(map(os.writev, self._fds, ((data,),)))
            if sent[0] == len(data):
                self._state = [], [], []
                return
        except KeyboardInterrupt:
            self.flush()
            raise
        self.flush()

    def flush(self) -> None:
        """Write what is queued. Blocks while the engine is behind; lock is held. An interrupt is
        raised once all is written: half a frame is none.
        """
        interrupt = None
        self._queued = 0
        while True:
            try:
                frames, data, sent = self._state
                if sent:
                    self._state = frames, _behind(data, sent[0]), []
                elif data:
                    sent.extend(map(os.writev, self._fds, (data,)))
                elif len(frames) == 1:
                    self._state = [], frames, []
                elif frames:
                    self._state = _divided(frames)
                else:
                    break
            except KeyboardInterrupt as e:
                interrupt = e
        if interrupt is not None:
            raise interrupt

    def drop(self) -> None:
        """Forget what is queued."""
        self._state = ([], [], [])


def _divided(frames: List[Data]) -> Tuple[List[Data], List[Data], List[int]]:
    """Frames as what stays queued and what is written at once: in one buffer, if that is small."""
    if sum(map(len, frames)) <= 2 * BOUND:
        return [], [b''.join(frames)], []
    return frames[MOST:], frames[:MOST], []


def _behind(data: List[Data], n: int) -> List[Data]:
    """The buffers without their first n bytes."""
    for i, b in enumerate(data):
        if n < len(b):
            return [memoryview(b)[n:], *data[i + 1 :]]
        n -= len(b)
    return []
