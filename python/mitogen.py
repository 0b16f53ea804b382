"""The interface of Python programs in a context: other contexts, senders and receivers.

Values of these types may be arguments and results of calls. Whom a context can reach is the
engine's to allow.
"""
import _mitogen as core


class Error(Exception):
    """A call failed at the other end. The attributes say how: module, type, text,
    traceback, arguments."""

    def __init__(self, module, type, text, traceback='', arguments=None):
        Exception.__init__(self, module, type, text, traceback, arguments)
        self.module, self.type, self.text = module, type, text
        self.traceback, self.arguments = traceback, arguments

    def __str__(self):
        return '%s: %s' % (self.type, self.text)

    def __reduce__(self):
        return Error, (self.module, self.type, self.text, self.traceback, self.arguments)


class DeadError(Exception):
    """No answer will come: refused, not allowed, or the other context is gone."""


class Secret(core.TEXT):
    """Text that shows itself nowhere."""

    def __repr__(self):
        return "Secret('********')"

    def __reduce__(self):
        return Secret, (core.TEXT(self),)


class Blob(type(core.EMPTY)):
    """Bytes that are not worth printing."""

    def __repr__(self):
        return '<Blob of %d bytes>' % len(self)

    def __reduce__(self):
        return Blob, (type(core.EMPTY)(self),)


def _consumed(src, handle, data):
    """Give back credit for an item: for its last frame, as core has for the full ones before."""
    core.credit(src, handle, (len(data) - 1) % core.MAX_PAYLOAD + 1)


class Context(object):
    """Another context, or with id 0 the engine."""

    def __init__(self, id, name=''):
        self.id = id
        self.name = name

    def __repr__(self):
        return 'Context(%d, %r)' % (self.id, self.name)

    def __reduce__(self):
        return Context, (self.id, self.name)

    def __eq__(self, other):
        return isinstance(other, Context) and other.id == self.id

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self.id)

    def call(self, target, *args, **kwargs):
        """Call `module:function` there and return its result; a generator's items come as a list.

        Raises Error for what the function raised, DeadError if there is no answer to come.
        """
        got, items = [], []

        def arrived(src, reply, kind, data):
            if src != self.id:
                return
            if kind == core.ITEM:
                items.append(data)
                _consumed(src, handle, data)
            else:
                got.append((kind, data))
        arrived.source = self.id
        handle = core.register(arrived)
        data = target.encode('utf-8') + core.ZERO
        if args or kwargs:
            data += core.dumped((args, kwargs), 2, '(args, kwargs)')
        try:
            core.emit(self.id, core.CALL, data, core.DATA, handle)
            core.settle(1)
            core.wait(lambda: got)
        finally:
            del core.HANDLERS[handle]
            core.atomic(core.spend, (self.id, handle))
        kind, data = got[0]
        if kind == core.DEAD:
            raise DeadError(core.native(data))
        value = None
        if data:
            value = core.loads(data)
        if kind == core.ERROR:
            raise Error(*value)
        return [core.loads(i) for i in items] or value


# (context, handle): [lock, threads that have or want it], so that parts of two values don't mix
_SENDING = {}
_GUARD = core.thread.allocate_lock()    # of _SENDING
_REFUSED = {}   # (context, handle) of receivers that take nothing
_ORDER = core.deque()   # as these were added; may have some that were taken out since
# receivers that are remembered; if one isn't, the next value that it is sent says so
_MOST = 1000


def _refuse(key):
    if key not in _REFUSED:
        _REFUSED[key] = 1
        _ORDER.append(key)
    while len(_ORDER) > _MOST:
        _REFUSED.pop(_ORDER.popleft(), None)


def _turn(key, n):
    """The lock of a receiver; n more threads have or want it."""
    _GUARD.acquire()
    try:
        turn = _SENDING.setdefault(key, [core.thread.allocate_lock(), 0])
        turn[1] += n
        if not turn[1]:
            del _SENDING[key]
        return turn[0]
    finally:
        _GUARD.release()


def _credited(src, reply, kind, data):
    """A CREDIT: 0 bytes say that a receiver takes nothing. Then no thread waits
    for its window any more."""
    flow, n = core.unpack('>LL', data)
    if not n and flow >= 1000 and (not src or (src, flow) in core.FLOWS):
        _refuse((src, flow))
        n = core.WINDOW
    _credit(src, reply, kind, core.pack('>LL', flow, n))


def _dispatch(src, handle, reply, kind, data):
    """Say so where there is no receiver."""
    if kind == core.ITEM and not reply and handle >= 1000 and handle not in core.HANDLERS:
        core.credit(src, handle, 0)
    _known(src, handle, reply, kind, data)


_known = core.dispatch
core.dispatch = _dispatch
_credit = core.HANDLERS[core.CREDIT]
core.HANDLERS[core.CREDIT] = _credited  # instead of core/tables.py; calls what was there


class Sender(object):
    """The way to a receiver, wherever that is."""

    def __init__(self, context, handle):
        self.context = context
        self.handle = handle
        _REFUSED.pop((context, handle), None)   # it may have been given anew

    def __reduce__(self):
        return Sender, (self.context, self.handle)

    def send(self, value):
        """Send one value; waits while the receiver is more than 1 MiB behind.

        Raises DeadError once it is known that nothing takes what was sent: the receiver is closed,
        this context may not send to it, or its context is gone.
        """
        data = core.dumped(value, core.PROTO, 'value')
        key = self.context, self.handle
        turn = core.atomic(_turn, key, 1)
        try:
            turn.acquire()
            try:
                self._check()
                core.emit(self.context, self.handle, data, core.ITEM)
                self._check()
            finally:
                turn.release()
        finally:
            core.atomic(_turn, key, -1)

    def _check(self):
        if (self.context, self.handle) in _REFUSED:
            raise DeadError('receiver %d of context %d is closed, not given to this one, or gone'
                            % (self.handle, self.context))

    def close(self):
        """Tell the receiver that no more will come."""
        core.send(self.context, self.handle)
        core.atomic(core.spend, (self.context, self.handle))


class Receiver(object):
    """Values sent by other contexts, in the order of their arrival. Iterate, or get one by one."""

    def __init__(self):
        self._values = core.deque()
        self._closed = 0
        self.lost = 0   # the program says that a context can't send any more
        self._sources = {}
        self.handle = core.register(self._arrived)

    def sender(self):
        return Sender(core.ME, self.handle)

    def _arrived(self, src, reply, kind, data):
        if kind == core.ITEM:
            self._sources[src] = 1
            self._values.append((src, data))
        else:
            if not self._closed:
                self.lost = kind == core.DEAD
            self._closed = 1
        if reply:
            core.send(src, reply)   # it was asked whether there is a receiver

    def get(self, timeout=None):
        """The next value. Raises DeadError when closed and empty, IndexError after
        timeout seconds."""
        end = None
        if timeout is not None:
            end = core.now() + timeout
            _DEADLINES.append(end)
            core.poke()
        try:
            got = None
            while not got:
                core.wait(lambda: self._values or self._closed or (end and core.now() >= end))
                got = self._take()
                if not got and self._closed:
                    raise DeadError('closed')
                if not got and end and core.now() >= end:
                    raise IndexError('nothing came within %s s' % timeout)
        finally:
            if end:
                _DEADLINES.remove(end)
        src, data = got
        _consumed(src, self.handle, data)
        return core.loads(data)

    def _take(self):
        try:
            return self._values.popleft()
        except IndexError:
            return None     # another thread was faster

    def __iter__(self):
        while 1:
            try:
                value = self.get()
            except DeadError:
                return
            yield value

    def close(self):
        self._closed = 1
        if core.HANDLERS.pop(self.handle, None):
            for src in list(self._sources):
                core.credit(src, self.handle, 0)


_DEADLINES = []


def _next():
    return min([core.PATIENCE] + [max(0, t - core.now()) for t in _DEADLINES])


core.DUE.append(_next)
