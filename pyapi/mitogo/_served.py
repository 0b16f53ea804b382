"""Objects of this program whose methods a context may call: Engine.serve.

An argument that is a Served grants the call that it is passed to, and no other, the use of the
object, until that call ends or the object is withdrawn. What a context asks for is a request
within the answer to that call, so that nothing but the call itself can send it: see
docs/protocol/program.md, "Served objects".
"""

from __future__ import annotations

import threading
from collections import deque

from . import _values
from ._link import DATA, ERROR, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Tuple

    from ._engine import Engine
    from ._link import Request
    from ._state import _State

MOST = 64  # requests of one call that may wait
FIRST = 1000  # lowest handle that an answer goes to
LAST = (1 << 31) - 1
PIECE = 131000  # bytes of an answer in one frame


class Served:
    """Stands for an object that is served. Its public methods can be called here, too."""

    _mitogo_served = True

    def __init__(
        self,
        engine: Engine,
        target: Any,
        only: Optional[Iterable[str]],
        wait: Optional[Callable[[Any], Any]],
    ) -> None:
        self._engine: Optional[Engine] = engine  # None: withdrawn
        self._name = getattr(target, '__qualname__', type(target).__qualname__)
        self._methods = methods(target, only)
        self._wait = wait  # for the result of a coroutine

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get('_methods', ()):
            return self._methods[name]
        raise AttributeError('%s serves no method %r' % (self.__dict__.get('_name'), name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__getattr__('__call__')(*args, **kwargs)

    def __repr__(self) -> str:
        return '<%s, served: %s>' % (self._name, ', '.join(sorted(self._methods)))

    def __reduce__(self) -> Any:
        raise TypeError('a served object can only be an argument of a call')


def methods(target: Any, only: Optional[Iterable[str]]) -> Dict[str, Callable[..., Any]]:
    """What may be called of an object: the methods of its class whose names have no underscore
    first, or those in only; of a function the function itself.
    """
    import types

    functions = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    if only is None and isinstance(target, functions):
        return {'__call__': target}
    if isinstance(only, str):
        raise TypeError('serve: got the text %r, want a list of names' % only)
    found = {}
    for name in _public(type(target)) if only is None else only:
        if not isinstance(name, str) or name.startswith('_'):
            raise ValueError('serve: got the name %r, want that of a public method' % (name,))
        method = getattr(target, name, None)
        if not callable(method):
            raise ValueError('serve: %s has no method %s' % (type(target).__qualname__, name))
        found[name] = method
    if not found:
        raise ValueError('serve: %s has no public method' % type(target).__qualname__)
    return found


def _public(cls: Any) -> List[str]:
    import types

    kinds = (types.FunctionType, staticmethod, classmethod)
    names = {}
    for base in reversed(cls.__mro__):
        for name, member in base.__dict__.items():
            names[name] = isinstance(member, kinds) and base.__module__ != 'builtins'
    return [n for n in names if names[n] and not n.startswith('_')]


class Grant:
    """The served objects that one call was given. A request of the call's is answered in a thread,
    one after another.
    """

    def __init__(self, state: _State, objects: List[Served]) -> None:
        for o in objects:
            if o._engine is not None and o._engine is not state.engine:
                raise TypeError('call: %r is served by another engine' % o)
        self._state, self._objects = state, objects
        self._lock = threading.Lock()
        self._requests: Deque[Tuple[int, bytes]] = deque()  # the first one is being answered
        self.call: Optional[Request] = None

    def take(self, payload: bytes) -> None:
        """Take a request: u32 handle for the answer, u32 number of the object, the method's name, a
        zero byte, a pickle of (args, kwargs). Doesn't wait.
        """
        handle = int.from_bytes(payload[:4], 'big')
        if len(payload) < 4 or not FIRST <= handle <= LAST:
            return  # no runtime sends it
        with self._lock:
            waiting = len(self._requests)
            if waiting < MOST:
                self._requests.append((handle, payload[4:]))
        if waiting >= MOST:
            self._fail(handle, RuntimeError('more than %d requests of a call wait' % MOST))
        elif not waiting:
            threading.Thread(target=self._run, name='mitogo served', daemon=True).start()

    def _run(self) -> None:
        from ._call import _serving

        _serving.state = self._state
        while True:
            handle, payload = self._requests[0]
            try:
                self._answer(handle, payload)
            except BaseException as e:  # SystemExit is the method's, too
                try:
                    self._fail(handle, e)
                except Exception:
                    pass  # the engine is lost
            with self._lock:
                self._requests.popleft()
                if not self._requests:
                    return

    def _answer(self, handle: int, payload: bytes) -> None:
        served, method, args, kwargs = self._read(payload)
        value = method(*args, **kwargs)
        if hasattr(value, '__await__'):
            if served._wait is None:
                value.close()
                raise TypeError('a coroutine is served by mitogo.aio.Engine only')
            value = served._wait(value)
        s = self._state
        p = _values.dump(value, s.protocol())
        if p.served or p.senders:
            raise TypeError('a served object or a sender can only be an argument of a call')
        link = s.engine._link
        s.engine._send_modules(s, p.modules)
        link.open(s.id, handle)
        for pos in range(0, len(p.payload), PIECE):
            if not link.feed(s.id, handle, p.payload[pos : pos + PIECE], self._over):
                break
        link.flows.pop((s.id, handle), None)
        link.send(frame(s.id, handle, b'', DATA))

    def _over(self) -> bool:
        """Whether the call has ended, so that nothing waits for an answer."""
        return self._state.error is not None or self.call is not None and self.call.kind is not None

    def _read(self, payload: bytes) -> Tuple[Served, Callable[..., Any], Any, Any]:
        """What a request asks for, or an error if the call may not have it."""
        s = self._state
        what = s.target, 'a request to a served object'
        number = int.from_bytes(payload[:4], 'big')
        name, _, arguments = payload[4:].partition(b'\0')
        served = self._objects[number] if number < len(self._objects) else None
        if self._over() or served is None or served._engine is None:
            raise PermissionError('the object was not given to this call, or was withdrawn')
        method = served._methods.get(name.decode('utf-8', 'replace'))
        if method is None:
            raise AttributeError('%s serves no method %.100r' % (served._name, name))
        allowed = {**s.engine._types, **_values.taken(method)}
        args, kwargs = _values.load(arguments, allowed, lambda: what)
        return served, method, args, {str(k): v for k, v in kwargs.items()}

    def _fail(self, handle: int, e: BaseException) -> None:
        """Answer with an error: its type and text, and nothing of the program's inside."""
        cls = TypeError if isinstance(e, _values.NotListed) else type(e)
        name = cls.__name__ if cls.__module__ == 'builtins' else ''
        try:
            text = e.args[0] if len(e.args) == 1 and type(e.args[0]) is str else str(e)
        except Exception:
            text = 'an error that has no text'
        if not name:
            text = '%s.%s: %s' % (cls.__module__, cls.__qualname__, text)
        payload = _values.pickled((name, text[: PIECE // 8]), 2)
        self._state.engine._link.send(frame(self._state.id, handle, payload, ERROR))
