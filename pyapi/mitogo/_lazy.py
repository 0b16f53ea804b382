"""Modules that are loaded when they are first used."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Lazy:
    """A module of this package, loaded when something of it is first asked for. Its constants and
    functions only: what is assigned to later isn't seen.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        __import__(self._name)
        found = getattr(sys.modules[self._name], attribute)
        setattr(self, attribute, found)
        return found
