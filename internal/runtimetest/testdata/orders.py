"""Loads modules of the runtime in many orders, each in a fork of a context that has loaded none.

Tells what a module takes of another or of the core, and which handles, timers and functions at the
end don't do what they are for once all are loaded. The Go test beside it appends a call of run().
"""
import posix
import signal
import sys
import zlib

import _mitogen as m

# A name that a module brings, and what has to be loaded before.
BRINGS = {'_mitogen_spawn': 'CHILDREN', '_mitogen_tunnel': 'TUNNELS',     # names of core
          '_mitogen_guard': 'GUARDS', '_mitogen_forward': 'ANNOUNCED'}      # names of core
BEFORE = {'_mitogen_tunnel': '_mitogen_spawn', '_mitogen_ansible': '_mitogen_tunnel',
          '_mitogen_sockets': '_mitogen_tunnel', '_mitogen_session': '_mitogen_guard',
          '_mitogen_native': '_mitogen_forward', '_mitogen_lacks': '_mitogen_forward',
          '_mitogen_fork': '_mitogen_spawn', '_mitogen_asking': '_mitogen_spawn',
          '_mitogen_fan': '_mitogen_spawn', '_mitogen_go': '_mitogen_tunnel'}
NO_SPEC = m.pack('B', 128) + 'x'.encode()     # a pickle's first byte, and nonsense
OWN = 'mitogen', '_mitogen_files', '_mitogen_run', '_mitogen_keep'


def load(name):
    if BRINGS.get(name) in m.__dict__ or name in OWN and name in sys.modules:
        return
    if name in BEFORE:
        load(BEFORE[name])
    handlers, due, leave, uses = dict(m.HANDLERS), list(m.DUE), list(m.LEAVE), list(m.USES)
    passes = dict(m.PASSES)
    if name in OWN:
        __import__(name)
    else:
        exec(compile(zlib.decompress(m.MODULES[name][2]), '<%s>' % name, 'exec'), m.__dict__)
    for table, before, after in ('handle', handlers, m.HANDLERS), ('pass', passes, m.PASSES):
        for h in before:
            # A handle's first owner may be what loads its module. CREDIT's new one calls the old.
            loads = getattr(before[h], '__name__', '') == 'load'
            if after.get(h) is not before[h] and not loads and (h, name) != (m.CREDIT, 'mitogen'):
                WRONG.append('%s takes %s %d' % (name, table, h))
    for table, before, after in (('DUE', due, m.DUE), ('LEAVE', leave, m.LEAVE),
                                 ('USES', uses, m.USES)):
        for entry in before:
            if not [1 for e in after if e is entry]:
                WRONG.append('%s takes an entry of %s' % (name, table))


WRONG = []


class Up(m.Stream):
    """A stream that keeps what it is given."""
    w = r = None

    def __init__(self):
        self.out = m.deque()
        self.plan = {}

    def flush(self, ev=None):
        pass


def sent(stream=None):
    """What was put on a stream, as (dst, handle, kind, text)."""
    frames = []
    out = (stream or m.UP).out
    while out:
        f = out.popleft()
        if type(f) is tuple:
            f = m.EMPTY.join(f)
        kind, dst, src, auth, handle, reply, size = m.unpack('>7L', f[:28])
        frames.append((dst, handle, kind - m.MAGIC, m.native(f[28:-2])))
    return frames


def give(handle, data, reply=0, kind=0):
    """Deliver a frame of the engine's, and return what it has the context send."""
    m.deliver(0, m.PARENTS[0], handle, reply, kind, data)
    return sent()


def same(what, got, want):
    if got != want:
        WRONG.append('%s: got %r, want %r' % (what, got, want))


def calls():
    same('PING', give(m.PING, 'x'.encode(), 900), [(0, 900, m.DATA, 'x')])
    m.FLOWS[0, 5000] = 10
    same('CREDIT', give(m.CREDIT, m.pack('>LL', 5000, 90)), [])
    same('FLOWS', m.FLOWS.pop((0, 5000)), 100)
    give(m.CALL, 'rt:nothing\0'.encode(), 901)
    same('CALL', [c[:2] for c in m.Q], [(0, 901)])
    same('CANCEL', [f[:3] for f in give(m.CANCEL, m.pack('>L', 901))], [(0, 901, m.ERROR)])
    same('calls left', len(m.Q), 0)
    give(m.STDIN, 'text'.encode(), 902)
    same('STDIN', [m.native(e[1]) for e in m.EARLY if e[0] == 902], ['text'])
    give(m.LOAD_MODULE, 'made\0<made>\0-why'.encode())
    same('LOAD_MODULE', m.MODULES['made'][0], '-')


class Fake:
    """A child."""
    why = leaving = 0

    def end(self, why):
        self.why = why


def children():
    m.ROUTES[9] = route = Up()
    same('CONNECT', give(m.CONNECT, m.pack('>L', 9), 903), [(0, 903, m.DEAD, 'context 9 exists')])
    m.CHILDREN[9] = m.CHILDREN[10] = child = Fake()
    for handle, name in ((m.SHUTDOWN, 'SHUTDOWN'), (m.CALL, 'CALL'), (m.BUNDLE, 'BUNDLE'),
                         (m.CONNECT, 'CONNECT')):
        data = m.pack('>L', 11) + ('x' * 20).encode()
        raw = m.frame(9, handle, data, m.DATA, 77)
        m.UP.take(9, 0, m.PARENTS[0], handle, 77, m.DATA, raw)
        same('%s on its way' % name, [f[:2] for f in sent(route)], [(9, handle)])
    same('SHUTDOWN of a child', child.leaving, 1)
    same('a context behind the child', m.ROUTES.get(11) is route, True)
    same('work of the child', m.WORK.get((m.ME, 77)), 9)
    give(m.KILL, m.pack('>L', 10))
    same('KILL', child.why, 'killed')
    same('PONG', give(m.PONG, m.EMPTY), [])


def bundles():
    id = ('b' * 16).encode()
    give(m.COMING, m.pack('>L', 0) + id)
    same('COMING', list(m.ANNOUNCED), [id])
    give(m.BUNDLE, id + m.pack('>LL', 3, 0) + 'abc'.encode())
    same('BUNDLE', list(m.COMPLETE), [id])
    m.ANNOUNCED.remove(id)
    del m.COMPLETE[id]
    same('FORWARD', give(m.FORWARD, ('c' * 20).encode()), [(0, m.DROPPED, m.DATA, 'c' * 20)])
    frames = give(m.ASK, 'sys\0made_nowhere'.encode())
    end = m.now() + 20
    while not frames and m.now() < end:     # another thread answers
        m.time.sleep(.01)
        frames = sent()
    same('ASK', frames, [(0, m.LACKS, m.DATA, 'made_nowhere')])
    give(m.COMING, m.pack('>L', 1))


def fans():
    m.ROUTES[12] = route = Up()
    give(m.FAN, m.pack('>6L', 12, m.SESSION, 1, 99, m.SESSION, 2), 905)
    give(m.FAN, 'bytes'.encode(), 905, m.ITEM)
    same('FAN', sent(route), [(12, m.SESSION, m.ITEM, 'bytes')])
    give(m.FAN, m.pack('>3L', 12, m.SESSION, 1), 905, m.ERROR)
    give(m.FAN, 'bytes'.encode(), 905, m.ITEM)
    same('a member that has left a fan', sent(route), [])
    give(m.FAN, m.EMPTY, 905, m.ERROR)
    same('fans', m.FANS, {})


def programs():
    for handle, name, spec in ((m.TUNNEL, 'OPEN', m.dumps({'service': 'nowhere'}, 2)),
                               (m.SESSION, 'SESSION', NO_SPEC)):
        same(name, [f[:3] for f in give(handle, spec, 904)], [(0, 904, m.ERROR)])


def interfaces():
    import mitogen
    r = mitogen.Receiver()
    give(r.handle, m.dumps(5, 2), 0, m.ITEM)
    same('a receiver', r.get(), 5)
    sent()
    m.FLOWS[0, 5001] = 10
    give(m.CREDIT, m.pack('>LL', 5001, 0))
    same('a closed receiver', (0, 5001) in mitogen._REFUSED, True)
    files = sys.modules.get('_mitogen_files')
    if files:
        got = []
        files.put('question'.encode(), got.append)
        same('GET_FILE', [f[3] for f in sent()], ['question'])
        give(files.REPLY, 'bytes'.encode())
        same('its answer', [(kind, m.native(data)) for kind, data in got], [(m.DATA, 'bytes')])


def soon():
    return min([f() for f in m.DUE])


def timers():
    import mitogen
    m.S.heard, m.S.timeout = m.now(), 0
    same('no timer', soon() > 10, True)
    m.after(5, lambda: 0)
    same('a timer of a hop', 0 < soon() <= 5, True)
    m.TIMERS[:] = []
    mitogen._DEADLINES.append(m.now() + 5)
    same('a receiver that is waited for', 0 < soon() <= 5, True)
    mitogen._DEADLINES[:] = []
    m.S.timeout = 7
    same('silence', 0 < soon() <= 7, True)
    m.S.timeout = 0
    names = sorted([f.__name__ for f in m.LEAVE])
    same('functions at the end', [n for n in names if names.count(n) > 1], [])
    give(m.SHUTDOWN, m.EMPTY)
    same('SHUTDOWN', m.S.stop, 1)


def alone():
    """Be a process that reads nothing, and has locks of its own."""
    signal.alarm(60)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    m.R, m.WRITE, m.OUTPUT = [m.thread.allocate_lock() for i in range(3)]
    m.STREAMS[:] = []
    m.FDS.clear()
    m.POLL = getattr(m.select, 'poll', m.Poll)()
    m.UP = Up()


def tell(order, w):
    """Load modules in an order, exercise all, and write what is wrong to w."""
    try:
        try:
            alone()
            for name in order:
                load(name)
            for check in calls, children, bundles, fans, programs, interfaces, timers:
                check()
        except:
            import traceback
            WRONG.append(''.join(traceback.format_exception(*sys.exc_info()))[-900:])
        m.os.write(w, '\n'.join(WRONG)[:60000].encode('utf-8'))
    finally:
        posix._exit(0)


def run(orders):
    """Returns what is wrong, by orders: each a text of modules' names."""
    found = []
    for order in orders:
        r, w = posix.pipe()
        pid = posix.fork()
        if not pid:
            tell(order.split(), w)
        posix.close(w)
        text = got = posix.read(r, 65536)
        while got:
            got = posix.read(r, 65536)
            text += got
        posix.close(r)
        status = posix.waitpid(pid, 0)[1]
        if text or status:
            found.append('%s: status %d: %s' % (order, status, m.native(text)))
    return found
