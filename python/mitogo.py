"""What `import mitogo` is in a context: enough for the import, since a program's module is
executed here, too. mitogo.aio and mitogo.errors are there as well.
"""
import sys
import _mitogen as core

TYPE_CHECKING = False


class Error(Exception):
    """As in the program."""


class EngineError(Error):
    """As in the program."""


class EngineLost(EngineError):
    """As in the program."""


class CallError(Error):
    """As in the program."""


class ConnectError(Error):
    """As in the program."""


class PasswordError(ConnectError):
    """As in the program."""


class HostKeyError(ConnectError):
    """As in the program."""


class ContextLost(Error):
    """As in the program."""


class SenderLost(Error):
    """No more values will come by a sender that was not closed."""


class ReceiverClosed(Error):
    """A receiver takes no more values, or none will come."""


class FleetError(Error):
    """As in the program."""


class Engine(object):
    """Stands for the engine. There is one in the program only."""

    def __init__(self, *args, **kwargs):
        raise EngineError('an Engine is made in the program, and this is one of its contexts')


class SSH(object):
    """Options of connect: a program's module may make them when it is imported."""

    def __init__(self, *args, **kwargs):
        pass


class Sudo(SSH):
    """As SSH."""


class Item(type):
    """A class X of which X[type] is X, for annotations."""

    def __getitem__(cls, item):
        return cls


def messages():
    """The module that senders and receivers are of. A program written for Mitogen has another of
    that name, and sends by what is there.
    """
    module = __import__('mitogen')
    if not hasattr(module, 'DeadError'):
        raise EngineError('the program is one for Mitogen: use mitogen.core here')
    return module


class Sender(Item('Generic', (object,), {})):
    """Sends values to a receiver of the program's, or of another context's."""

    def __init__(self, context, handle):
        self._to = context, handle
        self._closed = False
        self._sender = messages().Sender(context, handle)

    def __reduce__(self):
        return Sender, self._to

    def send(self, value):
        """Send a value; waits while the receiver is more than 1 MiB behind."""
        try:
            self._sender.send(value)
        except messages().DeadError:
            raise ReceiverClosed(str(sys.exc_info()[1]))

    def close(self):
        """Tell the receiver that no more will come."""
        if not self._closed:
            self._closed = True
            self._sender.close()


class Receiver(Item('Generic', (object,), {})):
    """Takes plain values that other contexts, and the program, send by its sender, until the first
    of them closes that.
    """

    def __init__(self):
        self._receiver = messages().Receiver()

    sender = property(lambda self: Sender(core.ME, self._receiver.handle))

    def get(self, timeout=None):
        """The next value; ReceiverClosed at the end, TimeoutError after timeout seconds."""
        try:
            return self._receiver.get(timeout)
        except messages().DeadError:
            if self._receiver.lost:
                raise SenderLost('what sends has ended or failed without closing its sender')
            raise ReceiverClosed('a sender was closed, or the receiver')
        except IndexError:
            raise getattr(core.BUILTINS, 'TimeoutError', IndexError)(str(sys.exc_info()[1]))

    def __iter__(self):
        while 1:
            try:
                value = self.get()
            except ReceiverClosed:
                return
            yield value

    def close(self):
        """Take nothing more."""
        self._receiver.close()


Context = Item('Context', (object,), {'__doc__': 'Stands for a context, in annotations.'})
Call, Stream, Fleet, FleetCall, Info, Result, Results, Stats = [
    Item(name, (object,), {'__doc__': Context.__doc__})
    for name in ('Call', 'Stream', 'Fleet', 'FleetCall', 'Info', 'Result', 'Results', 'Stats')]


def submodule(name, names):
    """A module of this one, with some of its names."""
    module = sys.modules['mitogo.' + name] = type(sys)('mitogo.' + name)
    for n in names:
        setattr(module, n, globals()[n])
    return module


aio = submodule('aio', (
    'Engine', 'Context', 'Fleet', 'Result', 'Results', 'EngineError', 'Receiver', 'Sender'))
errors = submodule('errors', [
    n for n in list(globals()) if n.endswith('Error') or n[-4:] in ('Lost', 'osed')])
