"""The router of a context, which sends by the channel between it and the program."""
import functools
import pickle
import sys
import threading

from mitogen import _context, _here, _messages
from mitogen._messages import Message
from mitogen._plain import CallError, StreamError, text

METHODS = (
    'local fork ssh sudo su doas docker podman buildah kubectl lxc lxd incus jail setns').split()


class Broker(object):
    """Stands for what ends with the context."""

    def shutdown(self):
        """Does nothing: the context ends when its program says so."""

    def defer(self, func, *args, **kwargs):
        """Call func in a thread of its own."""
        t = threading.Thread(target=func, args=args, kwargs=kwargs)
        t.daemon = True
        t.start()

    def defer_sync(self, func):
        """What func() returns."""
        return func()


class Router(_messages.Router):
    """Sends what isn't for this context to the program, which passes it on."""

    def __init__(self):
        _messages.Router.__init__(self, Broker())
        self._reader = None     # the thread that delivers now: it must not wait
        _context._runtime.hear(self._heard)

    def _heard(self, data):
        dst, src, auth, handle, reply_to = _context._HEAD.unpack(data[:_context._HEAD.size])
        msg = Message(
            dst_id=dst, src_id=src, auth_id=auth, handle=handle, reply_to=reply_to or None,
            data=data[_context._HEAD.size:])
        self._reader = threading.current_thread()
        try:
            self._take(msg)
        finally:
            self._reader = None

    def _take(self, msg):
        if msg.handle == _messages.CALL_SERVICE and msg.handle not in self._handlers:
            self.broker.defer(self._activate, msg)  # the thread that reads may not import
        else:
            self._deliver(msg)

    def _activate(self, msg):
        from mitogen import service

        service.get_or_create_pool(router=self)
        self._deliver(msg)

    def _send(self, msg):
        head = _context._HEAD.pack(
            msg.dst_id, msg.src_id, msg.auth_id, msg.handle or 0, msg.reply_to or 0)
        if threading.current_thread() is self._reader:
            self.broker.defer(_context._runtime.post, head + msg.data)
        else:
            _context._runtime.post(head + msg.data)

    context_class = property(lambda self: Context)

    def connect(self, method_name, name=None, **kwargs):
        """A context behind this one, or behind via, by the method of that name; ssh is run there.
        The program starts it, and it ends when this one does.
        """
        via = kwargs.pop('via', None)
        if via is None and method_name in ('local', 'fork'):
            kwargs.setdefault('python_path', sys.executable)
        above = None
        if via is not None and via.context_id != _here.CONTEXT_ID:
            above = via.context_id
        try:
            return self._ask('start', method_name, name, above, kwargs).get().unpickle()
        except CallError as e:
            raise StreamError('%s', e)

    def _ask(self, *request):
        """Have the program do something; returns the Receiver of its answer."""
        master = self.context_by_id(_here.PARENT_IDS[-1])
        return master.send_async(Message.pickled(request, handle=_messages.BELOW))

    def __getattr__(self, name):
        if name in METHODS:
            return functools.partial(self.connect, name)
        raise AttributeError(name)


class Context(_messages.Context):
    """A context, which this one can call if it has started it."""

    __hash__ = _messages.Context.__hash__

    def call(self, fn, *args, **kwargs):
        """As in the program: the result of fn there. fn is a function, or its name."""
        return self.call_async(fn, *args, **kwargs).get().unpickle()

    def call_async(self, fn, *args, **kwargs):
        """Begin a call, and return the Receiver of its one message."""
        receiver = _messages.Receiver(self.router, persist=False, respondent=self)
        self._begin(receiver.handle, fn, args, kwargs)
        return receiver

    def call_no_reply(self, fn, *args, **kwargs):
        """Begin a call whose result the caller doesn't get."""
        self._begin(None, fn, args, kwargs)

    def _begin(self, handle, fn, args, kwargs):
        arguments = ''
        if args or kwargs:
            arguments = pickle.dumps((args, kwargs), _messages.PROTOCOL).decode('latin-1')
        request = 'call', self.context_id, _target(fn), arguments
        self.router.route(Message.pickled(
            request, dst_id=_here.PARENT_IDS[-1], handle=_messages.BELOW, reply_to=handle))

    def shutdown(self, wait=False):
        """End the context, and return once it has ended; without wait at once, with a Receiver."""
        receiver = self.router._ask('end', self.context_id)
        if not wait:
            return receiver
        receiver.get().unpickle()


def _target(fn):
    """What the other context finds a function by."""
    if isinstance(fn, (str, text)):
        return fn
    name = getattr(fn, '__qualname__', None) or fn.__name__
    owner = getattr(fn, '__self__', None)
    if isinstance(owner, type) and not getattr(fn, '__qualname__', None):
        name = '%s.%s' % (owner.__name__, name)
    elif owner is not None and not isinstance(owner, (type, type(sys))):
        raise TypeError('a method of an object can not be called in a context')
    if '<' in name:
        raise TypeError('a function without a name of its module can not be called in a context')
    return '%s:%s' % (fn.__module__, name)
