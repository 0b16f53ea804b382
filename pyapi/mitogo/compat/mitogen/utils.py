"""Help for programs: records, routers for a function, and plain values."""
import datetime
import functools
import logging
import os
import sys

from mitogen import _plain, core

LEVELS = {'IO': logging.DEBUG}


class _Formatter(logging.Formatter):
    """HH:MM:SS.ffffff L name: text"""

    def __init__(self):
        logging.Formatter.__init__(self, '%(asctime)s %(levelname).1s %(name)s: %(message)s')

    def formatTime(self, record, datefmt=None):
        return datetime.datetime.fromtimestamp(record.created).strftime('%H:%M:%S.%f')


def get_log_level(name):
    """The number of a level by its name; MITOGEN_LOG_LEVEL wins."""
    name = os.environ.get('MITOGEN_LOG_LEVEL', name).upper()
    return LEVELS.get(name) or getattr(logging, name, logging.INFO)


def log_to_file(path=None, level='INFO'):
    """Have records of at least that level written to a file; without one, to stderr."""
    handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.setLevel(get_log_level(level))
    root.addHandler(handler)


def run_with_router(func, *args, **kwargs):
    """Call func with a Router before its other arguments. All ends when it returns."""
    from mitogen import master

    broker = master.Broker()
    router = master.Router(broker)
    try:
        return func(router, *args, **kwargs)
    finally:
        broker.shutdown()
        broker.join()


def with_router(func):
    """A decorator of a function that gets a Router before its other arguments."""

    @functools.wraps(func)
    def call(*args, **kwargs):
        return run_with_router(func, *args, **kwargs)

    return call


PASS = (
    core.Blob, core.Secret, core.Context, core.Sender, core.CallError, bool, float, type(None))


def cast(obj):
    """obj as what can be sent: subclasses of plain types become these, tuples lists.

    TypeError: it is of no such type, or holds what is not.
    """
    if isinstance(obj, PASS):
        return obj
    if isinstance(obj, dict):
        return dict((cast(k), cast(v)) for k, v in obj.items())
    if isinstance(obj, (list, tuple)):
        return [cast(v) for v in obj]
    if isinstance(obj, int):
        return int(obj)
    if isinstance(obj, _plain.text):
        return _plain.text(obj)
    if isinstance(obj, bytes):
        return bytes(obj)
    raise TypeError('cannot serialize: %r: %r' % (type(obj), obj))


def setup_gil():
    """Does nothing: no thread is tied to a processor here."""


def disable_site_packages():
    """Take site-packages off sys.path."""
    sys.path[:] = [p for p in sys.path if 'site-packages' not in p and 'Extras' not in p]
