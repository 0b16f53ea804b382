"""Services: objects whose exposed methods other contexts call."""
import collections
import logging
import pickle
import threading

from mitogen import _here, _messages, _plain
from mitogen._plain import CallError, Error

LOG = logging.getLogger('mitogen.service')
DEFAULT_SIZE = 16
NO_ACTIVATION = (
    u'Service %r is not yet activated in this context, and the caller is not privileged, therefore '
    u'autoactivation is disabled.')
UNAUTHORIZED = u'Caller is not authorized to invoke %r of service %r'

_pools = {}     # by router
_pools_lock = threading.RLock()


class Policy(object):
    """Says who may call a method."""

    def is_authorized(self, service, msg):
        """Whether the sender of msg may."""
        raise NotImplementedError()


class AllowAny(Policy):
    """Any context may."""

    def is_authorized(self, service, msg):
        """True."""
        return True


class AllowParents(Policy):
    """This context may, and those above it."""

    def is_authorized(self, service, msg):
        """Whether msg comes from one of them."""
        return _messages.has_parent_authority(msg)


def expose(policy):
    """A decorator of a method that contexts may call, if policy says so."""

    def decorate(func):
        func.mitogen_service__policies = getattr(func, 'mitogen_service__policies', ()) + (policy,)
        return func

    return decorate


def arg_spec(spec):
    """A decorator of a method whose keyword arguments are of the types that spec has by name."""

    def decorate(func):
        func.mitogen_service__arg_spec = spec
        return func

    return decorate


def no_reply():
    """A decorator of a method whose caller gets no answer."""

    def decorate(func):
        func.mitogen_service__no_reply = True
        return func

    return decorate


def _outcome(compute):
    """What a call returns, or a CallError of what it raises."""
    try:
        return compute()
    except Exception as e:
        LOG.debug('%r', e)
        return e if isinstance(e, CallError) else CallError(e)


class Invoker(object):
    """Calls methods of a service: in the thread of the pool that the call came to."""

    def __init__(self, service):
        self.service = service
        self._lock = threading.Lock()

    def __repr__(self):
        return '%s(%s)' % (type(self).__name__, self.service)

    def invoke(self, _what, compute, answer):
        """Call compute(), and answer with what it returns or raises. what is the method's name, and
        the arguments.
        """
        answer(_outcome(compute))


class SerializedInvoker(Invoker):
    """Calls one method of the service at a time, in the order in which calls came."""

    def __init__(self, service):
        Invoker.__init__(self, service)
        self._calls = collections.deque()   # the first one is under way

    def invoke(self, _what, compute, answer):
        """As Invoker.invoke, or have the thread that is at it do so."""
        with self._lock:
            self._calls.append((compute, answer))
            busy = len(self._calls) > 1
        while not busy:
            compute, answer = self._calls[0]
            try:
                answer(_outcome(compute))
            finally:
                with self._lock:
                    self._calls.popleft()
                    busy = not self._calls


class DeduplicatingInvoker(Invoker):
    """Calls each method once with the same arguments: all who ask get what that has returned."""

    def __init__(self, service):
        Invoker.__init__(self, service)
        self._answers = {}  # by key: the functions that want what comes
        self._values = {}   # by key: what has come

    def invoke(self, what, compute, answer):
        """As Invoker.invoke, or have the thread that is at it, or was, answer."""
        key = what[0], pickle.dumps(sorted(what[1].items()), _messages.PROTOCOL)
        with self._lock:
            known = key in self._values
            first = not known and key not in self._answers
            if not known:
                self._answers.setdefault(key, []).append(answer)
        if known:
            answer(self._values[key])
        elif first:
            value = _outcome(compute)
            with self._lock:
                self._values[key] = value
                waiting = self._answers.pop(key)
            for tell in waiting:
                tell(value)


class Service(object):
    """The base of services. A service has one name: the name of its module and class."""

    NO_REPLY = object()
    invoker_class = Invoker

    def __init__(self, router):
        self.router = router

    @classmethod
    def name(cls):
        """What callers know it by."""
        return u'%s.%s' % (cls.__module__, cls.__name__)

    def on_shutdown(self):
        """Is called when the pool ends."""

    def on_message(self, event):
        """Is called with what comes to `select`, where a service has one."""

    def __repr__(self):
        return '%s()' % type(self).__name__


def _method(service, name, msg, kwargs):
    """A method that msg may call with kwargs, or an exception that says why it may not."""
    method = getattr(service, name, None)
    policies = getattr(method, 'mitogen_service__policies', ())
    if not policies:
        raise Error(u'No such method: %r', name)
    if not all(p.is_authorized(service, msg) for p in policies):
        raise Error(UNAUTHORIZED, name, service.name())
    spec = getattr(method, 'mitogen_service__arg_spec', {})
    for key, want in spec.items():
        if key not in kwargs:
            raise Error(u'missing argument %r of %r', key, name)
        if not isinstance(kwargs[key], want):
            raise Error(u'argument %r of %r: got %r, want %r', key, name, type(kwargs[key]), want)
    if spec:
        for key in kwargs:
            if key not in spec:
                raise Error(u'unexpected argument %r of %r', key, name)
    return method


def _takes_msg(method):
    code = getattr(getattr(method, '__func__', method), '__code__', None)
    return code is not None and 'msg' in code.co_varnames[:code.co_argcount]


class Pool(object):
    """Threads that do what comes for services."""

    def __init__(self, router, services=(), size=1, overwrite=False, recv=None):
        self.router = router
        self.size = size
        self._lock = threading.Lock()   # protects following
        self._services = {}
        self._invokers = {}     # by the id of the service, which stays
        self.closed = False
        self._recv = recv or _messages.Receiver(
            router, handle=_messages.CALL_SERVICE, overwrite=overwrite)
        with _pools_lock:
            _pools.setdefault(id(router), self)
        for service in services:
            self.add(service)
        self._threads = []
        for i in range(size):
            t = threading.Thread(target=self._work, name='mitogen.Pool.%04x.%d' % (id(self), i))
            t.daemon = True
            t.start()
            self._threads.append(t)

    def __repr__(self):
        return 'Pool(%04x, size=%d)' % (id(self) & 0xffff, self.size)

    def add(self, service):
        """Take calls for a service. Error: there is one of its name."""
        with self._lock:
            if service.name() in self._services:
                raise Error(u'cannot register duplicate service %r', service.name())
            self._services[service.name()] = service

    def get_service(self, name):
        """The service with a name, or the service of a class."""
        return self._services[name if isinstance(name, (_plain.text, str)) else name.name()]

    def defer(self, func, *args, **kwargs):
        """Have one of the threads call func."""
        self._recv._latch.put((func, args, kwargs))

    def stop(self, join=True):
        """Take nothing more; with join, return once the threads have ended."""
        self.closed = True
        self._recv.close()
        with _pools_lock:
            if _pools.get(id(self.router)) is self:
                del _pools[id(self.router)]
        for service in self._services.values():
            service.on_shutdown()
        if join:
            self.join()

    def join(self):
        """Wait for the threads."""
        for t in self._threads:
            if t is not threading.current_thread():
                t.join()

    def _work(self):
        while not self.closed:
            try:
                item = self._recv._latch.get()
            except _plain.LatchError:
                return
            try:
                if isinstance(item, tuple):
                    func, args, kwargs = item
                    func(*args, **kwargs)
                elif item.is_dead:
                    return
                else:
                    self._serve(item)
                    item._leave()
            except Exception:
                LOG.exception('%r: while a thread did %r', self, item)

    def _serve(self, msg):
        try:
            name, method_name, kwargs = msg.unpickle()
            service = self._service(name, msg)
            method = _method(service, method_name, msg, kwargs)
            kwargs = dict(kwargs)
            what = method_name, dict(kwargs)
            if _takes_msg(method):
                kwargs['msg'] = msg
            silent = getattr(method, 'mitogen_service__no_reply', False)
        except Exception as e:
            LOG.debug('%r: %r', self, e)
            if msg.reply_to:
                msg.reply(CallError(e) if not isinstance(e, CallError) else e)
            return

        def answer(value):
            if value is not Service.NO_REPLY and (msg.reply_to if failed(value) else not silent):
                msg.reply(value)

        def failed(value):
            return isinstance(value, CallError)

        self._invoker(service).invoke(what, lambda: method(**kwargs), answer)

    def _invoker(self, service):
        """The invoker of a service, which is made for its first call."""
        with self._lock:
            if id(service) not in self._invokers:
                self._invokers[id(service)] = service.invoker_class(service)
            return self._invokers[id(service)]

    def _service(self, name, msg):
        """The service with a name. One above this context may have it made of its class."""
        with self._lock:
            found = self._services.get(name)
        if found is not None:
            return found
        if _here.IS_MASTER or not _messages.has_parent_authority(msg):
            raise Error(NO_ACTIVATION, name)
        module, _, cls = name.rpartition(u'.')
        made = getattr(__import__(str(module), fromlist=[str(cls)]), str(cls))(self.router)
        with self._lock:
            return self._services.setdefault(name, made)


def get_or_create_pool(size=None, router=None, context=None):
    """The pool of a router."""
    router = router or context.router
    with _pools_lock:
        found = _pools.get(id(router))
        return found or Pool(router, size=size or (DEFAULT_SIZE if _here.IS_MASTER else 2))


def call(service_name, method_name, call_context=None, **kwargs):
    """Call a method of a service of this context, or of another one."""
    if call_context is not None:
        return call_context.call_service(service_name, method_name, **kwargs)
    router = _here.router()
    return router.myself().call_service(service_name, method_name, **kwargs)
