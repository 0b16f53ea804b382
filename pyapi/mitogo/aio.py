"""The same for asyncio: the names are those of the synchronous interface.

async with mitogo.aio.Engine() as m:
    web = m.connect("web1")
    load, node = await asyncio.gather(web.call(os.getloadavg), web.call(platform.node))

An engine belongs to the event loop that it was entered in. A cancelled task, and asyncio.timeout,
interrupt the call.
"""

from __future__ import annotations

import asyncio
import threading
from time import monotonic

from . import _call, _context, _engine, _fleet, _receiver, _source
from ._fleet import Result, Results
from .errors import EngineError, EngineLost, Error, ReceiverClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import (
        Any,
        AsyncIterator,
        Awaitable,
        Callable,
        Dict,
        Iterable,
        Iterator,
        List,
        Mapping,
        Optional,
        Sequence,
        Set,
        Tuple,
        Type,
        TypeVar,
        Union,
        overload,
    )

    from typing_extensions import ParamSpec

    from ._context import Output, Progress
    from ._fleet import Progress as FleetProgress
    from ._options import PathLike
    from ._receiver import Sender
    from ._state import Info, Stats

    P = ParamSpec('P')
    T = TypeVar('T')
else:
    from ._context import overload


class _Sync(_engine.Engine):
    """An engine whose socket the event loop reads."""

    _threaded = False


class Engine:
    """As mitogo.Engine, with the same arguments; an asynchronous context manager."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._sync: Optional[_Sync] = None

    async def __aenter__(self) -> Engine:
        self._loop = asyncio.get_running_loop()
        self._sync = _Sync(**self._options)
        self._sync._link.writes_by(self._writes_soon)
        self._loop.add_reader(self._sync._link.fd, self._readable)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def _engine(self) -> _Sync:
        if self._sync is None:
            raise EngineError('enter the engine first: async with mitogo.aio.Engine() as m')
        return self._sync

    def _readable(self) -> None:
        link = self._engine._link
        if link._r.acquire(False):
            try:
                if link._readable(0):  # another thread may have read what there was
                    link._round()
            finally:
                link._r.release()
                link._rouse()
        if link.error is not None:
            self._loop.remove_reader(link.fd)
        link.deliver()

    def _writes_soon(self, armed: bool) -> bool:
        """Have what this turn of the loop begins written at its end; not for other threads."""
        try:
            if asyncio.get_running_loop() is not self._loop:
                return False
        except RuntimeError:
            return False
        if not armed:
            self._loop.call_soon(self._write)
        return True

    def _write(self) -> None:
        try:
            self._engine._link.flush()
        except EngineLost:
            pass  # all who wait are told

    async def close(self) -> None:
        """As mitogo.Engine.close."""
        if self._sync is not None:
            if self._sync._link.fd >= 0:
                self._loop.remove_reader(self._sync._link.fd)
            await self._loop.run_in_executor(None, self._sync.close)

    def connect(self, target: str, *, via: Optional[Context] = None, **options: Any) -> Context:
        """As mitogo.Engine.connect: doesn't wait."""
        before = None if via is None else via._sync
        return Context(self, self._engine.connect(target, via=before, **options))

    def serve(self, target: T, *, only: Optional[Iterable[str]] = None) -> T:
        """As mitogo.Engine.serve. Coroutines run in this engine's loop."""
        from ._served import Served

        def wait(coroutine: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

        served: Any = Served(self._engine, target, only, wait)
        return served  # type: ignore[no-any-return]

    def withdraw(self, served: object) -> None:
        """As mitogo.Engine.withdraw."""
        self._engine.withdraw(served)

    def fleet(
        self,
        targets: Optional[Iterable[str]] = None,
        *,
        inventory: Union[None, PathLike, Sequence[PathLike]] = None,
        limit: str = '',
        forks: Optional[int] = None,
        **options: Any,
    ) -> Fleet:
        """As mitogo.Engine.fleet, but doesn't wait: an inventory is read by the first use of the
        fleet, or by `await fleet.load()`.
        """
        if inventory is None:
            return Fleet(self, self._engine.fleet(targets, limit=limit, forks=forks, **options))
        if targets is not None:
            raise TypeError('fleet: got targets and an inventory, want one of both')
        engine = self._engine
        return Fleet(
            self,
            lambda: engine.fleet(inventory=inventory, limit=limit, forks=forks, **options),
        )

    @overload
    def receiver(self) -> Receiver[Any]: ...

    @overload
    def receiver(self, cls: Type[T]) -> Receiver[T]: ...

    def receiver(self, cls: Any = None) -> Receiver[Any]:
        """As mitogo.Engine.receiver."""
        return Receiver(self._engine.receiver(cls))

    def contexts(self) -> List[Context]:
        """As mitogo.Engine.contexts."""
        return [Context(self, c) for c in self._engine.contexts()]

    async def stats(self) -> List[Stats]:
        """As mitogo.Engine.stats."""
        return await self._loop.run_in_executor(None, self._engine.stats)


def _checked(fn: Any, args: Any, kwargs: Any) -> None:
    """Raise TypeError for a function that no context can call."""
    _source.name(_source.unwrapped(fn, args, kwargs)[0])


def _heard(task: asyncio.Task[Any]) -> None:
    """Take the error of a task that nothing waits for any more."""
    if not task.cancelled():
        task.exception()


def _promise(loop: asyncio.AbstractEventLoop) -> Tuple[asyncio.Future[None], Callable[..., None]]:
    """A future of the loop, and a function that resolves the future. Any thread may call the
    function: the link runs callbacks in the thread that read the answer.
    """
    future: asyncio.Future[None] = loop.create_future()
    own = threading.get_ident()

    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    def tell(*_: Any) -> None:
        if threading.get_ident() == own:
            resolve()
            return
        try:
            loop.call_soon_threadsafe(resolve)
        except RuntimeError:
            pass  # the loop is closed, so nothing waits

    return future, tell


class Context:
    """As mitogo.Context."""

    def __init__(self, engine: Engine, sync: _context.Context) -> None:
        self._engine, self._sync = engine, sync

    @property
    def target(self) -> str:
        """What was connected to."""
        return self._sync.target

    def __repr__(self) -> str:
        return '<mitogo.aio.Context %s>' % self.target

    async def __aenter__(self) -> Context:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def info(self) -> Info:
        """As mitogo.Context.info, but doesn't wait: EngineError before it is up."""
        s = self._sync._s
        s.known()
        if s.info is None and s.error is None:
            raise EngineError('%s is not up yet: await context.wait() first' % self.target)
        return self._sync.info

    def options(self, *, timeout: Optional[float] = None, output: Output = None) -> Context:
        """As mitogo.Context.options."""
        return Context(self._engine, self._sync.options(timeout=timeout, output=output))

    def connect(self, hop: str, **options: Any) -> Context:
        """As mitogo.Context.connect."""
        return self._engine.connect(hop, via=self, **options)

    def sudo(self, user: str = '', **options: Any) -> Context:
        """As mitogo.Context.sudo."""
        return self.connect('sudo:' + user if user else 'sudo', **options)

    def docker(self, container: str, **options: Any) -> Context:
        """As mitogo.Context.docker."""
        return self.connect('docker:' + container, **options)

    @overload
    async def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    async def call(self, fn: str, *args: Any, **kwargs: Any) -> Any: ...

    async def call(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """As mitogo.Context.call."""
        call: _call.Call[Any] = self._sync.start(fn, *args, **kwargs)
        await self._ended(call)
        return call.result()

    async def _ended(self, call: _call.Call[Any], timeout: Optional[float] = None) -> bool:
        """Wait for the end of a call, or for timeout seconds. If this is cancelled, or the time of
        options() is over, the call is interrupted.
        """
        loop = asyncio.get_running_loop()
        ended, tell = _promise(loop)
        call.add_done_callback(tell)
        left = None if call._until is None else call._until - monotonic()
        if timeout is not None:
            left = timeout if left is None else min(left, timeout)
        try:
            await (ended if left is None else asyncio.wait_for(ended, left))
        except asyncio.TimeoutError:
            self._interrupt(call)
            if call._until is not None and monotonic() >= call._until:
                raise call._late() from None
            return False
        except asyncio.CancelledError:
            self._interrupt(call)
            raise
        return True

    @staticmethod
    def _interrupt(call: _call.Call[Any]) -> None:
        if call._cancel_up():
            asyncio.get_running_loop().call_later(_call.GRACE, call._kill)
        else:
            call._kill()

    @overload
    def start(
        self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Task[T]: ...

    @overload
    def start(self, fn: str, *args: Any, **kwargs: Any) -> asyncio.Task[Any]: ...

    def start(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Begin a call: a task, whose cancel() interrupts the call there."""
        return asyncio.ensure_future(self.call(fn, *args, **kwargs))

    def post(self, fn: Any, *args: Any, **kwargs: Any) -> None:
        """As mitogo.Context.post."""
        self._sync.post(fn, *args, **kwargs)

    @overload
    def stream(
        self, fn: Callable[P, Iterator[T]], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]: ...

    @overload
    def stream(self, fn: str, *args: Any, **kwargs: Any) -> AsyncIterator[Any]: ...

    async def stream(self, fn: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """As mitogo.Context.stream: an asynchronous iterator."""
        call: _call.Call[Any] = _call.Call(self._sync, fn, args, kwargs, True, soon=True)
        stream: _call.Stream[Any] = _call.Stream(call)
        q = call._q
        loop = asyncio.get_running_loop()
        try:
            while True:
                while not q.items and q.kind is None:
                    more, tell = _promise(loop)
                    q.done = q.more = tell
                    if q.items or q.kind is not None:
                        break  # another thread read it before the callbacks were set
                    left = None if call._until is None else call._until - monotonic()
                    try:
                        await asyncio.wait_for(more, left)
                    except asyncio.TimeoutError:
                        raise call._late() from None
                try:
                    item = next(stream)
                except StopIteration:
                    return
                yield item
        finally:
            q.done = q.more = None
            if call.cancel():
                loop.call_later(_call.GRACE, call._kill)

    async def run(
        self,
        args: Union[str, Sequence[str]],
        *,
        timeout: Optional[float] = None,
        **options: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """As mitogo.Context.run."""
        name, values, finish = _context._run(args, **options)
        call: _call.Call[Any] = self._sync.start(name, *values)
        if not await self._ended(call, timeout):
            import subprocess

            raise subprocess.TimeoutExpired(args, timeout or 0)
        return finish(call.result())

    async def script(
        self, path: PathLike, *args: str, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """As mitogo.Context.script, in a thread."""
        return await self._thread(lambda c: c.script(path, *args, **options))

    async def put(
        self, source: PathLike, path: PathLike, *, mode: int = 0, progress: Progress = False
    ) -> None:
        """As mitogo.Context.put, in a thread, which also calls progress. If the task is cancelled,
        the thread goes on.
        """
        await self._thread(lambda c: c.put(source, path, mode=mode, progress=progress))

    async def get(
        self, path: PathLike, target: PathLike, *, progress: Progress = False
    ) -> None:
        """As mitogo.Context.get, in a thread, which also calls progress. If the task is cancelled,
        the thread goes on.
        """
        await self._thread(lambda c: c.get(path, target, progress=progress))

    async def ping(self) -> float:
        """As mitogo.Context.ping, in a thread."""
        return await self._thread(_context.Context.ping)

    async def _thread(self, do: Callable[[_context.Context], T]) -> T:
        """Do what waits in a thread of the loop's executor, once this is up."""
        await self.wait()
        return await asyncio.get_running_loop().run_in_executor(None, do, self._sync)

    async def wait(self, timeout: Optional[float] = None) -> Context:
        """As mitogo.Context.wait."""
        if timeout is not None:
            try:
                return await asyncio.wait_for(self.wait(), timeout)
            except asyncio.TimeoutError:
                raise TimeoutError(
                    '%s is not up within %g s' % (self.target, timeout)
                ) from None
        q = self._sync._s.connecting
        if q is not None and q.kind is None:
            up, tell = _promise(asyncio.get_running_loop())
            before = q.done

            def both() -> None:
                if before is not None:
                    before()
                tell()

            q.done = both
            if q.kind is not None:
                both()  # another thread read it before the callback was set
            await up
        self._sync.wait()
        return self

    async def close(self) -> None:
        """As mitogo.Context.close."""
        await asyncio.get_running_loop().run_in_executor(None, self._sync.close)


class Receiver(_call._Base['T']):
    """As mitogo.Receiver; an asynchronous iterator."""

    def __init__(self, sync: _receiver.Receiver[Any]) -> None:
        self._sync = sync

    @property
    def sender(self) -> Sender[T]:
        """As mitogo.Receiver.sender."""
        return self._sync.sender

    async def get(self, timeout: Optional[float] = None) -> T:
        """As mitogo.Receiver.get."""
        if timeout is None:
            return await self._get()
        try:
            return await asyncio.wait_for(self._get(), timeout)
        except asyncio.TimeoutError:
            raise TimeoutError('the receiver got nothing within %g s' % timeout) from None

    async def _get(self) -> T:
        while True:
            got = self._sync._next()
            if got is not None:
                return got[0]  # type: ignore[no-any-return]
            more, tell = _promise(asyncio.get_running_loop())
            tells = self._sync._tells
            tells.append(tell)
            try:
                # else another thread read it before the callback was set
                if not self._sync._order and not self._sync._over():
                    await more
            finally:
                try:
                    tells.remove(tell)  # it is there after a timeout, and a cancellation
                except ValueError:
                    pass

    def __aiter__(self) -> Receiver[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._get()
        except ReceiverClosed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Receiver[T]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """As mitogo.Receiver.close."""
        self._sync.close()


class Fleet:
    """As mitogo.Fleet. Its targets are known once it is loaded, if they are of an inventory."""

    def __init__(
        self, engine: Engine, fleet: Union[_fleet.Fleet, Callable[[], _fleet.Fleet]]
    ) -> None:
        self._engine, self._fleet = engine, fleet
        self._contexts: Dict[str, Context] = {}
        self._posted: Set[asyncio.Task[None]] = set()  # so that they are not collected

    async def load(self) -> Fleet:
        """Read the inventory, if that has not been done. EngineError says what is wrong with it."""
        if callable(self._fleet):
            loop = asyncio.get_running_loop()
            self._fleet = await loop.run_in_executor(None, self._fleet)
        return self

    @property
    def _sync(self) -> _fleet.Fleet:
        if callable(self._fleet):
            raise EngineError('the inventory is not read yet: await fleet.load() first')
        return self._fleet

    @property
    def targets(self) -> List[str]:
        """As mitogo.Fleet.targets."""
        return self._sync.targets

    def __len__(self) -> int:
        return len(self._sync)

    def __repr__(self) -> str:
        return '<mitogo.aio.Fleet%s>' % ('' if callable(self._fleet) else ' of %d' % len(self))

    def context(self, target: str) -> Context:
        """As mitogo.Fleet.context."""
        if target not in self._contexts:
            self._contexts[target] = Context(self._engine, self._sync.context(target))
        return self._contexts[target]

    @overload
    def each(
        self,
        fn: Callable[..., T],
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        progress: FleetProgress = False,
        **kwargs: Any,
    ) -> AsyncIterator[Result[T]]: ...

    @overload
    def each(self, fn: str, *args: Any, **kwargs: Any) -> AsyncIterator[Result[Any]]: ...

    def each(
        self,
        fn: Any,
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        progress: FleetProgress = False,
        **kwargs: Any,
    ) -> AsyncIterator[Result[Any]]:
        """As mitogo.Fleet.each."""
        _checked(fn, args, kwargs)

        async def do(c: Context) -> Any:
            own = (args_for or {}).get(c.target, args)
            return await c.options(timeout=timeout).call(fn, *own, **kwargs)

        return self._each(do, progress)

    async def _each(
        self, do: Callable[[Context], Awaitable[Any]], progress: FleetProgress = False
    ) -> AsyncIterator[Result[Any]]:
        await self.load()
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(self._sync._forks)
        show, ready, failed = _fleet._Progress(progress), 0, 0

        async def one(target: str) -> Result[Any]:
            async with room:
                begun = loop.time()
                try:
                    context = await self.context(target).wait()  # a large call would wait in it
                    value = await do(context)
                except EngineLost:
                    raise
                except Exception as e:
                    return Result(target, None, e, loop.time() - begun)
                return Result(target, value, None, loop.time() - begun)

        tasks = [asyncio.ensure_future(one(t)) for t in self.targets]
        for task in tasks:
            task.add_done_callback(_heard)
        try:
            for done in asyncio.as_completed(tasks):
                result = await done
                ready, failed = ready + 1, failed + (not result.ok)
                show(ready, failed, len(self.targets))
                yield result
        finally:
            show.end()
            for task in tasks:
                task.cancel()

    async def _all(self, results: AsyncIterator[Result[Any]]) -> Results[Any]:
        came = {}
        async for r in results:
            came[r.target] = r
        return Results({t: came[t] for t in self.targets})

    @overload
    async def call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> Results[T]: ...

    @overload
    async def call(self, fn: str, *args: Any, **kwargs: Any) -> Results[Any]: ...

    async def call(self, fn: Any, *args: Any, **kwargs: Any) -> Results[Any]:
        """As mitogo.Fleet.call."""
        return await self._all(self.each(fn, *args, **kwargs))

    @overload
    def start(
        self,
        fn: Callable[..., T],
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        progress: FleetProgress = False,
        **kwargs: Any,
    ) -> asyncio.Task[Results[T]]: ...

    @overload
    def start(self, fn: str, *args: Any, **kwargs: Any) -> asyncio.Task[Results[Any]]: ...

    def start(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """As mitogo.Fleet.start: a task, whose cancel() interrupts the call on all targets."""
        return asyncio.ensure_future(self._all(self.each(fn, *args, **kwargs)))

    def post(
        self,
        fn: Any,
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        **kwargs: Any,
    ) -> None:
        """As mitogo.Fleet.post. Doesn't wait."""
        results = self.each(fn, *args, args_for=args_for, **kwargs)
        task = asyncio.ensure_future(self._post(_fleet._what(fn), results))
        self._posted.add(task)
        task.add_done_callback(self._posted.discard)

    async def _post(self, what: str, results: AsyncIterator[Result[Any]]) -> None:
        engine = self._engine._engine
        try:
            async for r in results:
                if r.error is not None:
                    known = self._contexts.get(r.target)
                    state = None if known is None else known._sync._s
                    engine._failed(state, what, r.error)
        except EngineLost:
            pass  # all who wait are told
        except Error as e:  # the inventory can't be read
            engine._failed(None, what, e)

    @overload
    def stream(
        self,
        fn: Callable[..., Iterator[T]],
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> AsyncIterator[Result[T]]: ...

    @overload
    def stream(self, fn: str, *args: Any, **kwargs: Any) -> AsyncIterator[Result[Any]]: ...

    def stream(
        self,
        fn: Any,
        *args: Any,
        args_for: Optional[Mapping[str, Sequence[Any]]] = None,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> AsyncIterator[Result[Any]]:
        """As mitogo.Fleet.stream."""
        _checked(fn, args, kwargs)

        def begun(c: Context) -> AsyncIterator[Any]:
            own = (args_for or {}).get(c.target, args)
            return c.options(timeout=timeout).stream(fn, *own, **kwargs)

        return self._items(begun)

    async def _items(
        self, begun: Callable[[Context], AsyncIterator[Any]]
    ) -> AsyncIterator[Result[Any]]:
        await self.load()
        loop, room = asyncio.get_running_loop(), asyncio.Semaphore(self._sync._forks)
        came: asyncio.Queue[Optional[Result[Any]]] = asyncio.Queue(1)  # items stay in the link
        lost: List[EngineLost] = []

        async def one(target: str) -> None:
            start = loop.time()
            try:
                async with room:
                    context = await self.context(target).wait()
                items: Any = begun(context)
                try:
                    async for item in items:
                        await came.put(Result(target, item, None, loop.time() - start))
                finally:
                    await items.aclose()
            except EngineLost as e:
                lost.append(e)
            except Exception as e:
                await came.put(Result(target, None, e, loop.time() - start))
            await came.put(None)

        tasks = [asyncio.ensure_future(one(t)) for t in self.targets]
        left = len(tasks)
        try:
            while left:
                result = await came.get()
                if lost:
                    raise lost[0]
                if result is None:
                    left -= 1
                else:
                    yield result
        finally:
            for task in tasks:
                task.cancel()

    async def run(
        self,
        args: Union[str, Sequence[str]],
        *,
        progress: FleetProgress = False,
        **options: Any,
    ) -> Results[subprocess.CompletedProcess[Any]]:
        """As mitogo.Fleet.run."""
        return await self._all(self._each(lambda c: c.run(args, **options), progress))

    async def script(
        self, path: PathLike, *args: str, progress: FleetProgress = False, **options: Any
    ) -> Results[subprocess.CompletedProcess[Any]]:
        """As mitogo.Fleet.script."""
        return await self._all(self._each(lambda c: c.script(path, *args, **options), progress))

    async def put(
        self, source: PathLike, path: PathLike, *, mode: int = 0, progress: FleetProgress = False
    ) -> Results[None]:
        """As mitogo.Fleet.put."""
        return await self._all(self._each(lambda c: c.put(source, path, mode=mode), progress))

    async def get(
        self, path: PathLike, target: PathLike, *, progress: FleetProgress = False
    ) -> Results[None]:
        """As mitogo.Fleet.get."""
        name = _fleet._with_target(target)
        return await self._all(self._each(lambda c: c.get(path, name), progress))

    async def wait(self, timeout: Optional[float] = None) -> Results[Context]:
        """As mitogo.Fleet.wait."""
        await self.load()
        return await self._all(self._each(lambda c: c.wait(timeout)))

    async def close(self) -> None:
        """As mitogo.Fleet.close."""
        if not callable(self._fleet):
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._fleet.close)
        self._contexts.clear()
