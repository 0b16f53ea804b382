package goctx

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// A listener is a place where connections are accepted, each for an OPEN that waits for one: what
// is not waited for stays in the system's queue.
type listener struct {
	s     *served // static, as all up to at
	key   key
	socks []net.Listener
	path  string // of a UNIX socket
	at    socketAt

	mu      sync.Mutex      // protects following
	more    *sync.Cond      // waiting has become longer, or closed
	waiting []chan net.Conn // each holds one; oldest first
	spare   []net.Conn      // accepted for a wait that was given up
	closed  bool
	done    context.Context // ended by end
	stop    context.CancelFunc
}

// openListener listens. It answers once it does.
func (s *served) openListener(k key, spec *openSpec) error {
	l := &listener{s: s, key: k}
	l.more = sync.NewCond(&l.mu)
	l.done, l.stop = context.WithCancel(context.Background())
	err := l.listen(spec)
	if err != nil {
		return err
	}
	s.keepTunnel(k, l)
	bound := []any{}
	for _, sock := range l.socks {
		bound = append(bound, addressValue(sock.Addr()))
		go l.work(sock)
	}
	b, err := pickle.Append(nil, bound, pickle.Proto2Both)
	if err == nil {
		s.send(&wire.Frame{Kind: wire.Item, Dst: k.src, Handle: k.reply, Payload: b})
	}
	return err
}

// listen opens the sockets.
func (l *listener) listen(spec *openSpec) (err error) {
	switch {
	case len(spec.Path) > 0:
		l.path = string(spec.Path)
		sock, failed := peer.ListenPath(l.path)
		l.socks, err = []net.Listener{sock}, failed
	case spec.Private:
		l.socks, l.path, l.at.dir, err = listenPrivate()
	default:
		l.socks, err = listenPorts(spec.host(), spec.Port, spec.Family)
		return err
	}
	if err != nil {
		return err
	}
	dir := l.at.dir
	l.at, err = socketOf(l.path)
	l.at.dir = dir
	if err == nil {
		if err = l.s.guard.need(); err == nil {
			l.s.guard.remember(l.path, l.at)
			return nil
		}
	}
	l.close()
	return err
}

// take drops what is written to a listener.
func (l *listener) take(f *wire.Frame) {
	if f.Kind == wire.Item {
		l.s.crediting(l.key)(len(f.Payload))
	}
}

// end stops listening, at once. Connections that were accepted live on.
func (l *listener) end() {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	spare := l.spare
	l.spare = nil
	l.more.Broadcast()
	l.mu.Unlock()
	if closed {
		return
	}
	l.close()
	for _, conn := range spare {
		reset(conn)
	}
	if l.path != "" {
		l.s.guard.forget(l.path)
	}
	l.s.forgetTunnel(l, l.key, l.key)
	l.stop() // what waits is told, and finds nothing that listens
}

// close closes the sockets, and removes their files.
func (l *listener) close() {
	for _, sock := range l.socks {
		sock.Close()
	}
	if l.path != "" {
		l.at.remove(l.path)
	}
}

// work accepts connections at one socket, while an OPEN waits for one.
func (l *listener) work(sock net.Listener) {
	for l.wanted() {
		conn, err := sock.Accept()
		switch {
		case err == nil:
			l.give(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default: // there may be no more descriptors
			select {
			case <-time.After(acceptPause):
			case <-l.done.Done():
			}
		}
	}
}

// wanted waits until an OPEN waits for a connection. It returns false once l is closed.
func (l *listener) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.more.Wait()
	}
	return !l.closed
}

// give hands a connection to the OPEN that has waited longest.
func (l *listener) give(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		reset(conn)
	case len(l.waiting) == 0:
		l.spare = append(l.spare, conn)
	default:
		l.waiting[0] <- conn
		l.waiting = l.waiting[1:]
	}
}

// accept waits for a connection.
func (l *listener) accept(c *socket) (net.Conn, error) {
	got := make(chan net.Conn, 1)
	l.mu.Lock()
	if len(l.spare) > 0 {
		conn := l.spare[0]
		l.spare = l.spare[1:]
		l.mu.Unlock()
		return conn, nil
	}
	l.waiting = append(l.waiting, got)
	l.more.Broadcast()
	l.mu.Unlock()
	select {
	case conn := <-got:
		return conn, nil
	case <-c.ctx.Done():
	case <-l.done.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.waiting {
		if other == got {
			l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
		}
	}
	select {
	case conn := <-got: // at the same time
		if c.ctx.Err() == nil {
			return conn, nil
		}
		l.mu.Unlock()
		l.give(conn)
		l.mu.Lock()
	default:
	}
	return nil, unix.EBADF
}

// placesToListen returns the addresses that a host to listen at stands for.
func placesToListen(host string, family int64) (all []netip.Addr, err error) {
	some := peer.Places(cmp.Or(host, "localhost"))
	if some == nil {
		at, err := netip.ParseAddr(host)
		if err != nil {
			return nil, unix.EINVAL
		}
		some = []netip.Addr{at}
	}
	for _, at := range some {
		if isWanted(at, family) {
			all = append(all, at)
		}
	}
	return all, nil
}

// listenPorts listens at all addresses that host stands for, at one port.
func listenPorts(host string, port int64, family int64) ([]net.Listener, error) {
	places, err := placesToListen(host, family)
	if err != nil {
		return nil, err
	}
	how := &net.ListenConfig{KeepAlive: -1}
	how.SetMultipathTCP(false)
	return peer.ListenAll(how, places, strconv.FormatInt(port, 10))
}
