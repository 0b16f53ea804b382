"""Large arguments, sent from where they are: a pickle as buffers one behind the other."""

from __future__ import annotations

import struct

from . import _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from ._outbox import Data

LARGE = 65536  # bytes of an argument that is not copied


class Pieces:
    """Bytes in several buffers, which are taken from the front."""

    def __init__(self, *buffers: Data) -> None:
        self._views = [memoryview(b) for b in reversed(buffers) if b]
        self._left = sum(map(len, self._views))

    def __len__(self) -> int:
        return self._left

    def take(self, n: int) -> List[Data]:
        """The next n bytes, of which there are as many."""
        taken: List[Data] = []
        self._left -= n
        while n > 0:
            view = self._views.pop()
            if len(view) > n:
                self._views.append(view[n:])
                view = view[:n]
            n -= len(view)
            taken.append(view)
        return taken


def pickled(args: Tuple[Any, ...], proto: int) -> Optional[List[Data]]:
    """The pickle of (args, {}), with large bytes as they are. None: there are none, or the pickle
    would have another form. args are simple ones.
    """
    if proto < 3 or not any(type(a) is bytes and LARGE < len(a) < 1 << 32 for a in args):
        return None
    buffers: List[Data] = [b'\x80%c(' % proto]
    for a in args:
        if type(a) is bytes and LARGE < len(a) < 1 << 32:
            buffers += [struct.pack('<cL', b'B', len(a)), a]
        elif isinstance(a, (str, bytes)) and len(a) > LARGE:
            return None
        else:
            buffers.append(_bare(_values.pickled(a, proto)))
    buffers.append(b't}\x86.')
    return buffers


def _bare(pickle: bytes) -> bytes:
    """A small pickle without its beginning and end. Where it has several values, nothing refers to
    the memo, which they share.
    """
    return pickle[11:-1] if pickle[2:3] == b'\x95' else pickle[2:-1]
