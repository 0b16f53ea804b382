"""Messages between contexts, and what they are sent to and from: handles, receivers, senders."""
import functools
import io
import itertools
import logging
import pickle
import threading

from mitogen import _here, _plain, _signals
from mitogen._latch import Latch
from mitogen._plain import CallError, ChannelError, Error, StreamError, TimeoutError, text

LOG = logging.getLogger('mitogen')

# Handles that are not given out.
CALL_FUNCTION = 101
SHUTDOWN = 106
CALL_SERVICE = 110
BELOW = 120     # of the program: what contexts want of those that they start
FIRST_HANDLE = 1000
IS_DEAD = 999   # as reply_to: a message that nothing follows

PROTOCOL = 2    # of pickles, which all Pythons read
_allowed = []   # compiled expressions: classes besides those below, "module.name"


def set_pickle_whitelist(patterns):
    """Have classes read, from messages and as results of calls, whose "module.name" one of the
    regular expressions matches. The sender can have the code of these classes run.
    """
    import re

    _allowed[:] = [re.compile(p) for p in patterns]


def whitelisted(module, name):
    """What an expression of set_pickle_whitelist matches; None: none does."""
    if [1 for p in _allowed if p.match('%s.%s' % (module, name))]:
        return getattr(__import__(module, fromlist=[name]), name)
    return None


class _Reader(pickle.Unpickler):
    """Reads what a message has: plain values, and the classes of this package that may be sent."""

    router = None
    plain = {
        '_unpickle_call_error': _plain._unpickle_call_error,
        'Blob': lambda value: _blob(value), 'Secret': _plain.Secret, 'Kwargs': _plain.Kwargs,
    }

    def find_class(self, module, name):
        if module in ('mitogen.core', 'mitogen._plain', 'mitogen._messages'):
            if name in self.plain:
                return self.plain[name]
            if name == '_unpickle_sender':
                return functools.partial(_unpickle_sender, router=self.router)
            if name == '_unpickle_context':
                return functools.partial(_unpickle_context, router=self.router)
        if (module, name) == ('_codecs', 'encode'):
            return _encode
        if (module, name) in (('__builtin__', 'bytes'), ('builtins', 'bytes')):
            return _bytes
        found = whitelisted(module, name)
        if found is not None:
            return found
        raise StreamError('cannot unpickle %r/%r', module, name)


def _encode(value, coding):
    """What bytes are a call of in old pickles."""
    if coding != 'latin1':
        raise StreamError('cannot unpickle bytes of %r', coding)
    return value.encode('latin1')


def _blob(value):
    """A Blob. The bytes of one from Python 2 were read as text."""
    if isinstance(value, _plain.text):
        value = value.encode('utf-8', 'surrogateescape')
    return _plain.Blob(value)


def _bytes():
    return b''


def _read(data, router):
    if _here.IS_MASTER:
        _here.check(data)
    kwargs = {'encoding': 'utf-8', 'errors': 'surrogateescape'} if _plain.PY3 else {}
    reader = _Reader(io.BytesIO(data), **kwargs)
    reader.router = router
    try:
        return reader.load()
    except StreamError:
        raise
    except Exception as e:
        raise StreamError('invalid message: %s', e)


class Room(object):
    """What a message, or a context, takes of a bound, until it is given back."""

    def __init__(self, free):
        self._free = [free]

    def leave(self):
        """Give it back, once, whatever threads do so."""
        try:
            free = self._free.pop()
        except IndexError:
            return
        free()

    def held(self):
        """Whether it isn't given back yet."""
        return bool(self._free)


class Message(object):
    """A value, or the news that none will come, on its way from a context to a handle."""

    dst_id = None
    handle = None
    reply_to = None
    data = b''
    router = None
    receiver = None
    _room = None    # a Room: what it takes of the memory that its sender may have; None: nothing

    def __init__(self, **kwargs):
        self.src_id = self.auth_id = _here.CONTEXT_ID
        vars(self).update(kwargs)

    def __repr__(self):
        return 'Message(%r, %r, %r, %r, %r, %r..%d)' % (
            self.dst_id, self.src_id, self.auth_id, self.handle, self.reply_to, self.data[:50],
            len(self.data))

    @property
    def is_dead(self):
        """Whether it says that nothing more will come; data is the reason."""
        return self.reply_to == IS_DEAD

    @classmethod
    def dead(cls, reason=None, **kwargs):
        """A message that says that nothing more will come."""
        return cls(data=text(reason or '').encode('utf-8'), reply_to=IS_DEAD, **kwargs)

    @classmethod
    def pickled(cls, obj, **kwargs):
        """A message with a value; a CallError that says why there is none if it can't be sent."""
        self = cls(**kwargs)
        try:
            self.data = pickle.dumps(obj, PROTOCOL)
        except Exception as e:
            self.data = pickle.dumps(CallError(e), PROTOCOL)
        return self

    @classmethod
    def encoded(cls, obj, enc=None, **kwargs):
        """As pickled: there is one coding here."""
        return cls.pickled(obj, **kwargs)

    def pack(self):
        """Raises NotImplementedError."""
        raise NotImplementedError(
            'Message.pack: the engine has frames of its own here: use Router.route to send this')

    def reply(self, msg, router=None, **kwargs):
        """Send a message, or a value, to where an answer is expected; if it is, nowhere."""
        if not isinstance(msg, Message):
            msg = Message.pickled(msg)
        msg.dst_id, msg.handle = self.src_id, self.reply_to
        vars(msg).update(kwargs)
        if msg.handle and not self.is_dead:
            (self.router or router)._answer(self, msg)
        else:
            LOG.debug('no answer is expected to %r', self)

    def _leave(self):
        """Give back its room: nothing keeps it any more."""
        if self._room is not None:
            self._room.leave()

    def unpickle(self, throw=True, throw_dead=True):
        """The value. ChannelError: it is dead; StreamError: it can't be read; with throw a
        CallError is raised.
        """
        if throw_dead and self.is_dead:
            raise ChannelError(self._why())
        if self.is_dead:
            return None
        value = _read(self.data, self.router)
        if throw and isinstance(value, CallError):
            raise value
        return value

    def _why(self):
        return self.data.decode('utf-8', 'replace') or ChannelError.remote_msg


def has_parent_authority(msg, _stream=None):
    """A policy: True if a message comes from this context, or from one above it."""
    return msg.auth_id == _here.CONTEXT_ID or msg.auth_id in _here.PARENT_IDS


class _Handler(object):
    def __init__(self, fn, persist, policy, respondent):
        self.fn, self.persist, self.policy, self.respondent = fn, persist, policy, respondent


class Router(object):
    """Takes messages to their handles. Its subclasses know the ways to other contexts."""

    max_message_size = 128 * 1048576
    unidirectional = False

    duplicate_handle_msg = u'cannot register a handle that already exists'
    refused_msg = u'refused by policy'
    invalid_handle_msg = u'invalid handle'
    too_large_msg = u'message too large (max %d bytes)'
    respondent_disconnect_msg = u'the respondent Context has disconnected'
    broker_exit_msg = u'Broker has exitted'
    no_route_msg = u'no route to %r, my ID is %r'
    unexpected_msg = u'reply from unexpected context'
    unidirectional_msg = (
        u'routing mode prevents forward of message from context %d to context %d via context %d')

    def __init__(self, broker=None):
        self.broker = broker
        self._lock = threading.Lock()   # protects following
        self._handlers = {}
        self._handles = itertools.count(FIRST_HANDLE)
        self._contexts = {}     # by id

    @property
    def context_class(self):
        return Context

    def myself(self):
        """This context."""
        return self.context_by_id(_here.CONTEXT_ID, name='self')

    def context_by_id(self, context_id, via_id=None, create=True, name=None):
        """The Context with that id, of which a router has one; None: it has none, and create is
        false.
        """
        with self._lock:
            found = self._contexts.get(context_id)
            if found is None and create:
                found = self._contexts[context_id] = self.context_class(self, context_id, name)
        if found is not None and via_id is not None and found.via is None:
            found.via = self.context_by_id(via_id)
        return found

    def add_handler(self, fn, handle=None, persist=True, policy=None, respondent=None,
                    overwrite=False):
        """Have fn called with each message for handle, or for a new handle; returns the handle.

        Without persist it is called once. policy(msg, stream) says whether a message may be
        taken. With respondent, messages of any other context are refused, and fn gets a dead
        message when respondent has gone.
        """
        with self._lock:
            if handle is None:
                handle = next(self._handles)
            if handle in self._handlers and not overwrite:
                raise Error(self.duplicate_handle_msg)
            self._handlers[handle] = _Handler(fn, persist, policy, respondent)
        return handle

    def del_handler(self, handle):
        """Take nothing more for handle. KeyError: nothing was."""
        with self._lock:
            del self._handlers[handle]

    def route(self, msg):
        """Send a message to where its dst_id and handle say. Doesn't fail: where there is no way,
        the context that waits for an answer gets a dead message.
        """
        if len(msg.data) > self.max_message_size:
            self._refuse(msg, self.too_large_msg % self.max_message_size)
        elif msg.dst_id == _here.CONTEXT_ID:
            self._deliver(msg)
        else:
            self._send(msg)

    _async_route = route

    def _prepare(self, context_id, module):
        """Have a context find a module."""

    def _send(self, msg):
        self._refuse(msg, self.no_route_msg % (msg.dst_id, _here.CONTEXT_ID))

    def _refuse(self, msg, why):
        """Answer a message with the news that it won't be answered."""
        LOG.debug('%r: %s', msg, why)
        if msg.reply_to and not msg.is_dead:
            self._answer(msg, Message.dead(
                why, dst_id=msg.src_id, handle=msg.reply_to, src_id=msg.dst_id,
                auth_id=_here.CONTEXT_ID))

    def _answer(self, _msg, answer):
        """Send an answer to a message."""
        self.route(answer)

    def _deliver(self, msg):
        msg.router = self
        with self._lock:
            h = self._handlers.get(msg.handle)
        if h is None:
            self._refuse(msg, self.invalid_handle_msg)
            return
        if h.respondent is not None and not self._answers(msg, h.respondent.context_id):
            self._refuse(msg, self.unexpected_msg)
            return
        if h.policy is not None and not msg.is_dead and not h.policy(msg, None):
            self._refuse(msg, self.refused_msg)
            return
        with self._lock:
            if not h.persist and self._handlers.pop(msg.handle, None) is not h:
                return      # another thread was faster
        self._call(h, msg)

    @staticmethod
    def _answers(msg, respondent_id):
        """Whether a message comes from a context, or from this one, which knows that it is gone."""
        return msg.src_id == respondent_id and (
            msg.auth_id in (respondent_id, _here.CONTEXT_ID) or has_parent_authority(msg))

    def _call(self, h, msg):
        try:
            h.fn(msg)
        except Exception:
            LOG.exception('%r raised, called with %r', h.fn, msg)

    def _gone(self, context):
        """Tell all who wait for a context that it has gone."""
        self._end(self.respondent_disconnect_msg, lambda h: h.respondent == context)
        _signals.fire(context, 'disconnect')

    def _exit(self):
        """Tell all who wait that nothing will come any more."""
        self._end(self.broker_exit_msg, lambda h: True)

    def _end(self, why, whose):
        with self._lock:
            ended = [i for i in self._handlers.items() if whose(i[1])]
            for handle, h in ended:
                del self._handlers[handle]
        for handle, h in ended:
            src = _here.CONTEXT_ID if h.respondent is None else h.respondent.context_id
            self._call(h, Message.dead(why, handle=handle, src_id=src, router=self))


class Context(object):
    """A context, as one can send to it."""

    via = None

    def __init__(self, router, context_id, name=None):
        self.router = router
        self.context_id = context_id
        self.name = name

    def __repr__(self):
        return 'Context(%s, %r)' % (self.context_id, self.name)

    def __reduce__(self):
        name = self.name
        if name is not None and not isinstance(name, text):
            name = name.decode()
        return _unpickle_context, (self.context_id, name)

    def __eq__(self, other):
        return (isinstance(other, Context) and other.context_id == self.context_id
                and other.router is self.router)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash((id(self.router), self.context_id))

    def send(self, msg):
        """Send a message there."""
        msg.dst_id = self.context_id
        self.router.route(msg)

    def send_async(self, msg, persist=False):
        """Send a message there; returns the Receiver that the answer comes to."""
        receiver = Receiver(self.router, persist=persist, respondent=self)
        msg.reply_to = receiver.handle
        self.send(msg)
        return receiver

    def send_await(self, msg, deadline=None):
        """Send a message there, and return the value of the answer."""
        return self.send_async(msg).get(deadline).unpickle()

    def call_service_async(self, service_name, method_name, **kwargs):
        """Call a method of a service there (a class, or its name); returns a Receiver."""
        if not isinstance(service_name, (text, str)):
            service_name = service_name.name()
        self.router._prepare(self.context_id, service_name.rpartition('.')[0])
        msg = Message.pickled(
            (text(service_name), text(method_name), _plain.Kwargs(kwargs)), handle=CALL_SERVICE)
        return self.send_async(msg)

    def call_service(self, service_name, method_name, **kwargs):
        """As call_service_async, and wait for the value."""
        return self.call_service_async(service_name, method_name, **kwargs).get().unpickle()


def _unpickle_context(context_id, name, router=None):
    if not (isinstance(context_id, int) and context_id >= 0
            and (name is None or isinstance(name, (text, str)) and len(name) < 4096)):
        raise TypeError('cannot unpickle Context: bad input')
    router = router or _here.router()
    if router is None:
        return Context(None, context_id, name)
    return router.context_by_id(context_id, name=name)


class Sender(object):
    """The way to a receiver, wherever that is. It may be sent itself."""

    explicit_close_msg = u'Sender was explicitly closed'

    def __init__(self, context, dst_handle):
        self.context = context
        self.dst_handle = dst_handle

    def __repr__(self):
        return 'Sender(%r, %r)' % (self.context, self.dst_handle)

    def __reduce__(self):
        return _unpickle_sender, (self.context.context_id, self.dst_handle)

    def send(self, data, enc=None):
        """Send a value."""
        self.context.send(Message.pickled(data, handle=self.dst_handle))

    def close(self):
        """Say that no more will come."""
        self.context.send(Message.dead(self.explicit_close_msg, handle=self.dst_handle))


def _unpickle_sender(context_id, dst_handle, router=None):
    router = router or _here.router()
    if not (isinstance(context_id, int) and isinstance(dst_handle, int) and router is not None
            and context_id >= 0 and dst_handle > 0):
        raise TypeError('cannot unpickle Sender: bad input or missing router')
    return Sender(router.context_by_id(context_id), dst_handle)


class Receiver(object):
    """Messages for a handle, in their order. `notify`, if it is set, is called with the receiver
    after each.
    """

    notify = None
    closed_msg = u'the Receiver has been closed'

    def __init__(self, router, handle=None, persist=True, respondent=None, policy=None,
                 overwrite=False):
        self.router = router
        self._latch = Latch()
        self.handle = router.add_handler(
            self._on_receive, handle=handle, persist=persist, policy=policy,
            respondent=respondent, overwrite=overwrite)

    def __repr__(self):
        return 'Receiver(%r, %r)' % (self.router, self.handle)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def to_sender(self):
        """A Sender to this receiver, for any context."""
        return Sender(self.router.myself(), self.handle)

    def _on_receive(self, msg):
        msg.receiver = self
        try:
            self._latch.put(msg)
        except _plain.LatchError:
            msg._leave()
            return
        if self.notify:
            self.notify(self)

    def close(self):
        """Take nothing more. A get() that waits raises a ChannelError."""
        if self.handle is not None:
            try:
                self.router.del_handler(self.handle)
            except KeyError:
                pass    # its only message has come
            self.handle = None
        self._latch.close()
        for msg in self._latch._values:
            msg._leave()

    def size(self):
        """How many messages wait to be taken."""
        return self._latch.size()

    def empty(self):
        """Whether none does."""
        return self._latch.empty()

    def get(self, timeout=None, block=True, throw_dead=True):
        """The next message. ChannelError: it is dead, or the receiver was closed; TimeoutError:
        there is none within timeout seconds, or, without block, now.
        """
        try:
            msg = self._latch.get(timeout=timeout, block=block)
        except _plain.LatchError:
            raise ChannelError(self.closed_msg)
        msg._leave()
        if msg.is_dead and throw_dead:
            raise ChannelError(msg._why())
        return msg

    def __iter__(self):
        """Messages, until there will be no more."""
        while True:
            try:
                msg = self.get()
            except ChannelError:
                return
            yield msg


class Channel(Sender, Receiver):
    """A Sender and a Receiver in one."""

    def __init__(self, router, context, dst_handle, handle=None):
        Sender.__init__(self, context, dst_handle)
        Receiver.__init__(self, router, handle)

    def close(self):
        """Close both."""
        Receiver.close(self)
        Sender.close(self)

    def __repr__(self):
        return 'Channel(%s, %s)' % (Sender.__repr__(self), Receiver.__repr__(self))
