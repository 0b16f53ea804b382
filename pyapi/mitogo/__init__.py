"""Python functions, called on other machines that hold nothing but an SSH daemon, or sudo, and some
Python.

    import mitogo, os

    with mitogo.Engine() as m:
        web = m.connect("web1+sudo")
        print(web.call(os.getloadavg))

An Engine starts contexts and calls functions in them; a program of its own, `mitogen`, does the
work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._fleet import Fleet, FleetCall, FleetError, Result, Results
    from ._receiver import Receiver, Sender

from ._call import Call, Stream
from ._context import Context
from ._engine import Engine
from ._options import SSH, Sudo
from ._state import Info, Stats
from .errors import (
    CallError,
    ConnectError,
    ContextLost,
    EngineError,
    EngineLost,
    Error,
    HostKeyError,
    PasswordError,
    ReceiverClosed,
    SenderLost,
)

__all__ = [
    'SSH',
    'Call',
    'CallError',
    'ConnectError',
    'Context',
    'ContextLost',
    'Engine',
    'EngineError',
    'EngineLost',
    'Fleet',
    'FleetCall',
    'FleetError',
    'Error',
    'HostKeyError',
    'Info',
    'PasswordError',
    'Receiver',
    'ReceiverClosed',
    'Result',
    'Results',
    'Sender',
    'SenderLost',
    'Stats',
    'Stream',
    'Sudo',
]


def __getattr__(name: str) -> Any:
    """Of a fleet nothing is loaded before it is used; nor is asyncio, which mitogo.aio needs."""
    import importlib

    if name in ('Fleet', 'FleetCall', 'FleetError', 'Result', 'Results'):
        return getattr(importlib.import_module('mitogo._fleet'), name)
    if name in ('Receiver', 'Sender'):
        return getattr(importlib.import_module('mitogo._receiver'), name)
    if name == 'aio':
        return importlib.import_module('mitogo.aio')
    raise AttributeError('module mitogo has no attribute %r' % name)
