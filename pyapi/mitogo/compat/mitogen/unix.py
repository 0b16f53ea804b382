"""Sockets that other processes share a router by. They aren't offered."""

from mitogen import _absent

__getattr__ = _absent.getter('unix')


class Listener(object):
    """Raises NotImplementedError."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError('unix.Listener: start `mitogen daemon` to share contexts')

    build_stream = classmethod(lambda cls, *args, **kwargs: cls())


def connect(path, broker=None):
    """Raises NotImplementedError."""
    return Listener()
