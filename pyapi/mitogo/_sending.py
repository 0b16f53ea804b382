"""What a call sends: its arguments, and before them what they need."""

from __future__ import annotations

import sys

from . import _link, _source
from ._lazy import Lazy
from ._link import CALL, DEAD, PREPARE, Request, frame
from ._state import _State, _Switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

    from . import _values
    from ._call import Call
    from ._outbox import Data
    from ._served import Grant
else:
    _values = Lazy('mitogo._values')  # pickle's module takes 3 ms to load


HELPER = '_mitogen_program'
FUNCTIONS = frozenset((type(_link.frame), type(len), str))  # whose names don't change
NAMED = 1000  # functions that a context is remembered to know
MARK = b'_mitogen_program:mark\0'  # the item of its answer comes between the output of two calls
SMALL = 65536  # bytes of arguments that are sent before it is known which Python reads them


def _begin(
    call: Call[Any],
    fn: Any,
    args: Any,
    kwargs: Any,
    streaming: bool,
    taker: Optional[Callable[[int, bytes], Any]],
    soon: bool,
) -> Request:
    if taker is None and not kwargs and type(fn) in FUNCTIONS:
        whole = _again(call._s, fn, args)
        if whole is not None:
            q = _asked(call._s, whole, streaming, call._until, soon)
            if q is None:
                raise call._late()
            return q
    return _first(call, fn, args, kwargs, streaming, taker, soon)


def _again(s: _State, fn: Any, args: Tuple[Any, ...]) -> Optional[bytes]:
    """A call of a function that was called before, with plain arguments. None: it is another."""
    if s.error is not None:
        return None
    name = s.named.get(fn)
    if name is None or not args:
        return name
    for a in args:
        t = type(a)
        if t not in _values.SIMPLE or (t is bytes or t is str) and len(a) > SMALL:
            return None
    payload = _values.pickled((args, {}), s.protocol())
    return name + payload if len(payload) <= SMALL else None


def _asked(
    s: _State,
    whole: bytes,
    streaming: bool = False,
    until: Optional[float] = None,
    soon: bool = False,
) -> Optional[Request]:
    """Send a call, once it is its turn. None: `until` has come before."""
    link, cost = s.engine._link, len(whole) + _link.ITEM_COST
    if not link.reserve(s.id, cost, lambda: s.error is not None, until):
        return None
    try:
        return link.ask(s.id, CALL, whole, b'', streaming, cost, until, soon=soon)
    except BaseException:
        link.release(s.id, cost)
        raise


def _first(
    call: Call[Any],
    fn: Any,
    args: Any,
    kwargs: Any,
    streaming: bool,
    taker: Optional[Callable[[int, bytes], Any]],
    soon: bool,
) -> Request:
    s = call._s
    if s.error is not None:
        raise s.raised(b'')
    module, path = _source.name(fn)
    text = None
    of_main = module == '__main__'
    module = _values.served_as(module)
    p = _arguments(call, args, kwargs)
    payload, modules = p.payload, p.modules
    if of_main:
        text = _source.main_text(fn, path, p.main)
    elif '__main__' in modules:
        text = _source.main_text(None, '', p.main)
    link = s.engine._link
    grant, over = _given(s, p)
    take = None if grant is None else grant.take
    target = '%s:%s' % (module, path)
    if text is not None or modules:
        payload = payload if isinstance(payload, bytes) else b''.join(payload)
        payload = _values.pickled(((target, payload), {}), s.protocol())
        target = HELPER + ':call'
    whole = _whole(target, payload)
    cost, until = len(whole) + _link.ITEM_COST, call._until
    if not link.reserve(s.id, cost, lambda: s.error is not None, until):
        raise call._late()
    try:
        with s.lock:
            before = _before(s, module, modules, text)
            before += b''.join([x._grant(s, id(p.senders)) for x in p.senders])
            if taker is not None:
                link.ask(s.id, CALL, MARK, before, order=_Switch(s, taker), soon=soon)
                before = b''
            q = link.ask(
                s.id, CALL, whole, before, streaming, cost, until, take, over, soon=soon
            )
            if taker is not None:
                link.ask(s.id, CALL, MARK, order=_Switch(s, None), soon=soon)
            if text is None and not modules and type(fn) in FUNCTIONS:
                _remember(s, fn, target)
        if grant is not None:
            grant.call = q
        return q
    except BaseException as e:
        link.release(s.id, cost)
        if over is not None:
            over(DEAD)
        if isinstance(e, TimeoutError):
            raise call._late() from None
        raise


def _whole(target: str, payload: Union[bytes, List[Data]]) -> _link.Payload:
    """What CALL has: what is called, and its arguments."""
    head = target.encode('utf-8') + b'\0'
    if isinstance(payload, bytes):
        return head + payload
    from ._pieces import Pieces

    return Pieces(head, *payload)


def _arguments(call: Call[Any], args: Any, kwargs: Any) -> _values.Pickled:
    """Arguments pickled for the Python of the context: many are sent once it is known."""
    s = call._s
    p = _pickled(s, args, kwargs)
    if s.info is None and (not isinstance(p.payload, bytes) or len(p.payload) > SMALL):
        s.wait(call._timeout)
        p = _pickled(s, args, kwargs)
    return p


def _remember(s: _State, fn: Any, target: str) -> None:
    """Note that a context knows a function, for _again."""
    if len(s.named) >= NAMED:
        s.named.clear()
    s.named[fn] = target.encode('utf-8') + b'\0'


def _given(
    s: _State, p: _values.Pickled
) -> Tuple[Optional[Grant], Optional[Callable[[int], None]]]:
    """What stands behind a call's objects and senders: a Grant, and what is told of its end."""
    grant = told = None
    if p.served:
        from ._served import Grant

        grant = Grant(s, p.served)
    if p.senders:
        from ._receiver import over

        told = over(s, p.senders)
    return grant, told


def _pickled(s: _State, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> _values.Pickled:
    """Arguments pickled."""
    if not args and not kwargs:
        return _values.plain(b'')
    proto = s.protocol()
    if not kwargs and all(type(a) in _values.SIMPLE for a in args):
        if any(type(a) is bytes and len(a) > SMALL for a in args):
            from . import _pieces

            buffers = _pieces.pickled(args, proto)
            if buffers is not None:
                return _values.plain(buffers)
        return _values.plain(_values.pickled((args, kwargs), proto))
    return _values.dump((args, kwargs), proto)


def _before(s: _State, module: str, modules: Set[str], text: Optional[_source.Text]) -> bytes:
    """The frames that have to come before a call, the first time. s.lock is held."""
    frames = []
    if HELPER not in s.prepared:
        frames += [_prepare(s, HELPER), frame(s.id, CALL, HELPER.encode() + b':begin\0')]
        s.prepared.add(HELPER)
    if text is not None and s.main != text.key:
        frames.append(_prepare(s, '__main__', text.source))
        main = HELPER.encode() + b':main\0' + _values.pickled(((text.path, text.source), {}), 2)
        if len(main) > _link.MAX_PAYLOAD:
            raise TypeError(
                'call: got a main module of %d bytes, want at most %d: put its functions in modules'
                % (len(main), _link.MAX_PAYLOAD)
            )
        frames.append(frame(s.id, CALL, main))
        s.main = text.key
    for name in [module] + sorted(modules):
        if name not in s.prepared and name != '__main__' and name != HELPER:
            frames.append(_prepare(s, _values.served_as(name)))
            s.prepared.add(name)
    return b''.join(frames)


def _prepare(s: _State, module: str, text: Optional[bytes] = None) -> bytes:
    payload = s.id.to_bytes(4, 'big') + module.encode('utf-8')
    if text is not None:
        payload += b'\0' + text
    return frame(0, PREPARE, payload)
