"""The engine and its contexts: what is known of one, and requests about it."""

from __future__ import annotations

from time import monotonic

from . import errors
from ._lazy import Lazy
from ._link import DATA, ERROR, STDERR, STDOUT, Request
from ._primitives import Lock
from .errors import EngineLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Set, Tuple

    from . import _values
    from ._engine import Engine

    Output = Callable[[int, bytes], Any]
else:
    _values = Lazy('mitogo._values')  # pickle's module takes 3 ms to load


class Info:
    """What a context has said of itself: version of its Python (a tuple of three),
    implementation, platform, uid, hostname, pid, executable, name.
    """

    version: Tuple[int, int, int]
    implementation: str
    platform: str
    uid: int
    hostname: str
    pid: int
    executable: str
    name: str

    def __init__(self, fields: Dict[str, Any]) -> None:
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        return 'Info(%s)' % ', '.join('%s=%r' % i for i in self.__dict__.items())


class Stats:
    """What a context has cost. Engine.stats returns them.

    id, parent (0: the engine) and name say which context; bytes_down, bytes_up and round_trips
    count what has passed its connection, with what is behind it; calls, modules and module_bytes
    (compressed) what it was sent; asked how often it asked for a module, negative how often there
    was none; connect the seconds until it was up; pack the seconds for finding and packing modules.
    """

    id: int
    parent: int
    name: str
    bytes_down: int
    bytes_up: int
    round_trips: int
    calls: int
    modules: int
    module_bytes: int
    asked: int
    negative: int
    connect: float
    pack: float

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        return 'Stats(%s)' % ', '.join('%s=%r' % i for i in self.__dict__.items())


class _Switch:
    """What a mark in the output of a context has for its items: the item says that what comes is
    another call's. It is told by the thread that reads, in the order of what comes.
    """

    def __init__(self, state: _State, taker: Optional[Output]) -> None:
        self._state, self._taker = state, taker

    def append(self, q: Request) -> None:
        """Take the mark."""
        self._state.taker = self._taker

class _State:
    """What is known of a context."""

    def __init__(self, engine: Engine, id: int, target: str) -> None:
        self.engine, self.id, self.target = engine, id, target
        self.sending = Lock()  # held while a value is sent to a receiver there
        self.feeding = Lock()  # held while a script is sent its input
        self.taker: Optional[Output] = None  # of the output that comes now; None: the engine's
        self.error: Optional[errors.Error] = None
        self.connecting: Optional[Request] = None
        self.info: Optional[Info] = None
        self.prepared: Set[Any] = set()
        self.named: Dict[Any, bytes] = {}  # functions that were called, with what names them there
        self.main: Optional[int] = None  # key of the text that its main module was made of last
        self.lock = Lock()  # of prepared, main and what is sent with them
        self.decoders = self.new_decoders()

    @staticmethod
    def new_decoders() -> Dict[int, Any]:
        """What makes text of output, by its handle."""
        import codecs

        decoder = codecs.getincrementaldecoder('utf-8')
        return {STDOUT: decoder('replace'), STDERR: decoder('replace')}


    def coming(self) -> bool:
        """Whether its connect goes on."""
        q = self.connecting
        return self.error is None and self.info is None and (q is None or q.kind is None)

    def known(self) -> None:
        """Take what has come of the connect."""
        q = self.connecting
        if q is None or q.kind is None:
            return
        self.connecting = None
        if q.kind == DATA:
            self.info = Info(_values.load(q.payload, {}, lambda: ('engine', 'connect')))
        elif self.error is None:
            if q.kind == ERROR:
                self.error = errors.of(_values.load(q.payload, {}, lambda: ('engine', 'connect')))
            else:
                self.error = EngineLost(q.payload.decode('utf-8', 'replace'))

    def wait(self, timeout: Optional[float]) -> None:
        """Wait until it is up; raises why it isn't, or TimeoutError after timeout seconds."""
        q = self.connecting
        if q is not None:
            until = None if timeout is None else monotonic() + timeout
            if not self.engine._link.wait(lambda: q.kind is not None, until):
                raise TimeoutError('%s is not up within %g s' % (self.target, timeout or 0))
            self.known()
        if self.error is not None:
            raise self.raised(b'')

    def protocol(self) -> int:
        """Of pickles that the context reads."""
        if self.connecting is not None:
            self.known()
        if self.info is None or self.info.version < (3,):
            return 2
        return 4 if self.info.version >= (3, 5) else 3

    def raised(self, why: bytes) -> errors.Error:
        """The error of a request that has no answer."""
        self.known()
        if self.error is not None:
            e = self.error
            again = type(e)(*e.args)
            again.__dict__.update(e.__dict__)
            return again
        text = errors.printable(why.decode('utf-8', 'replace'))
        if self.engine._link.error is not None:
            return EngineLost(text)
        return errors.Error('%s: %s' % (self.target, text))


def _op(name: str, arguments: Dict[str, Any]) -> bytes:
    return _values.pickled((name, arguments), 4)
