"""The context's side of _here: what its threads wait by, and its router."""
import struct
import threading

import _mitogen_program as _runtime

pause, wake, identity = _runtime.pause, _runtime.wake, _runtime.identity

_HEAD = struct.Struct('>LLLLL')     # dst, src, auth, handle, reply_to; data follows
_lock = threading.Lock()
_made = []


def router():
    """The one router of this context."""
    from mitogen import _contexts

    with _lock:
        if not _made:
            _made.append(_contexts.Router())
    return _made[0]


def begin():
    """Have the router take what comes. The program calls this before it says anything."""
    router()
