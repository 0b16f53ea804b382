"""What the tests call in a context."""
import os
import re
import sys
import time

PY3 = sys.version_info[0] > 2


def echo(*args, **kwargs):
    if kwargs:
        return args, kwargs
    if len(args) == 1:
        return args[0]
    return args


def nothing():
    pass


def describe(v):
    """What arrived, in words that Go can compare."""
    return '%s %r' % (type(v).__name__, v)


def evaluate(text):
    """The value of an expression, which sees the names of this module."""
    return eval(text, globals())


def database():
    import sqlite3
    db = sqlite3.connect(':memory:')
    db.row_factory = sqlite3.Row
    return db


def made(text):
    """The value of an expression, for which modules are imported, and db is a database."""
    names = {'__name__': 'made'}
    for m in re.findall(r'\b([a-z_]\w*)\.', text):
        try:
            if m == 'db':
                names[m] = database()
            else:
                names[m] = __import__(m)
        except ImportError:
            pass
    return eval(text, names)


def made_many(text):
    """The items of what made returns."""
    for item in made(text):
        yield item


def execute(text):
    """Run statements; what they bind to `result` is the answer."""
    names = {'__name__': 'executed'}
    exec(compile(text, 'executed', 'exec'), names)
    return names.get('result')


class Base(object):
    plain = 1

    @staticmethod
    def static(a, b):
        return a * b

    @classmethod
    def of(cls, a):
        return cls.__name__, a

    class Inner(object):
        @staticmethod
        def deep():
            return 'deep'


class Derived(Base):
    pass


class Odd(Exception):
    def __init__(self, text, thing):
        Exception.__init__(self, text, thing)


class Unprintable(Exception):
    def __str__(self):
        raise ValueError('no text')

    __repr__ = __str__


def fail(kind, *args):
    """Raise an exception of a builtin type or of this module's."""
    t = globals().get(kind)
    if t is None:
        t = getattr(sys.modules[object.__module__], kind)
    raise t(*args)


def fail_odd():
    raise Odd('odd', object())


def fail_long(n):
    raise ValueError('x' * n)


def outer():
    return inner(3)


def inner(n):
    return n / 0  # the line that fails


def chained():
    try:
        inner(1)
    except ZeroDivisionError:
        raise KeyError('second')


def finish(code=None):
    sys.exit(code)


def interrupt():
    raise KeyboardInterrupt


def unpicklable(kind):
    return {'lambda': lambda: 1, 'class': Base(), 'module': os, 'file': sys.stdin}[kind]


def text(n):
    return 'x' * n


def blob(n):
    return bytearray(n)


def length(v):
    return len(v)


def count(n):
    i = 0
    while i < n:
        yield i
        i += 1


def chunks(n, size):
    for i in range(n):
        yield bytearray(size)


def count_then_fail(n):
    for i in range(n):
        yield i
    raise ValueError('after %d' % n)


def printing(n):
    for i in range(n):
        print('item %d' % i)
        yield i


def slow(seconds, value):
    time.sleep(seconds)
    return value


def loop():
    print('looping')
    sys.stdout.flush()
    while 1:
        pass


def sleep():
    print('sleeping')
    sys.stdout.flush()
    time.sleep(1000)


def note(value):
    NOTES.append(value)


def notes():
    found = NOTES[:]
    del NOTES[:]
    return found


NOTES = []


def stubborn():
    """Doesn't end for one interrupt."""
    for i in range(2):
        try:
            print('round %d' % i)
            time.sleep(1000)
        except KeyboardInterrupt:
            pass
    return 'ended'


def write(fd, data, times=1):
    """Write to a file descriptor until all is written."""
    for i in range(times):
        d = data
        while d:
            d = d[os.write(fd, d):]


def pids():
    return os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0)


def child():
    """Something that outlives whoever doesn't end it."""
    import subprocess
    return subprocess.Popen(['sh', '-c', 'trap "" TERM HUP INT; sleep 1000; sleep 1000']).pid


def deaf():
    """Takes no signal that can be refused."""
    import signal
    for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGIO):
        signal.signal(s, signal.SIG_IGN)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    sleep()


def locked():
    """Never lets go of the interpreter lock, from a SIGUSR1 on."""
    import signal
    import re
    pattern = re.compile('(a+)+$')
    go = []
    signal.signal(signal.SIGUSR1, lambda *args: go.append(1))
    print('locking')
    sys.stdout.flush()
    while not go:
        time.sleep(.01)
    pattern.match('a' * 60 + 'b')


def hold(seconds):
    """Holds the interpreter lock."""
    import ctypes
    getattr(ctypes, 'PyDLL', ctypes.CDLL)(None).usleep(int(seconds * 1000000))
    return 'held'


def send(sender, values, close):
    for v in values:
        sender.send(v)
    if close:
        sender.close()


def send_made(sender, text):
    sender.send(made(text))


def send_many(sender, n, size):
    for i in range(n):
        sender.send(bytearray(size))
