"""Fuzzes the runtime's readable source with what children and other contexts may send.

    fuzz.py DIRECTORY SEED COUNT [SECONDS]

An input is a list of bytes that choose() reads as actions of hostile children, of contexts whose
frames the engine relays, and of an engine in order. Inputs that reach new lines are kept and
changed further. A failure prints the input; `fuzz.py DIRECTORY = HEX` repeats it.
"""
import os
import pickle
import random
import re
import struct
import sys
import time
import traceback
import zlib

MAX = 131072
MAGIC = 0xF14D4700
LIMIT = 300000
CHILDREN = (6, 7)
OTHER = 40      # a context elsewhere that may call this one
IDS = (0, 5, 6, 7, 8, 9, OTHER, 99, 0xFFFFFFFF)
HANDLES = tuple(range(0, 27)) + tuple(range(999, 1006)) + (0xFFFFFFFF,)
RELAYED = (1, 2, 3, 8) + tuple(range(1000, 1006))
SMALL = (0, 1, 2, 4, 8, 9, 27, 28, 29, 30, 31, 32, 64, 255, 4096, 65536, MAX - 1, MAX, MAX + 1)
TEXTS = (b'', b'\xff\xfe', b'\x00', b'os:getpid\0', b'x' * 40, b'\xf1MG', b'MITO-EC0\n', b'\x1b[2J',
         b'\x80\x02}q\x00.', b'\x80\x04\x95', b'rt:f\0\x80\x02K\x01.', b'\x00\x00\x00\x06', b'\x00' * 8, b'\x00' * 34,
         b'\x80\x02cos\nsystem\n.', b'Password: ')


class Died(BaseException):
    """The runtime has ended itself."""


class Kernel:
    """The os module, but for what would reach other processes."""

    def __init__(self):
        self.fds = []

    def __getattr__(self, name):
        return getattr(os, name)

    def pipe(self):
        fds = os.pipe()
        self.fds.extend(fds)
        return fds

    def kill(self, *args):
        pass
    killpg = kill

    def close(self, fd):
        self.fds.remove(fd)     # fails if it has been closed
        os.close(fd)

    def waitpid(self, pid, flags):
        return pid, 0

    def fork(self):
        raise OSError(11, 'none here')

    def _exit(self, code):
        raise Died()

    def shut(self):
        for fd in self.fds:
            os.close(fd)


CODE = {}

# The files of the core in their order (internal/boot/gen/rules.go), but for main, which starts it.
CORE = '''compat constants state descriptors atomic streams reader output dispatch handlers plain
    calls serving ending modules importer log tables start'''.split()


def unshown(directory, match):
    """The lines of an import, empty ones if it is for readers, as the linker makes them."""
    name, lines = match.group(1), match.group()
    if name == '_mitogen' or os.path.exists(os.path.join(directory, name + '.py')):
        return '\n' * lines.count('\n')
    return lines


def code(directory, name):
    if name not in CODE:
        with open(os.path.join(directory, name)) as f:
            text = f.read()
        text = re.sub(r'(?m)^from (\w+) import (\([^)]*\)|.*)$',
                      lambda m: unshown(directory, m), text)
        CODE[name] = compile(text, name, 'exec')
    return CODE[name]


class World:
    """A hop with two children, and with modules of the runtime that the input chooses."""

    def __init__(self, directory):
        self.m = m = type(sys)('_mitogen')
        m.C = (5, (0,), 'fuzzed', LIMIT, 0, 0, 20)
        m.IMAGE = zlib.compress(b'pass')
        sys.modules['_mitogen'] = m
        for name in ('mitogen', '_mitogen_files', '_mitogen_run'):
            sys.modules.pop(name, None)
        self.directory = directory
        for name in CORE:
            self.load('core/%s.py' % name)
        self.kernel = m.os = Kernel()
        m.POLL = m.Poll()
        m.die = self.die
        m.interrupt = lambda: None
        m.WAKE = self.pipe()
        self.down, self.up = self.pipe(), self.pipe()
        m.UP = m.Stream(self.down[0], self.up[1])
        m.DRAIN = m.Poll()
        m.MODULES['_mitogen_spawn'] = 'm', '', zlib.compress(b'pass')
        with open(os.path.join(directory, 'asking.py'), 'rb') as f:
            m.MODULES['_mitogen_asking'] = 'm', '', zlib.compress(f.read())
        self.load('process.py')
        self.load('execute.py')
        for name in ('child_start.py', 'child.py', 'spawn.py'):
            self.load(name)
        m.execute = self.execute
        self.faults = []
        ends = m.Child.end

        def end(child, what, why=b''):
            if what == 'fault':
                self.faults.append((why, traceback.format_exc()))
            return ends(child, what, why)
        m.Child.end = end
        for id in CHILDREN:
            self.connect(id)
        self.received = []
        for id in CHILDREN:
            if not self.child(id):
                raise AssertionError('no child: %r' % m.UP.out)

    def load(self, name):
        exec(code(self.directory, name), self.m.__dict__)

    def pipe(self):
        r, w = self.kernel.pipe()
        for fd in (r, w):
            os.set_blocking(fd, False)
        return r, w

    def die(self):
        raise Died()

    def execute(self, argv, env, tty, wait, *others):
        r, w = self.pipe()
        err = self.pipe()[0]
        terminal = None
        if tty:
            terminal = self.pipe()[1]
        return 10 ** 9, self.pipe()[1], r, err, terminal, None, b''

    def connect(self, id, **plan):
        all = {'name': 'child', 'argv': ['sh'], 'env': {}, 'tty': True, 'wait': False, 'near': False,
               'prompts': [(b'password:', b'hush')], 'dialogue': '', 'timeout': 1000, 'head': b'h\n'}
        all.update(plan)
        self.m.on_connect(0, 2000, 0, struct.pack('>L', id) + pickle.dumps(all, 2))

    def child(self, id):
        c = self.m.CHILDREN.get(id)
        if c and c.launched and not c.gone:
            return c

    def feed(self, id, data):
        """What a child writes, by way of its pipe's handler. No data: it has closed the pipe."""
        c = self.child(id)
        if c:
            self.readable(c, c.r, data)

    def say(self, id, name, data):
        """What is printed on another stream of a child's."""
        c = self.child(id)
        if c and data:
            self.readable(c, getattr(c, name), data)

    def readable(self, child, fd, data):
        rest = [data]

        def read(f, n):
            if f != fd:
                return os.read(f, n)
            first, rest[0] = rest[0][:n], rest[0][n:]
            return first
        self.kernel.read = read
        try:
            while fd in self.m.FDS and child not in self.m.HELD_BACK:
                if not child.room:
                    self.m.run_timers()     # what was read before is first
                    continue
                self.m.FDS[fd](1)
                if not rest[0]:
                    return
        finally:
            del self.kernel.read

    def drain(self):
        """Carry what waits above."""
        while 1:
            try:
                while os.read(self.up[0], 65536):
                    pass
            except OSError:
                pass
            self.m.UP.flush()
            if not self.m.UP.rest and not self.m.UP.out:
                return

    def user(self, which):
        """What programs here have open: a receiver, a call, a run's stdin."""
        name, files = (('mitogen', 'mitogen'),
                       ('_mitogen_files', 'files_ask files_index files_content files'),
                       ('_mitogen_run', 'run_relay run_copy run'))[which]
        if name in sys.modules:
            return
        sys.modules[name] = module = type(sys)(name)
        for file in files.split():
            module.__dict__['__file__'] = file + '.py'
            exec(code(self.directory, file + '.py'), module.__dict__)
        if which == 0:
            self.received.append(module.Receiver())
        if which == 1:
            self.received.append(module.ask('r', 'pkg', 'a'))

    def check(self):
        m = self.m
        if self.faults:
            raise AssertionError('a fault ended a child: %r\n%s' % self.faults[0])
        waiting = {}
        for f in m.UP.out:
            if type(f) is tuple:
                waiting[f[0]] = waiting.get(f[0], 0) + len(f[1]) + m.FRAME_COST
        for c in list(m.CHILDREN.values()) + list(waiting):
            if c.above() != waiting.get(c, 0):
                raise AssertionError('%d wait, %d are counted' % (waiting.get(c, 0), c.above()))
            if c.above() > m.ABOVE_LIMIT + 4 * MAX + 100 * 4096:
                raise AssertionError('%d bytes of one child wait above' % c.above())
        for c in m.HELD_BACK:
            if c.gone:
                raise AssertionError('a child that has ended is held back')
        if m.CAUSE[0]:
            raise AssertionError('a child is still at work')
        kept = sum([p[0] for p in m.PARTS.values()])
        if kept > (len(m.CHILDREN) + 2) * (LIMIT + 2 * MAX):
            raise AssertionError('%d bytes of parts' % kept)
        for c in m.ROUTES.values():
            if c not in m.CHILDREN.values():
                raise AssertionError('a route to nothing')


class Reader:
    """The input, read as choices."""

    def __init__(self, data):
        self.data = data
        self.pos = 0

    def byte(self):
        self.pos += 1
        if self.pos > len(self.data):
            return 0
        return self.data[self.pos - 1]

    def of(self, choices):
        return choices[self.byte() % len(choices)]

    def bytes(self):
        n = self.byte()
        if n > 200:
            return self.of(TEXTS) * self.of(SMALL[:12])
        if n > 180:
            return b'p' * self.of(SMALL)
        if n > 100:
            return self.of(TEXTS)
        n = n % 50
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def frame(self, src=None, handles=HANDLES):
        payload = self.bytes()
        kind = self.of((0, 0, 0, 1, 2, 3, 4, 4, 4, 5, 255))
        size = len(payload)
        how = self.byte()
        if how > 250:
            size = self.of(SMALL)
        ids = [self.of(IDS), self.of(IDS), self.of(IDS)]
        if src is not None and how < 200:
            ids = [5 if how < 120 else ids[0], src, src]
        head = struct.pack('>7L', MAGIC + kind, ids[0], ids[1], ids[2], self.of(handles), self.of(HANDLES), size)
        trailer = b'\x47\xf1'
        if how == 240:
            trailer = b'??'
        return head + payload + trailer


def from_child(w, r):
    id = r.of(CHILDREN + (8,))
    data = b''.join([r.frame(id) for i in range(r.byte() % 4 + 1)])
    how = r.byte()
    if how > 240:
        data *= 300
    if how % 8 == 7:
        cut = r.byte() * 7 % (len(data) + 1)
        w.feed(id, data[:cut])
        data = data[cut:]
    w.feed(id, data)


def hello(w, r):
    id = r.of(CHILDREN + (8,))
    w.feed(id, struct.pack('>7L', MAGIC, 0, id, id, 16, 0, 4) + b'\x80\x02}.' + b'\x47\xf1')


def raw(w, r):
    w.feed(r.of(CHILDREN), r.bytes())


def relayed(w, r):
    """The engine passes on what another context sent: of any payload, with its own authority."""
    kind = r.of((0, 1, 2, 3, 4))
    payload = r.bytes()[:MAX]
    w.m.UP.parse(w.m.UP.buf + struct.pack('>7L', MAGIC + kind, r.of((5, 6, 8)), OTHER, 0, r.of(RELAYED), r.of(HANDLES),
                                          len(payload)) + payload + b'\x47\xf1')


def words(w, r):
    w.say(r.of(CHILDREN), r.of(('err', 'tty')), r.bytes())


def engine(w, r):
    what = r.byte() % 8
    if what == 0:
        w.connect(r.of((8, 9)), tty=r.byte() % 2 == 1, dialogue=r.of(('', 'questions')))
    elif what == 1:
        w.m.on_kill(0, 0, 0, struct.pack('>L', r.of(IDS)))
    elif what == 2:
        w.user(r.byte() % 3)
    elif what == 3:
        id = r.of(CHILDREN)
        if id in w.m.ROUTES:
            w.m.learn(id, w.m.frame(id, w.m.CONNECT, struct.pack('>L', 50)))
    elif what == 4 and 'PASSAGES' not in w.m.__dict__:
        w.load('forward.py')
    elif what == 5 and 'TUNNELS' not in w.m.__dict__:
        w.load('feed.py')
        w.load('tunnel.py')
    elif what == 6:
        payload = r.bytes()[:MAX]
        kind = r.of((0, 1, 2, 3))
        w.m.UP.parse(struct.pack('>7L', MAGIC + kind, 5, 0, 0, r.of(HANDLES[27:]), 0, len(payload)) + payload + b'\x47\xf1')
    else:
        payload = r.bytes()[:MAX]
        id = r.of(CHILDREN)
        w.m.UP.parse(struct.pack('>7L', MAGIC, id, 0, 0, r.of((1, 3, 4, 5, 8)), 2001, len(payload)) + payload + b'\x47\xf1')


def timers(w, r):
    w.m.run_timers()
    if r.byte() > 200:
        for t in w.m.TIMERS:
            t[0] = 0
        w.m.run_timers()


def carried(w, r):
    w.drain()


def eof(w, r):
    w.feed(r.of(CHILDREN), b'')


ACTIONS = (from_child, from_child, from_child, from_child, hello, raw, relayed, relayed, words, engine, timers, carried, eof)


def one(directory, data):
    w = World(directory)
    try:
        r = Reader(data)
        while r.pos < len(data):
            r.of(ACTIONS)(w, r)
            w.check()
        w.drain()
        w.check()
    finally:
        w.kernel.shut()


# Coverage


class Coverage:
    """Whether lines were reached that no earlier input has reached."""

    def __init__(self):
        self.new = 0
        self.lines = set()
        self.tool = None
        if hasattr(sys, 'monitoring'):
            mon = sys.monitoring
            self.tool = mon.COVERAGE_ID
            mon.use_tool_id(self.tool, 'fuzz')
            mon.register_callback(self.tool, mon.events.LINE, self.line)
            mon.set_events(self.tool, mon.events.LINE)
        else:
            sys.settrace(self.trace)

    def line(self, code, number):
        if code.co_filename.endswith('.py') and '/' not in code.co_filename:
            self.lines.add((code.co_filename, number))
            self.new += 1
        return sys.monitoring.DISABLE

    def trace(self, frame, event, arg):
        name = frame.f_code.co_filename
        if '/' in name or not name.endswith('.py'):
            return None
        if event == 'line' and (name, frame.f_lineno) not in self.lines:
            self.lines.add((name, frame.f_lineno))
            self.new += 1
        return self.trace

    def took(self):
        new, self.new = self.new, 0
        return new


def changed(rng, corpus):
    data = bytearray(rng.choice(corpus))
    for i in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data) + 1)
        how = rng.randrange(5)
        if how == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif how == 1:
            data[at:at] = bytes(rng.randrange(256) for i in range(rng.randrange(1, 12)))
        elif how == 2:
            del data[at:at + rng.randrange(1, 8)]
        elif how == 3:
            other = rng.choice(corpus)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start:start + rng.randrange(40)]
        else:
            data[at:at] = data[at:at + rng.randrange(20)] * rng.randrange(1, 4)
    return bytes(data[:600])


def main(directory, seed, count, seconds=0):
    rng = random.Random(int(seed))
    coverage = Coverage()
    corpus = [bytes([4, 0]) + bytes(rng.randrange(256) for i in range(n)) for n in (10, 40, 100, 300)]
    end = time.time() + float(seconds)
    n = 0
    while n < int(count) or time.time() < end:
        data = changed(rng, corpus)
        n += 1
        try:
            one(directory, data)
        except BaseException:
            if sys.exc_info()[0] is KeyboardInterrupt:
                raise
            traceback.print_exc()
            print('input: %s' % data.hex())
            return 1
        if coverage.took():
            corpus.append(data)
    print('%d inputs, %d kept, %d lines' % (n, len(corpus), len(coverage.lines)))


if sys.argv[2] == '=':
    one(sys.argv[1], bytes.fromhex(sys.argv[3]))
else:
    sys.exit(main(*sys.argv[1:]))
