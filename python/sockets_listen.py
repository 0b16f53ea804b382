"""Listens, and carries what is accepted. Part of `_mitogen_sockets`; uses sockets_stream.py."""
from _mitogen import (ALARMS, ANYWHERE, EMPTY, FDS, ITEM, LOOPBACK, POLL, POLLIN, PROTO, Socket,
                      TUNNELS,
    _socket, address_of, again, close_socket, credit, deque, dumps, errno, error_name, failure,
    kept_socket, listen_private, native, new_socket, now, os, remove_socket, send, sys,
    tell_cleaner, unpack)


class Listener:
    """A place where connections are accepted, each for an OPEN that waits for one."""
    eof = 0
    path = None     # of a UNIX socket
    dir = EMPTY     # that was made for it

    def __init__(self, key, spec):
        self.key = key
        self.waiting = deque()      # keys of sockets
        self.polled = 0
        if 'path' in spec:
            self.socks, self.path = [listen_path(spec['path'])], spec['path']
        elif spec.get('private'):
            sock, self.path, self.dir = listen_private()
            self.socks = [sock]
        else:
            self.socks = listen_ports(native(spec['host']), spec['port'], spec.get('family', 0))
        if self.path:
            self.inode = inode_of(self.path)
            tell_cleaner(self.path, self.inode, self.dir)
        TUNNELS[key] = self
        for sock in self.socks:
            FDS[sock.fileno()] = self.acceptor(sock)
        bound = [address_of(sock.getsockname) for sock in self.socks]
        send(key[0], key[1], dumps(bound, PROTO), ITEM)

    def acceptor(self, sock):
        return lambda ev: self.accept(sock)

    def watch(self):
        wants = len(self.waiting) > 0 and self.key not in ALARMS
        if wants != self.polled:
            self.polled = wants
            for sock in self.socks:
                if wants:
                    POLL.register(sock.fileno(), POLLIN)
                else:
                    POLL.unregister(sock.fileno())

    def accept(self, sock):
        while self.waiting:
            try:
                if hasattr(sock, '_accept'):
                    got = new_socket(sock.family, sock._accept()[0])
                else:
                    got = kept_socket(sock.accept()[0])
            except Exception:
                if not again(sys.exc_info()[1]):
                    ALARMS[self.key] = now() + .1   # there may be no more descriptors
                break
            waits = TUNNELS.get(self.waiting.popleft())
            if waits:
                waits.accepted(got)
        self.watch()

    def alarm(self):
        self.watch()

    def wait(self, key):
        self.waiting.append(key)
        self.watch()

    def forget(self, key):
        if key in self.waiting:
            # Python 2.4's deques have no remove.
            self.waiting = deque([k for k in self.waiting if k != key])
            self.watch()

    def put(self, data):
        credit(self.key[0], self.key[1], len(data))

    def flush(self, ev=None):
        pass

    def end(self, patience=0):
        if TUNNELS.pop(self.key, 0) is not self:
            return
        ALARMS.pop(self.key, 0)
        waiting = list(self.waiting)
        self.waiting.clear()
        self.watch()
        for sock in self.socks:
            del FDS[sock.fileno()]
            close_socket(sock)
        if self.path:
            remove_socket(self.path, self.inode, self.dir)
            tell_cleaner(self.path)
        for key in waiting:     # who is told finds nothing that listens
            if key in TUNNELS:
                TUNNELS[key].refuse(failure('EBADF'))


class Accepted(Socket):
    """A connection to a listener, or the wait for it."""

    def end(self, patience=0):
        listener = TUNNELS.get((self.key[0], self.spec['accept']))
        if listener and self.fd is None:
            listener.forget(self.key)
        Socket.end(self, patience)


def listen_ports(host, port, family):
    """Listen at all addresses that host stands for, at one port."""
    wanted = {'': LOOPBACK, 'localhost': LOOPBACK, '*': ANYWHERE}.get(host)
    if not wanted:
        wanted = (host, _socket.AF_INET),
        if ':' in host:
            wanted = (host, _socket.AF_INET6),
    wanted = [w for w in wanted if family in (0, w[1])]
    for more in range(9, -1, -1):
        try:
            return listen_port(wanted, port)
        except Exception:
            # If the system has chosen the port, the second address may have it taken.
            if port or not more or error_name(sys.exc_info()[1]) != 'EADDRINUSE':
                raise


def listen_port(wanted, port):
    socks, failed = [], failure('EADDRNOTAVAIL')
    for host, family in wanted:
        try:
            socks.append(listen_at(host, port, family))
            port = socks[-1].getsockname()[1]
        except Exception:
            failed = sys.exc_info()[1]
            # A machine may be without IPv6.
            if error_name(failed) not in ('EADDRNOTAVAIL', 'EAFNOSUPPORT'):
                for sock in socks:
                    close_socket(sock)
                raise failed
    if not socks:
        raise failed
    return socks


def listen_at(host, port, family):
    sock = new_socket(family)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            v6only = getattr(_socket, 'IPV6_V6ONLY', 26)
            sock.setsockopt(getattr(_socket, 'IPPROTO_IPV6', 41), v6only, 1)
        sock.bind((host, port))
        sock.listen(1024)
        return sock
    except Exception:
        e = sys.exc_info()[1]
        close_socket(sock)
        raise e


def inode_of(path):
    try:
        st = os.lstat(path)
    except OSError:
        return None
    return st.st_dev, st.st_ino


def listen_path(path):
    """Listen at a path, where no other account may connect at any moment: the socket gets its mode
    in a directory of its own, and then its name."""
    at = path.rfind('/'.encode()) + 1
    private_dir = path[:at] + ('.mitogen-%08x' % unpack('>L', os.urandom(4))).encode()
    own = private_dir + '/s'.encode()
    os.mkdir(private_dir, int('700', 8))
    sock = new_socket(_socket.AF_UNIX)
    try:
        try:
            bind_below(sock, private_dir, own)
            os.chmod(own, int('600', 8))
            sock.listen(1024)
            if is_stale(path):
                os.unlink(path)
            os.link(own, path)
        finally:
            if inode_of(own):
                os.unlink(own)
            os.rmdir(private_dir)
    except Exception:
        e = sys.exc_info()[1]
        close_socket(sock)
        if error_name(e) == 'EEXIST':
            e = failure('EADDRINUSE')
        raise e
    return sock


def bind_below(sock, dir, path):
    """Bind sock to a path in dir, though an address has no room for what dir adds to the path that
    was asked for."""
    if len(path) <= 100:    # BSDs take 103 bytes
        return sock.bind(path)
    fd = os.open(dir, os.O_RDONLY)
    try:
        sock.bind(('/proc/self/fd/%d/s' % fd).encode())
    finally:
        os.close(fd)


def is_stale(path):
    """Whether path is a socket of this account that nothing listens at."""
    try:
        st = os.lstat(path)
    except OSError:
        return 0
    if st.st_mode & 0xF000 != 0xC000 or st.st_uid != os.getuid():
        return 0
    sock = new_socket(_socket.AF_UNIX)
    try:
        return sock.connect_ex(path) == errno.ECONNREFUSED
    finally:
        close_socket(sock)
