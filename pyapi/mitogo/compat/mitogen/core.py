"""Names that programs know from the original's module of that name."""
import functools

from mitogen import _absent, _here, _plain, _signals
from mitogen import _messages
from mitogen._latch import Latch
from mitogen._messages import (
    CALL_FUNCTION, CALL_SERVICE, FIRST_HANDLE, IS_DEAD, LOG, SHUTDOWN, Channel, Context, Message,
    Receiver, Router, Sender, _unpickle_context, _unpickle_sender, has_parent_authority,
    set_pickle_whitelist)
from mitogen._plain import (
    Blob, CallError, ChannelError, Error, Kwargs, LatchError, Secret, StreamError, TimeoutError,
    _unpickle_call_error)
from mitogen._signals import fire, listen, unlisten

__getattr__ = _absent.getter('core')
UnicodeType = _plain.text
BytesType = bytes

# They are known, and pickled, by these names.
for _c in (
        Blob, CallError, Channel, ChannelError, Context, Error, Kwargs, Latch, LatchError, Message,
        Receiver, Router, Secret, Sender, StreamError, TimeoutError, _unpickle_call_error,
        _unpickle_context, _unpickle_sender):
    _c.__module__ = 'mitogen.core'


def b(s):
    """A literal as bytes."""
    return s.encode('latin1')


def to_text(o):
    """o as text; bytes are UTF-8."""
    return o.decode('utf-8') if isinstance(o, bytes) else UnicodeType(o)


class ExternalContext(object):
    """The argument of a function with takes_econtext: the router of its context, and what goes
    with it.
    """

    def __init__(self, router):
        self.router, self.broker = router, router.broker
        self.parent = self.master = None
        if _here.PARENT_IDS:
            self.parent = router.context_by_id(_here.PARENT_IDS[0])
            self.master = router.context_by_id(_here.PARENT_IDS[-1])

    def detach(self):
        """Raises NotImplementedError."""
        raise NotImplementedError(
            'detach: a context of this engine ends with its program, whatever happens')


def _takes(name, func, make):
    @functools.wraps(func)
    def call(*args, **kwargs):
        router = _here.router()
        if name not in kwargs and router is not None:
            kwargs[name] = make(router)
        return func(*args, **kwargs)

    return call


def takes_econtext(func):
    """A decorator of a function that a context calls: econtext is an ExternalContext there."""
    return _takes('econtext', func, ExternalContext)


def takes_router(func):
    """A decorator of a function that a context calls: router is the router of the context."""
    return _takes('router', func, lambda router: router)
