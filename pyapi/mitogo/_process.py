"""The engine's process: found, started, ended."""

from __future__ import annotations

import os
import sys
import weakref
from time import monotonic

from . import _link
from .errors import EngineError, EngineLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Tuple


def _find_binary() -> str:
    """The program `mitogen`: $MITOGEN_BINARY, the program with this package in it, the program
    that was installed with it, or a mitogen beside the interpreter or on PATH.
    """
    given = os.environ.get('MITOGEN_BINARY')
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if given:
        places = [given]
    elif os.path.isfile(here):
        places = [here]
    else:
        places = _installed(here) + [os.path.join(os.path.dirname(sys.executable), 'mitogen')]
    if not given:
        places += [
            os.path.join(d, 'mitogen')
            for d in os.environ.get('PATH', '').split(os.pathsep)
            if os.path.isabs(d)
        ]
    for place in places:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return place
    raise EngineError(
        'the program mitogen is not there: looked for %s. '
        'Install the wheel with it, put it on PATH, or name '
        'it by $MITOGEN_BINARY' % (given or 'it beside this package and on PATH')
    )


def _installed(packages: str) -> List[str]:
    """Where pip has put the program of a package in the directory packages. Directories above are
    looked at only where they are those of an installation: /tmp/bin may belong to any account.
    """
    places = [os.path.join(packages, 'bin', 'mitogen')]  # pip install --target
    above, name = os.path.split(packages)
    prefix, library = os.path.split(os.path.dirname(above))
    if name in ('site-packages', 'dist-packages') and library.startswith('lib'):
        places.append(os.path.join(prefix, 'bin', 'mitogen'))
    return places


def _spawn(binary: str) -> Tuple[int, int]:
    """Start an engine: (its process, our end of its socket)."""
    if TYPE_CHECKING:
        import signal
    else:
        import _signal as signal  # without its enumerations

    ours, theirs = _socketpair()
    try:
        actions: List[Any] = [(os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0)]
        if not _is_open(2):
            actions.append((os.POSIX_SPAWN_OPEN, 2, '/dev/null', os.O_WRONLY, 0))
        actions.append((os.POSIX_SPAWN_DUP2, 2, 1))
        theirs = _link.above(theirs, 4)  # or the copy to 3 would be none, and closed by exec
        actions.append((os.POSIX_SPAWN_DUP2, theirs, 3))
        reset = [getattr(signal, n) for n in ('SIGPIPE', 'SIGXFSZ', 'SIGXFZ') if hasattr(signal, n)]
        pid = os.posix_spawn(
            binary,
            [binary, 'engine', '--fd', '3'],
            os.environ,
            file_actions=actions,
            setpgroup=0,
            setsigdef=reset,
        )
    except OSError as e:
        os.close(ours)
        raise EngineError('start %s: %s' % (binary, e.strerror or e)) from None
    finally:
        os.close(theirs)
    return pid, ours


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _socketpair() -> Tuple[int, int]:
    """Two connected sockets, above the standard descriptors, which aren't inherited."""
    import _socket

    a, b = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    for s in (a, b):
        for option in (_socket.SO_SNDBUF, _socket.SO_RCVBUF):
            s.setsockopt(_socket.SOL_SOCKET, option, 1 << 20)
    return _link.above(a.detach()), _link.above(b.detach())


def _end(link: _link.Link, pid: int) -> None:
    """End an engine's process, and return when it has ended."""
    if os.getpid() != link.pid:
        return
    if link.error is None:
        try:
            link.flush()
        except EngineLost:
            pass
        link.silent = True
        _shut(link.fd)
        link.drained(monotonic() + 10)
    link.close()
    try:
        os.waitpid(pid, 0)
    except OSError:
        pass


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """A function that calls the method while the method's object is in use, but doesn't keep it."""
    ref = weakref.WeakMethod(method)

    def call(*args: Any) -> None:
        found = ref()
        if found is not None:
            found(*args)

    return call


def _dropped(link: _link.Link, pid: int) -> None:
    """End the process of an engine that nothing refers to any more. The collector may call this in
    any thread, and while the thread holds any lock: so it is done in another.
    """
    import _thread

    try:
        _thread.start_new_thread(_end, (link, pid))
    except RuntimeError:
        pass  # this process ends, and closes the socket


def _shut(fd: int) -> None:
    """Say that no more will be sent."""
    import _socket

    s = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
    try:
        s.shutdown(_socket.SHUT_WR)
    except OSError:
        pass
    finally:
        s.detach()
