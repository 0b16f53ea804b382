"""Context: the calls of one, the programs it runs and its files."""

from __future__ import annotations

import os
import sys
from time import monotonic

from . import _link, errors
from ._call import Call, Stream, _at_once
from ._link import DATA, DO, ERROR, frame
from ._sending import HELPER, _prepare
from ._state import Info, _op, _State

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import (
        IO,
        Any,
        Callable,
        Iterator,
        Mapping,
        Optional,
        Sequence,
        Tuple,
        TypeVar,
        Union,
    )
    from typing import overload

    from typing_extensions import ParamSpec

    from ._options import PathLike

    Output = Optional[Callable[[str, str], Any]]
    Progress = Union[bool, Callable[[int, int], Any]]
    P = ParamSpec('P')
    T = TypeVar('T')

if not TYPE_CHECKING:

    def overload(fn):
        return fn


class Context:
    """A Python process somewhere, in which functions are called. Engine.connect makes one.

    Calls in one context run one after another, in the order in which they were made.
    """

    def __init__(
        self, state: _State, timeout: Optional[float] = None, output: Output = None
    ) -> None:
        self._s = state
        self._timeout = timeout
        self._output = output

    @property
    def target(self) -> str:
        """What was connected to, as a person types it."""
        return self._s.target

    def __repr__(self) -> str:
        return '<mitogo.Context %d %s>' % (self._s.id, self._s.target)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def options(self, *, timeout: Optional[float] = None, output: Output = None) -> Context:
        """The same context with other options of calls: timeout is how many seconds each may
        take, connecting included; output(target, text) takes what is written there while one runs,
        in place of the engine's. Doesn't wait.
        """
        return Context(self._s, timeout, output)

    def _taker(self) -> Optional[Callable[[int, bytes], Any]]:
        """What takes the output of calls; None: the engine."""
        output, target = self._output, self._s.target
        if output is None:
            return None
        decode = {n: d.decode for n, d in self._s.new_decoders().items()}
        return lambda handle, data: output(target, decode[handle](data))

    def connect(self, hop: str, **options: Any) -> Context:
        """A context behind this one: Engine.connect with via."""
        return self._s.engine.connect(hop, via=self, **options)

    def sudo(self, user: str = '', **options: Any) -> Context:
        """A context of user (default: root) behind this one. Doesn't wait; options as of
        Engine.connect.
        """
        return self.connect('sudo:' + user if user else 'sudo', **options)

    def docker(self, container: str, **options: Any) -> Context:
        """A context in a container that runs there. Doesn't wait; options as of Engine.connect."""
        return self.connect('docker:' + container, **options)

    # Calls

    @overload
    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    def call(self, fn: str, *args: Any, **kwargs: Any) -> Any: ...

    def call(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function there and return its result; a generator's items come as a list.

        fn is a function of a module (the context is sent that, and what it imports), of the main
        module, or "module:function". Raises CallError for what it raises, which is also the builtin
        exception of that name; TypeError for what can't be sent or may not be returned;
        ConnectError, ContextLost or EngineLost; TimeoutError after the seconds of
        options(timeout=), the call being interrupted there.
        """
        if self._timeout is None and self._output is None and not kwargs:
            got = _at_once(self._s, fn, args)
            if got is not None:
                return got[0]
        call: Call[Any] = Call(self, fn, args, kwargs, False)
        return call.result()

    @overload
    def start(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Call[T]: ...

    @overload
    def start(self, fn: str, *args: Any, **kwargs: Any) -> Call[Any]: ...

    def start(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Begin a call, and return at once; where 1 MiB of calls wait for their answers, once
        some have them.
        """
        return Call(self, fn, args, kwargs, False, soon=True)

    def post(self, fn: Any, *args: Any, **kwargs: Any) -> None:
        """Begin a call whose result is not wanted. What it raises becomes an error record of the
        context's logger. Waits as start does.
        """
        self.start(fn, *args, **kwargs).add_done_callback(_failed)

    @overload
    def stream(
        self, fn: Callable[P, Iterator[T]], *args: P.args, **kwargs: P.kwargs
    ) -> Stream[T]: ...

    @overload
    def stream(self, fn: str, *args: Any, **kwargs: Any) -> Stream[Any]: ...

    def stream(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Begin a call of a generator, and iterate over its items as they come, at most 1 MiB
        ahead.

        Leaving the loop early needs close() (or `with`), which ends the generator there.
        """
        return Stream(Call(self, fn, args, kwargs, True, soon=True))

    def run(
        self,
        args: Union[str, Sequence[str]],
        *,
        shell: bool = False,
        check: bool = False,
        input: Union[None, str, bytes] = None,
        capture: bool = True,
        text: bool = True,
        cwd: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a program there, as subprocess.run does here, and return a CompletedProcess. With
        capture=False its output is shown as it comes.

        args are a list, or with shell=True a line for sh. input is the standard input: text, or
        bytes; without it that is empty. env, if given, is the whole environment. Output is text
        unless text is false. check raises subprocess.CalledProcessError for a status that isn't 0;
        status -n is signal n. timeout kills the program after so many seconds, and raises
        subprocess.TimeoutExpired. A program that isn't there is a FileNotFoundError.
        """
        name, values, finish = _run(args, shell, check, input, capture, text, cwd, env)
        if timeout is None:
            return finish(self.call(name, *values))
        call: Call[Any] = Context(self._s, self._timeout, self._output).start(name, *values)
        return finish(_within(call, args, timeout))

    def script(
        self,
        path: PathLike,
        *args: str,
        check: bool = False,
        input: Union[None, str, bytes] = None,
        capture: bool = True,
        text: bool = True,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a Python script of this machine there, as `python path args…` would, and return a
        CompletedProcess; the other arguments are as of run. The modules of this machine's that it
        imports are sent. It runs in a process of its own, and takes its turn among the calls.
        """
        from ._script import run

        return run(self, path, args, check, input, capture, text)

    def put(
        self, source: PathLike, path: PathLike, *, mode: int = 0, progress: Progress = False
    ) -> None:
        """Write the file source of this machine to path there: whole, or not at all.

        With mode 0 a file that is there keeps its mode. progress draws a line on the terminal, or
        is called with the bytes that were sent, and all. Waits for the end; OSErrors of either side
        are raised.
        """
        link, s = self._s.engine._link, self._s
        with open(source, 'rb') as f, _Shown(progress, s.target, f) as show:
            self._bring('_mitogen_paths')
            call: Call[Any] = Call(self, HELPER + ':write', (os.fspath(path), mode), {}, True)
            handle = call._next()
            if handle is None:
                call.result()
                raise errors.Error('put: no answer')
            over = call.done
            key = s.id, int(handle[0])
            link.open(*key)
            try:
                data = f.read(131000)
                while data and not over() and key in link.flows:
                    if not link.feed(s.id, key[1], data, over, call._until):
                        call._interrupt()
                        raise call._late()
                    show(len(data))
                    data = f.read(131000)
            except BaseException:
                if link.error is None:
                    link.send(frame(s.id, key[1], b'', ERROR))
                raise
            finally:
                link.flows.pop(key, None)
            if not over():
                link.send(frame(s.id, key[1]))
            call.result()

    def get(self, path: PathLike, target: PathLike, *, progress: Progress = False) -> None:
        """Write the file path there to target here: whole, or not at all. "{target}" in the name
        here is replaced by the context's target. progress is called with the bytes that have come,
        and 0, because the size isn't known. Waits for the end; OSErrors of either side are raised.
        """
        self._bring('_mitogen_paths')
        place = os.fsdecode(target).replace('{target}', self.target.replace('/', '_'))
        new = os.path.join(os.path.dirname(place), '.mitogo-%s.part' % os.urandom(8).hex())
        call: Call[Any] = Call(self, HELPER + ':read', (os.fspath(path),), {}, True)
        stream: Stream[Any] = Stream(call)
        with stream as pieces, _Shown(progress, self.target, None) as show:
            f = open(new, 'xb')  # what was there already belongs to another
            try:
                with f:
                    for piece in pieces:
                        data = _text_or_bytes(piece, False)
                        f.write(data)
                        show(len(data))
                os.replace(new, place)
            except BaseException:
                try:
                    os.unlink(new)
                except OSError:
                    pass  # what failed before says more
                raise

    def _bring(self, module: str) -> None:
        """Have a module of the runtime sent, before what follows."""
        s = self._s
        with s.lock:
            if module not in s.prepared:
                s.engine._link.send(_prepare(s, module))
                s.prepared.add(module)

    def wait(self, timeout: Optional[float] = None) -> Context:
        """Wait until it is up; raises why it isn't, or TimeoutError after timeout seconds."""
        self._s.wait(timeout)
        return self

    @property
    def info(self) -> Info:
        """What it has said of itself; waits until it is up."""
        self.wait(self._timeout)
        assert self._s.info is not None
        return self._s.info

    def ping(self) -> float:
        """The seconds that a message takes there and back, once it is up."""
        self.wait(self._timeout)
        link = self._s.engine._link
        begun = monotonic()
        q = link.ask(self._s.id, _link.PING, b'')
        link.wait(lambda: q.kind is not None)
        if q.kind != DATA:
            raise self._s.raised(q.payload)
        return monotonic() - begun

    def close(self) -> None:
        """End it once the call that runs has ended, and wait for that. Calls that wait their
        turn fail.
        """
        s = self._s
        link = s.engine._link
        if s.error is None and link.error is None:
            link.send(frame(0, DO, _op('close', {'id': s.id})))
            link.wait(lambda: s.error is not None or link.error is not None)


def _failed(call: Call[Any]) -> None:
    """Log what a posted call has raised."""
    error = call.exception()
    if error is not None:
        call._s.engine._failed(call._s, call._what()[1], error)


def _within(call: Call[Any], args: Any, seconds: float) -> Any:
    """The result of a call that runs a program, which is killed after so many seconds."""
    try:
        return call.result(seconds)
    except TimeoutError:
        if call.done():
            raise  # by the function, or by options(timeout=)
    import subprocess

    call._interrupt()
    raise subprocess.TimeoutExpired(args, seconds)


class _Shown:
    """Tells how far a file is: on the terminal, or by a function."""

    def __init__(self, progress: Progress, target: str, f: Optional[IO[bytes]]) -> None:
        self._done, self._all = 0, 0 if f is None else os.fstat(f.fileno()).st_size
        self._call = progress if callable(progress) else None
        self._draws = progress is True and sys.stderr is not None and sys.stderr.isatty()
        self._target = target

    def __call__(self, size: int) -> None:
        self._done += size
        if self._call is not None:
            self._call(self._done, self._all)
        if self._draws:
            of = ' of %.1f' % (self._all / 1048576) if self._all else ''
            sys.stderr.write(
                '\r%s: %.1f%s MiB\x1b[K' % (self._target, self._done / 1048576, of)
            )
            sys.stderr.flush()

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._draws:
            sys.stderr.write('\n')


def _run(
    args: Union[str, Sequence[str]],
    shell: bool = False,
    check: bool = False,
    input: Union[None, str, bytes] = None,
    capture: bool = True,
    text: bool = True,
    cwd: Optional[str] = None,
    env: Optional[Mapping[str, str]] = None,
) -> Tuple[str, Tuple[Any, ...], Callable[[Any], subprocess.CompletedProcess[Any]]]:
    """The call that runs a program, its arguments, and what makes a result of the answer."""
    if isinstance(args, str) and not shell:
        raise TypeError('run: got the text %r, want a list of arguments, or shell=True' % args)
    data = _input(input)
    argv = args if isinstance(args, str) else [os.fspath(a) for a in args]
    variables = None if env is None else dict(env)

    def finish(answer: Any) -> subprocess.CompletedProcess[Any]:
        return _completed(args, answer, check, text)

    return HELPER + ':run', (argv, shell, data, cwd, variables, capture), finish


def _input(given: Union[None, str, bytes]) -> Optional[bytes]:
    return given.encode('utf-8') if isinstance(given, str) else given


def _completed(
    args: Any, answer: Any, check: bool, text: bool
) -> subprocess.CompletedProcess[Any]:
    """What a program's exit status, its stdout and its stderr are for the caller."""
    import subprocess

    status, out, err = answer
    out, err = [None if b is None else _text_or_bytes(b, text) for b in (out, err)]
    if check and status:
        raise subprocess.CalledProcessError(status, args, out, err)
    return subprocess.CompletedProcess(args, status, out, err)


def _text_or_bytes(b: Any, text: bool) -> Any:
    """Output of a program. A context with Python 2 has sent its bytes as text."""
    if isinstance(b, str):
        b = b.encode('utf-8', 'surrogateescape')
    return b.decode('utf-8', 'replace') if text else b
