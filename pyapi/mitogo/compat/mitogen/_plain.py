"""Errors, and values that show less of themselves than plain ones do.

In the subset of Python 2.7 and 3, as all that contexts import, too.
"""
import sys
import traceback

PY3 = sys.version_info > (3,)
text = type(u'')


class Error(Exception):
    """The base of the errors here. fmt may be bytes; with args it is a format."""

    def __init__(self, fmt=None, *args):
        if args:
            fmt %= args
        if fmt is not None and not isinstance(fmt, text):
            fmt = fmt.decode('utf-8')
        Exception.__init__(self, fmt)


class LatchError(Error):
    """A latch was closed."""


class ChannelError(Error):
    """Nothing more will come: a receiver was closed, or a context has gone."""

    remote_msg = 'Channel closed by remote end.'
    local_msg = 'Channel closed by local end.'


class StreamError(Error):
    """A context could not be started, or has sent what can't be read."""


class TimeoutError(Error):
    """Nothing came in time."""


class CallError(Error):
    """An exception that a function has raised in a context, as text: module, class, message, and
    the frames below.
    """

    def __init__(self, fmt=None, *args):
        if not isinstance(fmt, BaseException):
            Error.__init__(self, fmt, *args)
            return
        cls, said = type(fmt), text(fmt)
        lines = ['%s.%s: %s' % (cls.__module__, cls.__name__, said)]
        trace = sys.exc_info()[2]
        if trace:
            lines += ['\n'] + traceback.format_tb(trace)
        Error.__init__(self, ''.join(lines))

    def __reduce__(self):
        return _unpickle_call_error, (self.args[0],)


LONGEST = 10000     # characters of a CallError in a message


def _unpickle_call_error(s):
    if not isinstance(s, text) or len(s) >= LONGEST:
        raise TypeError('cannot unpickle CallError: bad input')
    return CallError(u'%s', s)


class Blob(bytes):
    """Bytes that are not worth printing."""

    def __repr__(self):
        return '[blob: %d bytes]' % len(self)

    def __reduce__(self):
        return Blob, (bytes(self),)


class Secret(text):
    """Text that shows itself nowhere."""

    def __repr__(self):
        return '[secret]'

    if not PY3:

        def __str__(self):
            return text(self).encode('utf-8')

    def __reduce__(self):
        return Secret, (text(self),)


class Kwargs(dict):
    """Keyword arguments, whose names are of the type that this Python takes."""

    def __init__(self, dct=()):
        for k, v in dict(dct).items():
            if PY3 and isinstance(k, bytes):
                k = k.decode()
            elif not PY3 and isinstance(k, text):
                k = k.encode()
            self[k] = v

    def __repr__(self):
        return 'Kwargs(%s)' % dict.__repr__(self)

    def __reduce__(self):
        return Kwargs, (dict(self),)
