"""Scripts of this machine that contexts run."""

from __future__ import annotations

import os

from . import _link
from ._call import Call
from ._context import _completed, _input
from ._link import STDERR, STDIN, STDOUT, frame
from ._sending import _prepare
from .errors import EngineLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any, Dict, List, Optional, Sequence, Union

    from ._context import Context
    from ._options import PathLike

RUN = '_mitogen_run'


def run(
    context: Context,
    path: PathLike,
    args: Sequence[str],
    check: bool,
    input: Union[None, str, bytes],
    capture: bool,
    text: bool,
) -> subprocess.CompletedProcess[Any]:
    """Context.script."""
    name = os.fspath(path)
    with open(name, 'rb') as f:
        source = f.read()
    s, data = context._s, _input(input)
    said: Dict[int, List[bytes]] = {STDOUT: [], STDERR: []}
    taker = (lambda handle, b: said[handle].append(b)) if capture else None
    argv = [name] + [os.fspath(a) for a in args]
    with s.lock:
        s.engine._link.send(_prepare(s, 'script ' + name, source))
    context._bring(RUN)
    values = source, os.path.abspath(name), argv, '', data is not None
    call: Call[Any] = Call(context, RUN + ':script', values, {}, False, taker)
    if data is not None:
        with s.feeding:
            _feed(call, data)
    status = call.result()
    out = [b''.join(said[h]) if capture else None for h in (STDOUT, STDERR)]
    return _completed(['python', name, *args], (status, *out), check, text)


def _feed(call: Call[Any], data: bytes) -> None:
    """Send a script its standard input, and the end of it. What it doesn't read is dropped."""
    s, link = call._s, call._s.engine._link
    key = s.id, STDIN
    link.open(*key, anew=True)  # each run has a flow of its own
    try:
        for at in range(0, len(data), _link.MAX_PAYLOAD):
            if not link.wait(lambda: link.flows.get(key, 0) > 0 or call.done(), call._until):
                call._interrupt()
                raise call._late()
            if call.done():
                return
            piece = data[at : at + _link.MAX_PAYLOAD]
            link.spend(*key, len(piece))
            link.send(frame(s.id, STDIN, piece, reply=call._q.reply))
        link.send(frame(s.id, STDIN, b'', reply=call._q.reply))
    except KeyboardInterrupt:
        call._interrupt()
        raise
    except EngineLost:
        pass  # the call says so
