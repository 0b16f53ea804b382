"""Call and Stream: a call that was begun, and its items."""

from __future__ import annotations

from _thread import start_new_thread
from time import monotonic

from . import _link, _source, errors
from ._lazy import Lazy
from ._link import CANCEL, DATA, DEAD, DO, ERROR, Request, frame
from ._primitives import local
from ._sending import FUNCTIONS, _again, _asked, _begin
from ._state import _op, _State
from .errors import CallError, EngineLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Generic, List, Optional, Tuple, TypeVar

    from . import _values
    from ._context import Context

    T = TypeVar('T')
else:
    _values = Lazy('mitogo._values')  # pickle's module takes 3 ms to load

_serving = local()  # state: the context whose request this thread answers
GRACE = 2.0  # seconds that a cancelled call has to end


class _Generic:
    """Stands for typing.Generic, which takes long to import."""

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


if TYPE_CHECKING:

    class _Base(Generic[T]):
        pass
else:
    _Base = _Generic


class Call(_Base['T']):
    """A call that was begun. Its methods are those of concurrent.futures.Future."""

    _value: Any = None
    _error: Optional[BaseException] = None
    _read = _cancelled = False

    def __init__(
        self,
        context: Context,
        fn: Any,
        args: Any,
        kwargs: Any,
        streaming: bool,
        taker: Optional[Callable[[int, bytes], Any]] = None,
        soon: bool = False,
    ) -> None:
        self._s = s = context._s
        s.engine._check()
        if getattr(_serving, 'state', None) is s:
            raise errors.Error(
                'call: a served method was called from %s, where no call begins before that one '
                'has ended' % s.target
            )
        if type(fn) not in FUNCTIONS:
            fn, args, kwargs = _source.unwrapped(fn, args, kwargs)
        self._fn = fn
        self._callbacks: List[Callable[[Call[T]], Any]] = []
        timeout = context._timeout
        self._timeout = timeout
        self._until = None if timeout is None else monotonic() + timeout
        self._q = _begin(self, fn, args, kwargs, streaming, taker or context._taker(), soon)

    @classmethod
    def _of(cls, s: _State, fn: Any, q: Request) -> Call[Any]:
        """A call, of what was sent for it."""
        call: Call[Any] = cls.__new__(cls)
        call._s, call._fn, call._q, call._callbacks = s, fn, q, []
        call._timeout = call._until = None
        return call

    def _what(self) -> Tuple[str, str]:
        fn = self._fn
        return self._s.target, fn if isinstance(fn, str) else getattr(fn, '__qualname__', repr(fn))

    def __repr__(self) -> str:
        return '<mitogo.Call of %s in %s%s>' % (
            self._what()[1],
            self._s.target,
            ', done' if self.done() else '',
        )

    def done(self) -> bool:
        """Whether it has ended."""
        return self._q.kind is not None

    def running(self) -> bool:
        """Whether it hasn't."""
        return not self.done()

    def cancelled(self) -> bool:
        """Whether cancel has ended it."""
        return self._cancelled and self.done()

    def cancel(self) -> bool:
        """Interrupt it there: KeyboardInterrupt, or off the queue. Doesn't wait. False: it had
        ended.
        """
        if self._q.kind is not None:
            return False
        self._cancelled = True
        self._s.engine._link.send(frame(self._s.id, CANCEL, _link._two.pack(self._q.reply, 0)[:4]))
        return True

    def result(self, timeout: Optional[float] = None) -> T:
        """Its result, or what it has raised.

        timeout only bounds this wait (TimeoutError); the timeout of Context.options, and
        KeyboardInterrupt, end the call there.
        """
        if self._q.kind is None:
            self._wait(timeout)
        if not self._read:
            self._s.engine._link.delivered(self._until)  # what was written before it
            self._finish()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """What it has raised; None: nothing."""
        try:
            self.result(timeout)
        except Exception as e:
            if self._error is None:
                raise
            return e
        return None

    def add_done_callback(self, fn: Callable[[Call[T]], Any]) -> None:
        """Call fn(self) once it has ended, in whatever thread finds that."""
        self._callbacks.append(fn)
        self._q.done = self._call_back
        if self._q.kind is not None:
            self._call_back()

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                fn = self._callbacks.pop(0)
            except IndexError:
                break
            fn(self)

    def _wait(self, timeout: Optional[float]) -> None:
        q, link, until = self._q, self._s.engine._link, self._until
        own = timeout is not None and (until is None or monotonic() + timeout < until)
        if own:
            until = monotonic() + timeout  # type: ignore[operator]
        try:
            if until is None:
                link.answered(q)
                return
            if link.wait(lambda: q.kind is not None, until):
                return
        except KeyboardInterrupt:
            self._interrupt()
            raise
        if own:
            raise TimeoutError(
                '%s in %s: no result within %g s' % (self._what()[1], self._s.target, timeout or 0)
            )
        self._interrupt()
        raise self._late()

    def _late(self) -> TimeoutError:
        return TimeoutError(
            '%s in %s: interrupted after %g s'
            % (self._what()[1], self._s.target, self._timeout or 0)
        )

    def _interrupt(self) -> None:
        """End it: by CANCEL, and if that has no effect in GRACE seconds, with its context."""
        link, q = self._s.engine._link, self._q
        if q.kind is not None or link.error is not None:
            return
        try:
            if self._cancel_up() and link.wait(lambda: q.kind is not None, monotonic() + GRACE):
                return
        finally:
            self._kill()

    def _cancel_up(self) -> bool:
        """Cancel it if its context is up. False: it isn't, so that only _kill ends the call."""
        self._s.known()
        return self._s.info is not None and self.cancel()

    def _kill(self) -> None:
        """End its context, unless it has ended itself."""
        link = self._s.engine._link
        if self._q.kind is None and link.error is None:
            why = '%s did not end when it was cancelled' % self._what()[1]
            link.send(frame(0, DO, _op('kill', {'id': self._s.id, 'why': why})))

    def _finish(self) -> None:
        q, s = self._q, self._s
        if q.kind == DEAD:
            self._error = s.raised(q.payload)
        elif q.kind == ERROR:
            self._error = _remote(s, q.payload)
            if isinstance(self._error, NameError):
                _explain(self._error, self._fn)
        else:
            try:
                value = _simple(q.payload)
                if value is _OTHER or q.items:
                    allowed = self._allowed()
                    value = self._load(q.payload, allowed)
                    if not q.streaming and (q.items or not q.payload):  # a generator's end is empty
                        value = [self._load(i, allowed) for i, _ in q.items]
                self._value = value
            except TypeError as e:
                self._error = e
        q.payload = b''
        self._read = True

    def _allowed(self) -> Dict[Tuple[str, str], Any]:
        types = self._s.engine._types
        if isinstance(self._fn, str):
            return types
        own = _values.returned(self._fn)
        return {**types, **own} if types else own

    def _load(self, payload: bytes, allowed: Dict[Tuple[str, str], Any]) -> Any:
        while True:
            try:
                return _values.load(payload, allowed, self._what)
            except _values.NotListed as e:
                more = self._more(e.module, e.name)
                if not more or (e.module, e.name) in allowed:
                    raise
            allowed = {**allowed, **more}

    def _more(self, module: str, name: str) -> Dict[Tuple[str, str], Any]:
        """What a value may have besides, of a class that is not on the list."""
        if (module, name) in (('mitogo', 'Sender'), ('mitogen', 'Sender')):
            from ._receiver import sent_by

            return sent_by(self._s)
        return self._s.engine._admitted(module, name)

    def _next(self) -> Optional[Tuple[Any]]:
        """The next item of a stream in a tuple, None at its end."""
        q, link = self._q, self._s.engine._link
        try:
            ready = link.wait(lambda: q.items or q.kind is not None, self._until)
            link.delivered(self._until)
        except KeyboardInterrupt:
            self._interrupt()
            raise
        if not ready:
            self._interrupt()
            raise self._late()
        if not q.items:
            return None
        return (self._load(link.take(q), self._allowed()),)


_OTHER = object()


def _simple(payload: bytes) -> Any:
    """The value of a pickle that names nothing, so that no list is needed; _OTHER: it names
    something, or can't be read.
    """
    try:
        if payload and not _values.scan(payload):
            return _values.unnamed(payload)
    except Exception:
        pass  # _values.load says why
    return _OTHER


def _at_once(s: _State, fn: Any, args: Tuple[Any, ...]) -> Optional[Tuple[Any]]:
    """Call a function that was called before, with plain arguments, and return its result in a
    tuple. None: it is another call, and nothing was sent. This is Call, without what only other
    calls need.
    """
    if type(fn) not in FUNCTIONS or getattr(_serving, 'state', None) is s or s.engine._closed:
        return None
    whole = _again(s, fn, args)
    if whole is None:
        return None
    link = s.engine._link
    q = _asked(s, whole)
    if q is None:
        return None
    try:
        link.answered(q)
    except KeyboardInterrupt:
        Call._of(s, fn, q)._interrupt()
        raise
    if q.kind == DATA and q.items is _link._NONE and not link._undelivered():
        value = _simple(q.payload)
        if value is not _OTHER:
            return (value,)
    return (Call._of(s, fn, q).result(),)


def _remote(s: _State, payload: bytes) -> BaseException:
    """The exception that an ERROR has."""
    try:
        module, name, text, trace, args = _values.load(payload, {}, lambda: (s.target, 'an error'))
        if not (args is None or isinstance(args, tuple)):
            args = None
        return errors.remote(s.target, str(module), str(name), str(text), str(trace), args)
    except (TypeError, ValueError):
        return CallError('%s: an error that can not be read' % s.target)


def _explain(e: Any, fn: Any) -> None:
    """Say why a function of the main module misses a name: it is assigned there by a statement
    that contexts don't execute.
    """
    import sys

    names = vars(sys.modules['__main__'])
    missing = e.text.partition("name '")[2].partition("'")[0]
    if getattr(fn, '__module__', None) == '__main__' and missing in names and e.args:
        e.text += (
            ': of the main module a context has imports, functions, classes and constants; '
            'pass %s as an argument, or make it in a function' % missing
        )
        e.args = (e.text,)


class Stream(_Base['T']):
    """The items of a generator that runs in a context."""

    def __init__(self, call: Call[Any]) -> None:
        self._call = call
        self._ended = False

    def __iter__(self) -> Stream[T]:
        return self

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item = self._call._next()
        if item is not None:
            return item[0]  # type: ignore[no-any-return]
        self._ended = True
        payload = self._call._q.payload if self._call._q.kind == DATA else b''
        value = self._call.result()
        if payload:
            return value  # type: ignore[no-any-return]
        raise StopIteration

    def close(self) -> None:
        """End the generator there, and wait for that."""
        self._ended = True
        self._call._interrupt()

    def __del__(self) -> None:
        call = getattr(self, '_call', None)
        if call is not None and call._q.kind is None and call._s.engine._link.error is None:
            try:
                start_new_thread(_abandon, (call,))
            except RuntimeError:
                pass  # this process ends, and closes the socket


def _abandon(call: Call[Any]) -> None:
    """Cancel the call of a stream that nothing refers to any more. The collector finds that in any
    thread, and while the thread holds any lock: so it is done in another.
    """
    try:
        call.cancel()
    except EngineLost:
        pass
