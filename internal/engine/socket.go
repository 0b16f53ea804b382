package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// maxPath is the longest path of a socket that any system takes.
const maxPath = 107

// Socket is a connection at a context's machine, which the context has made, or has accepted for a
// Listener.
type Socket struct {
	c             *Context
	end           *Tunnel // what is written goes to it; its answer is the end of the connection
	data          *Tunnel // what comes from the peer
	network       string
	local, remote net.Addr // static once it is open

	reading, writing sync.Mutex // held by Read, Write
	rest             []byte     // read, and not yet taken; owned by the holder of reading
	readBy, writeBy  *deadline
	closed           atomic.Bool
	reset            atomic.Bool
	once             sync.Once
	finished         sync.Once // DATA was sent
}

// netError is an error of a Socket or Listener: a *net.OpError, and the name of its context.
type netError struct {
	context string
	op      *net.OpError
}

func (e *netError) Error() string   { return printable.Line(e.context + ": " + e.op.Error()) }
func (e *netError) Unwrap() error   { return e.op }
func (e *netError) Temporary() bool { return e.op.Temporary() }

// Timeout is true after a deadline, be it of a ctx.
func (e *netError) Timeout() bool {
	return e.op.Timeout() || errors.Is(e.op.Err, context.DeadlineExceeded)
}

// ends are the addresses that an error of net names; either may be nil.
type ends struct{ local, remote net.Addr }

// netFailure makes an error of what has failed in c. err may be one already.
func netFailure(c *Context, op, network string, at ends, err error) error {
	if is := (*netError)(nil); errors.As(err, &is) {
		return is
	}
	return &netError{c.name, &net.OpError{
		Op: op, Net: network, Source: at.local, Addr: at.remote, Err: err,
	}}
}

// place is an address as a net.Addr, where it isn't known to be more.
type place struct{ network, address string }

func (p place) Network() string { return p.network }
func (p place) String() string  { return p.address }

// endpoint is an address as the runtime takes it. host is for listening if listen is set.
func endpoint(network, address string, listen bool) (map[string]any, error) {
	what := map[string]any{}
	switch network {
	case "unix":
		switch {
		case !strings.HasPrefix(address, "/"):
			return nil, &net.AddrError{Err: "path doesn't begin with /", Addr: address}
		case strings.IndexByte(address, 0) >= 0 || len(address) > maxPath:
			why := fmt.Sprintf("path has more than %d bytes, or a zero", maxPath)
			return nil, &net.AddrError{Err: why, Addr: address}
		}
		what["path"] = []byte(address)
		return what, nil
	case "tcp4", "tcp6":
		what["family"] = int64(network[3] - '0')
	case "tcp":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 && !listen {
		return nil, &net.AddrError{Err: "port is no number from 1 to 65535", Addr: address}
	}
	if err := checkHost(host, listen); err != nil {
		return nil, &net.AddrError{Err: err.Error(), Addr: address}
	}
	if host == "" && !listen {
		host = "localhost"
	}
	what["host"], what["port"] = []byte(host), int64(n)
	return what, nil
}

// checkHost refuses what can't be a name of a host. A name to listen at would have to be looked up.
func checkHost(host string, listen bool) error {
	for _, r := range host {
		if r <= ' ' || r >= 127 {
			return errors.New("host has other characters than those of names")
		}
	}
	if len(host) > 255 {
		return errors.New("host has more than 255 bytes")
	}
	if slices.Contains([]string{"", "localhost", "*"}, host) || !listen {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return errors.New("host to listen at is no IP address, localhost or *")
	}
	return nil
}

// DialSocket has c connect, and waits until that is done. The error names c, and
// has a *net.OpError in it.
func DialSocket(ctx context.Context, c *Context, network, address string) (*Socket, error) {
	failed := func(err error) error {
		return netFailure(c, "dial", network, ends{nil, place{network, address}}, err)
	}
	what, err := endpoint(network, address, false)
	if err != nil {
		return nil, failed(err)
	}
	if until, ok := ctx.Deadline(); ok {
		what["timeout"] = max(.001, time.Until(until).Seconds())
	}
	if err := auditSocket(ctx, c, "connect "+address); err != nil {
		return nil, failed(err)
	}
	s, err := openSocket(ctx, c, network, what)
	if err != nil {
		return nil, failed(err)
	}
	if network == "unix" {
		s.remote = &net.UnixAddr{Name: address, Net: network}
	}
	if err := s.opened(ctx); err != nil {
		s.discard()
		if unknown := (*net.DNSError)(nil); errors.As(err, &unknown) {
			unknown.Name, _, _ = net.SplitHostPort(address)
		}
		return nil, failed(err)
	}
	return s, nil
}

// auditSocket tells the audit log what c is about to connect to, or to listen at.
func auditSocket(ctx context.Context, c *Context, name string) error {
	if c.e.audit.auditor == nil {
		return nil
	}
	ev := c.event(report.EventService)
	ev.Name = "socket " + name
	return c.e.audit.first(ctx, ev, "open in "+c.name)
}

// openSocket asks for a connection, and doesn't wait for it.
func openSocket(
	ctx context.Context,
	c *Context,
	network string,
	what map[string]any,
) (*Socket, error) {
	s := &Socket{c: c, network: network}
	s.data = c.Tunnels.newTunnel("socket", wire.Open)
	if err := s.data.expect(); err != nil {
		return nil, err
	}
	what["data"] = uint32(s.data.p.handle)
	end, err := sockets(ctx, c, what)
	if err != nil {
		s.data.giveUp()
		return nil, err
	}
	end.down, s.data.up = &pace{down: true}, &pace{}
	s.end = end
	s.readBy, s.writeBy = newDeadline(end.ctx), newDeadline(end.ctx)
	c.e.work.jobs.Go(func() {
		<-end.p.done
		s.data.p.forget()
		s.data.p.answer.finish(wire.Dead, nil, errConnectionOver)
		narrow(c, s.data.up, end.down)
	})
	return s, nil
}

// errConnectionOver is the end of what comes from a peer, if that end wasn't told.
var errConnectionOver = errors.New("connection is over")

// narrow gives back what windows on c's stream were widened by.
func narrow(c *Context, all ...*pace) {
	c.e.mu.Lock()
	defer c.e.unlock()
	for _, p := range all {
		c.root.conduct.widened -= p.widened
		p.widened = 0
	}
}

// sockets sends OPEN to the service that has connections.
func sockets(ctx context.Context, c *Context, what map[string]any) (*Tunnel, error) {
	if ctx.Err() != nil {
		return nil, givenUp(ctx, "open in "+c.name)
	}
	what["service"] = "sockets"
	if err := c.Supply.pushing.take(ctx, c, c.life.closingNow()); err != nil {
		return nil, err
	}
	defer c.Supply.pushing.leave()
	for _, name := range []string{spawnModule, tunnelModule, socketsModule} {
		if err := c.Supply.push(ctx, name); err != nil {
			return nil, err
		}
	}
	t := c.Tunnels.newTunnel("socket", wire.Open)
	return t, t.begin(ctx, what)
}

// opened waits until the connection is there.
func (s *Socket) opened(ctx context.Context) error {
	b, err := s.end.first(ctx)
	if err != nil {
		return err
	}
	both, err := addresses(s.network, b)
	if err != nil || len(both) != 2 {
		return fmt.Errorf("read addresses: got %d bytes, want two addresses", len(b))
	}
	s.local = both[0]
	if s.remote == nil {
		s.remote = both[1]
	}
	return nil
}

// first waits for the first item of an answer, which is to be the only one: nothing is kept of what
// comes behind it. If there is none, it returns why.
func (t *Tunnel) first(ctx context.Context) ([]byte, error) {
	for {
		if it, ok := t.p.answer.pop(); ok {
			t.p.answer.takeNoMore()
			return it.payload, nil
		}
		select {
		case <-t.p.done:
			if it, ok := t.p.answer.pop(); ok {
				t.p.answer.takeNoMore()
				return it.payload, nil
			}
			if err := t.p.failure(); err != nil {
				return nil, socketFailure(err)
			}
			return nil, net.ErrClosed
		default:
		}
		select {
		case <-t.p.answer.more:
		case <-t.p.done:
		case <-t.ctx.Done():
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, givenUp(ctx, "open in "+t.c.name)
		}
	}
}

// addresses reads those that the runtime has told. For UNIX sockets it tells none.
func addresses(network string, b []byte) ([]net.Addr, error) {
	v, err := pickle.Decode(b, recordLimits)
	if err != nil {
		return nil, err
	}
	var items []any
	switch v := v.(type) {
	case pyvalue.Tuple:
		items = v
	case *pyvalue.List:
		items = v.Items
	}
	var all []net.Addr
	for _, item := range items {
		addr := net.Addr(&net.UnixAddr{Net: "unix"})
		if network != "unix" {
			addr = &net.TCPAddr{}
		}
		if pair, ok := item.(pyvalue.Tuple); ok && len(pair) == 2 && network != "unix" {
			host, _ := pair[0].(string)
			port, _ := pair[1].(int64)
			ip, err := netip.ParseAddr(host)
			if err == nil && port >= 0 && port <= 65535 {
				// A zone is a name of that machine's, and its text.
				addr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.WithZone(""), uint16(port)))
			}
		}
		all = append(all, addr)
	}
	return all, nil
}

// socketCodes are errors by their names, as the runtime tells them.
var socketCodes = map[string]error{
	"EACCES":        syscall.EACCES,
	"EADDRINUSE":    syscall.EADDRINUSE,
	"EADDRNOTAVAIL": syscall.EADDRNOTAVAIL,
	"EAFNOSUPPORT":  syscall.EAFNOSUPPORT,
	"EAGAIN":        syscall.EAGAIN,
	"EBADF":         net.ErrClosed, // of a listener that is closed
	"ECONNABORTED":  syscall.ECONNABORTED,
	"ECONNREFUSED":  syscall.ECONNREFUSED,
	"ECONNRESET":    syscall.ECONNRESET,
	"EHOSTDOWN":     syscall.EHOSTDOWN,
	"EHOSTUNREACH":  syscall.EHOSTUNREACH,
	"EINVAL":        syscall.EINVAL,
	"EMFILE":        syscall.EMFILE,
	"ENAMETOOLONG":  syscall.ENAMETOOLONG,
	"ENETDOWN":      syscall.ENETDOWN,
	"ENETUNREACH":   syscall.ENETUNREACH,
	"ENFILE":        syscall.ENFILE,
	"ENOBUFS":       syscall.ENOBUFS,
	"ENOENT":        syscall.ENOENT,
	"ENOMEM":        syscall.ENOMEM,
	"ENOSPC":        syscall.ENOSPC,
	"ENOTDIR":       syscall.ENOTDIR,
	"ENOTSOCK":      syscall.ENOTSOCK,
	"EPERM":         syscall.EPERM,
	"EPIPE":         syscall.EPIPE,
	"EPROTOTYPE":    syscall.EPROTOTYPE,
	"EROFS":         syscall.EROFS,
	"ETIMEDOUT":     syscall.ETIMEDOUT,
}

// socketFailure is the error that a context has told, as the system here would.
func socketFailure(err error) error {
	raised := (*report.CallError)(nil)
	if !errors.As(err, &raised) {
		return err
	}
	code := ""
	if len(raised.Args) == 1 {
		code, _ = raised.Args[0].(string)
	}
	if known := socketCodes[code]; known != nil {
		return known
	}
	why := oneLine(raised.Text)
	switch code {
	case "EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY":
		return &net.DNSError{Err: "no such host", IsNotFound: true}
	case "EAI_AGAIN":
		return &net.DNSError{Err: why, IsTemporary: true}
	case "EAI_FAIL", "EAI_FAMILY", "EAI_SERVICE", "EAI_SYSTEM", "EAI_MEMORY":
		return &net.DNSError{Err: why}
	}
	return errors.New(why)
}

// Read returns what the peer has written; io.EOF after it has closed its side.
func (s *Socket) Read(b []byte) (int, error) {
	ctx := s.readBy.context()
	s.reading.Lock()
	defer s.reading.Unlock()
	if ctx.Err() != nil || len(b) == 0 && len(s.rest) == 0 {
		return 0, s.failed("read", ctx, nil)
	}
	if len(s.rest) == 0 {
		value, err := s.next(ctx)
		if err != nil {
			return 0, err
		}
		s.rest = value
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// next returns what has come at once.
func (s *Socket) next(ctx context.Context) ([]byte, error) {
	for {
		if it, ok := s.data.p.answer.pop(); ok {
			s.data.up.moved(s.data, len(it.payload))
			return it.payload, nil
		}
		select {
		case <-s.data.p.done:
			if it, ok := s.data.p.answer.pop(); ok {
				return it.payload, nil
			}
			return nil, s.failed("read", ctx, s.ending())
		default:
		}
		select {
		case <-s.data.p.answer.more:
		case <-s.data.p.done:
		case <-ctx.Done():
			return nil, s.failed("read", ctx, nil)
		}
	}
}

// ending returns the reason that nothing more comes from the peer.
func (s *Socket) ending() error {
	err := s.data.p.failure()
	if errors.Is(err, errConnectionOver) {
		err = s.end.p.failure()
	}
	if err == nil {
		return io.EOF
	}
	return socketFailure(err)
}

// failed is the error of an operation: err, but if ctx has ended, or s was closed, that counts.
func (s *Socket) failed(op string, ctx context.Context, err error) error {
	switch {
	case s.closed.Load():
		err = net.ErrClosed
	case ctx.Err() != nil:
		err = over(ctx, net.ErrClosed)
	}
	if err == nil || err == io.EOF {
		return err
	}
	return netFailure(s.c, op, s.network, ends{s.local, s.remote}, err)
}

// Write sends b, and waits for the peer's window.
func (s *Socket) Write(b []byte) (int, error) {
	ctx := s.writeBy.context()
	s.writing.Lock()
	defer s.writing.Unlock()
	if ctx.Err() != nil {
		return 0, s.failed("write", ctx, net.ErrClosed)
	}
	n, err := s.end.write(ctx, b)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.ErrClosedPipe) {
		err = syscall.EPIPE
		if why := s.end.p.failure(); why != nil {
			err = socketFailure(why)
		}
	}
	return n, s.failed("write", ctx, err)
}

// CloseWrite says that nothing more is written: the peer reads to an end. What it writes is read.
func (s *Socket) CloseWrite() error {
	s.finish()
	return s.failed("close", s.end.ctx, nil)
}

// finish sends the end of what is written.
func (s *Socket) finish() { s.finished.Do(func() { s.end.CloseWrite() }) }

// SetLinger has Close reset the connection, if sec is 0; else Close is as usual, and sec has no
// meaning.
func (s *Socket) SetLinger(sec int) error {
	s.reset.Store(sec == 0)
	return s.failed("set", s.end.ctx, nil)
}

// Close closes the connection. It doesn't wait: what was written goes on its way to the peer.
func (s *Socket) Close() error {
	if s.closed.Swap(true) {
		return s.failed("close", s.end.ctx, net.ErrClosed)
	}
	if !s.reset.Load() {
		s.finish()
	}
	s.discard()
	return nil
}

// discard gives s up. Unless the end of what is written was sent, the peer sees a reset.
func (s *Socket) discard() {
	s.once.Do(func() {
		s.end.Close()
		s.data.giveUp()
	})
}

// LocalAddr is the address of the context's end of the connection, on its machine.
func (s *Socket) LocalAddr() net.Addr { return s.local }

// RemoteAddr is the address of the peer, as the context's machine knows it.
func (s *Socket) RemoteAddr() net.Addr { return s.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (s *Socket) SetDeadline(t time.Time) error {
	s.readBy.set(t)
	return s.SetWriteDeadline(t)
}

// SetReadDeadline has Reads fail from t on; the zero time: never.
func (s *Socket) SetReadDeadline(t time.Time) error {
	s.readBy.set(t)
	return s.failed("set", s.end.ctx, nil)
}

// SetWriteDeadline has Writes fail from t on; the zero time: never.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	s.writeBy.set(t)
	return s.failed("set", s.end.ctx, nil)
}
