"""Functions of the program's own, which contexts are sent."""

import collections
import datetime
import decimal
import enum
import os
import pathlib
import sys
import time
from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional


@dataclass
class Disk:
    name: str
    free: int


@dataclass
class Facts:
    host: str
    disks: List[Disk]
    root: Optional[Disk] = None


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Hooked:
    """What it is made of runs code of the program's."""

    made = []

    def __setstate__(self, state):
        Hooked.made.append(state)


class Unknown:
    pass


def facts() -> Facts:
    return Facts('there', [Disk('sda', 7)], Disk('sdb', 8))


def many() -> Dict[str, Facts]:
    return {'a': facts()}


def colour() -> Colour:
    return Colour.RED


def point() -> Point:
    return Point(1, 2)


def hooked() -> Hooked:
    h = Hooked()
    h.x = 1
    return h


def unknown():
    return Unknown()


def library():
    return [
        datetime.datetime(2026, 1, 2),
        datetime.timedelta(3),
        decimal.Decimal('1.5'),
        pathlib.Path('/tmp/x'),
        collections.OrderedDict(a=1),
        collections.Counter('aab'),
        {1, 2},
        frozenset([3]),
        1 + 2j,
        b'\xff\0',
        bytearray(b'ab'),
    ]


def same(*args, **kwargs):
    return args, kwargs


def host_of(f):
    return f.host, type(f).__name__


def raises(cls, *args):
    raise cls(*args)


def fails_later():
    yield 1
    raise LookupError('later')


def count(n):
    for i in range(n):
        yield i


def blocks(n, size):
    for i in range(n):
        yield b'%d ' % i + b'x' * size


def endless():
    try:
        n = 0
        while True:
            n += 1
            yield b'x' * 1000
    finally:
        pathlib.Path(os.environ.get('MITO_TEST_ENDED', '/dev/null')).write_text('ended')


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def marked_sleep(path, seconds):
    """Makes the file once it runs."""
    pathlib.Path(path).write_text('')
    time.sleep(seconds)
    return seconds


def slow_items(seconds):
    yield 'first'
    time.sleep(seconds)
    yield 'last'


def deaf(seconds):
    """Ignores KeyboardInterrupt."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            time.sleep(0.05)
        except KeyboardInterrupt:
            pass


def says(text):
    sys.stdout.write(text)
    sys.stdout.flush()
    return 'said'


def logs(text):
    import logging

    logging.getLogger('there').warning(text)


def pid():
    return os.getpid()


class Kind:
    @classmethod
    def name(cls):
        return cls.__name__

    def bound(self):
        pass

    @staticmethod
    def double(n):
        return 2 * n


class Empty:
    @staticmethod
    def items():
        return iter_nothing()

    @classmethod
    def none(cls):
        return None


def iter_nothing():
    yield from ()


def hides_a_generator(n):
    return count(n)


def kept():
    """Returns None without saying so."""


def append(path, word):
    with open(path, 'a') as f:
        f.write(word + ' ')


def ticks():
    n = 0
    while True:
        yield n
        n += 1


def counts_and_sleeps(n, seconds):
    yield from range(n)
    time.sleep(seconds)


def breaks_after(n):
    for i in range(n):
        yield i
    raise ValueError('broken')
