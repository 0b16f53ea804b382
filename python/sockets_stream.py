"""Connections of a context's machine, by TCP and UNIX sockets. The first part of
`_mitogen_sockets`.

Runs in the namespace of the core, in the thread that reads; uses tunnel.py.
"""
from _mitogen import (ERROR, FDS, FLOWS, FULL, ITEM, POLL, POLLIN, POLLOUT, PROTO, Poll, TUNNELS,
    UP, WINDOW, _socket, again, credit, deque, dumps, errno, native, now, os, pack, poke, private,
    select, send, spend, sys, text, thread)

# Sockets by fd. A fork that becomes a program keeps them: to free one would close another file.
HELD_OPEN = {}
ALARMS = {}         # (src, reply): when its alarm() is called
LOOKUPS = {}        # (family, name) of each thread that looks a name up
FOUND = deque()     # what these threads have found: ((family, name), addresses, exception)
LOOKUP_LIMIT = 64
ADDRESS_LIMIT = 16      # of one name, that are tried
SOCKET_LIMIT = 1024     # connections, waits for one, and whatever else TUNNELS has
LINGER = 60         # seconds that a peer has to take what was written before the engine's close
LOOPBACK = ('127.0.0.1', _socket.AF_INET), ('::1', _socket.AF_INET6)
ANYWHERE = ('0.0.0.0', _socket.AF_INET), ('::', _socket.AF_INET6)


def poll_both(self, ms):
    """Poll.poll for files that are read and written."""
    r, w = [[f for f in self.fds if self.fds[f] & bit] for bit in (POLLIN, POLLOUT)]
    r, w, x = select.select(r, w, [], ms / 1000.0)
    return [(f, POLLIN) for f in r] + [(f, POLLOUT) for f in w]


Poll.poll = poll_both


def error_name(e):
    """The name of an error, which is the same on every system."""
    number = (getattr(e, 'args', ()) or (0,))[0]
    if isinstance(e, _socket.gaierror):
        for name in dir(_socket):
            if name[:4] == 'EAI_' and getattr(_socket, name) == number:
                return name
    return errno.errorcode.get(number, '')


def failure(code):
    return OSError(getattr(errno, code), os.strerror(getattr(errno, code)))


def refuse_socket(key, e):
    why = text(getattr(e, 'strerror', None) or e)
    data = dumps(('builtins', 'OSError', why, '', (error_name(e),)), PROTO)
    send(key[0], key[1], data, ERROR)


def address_of(name):
    """What getsockname or getpeername returns, as a value; None for a UNIX socket."""
    try:
        at = name()
    except Exception:   # the peer has gone
        return None
    if type(at) is tuple:
        return text(at[0]), at[1]


def new_socket(family, fd=None):
    if fd is None:
        sock = _socket.socket(family, _socket.SOCK_STREAM)
    else:
        sock = _socket.socket(family, _socket.SOCK_STREAM, 0, fd)
    return kept_socket(sock)


def kept_socket(sock):
    HELD_OPEN[sock.fileno()] = sock
    sock.setblocking(0)
    private(sock.fileno())
    return sock


def close_socket(sock):
    HELD_OPEN.pop(sock.fileno(), 0)
    sock.close()


class Socket:
    """One end of a connection: what comes from it are items for the handle spec['data']."""
    sock = fd = None
    wanted = None   # the name that is looked up for it
    eof = 0         # the engine writes nothing more
    shut = 0        # so that its side was shut down
    ended = 0       # the peer writes nothing more
    gone = 0        # the engine has closed it
    broken = None   # why nothing can be written
    full = 0        # it is not read, because there is no window
    mask = 0        # what it is polled for
    owed = 0        # bytes that were written, and not given back yet

    def __init__(self, key, spec):
        self.key = key
        self.spec = spec
        self.flow = key[0], spec['data']
        self.out = deque()
        self.found = []
        self.failed = failure('EHOSTUNREACH')
        TUNNELS[key] = self

    # Connecting

    def dial(self):
        spec = self.spec
        self.until = ALARMS[self.key] = now() + spec.get('timeout', 30)
        if 'path' in spec:
            self.found = [(_socket.AF_UNIX, spec['path'])]
            return self.advance()
        name = spec.get('family', 0), spec['host']
        found = addresses(name)
        if found:
            return self.found_addresses(found)
        if name not in LOOKUPS:
            if len(LOOKUPS) >= LOOKUP_LIMIT:
                raise failure('EAGAIN')
            LOOKUPS[name] = 1
            try:
                thread.start_new_thread(look_up, (name,))
            except Exception:
                del LOOKUPS[name]
                raise
        self.wanted = name

    def found_addresses(self, found):
        self.wanted = None
        port = self.spec['port']
        found = found[:ADDRESS_LIMIT]
        self.found = [(family, (a[0], port) + tuple(a[2:])) for family, a in found]
        self.advance()

    def advance(self):
        """Try the next address."""
        self.drop()
        if not self.found:
            return self.refuse(self.failed)
        family, address = self.found.pop(0)
        left = self.until - now()
        if self.found:
            left = min(left, max(2, left / (1 + len(self.found))))
        ALARMS[self.key] = now() + left
        try:
            self.sock = new_socket(family)
            why = self.sock.connect_ex(address)
        except Exception:
            self.failed = sys.exc_info()[1]
            return self.advance()
        if not why:
            return self.opened()
        if why == errno.EAGAIN:     # of a UNIX socket: its queue is full
            self.found.insert(0, (family, address))
            self.drop()
            ALARMS[self.key] = now() + min(.05, max(0, left))
        elif why == errno.EINPROGRESS:
            FDS[self.sock.fileno()] = self.connected
            POLL.register(self.sock.fileno(), POLLOUT)
        else:
            self.failed = OSError(why, os.strerror(why))
            self.advance()

    def connected(self, ev):
        fd = self.sock.fileno()
        POLL.unregister(fd)
        del FDS[fd]
        why = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if not why:
            return self.opened()
        self.failed = OSError(why, os.strerror(why))
        self.advance()

    def alarm(self):
        if self.gone:
            return self.close(1)
        if self.fd is None and now() >= self.until:
            self.found = []
        if self.fd is None:
            if not self.found:
                self.failed = failure('ETIMEDOUT')
            self.advance()

    def drop(self):
        """Close what isn't connected."""
        if self.sock:
            if self.sock.fileno() in FDS:
                POLL.unregister(self.sock.fileno())
                del FDS[self.sock.fileno()]
            close_socket(self.sock)
            self.sock = None

    def accepted(self, sock):
        self.sock = sock
        self.opened()

    def opened(self):
        ALARMS.pop(self.key, 0)
        self.fd = self.sock.fileno()
        FDS[self.fd] = self.ready
        FLOWS[self.flow] = WINDOW
        ours, theirs = address_of(self.sock.getsockname), address_of(self.sock.getpeername)
        if ours:
            try:
                self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except Exception:   # the peer may have reset it
                pass
        send(self.key[0], self.key[1], dumps((ours, theirs), PROTO), ITEM)
        self.flush()

    # Connected

    def watch(self):
        mask = 0
        if not self.ended and not self.full:
            mask = POLLIN
        if self.out:
            mask = mask | POLLOUT
        if mask == self.mask:
            return
        self.mask = mask
        if mask:
            POLL.register(self.fd, mask)
        else:
            POLL.unregister(self.fd)

    def ready(self, ev):
        if self.out and ev & ~POLLIN:
            self.flush()
        if self.mask & POLLIN and ev & ~POLLOUT:
            self.read()

    def read(self):
        if FLOWS[self.flow] <= 0 or UP.blocked:
            self.full = 1
            FULL.append(self)
            return self.watch()
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            e = sys.exc_info()[1]
            if again(e):
                return
            return self.refuse(e)
        if data:
            FLOWS[self.flow] -= len(data)
            return send(self.flow[0], self.flow[1], data, ITEM)
        self.ended = 1
        send(self.flow[0], self.flow[1])
        self.finish()

    def resume(self):
        if FLOWS[self.flow] > 0 and not UP.blocked:
            FULL.remove(self)
            self.full = 0
            self.watch()

    def put(self, data):
        self.out.append(data)

    def flush(self, ev=None):
        """Write what can be written."""
        if self.fd is None:
            return
        while self.out:
            data = self.out.popleft()
            n = len(data)
            try:
                if not self.broken:
                    n = os.write(self.fd, data)
            except OSError:
                e = sys.exc_info()[1]
                if again(e):
                    n = 0
                else:
                    self.broken = e
            self.owed += n
            if n < len(data):
                self.out.appendleft(data[n:])
                break
        if self.owed >= WINDOW // 4:
            credit(self.key[0], self.key[1], self.owed)
            self.owed = 0
        if self.eof and not self.out and not self.shut:
            self.shut = 1
            try:
                self.sock.shutdown(1)
            except Exception:   # it is broken
                pass
        self.finish()

    def finish(self):
        """Close it once both sides are done."""
        if not self.ended or not (self.shut or self.broken):
            return self.watch()
        self.close(0)
        if not self.gone and self.broken:
            refuse_socket(self.key, self.broken)
        elif not self.gone:
            send(self.key[0], self.key[1])

    def refuse(self, e):
        self.close(0)
        if not self.gone:
            refuse_socket(self.key, e)

    def close(self, reset):
        if TUNNELS.get(self.key) is not self:
            return
        del TUNNELS[self.key]
        ALARMS.pop(self.key, 0)
        if self.fd is None:
            return self.drop()
        if self.full:
            FULL.remove(self)
        if self.mask:
            POLL.unregister(self.fd)
        del FDS[self.fd]
        spend(self.flow)
        self.out.clear()
        if reset:
            try:
                self.sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, pack('2i', 1, 0))
            except Exception:   # of a UNIX socket, on some systems
                pass
        close_socket(self.sock)

    def end(self, patience=0):
        """The engine has closed it. What was written before its end of file is written still."""
        if self.gone:
            return
        self.gone = 1
        if self.fd is None or not self.eof or not self.out or self.broken:
            return self.close(not self.eof)
        self.ended = 1
        ALARMS[self.key] = now() + LINGER
        if self.full:
            FULL.remove(self)
            self.full = 0
        self.watch()


def addresses(name):
    """What needs no question to a server: numbers, and localhost."""
    family, host = name
    if native(host) == 'localhost':
        found = [(f, (a, 0)) for a, f in LOOPBACK]
    else:
        try:
            found = _socket.getaddrinfo(host, 0, 0, _socket.SOCK_STREAM, 0, _socket.AI_NUMERICHOST)
            found = [(f[0], f[4]) for f in found]
        except Exception:
            return []
    return [f for f in found if family in (0, f[0])]


def look_up(name):
    """Ask for the addresses of a name, in a thread of its own."""
    found, failed = [], None
    try:
        found = _socket.getaddrinfo(name[1], 0, name[0], _socket.SOCK_STREAM)
    except Exception:
        failed = sys.exc_info()[1]
    FOUND.append((name, [(f[0], f[4]) for f in found], failed))
    poke()
