"""The program's side of _here."""
import threading
from time import monotonic

_changed = threading.Condition()


def pause(ready, seconds=None):
    """Wait until ready() is true, for so many seconds at most; returns what it says. What makes
    it true calls wake().
    """
    end = None if seconds is None else monotonic() + seconds
    with _changed:
        while not ready():
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                return ready()
            _changed.wait(left)
    return True


def wake():
    """Have the threads that pause look again."""
    with _changed:
        _changed.notify_all()


def identity():
    """Number of this context, and of those above it."""
    return 0, ()


def check(data):
    """Raise StreamError for a pickle that would have more memory taken than it is long."""
    from mitogo import _values

    from mitogen._plain import StreamError

    try:
        _values.scan(data)
    except Exception as e:
        raise StreamError('invalid message: %s', e)
