"""Options of connection methods, as connect takes them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Sequence, Union

    PathLike = Union[str, 'os.PathLike[str]']


class SSH:
    """Options of ssh, for connect: what the user's own configuration doesn't say.

    calls_ahead has arguments of calls go in the environment of ssh, where that saves a round trip:
    processes of the same user, and administrators, can read them there on both machines. Without
    it calls go so that have no arguments.
    """

    def __init__(
        self,
        user: str = '',
        port: int = 0,
        identity_file: PathLike = '',
        password: str = '',
        passphrase: str = '',
        host_keys: str = '',
        config_file: PathLike = '',
        args: Sequence[str] = (),
        path: PathLike = '',
        calls_ahead: bool = False,
    ) -> None:
        self._dict = _given(
            user=user,
            port=port,
            identity_file=os.fspath(identity_file),
            password=password,
            passphrase=passphrase,
            host_keys=host_keys,
            config_file=os.fspath(config_file),
            args=list(args),
            path=os.fspath(path),
            calls_ahead=calls_ahead,
        )


class Sudo:
    """Options of sudo, su and doas, for connect."""

    def __init__(
        self, password: str = '', path: PathLike = '', login: bool = False, args: Sequence[str] = ()
    ) -> None:
        self._dict = _given(password=password, path=os.fspath(path), login=login, args=list(args))


def _given(**options: Any) -> Dict[str, Any]:
    return {k: v for k, v in options.items() if v}
