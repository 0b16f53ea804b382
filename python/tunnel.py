"""Carries bytes between the engine and programs or sockets here. Sent as `_mitogen_tunnel`.

Runs in the namespace of the core, in the thread that reads; uses spawn.py and feed.py.
"""
from _mitogen import (BUSY_TIMEOUT, DUE, EMPTY, ERROR, FDS, FLOWS, Fed, HANDLERS, ITEM, LEAVE,
    MODULES, PATIENCE, POLL, POLLIN, POLLOUT, PROTO, S, Stream, TABLES, TAIL, TUNNEL, USES, WINDOW,
    _socket, after, again, allow_silence, credit, dumps, errno, execute, loads, native_text, now,
    os, poke, private, send, spend, sys, text, thread, utf8, wait, zlib)
if 'CHILDREN' not in globals():
    exec(compile(zlib.decompress(MODULES['_mitogen_spawn'][2]), '<_mitogen_spawn>', 'exec'),
         globals())

TUNNELS = {}    # (src, reply): Tunnel
FULL = []       # those that aren't read, because there is no window
USES.append(TUNNELS)
TABLES += TUNNELS, FULL


class Tunnel(Fed):
    """Bytes from OPEN frames to something that is started here, and from there up as items."""
    gone = None

    def start(self, key, r, w):
        self.key = key
        TUNNELS[key] = self
        FLOWS[key] = WINDOW
        Stream.__init__(self, r, w)

    def read(self, ev):
        if FLOWS[self.key] <= 0:
            FULL.append(self)
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
        if FLOWS[self.key] > 0:
            FULL.remove(self)
            POLL.register(self.r, POLLIN)

    def end(self, patience=.3):
        """End it: its output has ended, or the engine has dropped it. A process has patience
        seconds to end itself."""
        if self.gone:
            return
        self.gone = now() + patience
        if self in FULL:
            FULL.remove(self)
        else:
            POLL.unregister(self.r)
        del FDS[self.r]
        os.close(self.r)
        self.unwritable()
        self.reap()


class Program(Tunnel):
    """A process: its stdin and stdout."""
    killed = 0      # by this context

    def __init__(self, key, spec):
        self.last = EMPTY       # the end of what came on stderr
        argv = [utf8(a) for a in spec['argv']]
        self.pid, w, r, self.err, tty, slave, why = execute(argv, {}, 0, 0,
                                                            spec.get('fork') and not S.calls)
        self.start(key, r, w)
        FDS[self.err] = self.on_err
        POLL.register(self.err, POLLIN)
        if why:
            self.last = argv[0] + ': '.encode() + why
            self.end()

    def on_err(self, ev):
        try:
            data = os.read(self.err, 4096)
        except OSError:
            data = EMPTY
        if not data:
            del FDS[self.err]
            POLL.unregister(self.err)
        self.last = (self.last + data)[-TAIL:]

    def reap(self):
        if now() >= self.gone and self.err is not None:
            self.killed = 1
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
        if (pid and os.WIFSIGNALED(status) and not self.killed
                and '(--heartbeat)'.encode() not in self.last):
            self.last = (self.last
                         + ('\nkilled by signal %d' % os.WTERMSIG(status)).encode())[-TAIL:]
            if os.WTERMSIG(status) == 9:
                self.last += ' (out of memory?)'.encode()
        del TUNNELS[self.key]
        spend(self.key)
        send(self.key[0], self.key[1], self.last)


class Connection(Tunnel):
    """A TCP connection to spec['host'], spec['port']. Names are looked up by a thread, which
    nothing here waits for."""
    w = r = sock = None
    failed = None

    def __init__(self, key, spec):
        self.key = key
        self.early = []         # what comes before it is there
        TUNNELS[key] = self
        self.spec = spec
        self.found = []
        after(spec.get('timeout', 30), self.late)
        try:
            thread.start_new_thread(self.look_up, ())
        except Exception:       # there may be no more threads
            self.failed = sys.exc_info()[1]
            after(0, self.advance)

    def look_up(self):
        try:
            found = _socket.getaddrinfo(native_text(self.spec['host']), self.spec['port'], 0,
                                        _socket.SOCK_STREAM)
        except Exception:
            self.failed = sys.exc_info()[1]
            found = []
        self.found = found
        after(0, self.advance)
        poke()

    def advance(self):
        """Try the next address."""
        if self.gone:
            return
        if not self.found:
            return self.fail()
        family, kind, proto, name, address = self.found.pop(0)
        try:
            self.sock = _socket.socket(family, kind, proto)
            self.sock.setblocking(0)
            why = self.sock.connect_ex(address)
        except Exception:
            self.failed = sys.exc_info()[1]
            return self.advance()
        if why not in (0, errno.EINPROGRESS):
            self.failed = OSError(why, os.strerror(why))
            return self.advance()
        fd = self.sock.fileno()
        FDS[fd] = self.connected
        POLL.register(fd, POLLOUT)

    def connected(self, ev):
        fd = self.sock.fileno()
        POLL.unregister(fd)
        del FDS[fd]
        why = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if why:
            self.failed = OSError(why, os.strerror(why))
            self.sock.close()
            return self.advance()
        self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        fds = []
        try:
            for i in (1, 2):
                fds.append(os.dup(fd))
                private(fds[-1])
        except OSError:
            self.failed = sys.exc_info()[1]
            for fd in fds:
                os.close(fd)
            return self.fail()
        r, w = fds
        early = self.early
        self.early = None
        self.start(self.key, r, w)
        for data in early:
            self.put(data)
        self.flush()

    def late(self):
        if self.early is not None and not self.gone:
            self.failed = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            self.fail()

    def fail(self):
        e = self.failed
        self.gone = 1
        del TUNNELS[self.key]
        self.drop()
        send(self.key[0], self.key[1],
             dumps(('builtins', 'OSError', text(getattr(e, 'strerror', None) or e), '', None),
                   PROTO), ERROR)

    def drop(self):
        if self.sock:
            fd = self.sock.fileno()
            if fd in FDS:
                del FDS[fd]
                POLL.unregister(fd)
            self.sock.close()

    def put(self, data):
        if self.early is None:
            Tunnel.put(self, data)
        else:
            self.early.append(data)

    def flush(self, ev=None):
        if self.early is None:
            Fed.flush(self, ev)

    def shut(self):
        """The other side sees an end; what it still sends comes."""
        Fed.shut(self)
        try:
            self.sock.shutdown(1)
        except Exception:
            pass

    def reap(self):
        del TUNNELS[self.key]
        spend(self.key)
        self.drop()
        send(self.key[0], self.key[1])

    def end(self, patience=0):
        if self.early is None:
            return Tunnel.end(self, patience)
        if not self.gone:
            self.gone = 1
            del TUNNELS[self.key]
            self.drop()

SERVICES = {}   # name: function(key, spec)


def service(name):
    """The function that serves OPENs of this name: a module of ours puts it into SERVICES."""
    if name not in SERVICES:
        exec(compile(zlib.decompress(MODULES['_mitogen_' + name][2]), '<_mitogen_%s>' % name,
                     'exec'), globals())
    return SERVICES[name]


def on_open(src, reply, kind, data):
    t = TUNNELS.get((src, reply))
    if kind == ITEM and t:
        if t.eof:
            return credit(src, reply, len(data))
        t.put(data)
        return t.flush()
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
        spec = dict([(native_text(k), v) for k, v in spec.items()])
        allow_silence(spec)
        S.timeout = BUSY_TIMEOUT
        if 'service' in spec:
            service(spec['service'])((src, reply), spec)
        elif 'host' in spec:
            Connection((src, reply), spec)
        else:
            Program((src, reply), spec)
    except Exception:
        e = sys.exc_info()[1]
        send(src, reply, dumps(('builtins', e.__class__.__name__, text(e), '', None), PROTO), ERROR)


def resume_some():
    """Have those read again whose window was used up, if they have one. Returns seconds until the
    next may have."""
    for t in FULL[:]:
        t.resume()
    return PATIENCE


def leave_tunnels():
    for t in list(TUNNELS.values()):
        t.end()
    end = now() + .9
    wait(lambda: not TUNNELS or now() > end)


LEAVE.append(leave_tunnels)
HANDLERS[TUNNEL] = on_open
DUE.append(resume_some)     # CREDIT is an event, after which all of DUE is asked
