"""What lets bytes pass between the engine and something that is started here. Sent as `_mitogen_tunnel`.

Runs in the namespace of core.py, in the thread that reads; uses spawn.py.
"""
if 'CHILDREN' not in globals():
    exec(compile(zlib.decompress(MODULES['_mitogen_spawn'][2]), '<_mitogen_spawn>', 'exec'), globals())

TUNNELS = {}    # (src, reply): Tunnel


class Tunnel(Stream):
    """A process whose stdin is fed by the OPEN frames that follow, and whose stdout goes up as items."""
    full = 0        # no window: not read
    eof = 0         # of what is fed
    pid = gone = None

    def __init__(self, src, reply, spec):
        self.key = src, reply
        self.last = EMPTY       # the end of what came on stderr
        argv = [utf8(a) for a in spec['argv']]
        self.pid, w, r, self.err, tty, slave, why = execute(argv, {}, 0, 0, spec.get('fork') and not S.calls)
        TUNNELS[self.key] = self
        FLOWS[self.key] = WINDOW
        Stream.__init__(self, r, w)
        FDS[self.err] = self.on_err
        POLL.register(self.err, POLLIN)
        if why:
            self.last = argv[0] + ': '.encode() + why
            self.end()

    def written(self, n):
        UP.out.appendleft(frame(self.key[0], CREDIT, pack('>LL', self.key[1], n)))

    def flush(self, ev=None):
        if self.w is not None:
            Stream.flush(self)
            UP.flush()
        if self.eof and self.w is not None and not self.rest and not self.out:
            self.shut()

    def shut(self):
        """Nothing more is written."""
        if self.waits:
            POLL.unregister(self.w)
            self.waits = 0
        self.blocked = 0
        del FDS[self.w]
        os.close(self.w)
        self.w = None
        STREAMS.remove(self)

    def lost(self, grace=0):
        after(grace, self.unwritable)
        poke()

    def unwritable(self):
        self.out.clear()
        self.rest = EMPTY
        self.eof = 1
        if self.w is not None:
            self.shut()

    def read(self, ev):
        if FLOWS[self.key] <= 0:
            self.full = 1
            POLL.unregister(self.r)
            return
        try:
            data = os.read(self.r, 65536)
        except OSError:
            if again(sys.exc_info()[1]):
                return
            data = EMPTY
        if not data:
            return self.end()
        FLOWS[self.key] -= len(data)
        send(self.key[0], self.key[1], data, ITEM)

    def resume(self):
        if self.full and FLOWS[self.key] > 0 and not self.gone:
            self.full = 0
            POLL.register(self.r, POLLIN)

    def on_err(self, ev):
        try:
            data = os.read(self.err, 4096)
        except OSError:
            data = EMPTY
        if not data:
            del FDS[self.err]
            POLL.unregister(self.err)
        self.last = (self.last + data)[-TAIL:]

    def end(self, patience=.3):
        """Its output has ended, or nobody wants it: it has patience seconds to end itself."""
        if self.gone:
            return
        self.gone = now() + patience
        if not self.full:
            POLL.unregister(self.r)
        del FDS[self.r]
        os.close(self.r)
        self.unwritable()
        self.reap()

    def reap(self):
        if now() >= self.gone and self.err is not None:
            for fn in (os.killpg, os.kill):
                try:
                    fn(self.pid, 9)
                except OSError:
                    pass
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except OSError:
            pid = self.pid
        if not pid:
            return after(.01, self.reap)
        try:
            os.killpg(self.pid, 9)
        except OSError:
            pass
        if self.err in FDS:
            self.on_err(0)
        if self.err in FDS:
            del FDS[self.err]
            POLL.unregister(self.err)
        os.close(self.err)      # the kernel kills what it has left
        del TUNNELS[self.key]
        spend(self.key)
        send(self.key[0], self.key[1], self.last)


def on_open(src, reply, kind, data):
    t = TUNNELS.get((src, reply))
    if kind == ITEM and t:
        if t.w is not None:
            t.put(data)
            return t.flush()
        return credit(src, reply, len(data))
    if kind == ITEM:
        return
    if kind == ERROR:
        return t and t.end(0)
    if t:
        t.eof = 1
        return t.flush()
    if not data:
        return
    try:
        spec = loads(data)
        Tunnel(src, reply, dict([(native_text(k), v) for k, v in spec.items()]))
    except Exception:
        e = sys.exc_info()[1]
        send(src, reply, dumps(('builtins', e.__class__.__name__, text(e), '', None), PROTO), ERROR)


def on_credit_of(credited):
    def handle(*args):
        credited(*args)
        for t in list(TUNNELS.values()):
            t.resume()
    return handle


def leave_tunnels():
    for t in list(TUNNELS.values()):
        t.end()
    end = now() + .9
    wait(lambda: not TUNNELS or now() > end)


LEAVE.append(leave_tunnels)
HANDLERS[OPEN] = on_open
HANDLERS[CREDIT] = on_credit_of(HANDLERS[CREDIT])
