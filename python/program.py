"""What a Python program beside the engine (docs/protocol, section 11) has its contexts do. Sent
as `_mitogen_program`.

Its arguments may be of any class: it is called with the authority of an ancestor only, who could
have any code run. What it sends back may be of any class, too: the program reads it by a list of
its own.
"""
import os
import sys
import _mitogen as core

NONE = [0, None, None]  # whether the last result was None; core's function and answer
CHANNEL = '_mitogen_program:channel'.encode() + core.ZERO
OUTLET = []     # whose answer the channel's items to the program are: (context, reply handle)
POSTING = core.thread.allocate_lock()   # so that the parts of two items don't mix
HEARD = []      # the function that takes what the program says by the channel; none yet
EARLY = []      # what it has said before
HEARING = core.thread.allocate_lock()   # of both
DEADLINES = []  # when the threads that pause look again
FAILED = []     # why the program's main module could not be executed here


def begin():
    """From now on results are sent as they are, where they have no plain form."""
    core.dumped = dumped
    if NONE[1] is None:
        NONE[1:] = [core.function, core.answer]
        core.function, core.answer = function, answer


def function(name):
    """As core.function. What it returns notes whether its result is None."""
    if not core.PY3 and name[:9] == 'builtins:':
        name = '__builtin__:' + name[9:]
    fn = NONE[1](name)

    def called(*args, **kwargs):
        NONE[0] = 0
        r = fn(*args, **kwargs)
        NONE[0] = r is None
        return r
    return called


def answer(src, reply, data):
    """As core.answer, but None is sent pickled: an empty payload is the end of a generator."""
    if data == CHANNEL:
        return open_channel(src, reply)
    kind, payload = NONE[2](src, reply, data)
    if NONE[0]:
        payload = core.strict(None)
    return kind, payload


def open_channel(src, reply):
    """Begin the channel, on which context and program say to each other what they like, while
    calls run, too.

    What this context says are items of the answer to this call, which stays open. The first one
    is the handle that what the program says comes to; DATA there ends the channel.
    """
    def arrived(other, again, kind, data):
        if other != src:
            return
        if kind == core.ITEM:
            core.credit(src, inlet, len(data))
            listen(data)
        elif OUTLET:
            del OUTLET[:]
            core.send(src, reply)

    inlet = core.register(arrived)
    core.emit(src, reply, core.strict(inlet), core.ITEM)
    OUTLET[:] = [src, reply]
    return core.PART, core.EMPTY    # which ends nothing


def channel():
    """What a program calls to open the channel: answer() does it."""


def mark():
    """An item that comes between the output of earlier calls and the output of later ones."""
    yield None


def listen(data):
    HEARING.acquire()
    try:
        (HEARD or [EARLY.append])[0](data)
    finally:
        HEARING.release()


def hear(fn):
    """Have fn called with what the program says, as bytes, in the thread that reads: it must not
    wait.
    """
    HEARING.acquire()
    try:
        for data in EARLY:
            fn(data)
        EARLY[:], HEARD[:] = [], [fn]
    finally:
        HEARING.release()


def post(data):
    """Say bytes to the program. Waits while it is more than 1 MiB behind."""
    POSTING.acquire()
    try:
        if not OUTLET:
            raise EOFError('the program has closed the channel')
        core.emit(OUTLET[0], OUTLET[1], data, core.ITEM)
    finally:
        POSTING.release()


def pause(ready, seconds=None):
    """Wait until ready() is true, for so many seconds at most; returns what it says."""
    if seconds is None:
        core.wait(ready)
        return ready()
    end = core.now() + seconds
    DEADLINES.append(end)
    core.poke()
    try:
        core.wait(lambda: ready() or core.now() >= end)
    finally:
        DEADLINES.remove(end)
    return ready()


def next_deadline():
    return min([core.PATIENCE] + [max(0, t - core.now()) for t in DEADLINES])


core.DUE.append(next_deadline)


def identity():
    """The number of this context, and those of the contexts above it, the nearest first."""
    return core.ME, tuple(core.PARENTS)


def wake():
    """Have the threads that pause look again."""
    core.poke()


def dumped(v, proto=core.PROTO, name='result'):
    """A value pickled: as a plain one, as what it is, or in its plain form."""
    for way in (core.strict, core.dumps):
        try:
            return way(v, proto)
        except Exception:
            pass
    return core.plain(v, proto, name)


def main(path, source):
    """Execute the text that stands for the program's main module before anything in it is called:
    once, or, where it is a notebook's or what was typed, whenever the text is another.
    """
    import linecache
    del FAILED[:]
    m = sys.modules['__main__']
    m.__file__ = path
    lines = source
    if core.PY3:
        lines = source.decode('utf-8', 'replace')
    linecache.cache[path] = len(source), None, lines.splitlines(True), path
    try:
        exec(compile(source, path, 'exec', 0, 1), m.__dict__)
    except Exception:
        FAILED.append(sys.exc_info()[1])


def call(target, data):
    """Call a function of the main module, or one whose arguments are of the program's own
    classes.
    """
    if FAILED:
        raise FAILED[0]
    fn = core.function(target.encode('utf-8'))
    if not data:
        return fn()
    args, kwargs = core.Unpickler(core.BytesIO(data)).load()
    if not core.PY3:
        kwargs = dict([(str(k), v) for k, v in kwargs.items()])
    return fn(*args, **kwargs)


def run(args, shell, data, cwd, env, capture):
    """Run a program of the target's: (exit status, its stdout, its stderr)."""
    import subprocess
    pipe, feed = None, None
    if capture:
        pipe = subprocess.PIPE
    if data is not None:
        feed = subprocess.PIPE
    p = subprocess.Popen(args, shell=shell, stdin=feed, stdout=pipe, stderr=pipe, cwd=cwd, env=env)
    try:
        out, err = p.communicate(data)
    except:
        try:
            os.kill(p.pid, 9)
        except OSError:
            pass
        p.wait()
        raise
    return p.returncode, out, err


def name_of(path):
    return getattr(os, 'fsencode', lambda p: p.encode('utf-8'))(path)


def read(path):
    """The pieces of a file."""
    from _mitogen_paths import readable
    f = readable(name_of(path))
    data = 1
    while data:
        data = os.read(f, 131000)
        if data:
            yield data
    os.close(f)


def write(path, mode):
    """Have a file written, which takes its place once it is whole.

    The first item is a handle. What comes there are the file's pieces, and then DATA; anything else
    gives the file up.
    """
    from _mitogen_paths import replace
    pieces, ends = core.deque(), []

    def arrived(src, reply, kind, data):
        if src == 0 and kind == core.ITEM:
            pieces.append(data)
        elif src == 0:
            ends.append(kind)

    def fill(f):
        while 1:
            core.wait(lambda: pieces or ends)
            if not pieces:
                if ends[0] != core.DATA:
                    raise EOFError('the program gave it up')
                return
            data = pieces.popleft()
            core.credit(0, handle, len(data))
            while data:
                data = data[os.write(f, data):]

    handle = core.register(arrived)
    yield handle
    try:
        replace(name_of(path), mode, fill)
    finally:
        core.HANDLERS.pop(handle, None)
