"""Imports all that the package has in public, on any Python."""

import mitogo
import mitogo.aio
import mitogo.errors as told
from mitogo import SSH, Call, CallError, Context, EngineLost, Fleet, FleetError, HostKeyError
from mitogo import Info, PasswordError, Receiver, Result, Results, Sender, Stream, Sudo, aio
from mitogo.aio import Engine
from mitogo.errors import ContextLost

LOGIN = SSH(user='deploy'), Sudo(login=True)
GENERIC = Call[int], Stream[str], Result[int], Results[int], Sender[int], Receiver[str]
KEPT = {'classes': (Context, EngineLost, Fleet, FleetError, HostKeyError, Info, PasswordError)}
try:
    raise CallError('caught')
except mitogo.Error:
    KEPT['caught'] = True


def lacks(names, submodules):
    """Those of the names that are not there."""
    missing = [n for n in names if not hasattr(mitogo, n)]
    for module, names in submodules.items():
        missing += [n for n in names if not hasattr(getattr(mitogo, module), n)]
    return missing


def bases(names):
    """Whether each class is one of each other."""
    classes = [getattr(mitogo, n) for n in names]
    return [[issubclass(a, b) for b in classes] for a in classes]


def refused():
    try:
        aio.Engine()
    except mitogo.EngineError:
        return told.ContextLost is ContextLost and Engine is mitogo.aio.Engine
