"""Engine: starts contexts, and takes what comes unasked."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from time import time

from . import _link, _source, errors
from ._asking import _on_terminal, _questions, _settings
from ._context import Context
from ._lazy import Lazy
from ._link import DATA, DEAD, DO, LOG, LOST, STDERR, STDOUT, WANT, Request, frame
from ._options import SSH, Sudo, _given
from ._primitives import Lock
from ._process import _dropped, _end, _find_binary, _spawn, _weakly
from ._sending import _prepare
from ._state import Stats, _op, _State
from .errors import EngineError, EngineLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import (
        Any,
        Callable,
        Dict,
        Iterable,
        List,
        Optional,
        Sequence,
        Tuple,
        Type,
        TypeVar,
        Union,
    )
    from typing import overload

    from . import _values
    from ._fleet import Fleet
    from ._options import PathLike
    from logging import LogRecord

    from ._receiver import Receiver

    Output = Optional[Callable[[str, str], Any]]
    T = TypeVar('T')
else:
    from ._context import overload

    _values = Lazy('mitogo._values')  # pickle's module takes 3 ms to load

PROTOCOL = 1
MAX_MESSAGE = 128 << 20
MOST_LEVEL = 50  # of a log record: CRITICAL
LATEST = 253402300800.0  # the year 10000, which no clock shows

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """Starts contexts, here and on other machines, and calls functions in them. A context manager.

    path and packages are where modules are found: the program's own, and installed ones; by default
    what sys.path has. serve names modules that may be sent though no code names them. types are
    classes that contexts may return besides those that annotations name. output(target, text) takes
    what contexts write; by default it is written to sys.stdout and sys.stderr. prompt(hop, kind,
    text) answers questions for passwords and the like; by default they are asked on the terminal,
    None refuses them. heartbeat is how many seconds of silence end a connection. max_message bounds
    a value, in bytes. log(record) takes the records of contexts and of the engine, which go to
    module logging by default. forks is how many targets a fleet works with at once. With daemon
    contexts come from the user's `mitogen daemon`, which is started if there is none, and keeps
    connections open for later programs: what this one gets is a fork of each, and ends with it.

    An engine is a process of its own. It ends with this one, and everything that it has started
    with it; so it does when nothing refers to the Engine, its contexts or their calls any more.
    """

    _threaded = True  # what comes unasked is read by a thread
    _extra: Dict[str, Any] = {}  # of a subclass, for the engine's configuration
    _log_level = 0  # of records that contexts send; 0: the default

    def __init__(
        self,
        *,
        path: Optional[Sequence[PathLike]] = None,
        packages: Optional[Sequence[PathLike]] = None,
        serve: Sequence[str] = (),
        types: Iterable[type] = (),
        output: Output = None,
        prompt: Union[str, None, Callable[[str, str, str], str]] = 'terminal',
        heartbeat: float = 0,
        max_message: int = MAX_MESSAGE,
        log: Optional[Callable[[LogRecord], Any]] = None,
        forks: int = 50,
        daemon: bool = False,
    ) -> None:
        self._log_to, self._forks = log, forks
        self._types = _values.of_types(types)
        self._output = output
        self._prompt = prompt
        own, installed = _source.search_path() if path is None or packages is None else ([], [])
        configuration = _given(
            own=own if path is None else [os.path.abspath(p) for p in path],
            packages=installed if packages is None else [os.path.abspath(p) for p in packages],
            serve=list(serve),
            heartbeat=float(heartbeat),
            max_message=max_message,
            prompts=prompt is not None,
            daemon=bool(daemon),
            protocol=PROTOCOL,
            **self._extra,
        )
        self._contexts: Dict[int, _State] = {}
        # receivers of contexts that other contexts may send to
        self._permits: Dict[int, Dict[Tuple[int, int], None]] = {}
        self._last = 0
        self._lock = Lock()
        self._closed = False
        self._binary = _find_binary()
        self._pid, fd = _spawn(self._binary)
        self._link = _link.Link(fd, max_message)
        self._link.unasked = _weakly(self._unasked)
        self._link.hint = (
            ' (it has answered nothing: is %s the mitogen of this package?)' % self._binary
        )
        _engines.add(self)
        self._finalizer = weakref.finalize(self, _dropped, self._link, self._pid)
        self._finalizer.atexit = False  # _at_exit waits for the end
        try:
            q = self._link.ask(0, DO, _op('configure', configuration))
        except EngineLost:
            self.close()
            raise
        link, binary = self._link, self._binary
        q.done = lambda: _configured(q, link, binary)

    # Life

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return '<mitogo.Engine of process %d%s>' % (self._pid, ', closed' if self._closed else '')

    def close(self) -> None:
        """End all contexts and the engine. Returns when no process is left; what contexts write
        until then is shown.
        """
        self._closed = True
        if self._finalizer.detach() is not None:
            _end(self._link, self._pid)

    def contexts(self) -> List[Context]:
        """The contexts that are up or coming up. Doesn't wait."""
        return [Context(s) for s in list(self._contexts.values()) if s.error is None]

    def stats(self) -> List[Stats]:
        """What the contexts have cost, hops included: see Stats. Waits for the engine's answer,
        which takes no message to a context.
        """
        return [Stats(**d) for d in self._do('stats', {})['contexts']]

    def _do(self, name: str, arguments: Dict[str, Any]) -> Any:
        """Have the engine do something, and wait for its answer."""
        self._check()
        q = self._link.ask(0, DO, _op(name, arguments))
        self._link.wait(lambda: q.kind is not None)
        if q.kind == DEAD:
            raise EngineLost(q.payload.decode('utf-8', 'replace'))
        answer = _values.load(q.payload, {}, lambda: ('engine', name))
        if q.kind != DATA:
            raise EngineError(errors.printable(str(answer['message'])))
        return answer

    # Contexts

    def connect(
        self,
        target: str,
        *,
        via: Optional[Context] = None,
        python: Union[None, str, Sequence[str]] = None,
        ssh: Optional[SSH] = None,
        sudo: Optional[Sudo] = None,
        su: Optional[Sudo] = None,
        doas: Optional[Sudo] = None,
        timeout: float = 0,
    ) -> Context:
        """A context at target, hops joined by "+": "local", "web1", "deploy@web1:2222",
        "web1+sudo", "web1+docker:app".

        Doesn't wait: the context can be used at once, and what failed is raised by its first use,
        or by wait(). python is the interpreter to use there, or several to try (for "local" this
        one, else what is found); timeout bounds the connect, in seconds.
        """
        return self._connect(target, 0, via, python, ssh, sudo, su, doas, timeout)

    def _connect(
        self,
        target: str,
        inventory: int = 0,
        via: Optional[Context] = None,
        python: Union[None, str, Sequence[str]] = None,
        ssh: Optional[SSH] = None,
        sudo: Optional[Sudo] = None,
        su: Optional[Sudo] = None,
        doas: Optional[Sudo] = None,
        timeout: float = 0,
    ) -> Context:
        if not isinstance(target, str):
            raise TypeError('connect: got %r as target, want text such as "web1+sudo"' % (target,))
        if python is None and target == 'local' and via is None and not inventory:
            python = sys.executable
        options: Dict[str, Any] = _given(
            python=[python] if isinstance(python, str) else list(python or ()),
            timeout=float(timeout),
        )
        for key, value in (('ssh', ssh), ('sudo', sudo), ('su', su), ('doas', doas)):
            if value is not None:
                if not isinstance(value, (SSH, Sudo)) or isinstance(value, SSH) != (key == 'ssh'):
                    want = 'mitogo.%s' % ('SSH' if key == 'ssh' else 'Sudo')
                    raise TypeError('connect: got %s=%r, want a %s' % (key, value, want))
                options[key] = value._dict
        if via is not None and via._s.engine is not self:
            raise EngineError('connect: the context %s is of another engine' % via)
        with self._lock:
            self._check()
            self._last += 1
            s = _State(self, self._last, target if via is None else '%s+%s' % (via.target, target))
            self._contexts[s.id] = s
            self._link.known.add(s.id)
            request = {
                'id': s.id,
                'target': target,
                'via': 0 if via is None else via._s.id,
                'options': options,
                'log_level': self._log_level,
                'inventory': inventory,
            }
            s.connecting = self._link.ask(0, DO, _op('connect', request))
        if self._threaded:
            self._link.start()
        return Context(s)

    def fleet(
        self,
        targets: Optional[Iterable[str]] = None,
        *,
        inventory: Union[None, PathLike, Sequence[PathLike]] = None,
        limit: str = '',
        forks: Optional[int] = None,
        **options: Any,
    ) -> Fleet:
        """Many contexts, of which up to forks are worked with at once (default: Engine(forks=)).

        targets are as those of connect. inventory, in place of them, is a file, directory, program
        or list of hosts ("web1,web2"), or several of these, as Ansible reads them; limit chooses
        hosts of it by a pattern ("web:!old"). What the inventory says of a host wins over options,
        which are those of connect. An inventory is read before this returns; EngineError says what
        is wrong with it.
        """
        from ._fleet import Fleet

        self._check()
        number = 0
        if inventory is not None:
            if targets is not None:
                raise TypeError('fleet: got targets and an inventory, want one of both')
            found = self._do('inventory', {'sources': _sources(inventory), 'limit': limit})
            number, targets = found['inventory'], found['hosts']
            for line in found['warnings']:
                self._record(None, 30, 'mitogo.engine', time(), 'inventory ' + line)
        elif targets is None or limit:
            raise TypeError('fleet: want targets, or an inventory with or without a limit')
        most = self._forks if forks is None else forks
        return Fleet(self, targets or (), most, options, number)

    @overload
    def receiver(self) -> Receiver[Any]: ...

    @overload
    def receiver(self, cls: Type[T]) -> Receiver[T]: ...

    def receiver(self, cls: Any = None) -> Receiver[Any]:
        """A Receiver, whose sender contexts can be passed. cls is the class of its values: as an
        annotation of a function it widens the list of what may come. Doesn't wait.
        """
        from ._receiver import Receiver

        return Receiver(self, {} if cls is None else _values.named_by(cls))

    def serve(self, target: T, *, only: Optional[Iterable[str]] = None) -> T:
        """What stands for an object of this program in arguments of calls: the function that is
        called there may call the object's methods, which run here, until its call ends.

        These are the methods of the object's class whose names begin with no underscore, or those
        in only; of a function the function itself. They run in a thread of their own, one after
        another for each call, with arguments of the classes that a context may return, or that
        the method's annotations name. What they raise is raised there, by type and text, without
        a traceback. A method can't call in the context that waits for the method.
        """
        from ._served import Served

        served: Any = Served(self, target, only, None)
        return served  # type: ignore[no-any-return]

    def withdraw(self, served: object) -> None:
        """Have no context call what serve returned any more. A method that runs goes on."""
        from ._served import Served

        if not isinstance(served, Served):
            raise TypeError('withdraw: got %r, want what serve has returned' % (served,))
        served._engine = None

    def _send_modules(self, s: _State, modules: Iterable[str]) -> None:
        """Send a context what values of these modules' classes need there."""
        with s.lock:
            for name in sorted(modules):
                if name not in s.prepared and name != '__main__':
                    self._link.send(_prepare(s, _values.served_as(name)))
                    s.prepared.add(name)

    def _check(self) -> None:
        if self._closed and os.getpid() == self._link.pid:
            raise EngineLost('the engine was closed')
        self._link.check()

    # What comes unasked. The caller has the right to read, so that nothing here may wait.

    def _unasked(self, kind: int, src: int, handle: int, reply: int, payload: bytes) -> None:
        later = self._link.deliveries.append
        s = self._contexts.get(src)
        if handle in (STDOUT, STDERR) and s is not None:
            taker = s.taker
            later(lambda: self._show(s, handle, payload, taker))
        elif handle == LOST and s is not None:
            if s.error is None:
                s.error = errors.of(_values.load(payload[4:], {}, lambda: ('engine', 'LOST')))
            del self._contexts[src]
            self._gone(src)
        elif handle == LOG and (s is not None or src == 0):
            later(lambda: self._log(s, payload))
        elif handle == WANT and payload[:1] == b'p':
            coming = [s for s in list(self._contexts.values()) if s.coming()]
            question = reply, payload[1:], coming
            if self._prompt == 'terminal':
                _questions.add(lambda: self._answer(*question))
                return
            import threading

            threading.Thread(
                target=self._answer, args=question, name='mitogo prompt', daemon=True
            ).start()
        elif handle == WANT:
            self._link.send(frame(0, reply, b'not known here', DEAD))

    def _gone(self, src: int) -> None:
        """Tell those who wait for values of a context that it has ended."""
        self._link.gone(src)
        for to, handle in self._permits.pop(src, ()):
            if to in self._contexts:
                self._link.deliveries.append(self._dead(to, handle))
        for permits in list(self._permits.values()):
            for permit in [p for p in list(permits) if p[0] == src]:
                permits.pop(permit, None)

    def _dead(self, to: int, handle: int) -> Callable[[], None]:
        return lambda: self._link.send(frame(to, handle, b'the sender has gone', DEAD))

    def _show(
        self,
        s: _State,
        handle: int,
        payload: bytes,
        taker: Optional[Callable[[int, bytes], Any]] = None,
    ) -> None:
        self._link.send(self._link.credit(s.id, handle, len(payload)))
        if taker is not None:
            taker(handle, payload)
            return
        text = s.decoders[handle].decode(payload)
        if self._output is not None:
            self._output(s.target, text)
            return
        stream = sys.stdout if handle == STDOUT else sys.stderr
        if stream is not None:
            coding = getattr(stream, 'encoding', None) or 'utf-8'
            stream.write(text.encode(coding, 'backslashreplace').decode(coding))
            stream.flush()

    def _log(self, s: Optional[_State], payload: bytes) -> None:
        try:
            level, name, when, text, trace = _values.load(payload, {}, lambda: ('', ''))
            level, when = max(0, min(int(level), MOST_LEVEL)), float(when)
            when = when if 0 <= when < LATEST else time()
            text = errors.printable(str(text) + ('\n' + str(trace) if trace else ''))
            name = errors.line(str(name))
        except Exception:
            return  # a context's, which may say what it likes
        self._record(s, level, name, when, text)

    def _admitted(self, module: str, name: str) -> Dict[Tuple[str, str], Any]:
        """Classes that a subclass takes from contexts besides."""
        return {}

    def _failed(self, s: Optional[_State], what: str, error: BaseException) -> None:
        """Log what a posted call has raised."""
        self._record(s, 40, 'mitogo', time(), '%s: %s' % (what, errors.printable(str(error))))

    def _record(
        self, s: Optional[_State], level: int, name: str, when: float, text: str
    ) -> None:
        """Hand a record of a context's, or of the engine's, to the program."""
        target = s.target if s is not None else 'engine'
        text = text.replace('\n', '\n%s: ' % target)  # each line says whose it is
        if 'logging' not in sys.modules and self._log_to is None:
            if level >= 30 and sys.stderr is not None:
                sys.stderr.write('%s: %s\n' % (target, text))
            return
        import logging

        logger = logging.getLogger(
            'mitogo.' + target.replace('.', '_') if s is not None else 'mitogo.engine'
        )
        if self._log_to is not None or logger.isEnabledFor(level):
            r = logger.makeRecord(
                logger.name,
                level,
                '(%s)' % target,
                0,
                '%s',
                (text,),
                None,
                None,
                {'target': target, 'remote_name': name},
            )
            r.created = when
            (self._log_to or logger.handle)(r)

    def _answer(self, reply: int, payload: bytes, coming: List[_State]) -> None:
        """Answer a question, in another thread than the reader. coming are the contexts
        whose connects went on when it was asked.
        """
        kind, said = DEAD, b'refused'
        try:
            d = _values.load(payload, {}, lambda: ('engine', 'WANT'))
            question = d['hop'], d['kind'], d['text']
            if self._prompt == 'terminal':
                answer = _on_terminal(*question, self._void(d['hop'], coming))
            else:
                answer = self._prompt(*question)  # type: ignore[operator,misc]
            if answer is not None:
                kind, said = DATA, str(answer).encode('utf-8')
        except Exception as e:
            said = str(e).encode('utf-8', 'replace')
        try:
            self._link.send(frame(0, reply, said, kind))
        except EngineLost:
            pass

    def _void(self, hop: str, coming: List[_State]) -> Callable[[], bool]:
        """What says whether a hop's question need not be answered any more: the connects that it
        may be of have ended.
        """
        those = [s for s in coming if hop in s.target] or coming

        def void() -> bool:
            ended = bool(those) and not any([s.coming() for s in those])
            return ended or self._closed or self._link.error is not None

        return void


def _sources(inventory: Any) -> List[str]:
    """The sources of an inventory, as the engine finds them: it stays where the program began."""
    given = [inventory] if isinstance(inventory, (str, os.PathLike)) else list(inventory)
    sources = [os.fspath(s) for s in given]
    if not sources or '-' in sources:
        raise ValueError('fleet: got %r as inventory, want files, directories or hosts' % given)
    return [s if ',' in s else os.path.abspath(s) for s in sources]


def _configured(q: Request, link: _link.Link, binary: str) -> None:
    """Take the engine's first answer."""
    if q.kind == DATA:
        link.hint = ''
        d = _values.load(q.payload, {}, lambda: ('engine', 'configure'))
        if d.get('protocol') != PROTOCOL:
            link.lose(
                '%s speaks protocol %s, and this package %d: install one version of both'
                % (binary, d.get('protocol'), PROTOCOL)
            )


def _at_exit() -> None:
    for e in list(_engines):
        e.close()


atexit.register(_at_exit)
atexit.register(_settings.end)


def _forked() -> None:
    """In a forked child: engines are the parent's."""
    for e in list(_engines):
        e._link.forget()
        e._finalizer.detach()
    _questions.__init__()  # type: ignore[misc]  # the thread is the parent's
    _settings.__init__()  # type: ignore[misc]  # and so is the terminal


os.register_at_fork(after_in_child=_forked)
