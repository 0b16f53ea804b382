"""What can go wrong. All but TimeoutError and the exceptions of your own functions are an Error."""

from __future__ import annotations

import builtins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple


class Error(Exception):
    """The base of all errors of this package."""


class EngineError(Error):
    """The engine can't be started or used: there is no program `mitogen`, or one of another
    version.
    """


class EngineLost(EngineError):
    """The engine has ended, and all contexts with it; or it was closed, or belongs to a process
    that forked this one.
    """


class ConnectError(Error):
    """A context didn't come up.

    hop is the element of the target that failed, phase how far it came ("start", "log in",
    "python"), kind what is wrong in stable words, hint what to do, text what ssh, sudo or the
    interpreter said last, status its exit status.
    """

    def __init__(
        self,
        message: str,
        kind: str = '',
        hop: str = '',
        phase: str = '',
        method: str = '',
        status: int = 0,
        text: str = '',
        hint: str = '',
    ) -> None:
        super().__init__(message)
        self.kind, self.hop, self.phase, self.method = kind, hop, phase, method
        self.status, self.text, self.hint = status, text, hint

    def __str__(self) -> str:
        message = super().__str__()
        return '%s (%s)' % (message, self.hint) if self.hint else message


class PasswordError(ConnectError):
    """A password is needed, or the given one is wrong."""


class HostKeyError(ConnectError):
    """The host's key is unknown, or has changed."""


class ContextLost(Error):
    """A context has ended before it answered: hop is the lost element of its target, why says how
    its parent saw that, and text has its last lines.
    """

    def __init__(
        self, message: str, hop: str = '', why: str = '', text: str = '', code: str = ''
    ) -> None:
        super().__init__(message)
        self.hop, self.why, self.text, self.code = hop, why, text, code


class SenderLost(Error):
    """No more values will come by a sender that was not closed: its context has ended, the call
    that was given it has failed, or a value was larger than max_message.
    """


class ReceiverClosed(Error):
    """A receiver takes no more values, or none will come."""


class CallError(Error):
    """An exception that a function raised in a context.

    If it is a builtin one there, what is raised here is of that class, too: `except
    FileNotFoundError` and `except CallError` both catch it. target is the context's, module and
    type name the class, and remote_traceback has the text that Python printed there.
    """

    target: str = ''
    module: str = ''
    type: str = ''
    remote_traceback: str = ''
    text: str = ''

    def __str__(self) -> str:
        return self.text if type(self) is CallError else super().__str__()


# By name, which are exceptions that are both: a CallError and the builtin.
_classes: Dict[str, Any] = {}


def _class_of(name: str) -> Any:
    """CallError, or a subclass of it and of the builtin exception of that name."""
    known = _classes.get(name)
    if known is None:
        base = getattr(builtins, name, None)
        known = CallError
        if not isinstance(base, type):
            return known  # a name that a context has made up
        if (
            isinstance(base, type)
            and issubclass(base, Exception)
            and not issubclass(base, BaseExceptionGroup_)
        ):
            known = type(
                name,
                (CallError, base),
                {'__module__': __name__, '__str__': _shown(base), '__doc__': base.__doc__},
            )
        _classes[name] = known
    return known


def _shown(base: Any) -> Any:
    """__str__ of a class: what base says, fit for a terminal."""

    def shown(self: Any) -> str:
        return printable(base.__str__(self))

    return shown


def printable(text: str) -> str:
    """text made fit for a terminal: control characters but line ends and tabs are
    shown as escapes."""
    if text.isprintable():
        return text
    return ''.join([c if c.isprintable() or c in '\n\t' else ascii(c)[1:-1] for c in text])


def line(text: str) -> str:
    """As printable, and on one line."""
    return ' '.join(printable(text).split('\n'))


BaseExceptionGroup_: Any = getattr(builtins, 'BaseExceptionGroup', ())


def remote(
    target: str, module: str, name: str, text: str, trace: str, args: Optional[Tuple[Any, ...]]
) -> CallError:
    """The exception to raise for one in a context. What it is made of is the context's, and so
    not to be trusted.
    """
    cls: Any = CallError
    if module in ('builtins', 'exceptions'):
        cls = _class_of(name)
    trace, raw, text, module, name = (
        printable(trace),
        text,
        printable(text),
        line(module),
        line(name),
    )
    try:
        e: CallError = cls(*(args if args is not None else (raw,)))
    except Exception:
        e = CallError(raw)  # arguments that the builtin doesn't take
    _name_file(e, text)
    e.target, e.module, e.type, e.text, e.remote_traceback = target, module, name, text, trace
    if type(e) is CallError:
        name = name if module in ('', 'builtins', 'exceptions') else '%s.%s' % (module, name)
        e.text = '%s: %s' % (name, text) if text else name
    if trace:
        note = 'In %s:\n%s' % (target, trace.rstrip())
        if hasattr(e, 'add_note'):
            e.add_note(note)  # pyright: ignore[reportAttributeAccessIssue]  # from 3.11 on
        else:
            e.__cause__ = _Remote(note)
    return e


def _name_file(e: Any, text: str) -> None:
    """Give an OSError its file name, which is no part of the arguments: the text ends with it."""
    if not isinstance(e, OSError) or len(e.args) != 2 or e.filename is not None:
        return
    before = '[Errno %s] %s: ' % e.args
    name = text[len(before) :].lstrip('bu')  # of bytes, or of Python 2's text
    if text.startswith(before) and name[:1] == name[-1:] == "'" and '\\' not in name:
        e.filename = name[1:-1]


class _Remote(Exception):
    """Shows a remote traceback where exceptions have no notes."""


KINDS = {
    'password required': PasswordError,
    'permission denied': PasswordError,
    'wrong sudo password': PasswordError,
    'host key not known': HostKeyError,
    'host key has changed': HostKeyError,
}


def of(d: Dict[str, Any]) -> Error:
    """The error that the engine's dict describes: docs/protocol/program.md, section 11."""
    d = {k: printable(v) if isinstance(v, str) else v for k, v in d.items()}
    message = str(d.get('message', ''))
    if 'kind' in d:
        kind = str(d['kind'])
        cls = KINDS.get(kind, ConnectError)
        return cls(
            message,
            **{k: d[k] for k in ('kind', 'hop', 'phase', 'method', 'status', 'text', 'hint')},
        )
    if 'why' in d:
        return ContextLost(message, d['hop'], d['why'], d['text'], d['code'])
    if d.get('closed'):
        return ContextLost('context closed', why='closed')
    return ConnectError(message)
