"""Latch: a queue between threads."""
import collections
import threading

from mitogen import _here
from mitogen._plain import LatchError, TimeoutError


class Latch(object):
    """A queue of any values between threads. Those who sleep in get() are served in the order in
    which they came. `notify`, if it is set, is called with the latch after each put().
    """

    notify = None

    def __init__(self):
        self.closed = False
        self._lock = threading.Lock()   # protects following
        self._values = collections.deque()
        self._sleepers = collections.deque()

    def __repr__(self):
        return 'Latch(%#x, size=%d)' % (id(self), len(self._values))

    def size(self):
        """How many values wait to be taken."""
        with self._lock:
            self._open()
            return len(self._values)

    def empty(self):
        """Whether get() would wait."""
        return not self.size()

    def _open(self):
        if self.closed:
            raise LatchError('%r is closed' % (self,))

    def close(self):
        """Have each get(), whether it waits already or comes later, raise a LatchError."""
        with self._lock:
            self.closed = True
            for s in self._sleepers:
                s.served = True
            self._sleepers.clear()
        _here.wake()

    def put(self, obj=None):
        """Add a value. Never waits."""
        with self._lock:
            self._open()
            self._give(obj, self._values.append)
            notify = self.notify
        _here.wake()
        if notify:
            notify(self)

    def _give(self, obj, keep):
        """Serve the first who sleeps, or keep the value. The lock is held."""
        if not self._sleepers:
            keep(obj)
            return
        s = self._sleepers.popleft()
        s.served, s.value = True, (obj,)

    def get(self, timeout=None, block=True):
        """The next value. TimeoutError: there is none within timeout seconds, or, without block,
        now.
        """
        with self._lock:
            self._open()
            if self._values:
                return self._values.popleft()
            if not block:
                raise TimeoutError()
            me = _Sleeper()
            self._sleepers.append(me)
        try:
            _here.pause(lambda: me.served, timeout)
        except BaseException:   # interrupted: the next get() has the value
            with self._lock:
                if not me.served:
                    self._sleepers.remove(me)
                elif me.value:
                    self._give(me.value[0], self._values.appendleft)
            _here.wake()
            raise
        with self._lock:
            if not me.served:
                self._sleepers.remove(me)
                raise TimeoutError()
        if not me.value:
            self._open()
        return me.value[0]


class _Sleeper(object):
    served = False
    value = ()      # of one; empty: the latch was closed
