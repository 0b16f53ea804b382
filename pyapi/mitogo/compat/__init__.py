"""Runs programs that were written for Mitogen, by the engine of this package.

    python -m mitogo.compat PROGRAM [ARG…]

`mitogen python` does the same. A program's own way is install(), before it imports mitogen.
"""

from __future__ import annotations

import os
import sys

PLACE = os.path.dirname(os.path.abspath(__file__))


def install() -> None:
    """Have `import mitogen` find the package here, in this process.

    RuntimeError: another mitogen was imported already.
    """
    if PLACE not in sys.path:
        sys.path.insert(0, PLACE)
    there = sys.modules.get('mitogen')
    if there is not None and os.path.dirname(os.path.dirname(there.__file__ or '')) != PLACE:
        raise RuntimeError(
            'mitogo.compat.install: %s was imported before; call this first' % there.__file__
        )
