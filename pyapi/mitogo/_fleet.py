"""Many contexts at once: results by target, failures kept apart."""

from __future__ import annotations

import os
import sys
from collections import deque
from time import monotonic

from .errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import (
        Any,
        Callable,
        Deque,
        Dict,
        Generic,
        Iterable,
        Iterator,
        List,
        Mapping,
        Optional,
        Sequence,
        Tuple,
        TypeVar,
        Union,
    )

    from typing import overload

    from ._context import Context
    from ._engine import Engine
    from ._options import PathLike

    Progress = Union[bool, Callable[[int, int, int], Any]]
    T = TypeVar('T')

    class _Base(Generic[T]):
        pass

else:
    from ._call import _Base
    from ._context import overload

from ._call import Call
from ._work import Work


class Result(_Base['T']):
    """What came of one target: value, or error; seconds that it took, connecting included."""

    def __init__(
        self, target: str, value: Optional[T], error: Optional[Exception], seconds: float
    ) -> None:
        self.target, self.error, self.seconds = target, error, seconds
        self._value = value

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    @property
    def value(self) -> T:
        """The result; raises the error if there is none."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]

    def __repr__(self) -> str:
        what = self._value if self.error is None else self.error
        return 'Result(%r, %r)' % (self.target, what)


class FleetError(Error):
    """Some targets failed. results has all of them."""

    def __init__(self, results: Results[Any]) -> None:
        failed = results.failed
        first = next(iter(failed))
        super().__init__(
            '%d of %d targets failed; %s: %s'
            % (len(failed), len(results), first, failed[first].error)
        )
        self.results = results


class Results(_Base['T']):
    """Results by target, in the order of the targets."""

    def __init__(self, results: Dict[str, Result[T]]) -> None:
        self._all = results

    def __getitem__(self, target: str) -> Result[T]:
        return self._all[target]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, target: object) -> bool:
        return target in self._all

    def items(self) -> Iterable[Tuple[str, Result[T]]]:
        """(target, Result) of all."""
        return self._all.items()

    @property
    def ok(self) -> Dict[str, Result[T]]:
        """Those that have a value."""
        return {t: r for t, r in self._all.items() if r.ok}

    @property
    def failed(self) -> Dict[str, Result[T]]:
        """Those that have none."""
        return {t: r for t, r in self._all.items() if not r.ok}

    def values(self) -> Dict[str, T]:
        """The values of those that have one, by target."""
        return {t: r.value for t, r in self._all.items() if r.ok}

    def raise_failed(self) -> Results[T]:
        """Raise FleetError if a target failed; else return self."""
        if self.failed:
            raise FleetError(self)
        return self

    def __repr__(self) -> str:
        return '<mitogo.Results: %d ok, %d failed>' % (len(self.ok), len(self.failed))


class FleetCall(_Base['T']):
    """A call on all targets of a fleet that was begun. Its methods are those of Call; the result is
    Results.
    """

    def __init__(
        self,
        work: Work,
        what: str,
        show: _Progress,
        told: Optional[Callable[[Result[Any]], None]],
    ) -> None:
        import threading

        self._work, self._what, self._show, self._told = work, what, show, told
        self._came: Dict[str, Result[T]] = {}
        self._error: Optional[BaseException] = None
        self._ended = threading.Event()
        self._lock = threading.Lock()  # protects following
        self._callbacks: List[Callable[[FleetCall[T]], Any]] = []
        self._over = False
        try:
            work.begin()
        except BaseException:
            work.interrupt()  # what was begun before a mistake in args_for, say
            raise
        threading.Thread(target=self._run, name='mitogo fleet', daemon=True).start()

    def _run(self) -> None:
        failed, of = 0, len(self._work.fleet.targets)
        try:
            for item in self._work.results():
                r: Result[Any] = Result(*item)
                self._came[r.target] = r
                failed += r.error is not None
                self._show(len(self._came), failed, of)
                if self._told is not None:
                    self._told(r)
        except BaseException as e:
            self._error = e
        finally:
            self._show.end()
            self._end()

    def _end(self) -> None:
        with self._lock:
            self._over = True
            callbacks, self._callbacks = self._callbacks, []
        self._ended.set()
        for fn in callbacks:
            try:
                fn(self)
            except Exception as e:
                self._work.link._report(e)

    def __repr__(self) -> str:
        fleet = self._work.fleet
        return '<mitogo.FleetCall of %s on %d targets%s>' % (
            self._what,
            len(fleet),
            ', done' if self.done() else '',
        )

    def done(self) -> bool:
        """Whether it has ended on all targets."""
        return self._ended.is_set()

    def running(self) -> bool:
        """Whether it hasn't."""
        return not self.done()

    def cancelled(self) -> bool:
        """Whether cancel has ended it."""
        return self._work._given_up and self.done()

    def cancel(self) -> bool:
        """Interrupt it where it runs, and begin it nowhere any more. Doesn't wait. False: it had
        ended.
        """
        if self.done():
            return False
        self._work.give_up()
        return True

    def result(self, timeout: Optional[float] = None) -> Results[T]:
        """The Results of all targets. timeout only bounds this wait, in seconds (TimeoutError);
        KeyboardInterrupt ends the call on all targets.
        """
        try:
            if not self.done():
                self._work.link.check()
            if not self._ended.wait(timeout):
                raise TimeoutError('%s: no results within %g s' % (self._what, timeout or 0))
        except KeyboardInterrupt:
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        return Results({t: self._came[t] for t in self._work.fleet.targets})

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Why there are no results; None: there are. What targets have raised is in these."""
        try:
            self.result(timeout)
        except Exception as e:
            if self._error is None:
                raise
            return e
        return None

    def add_done_callback(self, fn: Callable[[FleetCall[T]], Any]) -> None:
        """Call fn(self) once it has ended, in another thread; now, if it has."""
        with self._lock:
            if not self._over:
                self._callbacks.append(fn)
                return
        fn(self)


class Fleet:
    """Contexts at many targets, connected when they are used. Engine.fleet makes one."""

    def __init__(
        self,
        engine: Engine,
        targets: Iterable[str],
        forks: int,
        options: Dict[str, Any],
        inventory: int = 0,
    ) -> None:
        if isinstance(targets, str):
            raise TypeError('fleet: got the text %r, want a list of targets' % targets)
        self.targets: List[str] = list(dict.fromkeys(targets))
        if forks < 1:
            raise ValueError('fleet: got forks=%d, want at least 1' % forks)
        self._engine, self._forks, self._options = engine, forks, options
        self._inventory = inventory  # that the targets are of; 0: none
        self._contexts: Dict[str, Context] = {}

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return '<mitogo.Fleet of %d targets>' % len(self.targets)

    def context(self, target: str) -> Context:
        """The context at one of the targets. Doesn't wait."""
        if target not in self.targets:
            raise KeyError(target)
        c = self._contexts.get(target)
        if c is None:
            c = self._engine._connect(target, self._inventory, **self._options)
            self._contexts[target] = c
        return c

    def _begin(
        self,
        target: str,
        timeout: Optional[float],
        fn: Any,
        args: Any,
        kw: Any,
        streaming: bool = False,
    ) -> Call[Any]:
        context = self.context(target).options(timeout=timeout)
        return Call(context, fn, args, kw, streaming, soon=True)

    def wait(self, timeout: Optional[float] = None) -> Results[Context]:
        """Connect to all targets, and return their contexts, or why there is none. timeout bounds
        each connect, in seconds.
        """
        return self._threads(lambda c: c.wait(timeout))

    def _reach(self, targets: List[str]) -> None:
        """Begin the connects to targets, so that none waits for another's."""
        for t in targets:
            try:
                self.context(t)
            except Error:
                pass  # the call says so

    @overload
    def each(
        self,
        fn: Callable[..., T],
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        progress: Progress = False,
        **kwargs: Any,
    ) -> Iterator[Result[T]]: ...

    @overload
    def each(self, fn: str, *args: Any, **kwargs: Any) -> Iterator[Result[Any]]: ...

    def each(
        self,
        fn: Any,
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        progress: Progress = False,
        **kwargs: Any,
    ) -> Iterator[Result[Any]]:
        """Call a function on all targets, and yield a Result for each as it comes.

        args_for has arguments of single targets, in place of args. timeout bounds each call, in
        seconds. progress draws a line on the terminal, or is called with how many are done, have
        failed, and are to be. Leaving the loop interrupts what runs. Mistakes of the program's, as
        a lambda for fn, are raised at once.
        """
        work = Work(self, fn, args, kwargs, args_for, timeout)
        ready, failed = 0, 0
        show = _Progress(progress)
        try:
            for item in work.results():
                ready, failed = ready + 1, failed + (item[2] is not None)
                show(ready, failed, len(self.targets))
                yield Result(*item)
        finally:
            show.end()

    @overload
    def call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> Results[T]: ...

    @overload
    def call(self, fn: str, *args: Any, **kwargs: Any) -> Results[Any]: ...

    def call(self, fn: Any, *args: Any, **kwargs: Any) -> Results[Any]:
        """Call a function on all targets, and return all Results; options as those of each."""
        came = {r.target: r for r in self.each(fn, *args, **kwargs)}
        return Results({t: came[t] for t in self.targets})

    @overload
    def start(
        self,
        fn: Callable[..., T],
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        progress: Progress = False,
        **kwargs: Any,
    ) -> FleetCall[T]: ...

    @overload
    def start(self, fn: str, *args: Any, **kwargs: Any) -> FleetCall[Any]: ...

    def start(
        self,
        fn: Any,
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        progress: Progress = False,
        **kwargs: Any,
    ) -> FleetCall[Any]:
        """Begin a call on all targets, and return without the results: a FleetCall, whose result()
        returns them, as call does. Waits where Context.start does.

        The first forks calls are begun before this returns, and each further one once another has
        ended. The arguments are those of each.
        """
        work = Work(self, fn, args, kwargs, args_for, timeout)
        return FleetCall(work, _what(fn), _Progress(progress), None)

    def post(
        self,
        fn: Any,
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        **kwargs: Any,
    ) -> None:
        """Begin a call on all targets whose results are not wanted, as start does. What a call
        raises, and why a target was not reached, become error records of the context's logger.
        """
        what, engine = _what(fn), self._engine

        def failed(r: Result[Any]) -> None:
            if r.error is not None:
                state = self._contexts[r.target]._s if r.target in self._contexts else None
                engine._failed(state, what, r.error)

        work = Work(self, fn, args, kwargs, args_for, None)
        FleetCall(work, what, _Progress(False), failed)

    @overload
    def stream(
        self,
        fn: Callable[..., Iterator[T]],
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> Iterator[Result[T]]: ...

    @overload
    def stream(self, fn: str, *args: Any, **kwargs: Any) -> Iterator[Result[Any]]: ...

    def stream(
        self,
        fn: Any,
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> Iterator[Result[Any]]:
        """Call a generator on all targets, and yield a Result for each of their items as they come,
        at most 1 MiB of each target ahead; a target that fails yields a last one with its error.

        All targets run at once, and up to forks of them connect at once. The arguments are those of
        each. Leaving the loop ends the generators there.
        """
        for item in Work(self, fn, args, kwargs, args_for, timeout, True).results():
            yield Result(*item)

    def run(
        self, args: Union[str, Sequence[str]], *, progress: Progress = False, **options: Any
    ) -> Results[subprocess.CompletedProcess[Any]]:
        """Run a program on all targets, as Context.run does, and return CompletedProcesses.

        Up to forks of them run at once.
        """
        return self._threads(lambda c: c.run(args, **options), progress)

    def script(
        self, path: PathLike, *args: str, progress: Progress = False, **options: Any
    ) -> Results[subprocess.CompletedProcess[Any]]:
        """Run a Python script of this machine on all targets, as Context.script does."""
        return self._threads(lambda c: c.script(path, *args, **options), progress)

    def put(
        self, source: PathLike, path: PathLike, *, mode: int = 0, progress: Progress = False
    ) -> Results[None]:
        """Write a file of this machine to all targets, as Context.put does. progress counts
        targets.
        """
        return self._threads(lambda c: c.put(source, path, mode=mode), progress)

    def get(
        self, path: PathLike, target: PathLike, *, progress: Progress = False
    ) -> Results[None]:
        """Write a file of each target to this machine, as Context.get does: "{target}" in the name
        here is replaced, and has to be there. progress counts targets.
        """
        name = _with_target(target)
        return self._threads(lambda c: c.get(path, name), progress)

    def _threads(self, do: Callable[[Context], Any], progress: Progress = False) -> Results[Any]:
        """Do something that takes several calls on all targets."""
        import threading

        self._engine._check()
        show, counting = _Progress(progress), threading.Lock()
        failed: List[str] = []
        waiting: Deque[str] = deque(self.targets)
        came: Dict[str, Result[Any]] = {}
        broken: List[BaseException] = []  # what progress has raised

        def work() -> None:
            while True:
                try:
                    t = waiting.popleft()
                except IndexError:
                    return
                begun, value, error = monotonic(), None, None
                try:
                    value = do(self.context(t))
                except Exception as e:
                    error = e
                with counting:
                    came[t] = Result(t, value, error, monotonic() - begun)
                    if error is not None:
                        failed.append(t)
                    try:
                        show(len(came), len(failed), len(self.targets))
                    except BaseException as e:
                        broken.append(e)
                        waiting.clear()

        threads = [
            threading.Thread(target=work, daemon=True)
            for _ in range(min(self._forks, len(self.targets)))
        ]
        try:
            for x in threads:
                x.start()
            for x in threads:
                x.join()
        finally:
            waiting.clear()  # an interrupt has nothing begun any more
            show.end()
        if broken:
            raise broken[0]
        return Results({t: came[t] for t in self.targets})

    def close(self) -> None:
        """End all contexts, one after another, as Context.close does."""
        for c in self._contexts.values():
            c.close()
        self._contexts.clear()


def _what(fn: Any) -> str:
    """A function's name, for messages."""
    return fn if isinstance(fn, str) else getattr(fn, '__qualname__', repr(fn))


def _with_target(name: PathLike) -> str:
    text = os.fsdecode(name)
    if '{target}' not in text:
        raise ValueError('get: want {target} in the name %r, or all write one file' % text)
    return text


class _Progress:
    """Draws one line on a terminal, or calls a function."""

    def __init__(self, wanted: Progress) -> None:
        self._call = wanted if callable(wanted) else None
        self._draws = wanted is True and sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, done: int, failed: int, of: int) -> None:
        if self._call is not None:
            self._call(done, failed, of)
        if self._draws:
            sys.stderr.write('\r%d of %d done, %d failed\x1b[K' % (done, of, failed))
            sys.stderr.flush()

    def end(self) -> None:
        if self._draws:
            sys.stderr.write('\n')
