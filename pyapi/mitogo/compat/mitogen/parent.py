"""Contexts that were started here, calls in them, and what may go wrong with both."""
import itertools
import os
import threading

from mitogen import _absent, _here, _messages
from mitogen._plain import StreamError

__getattr__ = _absent.getter('parent')
if _here.IS_MASTER:
    _engine = __import__('mitogen._' + 'engine', fromlist=['connect'])


class EofError(StreamError):
    """A context could not be started: its program ended first."""


class CancelledError(StreamError):
    """A connect was given up, as the router ends."""


class Context(_messages.Context):
    """A context that a router of this program has started."""

    def __init__(self, router, context_id, name=None):
        _messages.Context.__init__(self, router, context_id, name)
        self.default_call_chain = CallChain(self)
        self._peer = None   # the engine's; None: it isn't one of this program

    # Its own: a class with __eq__ has none.
    __hash__ = _messages.Context.__hash__

    def call(self, fn, *args, **kwargs):
        """Call fn there and return its result. CallError: it has raised; ChannelError: the
        context has gone; StreamError: the result can't be read.
        """
        return self.default_call_chain.call(fn, *args, **kwargs)

    def call_async(self, fn, *args, **kwargs):
        """Begin a call, and return the Receiver that its one message comes to."""
        return self.default_call_chain.call_async(fn, *args, **kwargs)

    def call_no_reply(self, fn, *args, **kwargs):
        """Begin a call whose result the caller doesn't get. What it raises is logged."""
        self.default_call_chain.call_no_reply(fn, *args, **kwargs)

    def shutdown(self, wait=False):
        """End the context, and return once it has ended; without wait at once, with a Latch that
        gets a value then.
        """
        latch = _engine.shutdown(self)
        if not wait:
            return latch
        latch.get()
        return None


class CallChain(object):
    """Calls in one context. If it is pipelined, calls behind a call that has failed fail alike,
    until reset().
    """

    closures_msg = 'functions that use variables of the function they are made in can not be sent'
    lambda_msg = 'lambda functions have no name that a context could call them by'
    method_msg = 'methods of objects can not be called in a context, which has not the object'

    _numbers = itertools.count(1)

    def __init__(self, context, pipelined=False):
        self.context = context
        self.chain_id = self.make_chain_id() if pipelined else None

    @classmethod
    def make_chain_id(cls):
        """Text that no other chain has."""
        return '%d-%d-%d' % (os.getpid(), threading.get_ident(), next(cls._numbers))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.reset()

    def reset(self):
        """Forget the failure."""
        if self.chain_id:
            _engine.forget_chain(self)

    def call(self, fn, *args, **kwargs):
        """As Context.call."""
        return _engine.call(self, self._checked(fn), args, kwargs)

    def call_async(self, fn, *args, **kwargs):
        """As Context.call_async."""
        return _engine.call_async(self, self._checked(fn), args, kwargs)

    def call_no_reply(self, fn, *args, **kwargs):
        """As Context.call_no_reply."""
        _engine.call_no_reply(self, self._checked(fn), args, kwargs)

    def _checked(self, fn):
        """fn, if it can be called in a context."""
        name = getattr(fn, '__qualname__', '')
        bound = getattr(fn, '__self__', None)
        if '<lambda>' in name:
            raise TypeError(self.lambda_msg)
        if getattr(fn, '__closure__', None) and '<locals>' in name:
            raise TypeError(self.closures_msg)
        if bound is not None and not isinstance(bound, (type, type(os))):
            raise TypeError(self.method_msg)
        return fn


class Router(_messages.Router):
    """Starts contexts. Each method returns a Context that is up, or raises a StreamError."""

    context_class = Context

    def connect(self, method_name, name=None, **kwargs):
        """A context by the method of that name, with its options."""
        return _engine.connect(self, method_name, name, kwargs)

    def local(self, **kwargs):
        """A process beside this one, or beside `via`."""
        return self.connect('local', **kwargs)

    def fork(self, **kwargs):
        """As local: nothing of this process is inherited."""
        return self.connect('fork', **kwargs)

    def ssh(self, **kwargs):
        """By ssh to hostname."""
        return self.connect('ssh', **kwargs)

    def sudo(self, **kwargs):
        """By sudo, as username (root)."""
        return self.connect('sudo', **kwargs)

    def su(self, **kwargs):
        """By su, as username (root)."""
        return self.connect('su', **kwargs)

    def doas(self, **kwargs):
        """By doas, as username (root)."""
        return self.connect('doas', **kwargs)

    def docker(self, **kwargs):
        """In a container of Docker, or a new one of an image."""
        return self.connect('docker', **kwargs)

    def podman(self, **kwargs):
        """In a container of Podman."""
        return self.connect('podman', **kwargs)

    def buildah(self, **kwargs):
        """In a container of Buildah."""
        return self.connect('buildah', **kwargs)

    def kubectl(self, **kwargs):
        """In a pod."""
        return self.connect('kubectl', **kwargs)

    def lxc(self, **kwargs):
        """In a container of LXC."""
        return self.connect('lxc', **kwargs)

    def lxd(self, **kwargs):
        """In a container of LXD."""
        return self.connect('lxd', **kwargs)

    def incus(self, **kwargs):
        """In a container of Incus."""
        return self.connect('incus', **kwargs)

    def jail(self, **kwargs):
        """In a jail of FreeBSD."""
        return self.connect('jail', **kwargs)

    def setns(self, **kwargs):
        """In the namespaces of a container."""
        return self.connect('setns', **kwargs)


def upgrade_router(_econtext):
    """Does nothing: contexts are started by the engine."""
