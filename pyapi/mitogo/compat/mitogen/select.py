"""Select: what comes first of many receivers, latches and other selects."""
from mitogen import _messages, _plain
from mitogen._latch import Latch


class Error(_plain.Error):
    """A Select is used as it can't be."""


class Event(object):
    """What has come: data (a Message, or the value of a Latch), and its source."""

    source = None
    data = None


class Select(object):
    """Waits for many sources, each a Receiver, a Latch or a Select.

    With oneshot, a source leaves with its first value, so that iteration ends once each has had
    one. A Select is true while it has sources.
    """

    notify = None

    owned_msg = u'Cannot add: Receiver is already owned by another Select'
    not_present_msg = u'Instance is not a member of this Select'
    empty_msg = u'Cannot get(), Select instance is empty'
    loop_msg = u'Adding this Select instance would create a Select cycle'
    closed_msg = u'Select has been closed'

    def __init__(self, receivers=(), oneshot=True):
        self._receivers = []
        self._oneshot = oneshot
        self._latch = Latch()   # has a source for each value that waits there
        for recv in receivers:
            self.add(recv)

    @classmethod
    def all(cls, receivers):
        """The values of all, as they come."""
        return list(msg.unpickle() for msg in cls(receivers))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __bool__(self):
        return bool(self._receivers)

    __nonzero__ = __bool__

    def _put(self, source):
        self._latch.put(source)
        if self.notify:
            self.notify(self)

    def _holds(self, other):
        """Whether other is this one, or in it, however deep."""
        return self is other or any(
            r._holds(other) for r in self._receivers if isinstance(r, Select))

    def add(self, recv):
        """Wait for a source, too. Error: another Select waits for it, or it waits for this one."""
        if isinstance(recv, Select) and recv._holds(self):
            raise Error(self.loop_msg)
        if recv.notify:
            raise Error(self.owned_msg)
        recv.notify = self._put
        self._receivers.append(recv)
        for _ in range(recv.size()):    # has come before
            self._put(recv)

    def remove(self, recv):
        """Wait for a source no more. Error: it isn't one."""
        if recv not in self._receivers or recv.notify != self._put:
            raise Error(self.not_present_msg)
        self._receivers.remove(recv)
        recv.notify = None

    def close(self):
        """Let all sources go. A get() that waits raises a LatchError."""
        for recv in self._receivers[:]:
            self.remove(recv)
        self._latch.close()

    def size(self):
        """How many values wait to be taken."""
        return sum(r.size() for r in self._receivers)

    def empty(self):
        """Whether none does."""
        return not self.size()

    def get(self, timeout=None, block=True):
        """The data of get_event()."""
        return self.get_event(timeout, block).data

    def get_event(self, timeout=None, block=True):
        """The next Event. TimeoutError: there is none within timeout seconds, or, without block,
        now; Error: there are no sources.
        """
        if not self._receivers:
            raise Error(self.empty_msg)
        while True:
            source = self._latch.get(timeout=timeout, block=block)
            event = self._event_of(source)
            if event is None:
                continue    # another has taken it, or the source has left
            if self._oneshot and source in self._receivers:
                self.remove(source)
            return event

    def _event_of(self, source):
        """The next event of a source; None: it has none."""
        if source not in self._receivers:
            return None
        try:
            if isinstance(source, Select):
                return source.get_event(block=False)
            event = Event()
            if isinstance(source, _messages.Receiver):
                event.data = source.get(block=False, throw_dead=False)
            else:
                event.data = source.get(block=False)
        except _plain.TimeoutError:
            return None
        event.source = source
        return event

    def __iter__(self):
        return self.iter_data()

    def iter_data(self):
        """Data, until there are no sources left."""
        while self._receivers:
            yield self.get()

    def iter_events(self):
        """Events, until there are no sources left."""
        while self._receivers:
            yield self.get_event()
