"""Locks and queues as the interpreter has them built in: to load threading and collections takes
longer than to load this package, and a program waits for that before its contexts start.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from threading import Lock, RLock, get_ident, local
else:
    from _collections import deque
    from _thread import RLock, get_ident
    from _thread import _local as local
    from _thread import allocate_lock as Lock

__all__ = ['Flag', 'Lock', 'RLock', 'deque', 'get_ident', 'local']


class Flag:
    """What one thread waits for and any sets."""

    def __init__(self) -> None:
        self._clear = Lock()  # held while the flag isn't set
        self._clear.acquire()

    def set(self) -> None:
        try:
            self._clear.release()
        except RuntimeError:
            pass  # it is set

    def wait(self, timeout: float) -> bool:
        """Wait until it is set, for timeout seconds at most, and clear it. True: it was set."""
        return self._clear.acquire(True, timeout)
