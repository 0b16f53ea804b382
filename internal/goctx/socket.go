package goctx

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// lingerPatience bounds how long a peer has to take what was written before the engine's close.
const lingerPatience = 60 * time.Second

// A socket is a connection of this machine, or the wait for one. The goroutine of life makes the
// connection and reads it; another one writes.
type socket struct {
	s    *served // static, as all up to cancel
	key  key     // of what asked for it
	flow key     // of what the peer writes
	in   *fed
	// plain has no handle of its own for what the peer writes, nor an item for its addresses.
	plain  bool
	ctx    context.Context // ended by end: of waits, not of the connection
	cancel context.CancelFunc

	mu   sync.Mutex // protects following
	conn net.Conn   // nil: it is not there yet
	gone bool       // the engine has closed it
}

// A duplex is a connection of which one direction can be closed.
type duplex interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// openSocket begins a connection that connect makes.
func (s *served) openSocket(k key, spec *openSpec, connect func(*socket) (net.Conn, error)) {
	c := &socket{s: s, key: k, flow: key{k.src, wire.Handle(spec.Data)}, plain: spec.Service == ""}
	if c.plain {
		c.flow = k
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.in = newFed(s.crediting(k), nil)
	s.keepTunnel(k, c)
	go func() {
		defer c.cancel()
		err := c.life(connect)
		s.forgetTunnel(c, c.key, c.flow)
		switch {
		case c.isGone():
		case err != nil:
			s.refuseTunnel(c.key, err)
		default:
			s.send(&wire.Frame{Dst: c.key.src, Handle: c.key.reply})
		}
	}()
}

func (c *socket) take(f *wire.Frame) {
	switch {
	case f.Kind == wire.Data && len(f.Payload) == 0:
		c.in.finish()
	case f.Kind == wire.Item:
		if c.in.put(f.Payload) != nil {
			c.end() // it has sent more than its window
		}
	}
}

func (c *socket) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// end closes the connection. What was written before the end of input is sent still; else the peer
// sees a reset.
func (c *socket) end() {
	c.mu.Lock()
	first, conn := !c.gone, c.conn
	c.gone = true
	c.mu.Unlock()
	if !first {
		return
	}
	c.cancel()
	if conn != nil && c.in.waits() {
		conn.SetWriteDeadline(time.Now().Add(lingerPatience))
		conn.SetReadDeadline(time.Now())
		return
	}
	if conn != nil && c.in.whole() {
		conn.Close()
	} else if conn != nil {
		reset(conn)
	}
	c.s.forgetTunnel(c, c.key, c.flow) // there is room for another one
}

// reset closes a connection; over TCP the peer is told that it was cut.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// life carries bytes until both sides have ended. The error is why there is no connection, or why
// it has failed.
func (c *socket) life(connect func(*socket) (net.Conn, error)) error {
	made, err := connect(c)
	if err != nil {
		return err
	}
	conn := made.(duplex) // as TCP and UNIX sockets are
	c.mu.Lock()
	c.conn = conn
	gone := c.gone
	c.mu.Unlock()
	if gone {
		reset(conn)
		return nil
	}
	defer conn.Close()
	c.tell(conn)
	c.in.end = func() { conn.CloseWrite() }
	wrote := make(chan error, 1)
	go func() { wrote <- c.in.run(conn) }()
	err = c.read(conn)
	switch {
	case c.isGone():
		if !c.in.whole() {
			c.in.close()
		}
	case err != nil:
		c.in.close()
		conn.Close()
		<-wrote
		return err
	case c.plain:
		c.in.close() // the other side's end ends it
		conn.Close()
	default:
		c.s.send(&wire.Frame{Dst: c.flow.src, Handle: c.flow.reply})
	}
	if err := <-wrote; !c.plain {
		return err
	}
	return nil
}

// tell sends both addresses of the connection.
func (c *socket) tell(conn net.Conn) {
	if c.plain {
		return
	}
	pair := pyvalue.Tuple{addressValue(conn.LocalAddr()), addressValue(conn.RemoteAddr())}
	if b, err := pickle.Append(nil, pair, pickle.Proto2Both); err == nil {
		c.s.send(&wire.Frame{Kind: wire.Item, Dst: c.key.src, Handle: c.key.reply, Payload: b})
	}
}

// addressValue returns an address as a value; nil for a UNIX socket.
func addressValue(a net.Addr) any {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return pyvalue.Tuple{tcp.AddrPort().Addr().Unmap().String(), tcp.Port}
	}
	return nil
}

// read sends what the peer writes, until its end. It reads nothing while there is no window, or the
// stream to the parent is full.
func (c *socket) read(conn duplex) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	for c.s.reserve(c.ctx, c.flow, 0) == nil && c.s.room(c.ctx) == nil {
		n, err := readReady(raw.Read, func(b []byte) {
			if c.s.reserve(c.ctx, c.flow, len(b)) == nil {
				c.s.send(&wire.Frame{Kind: wire.Item, Dst: c.flow.src, Handle: c.flow.reply, Payload: b})
			}
		})
		if n == 0 || err != nil {
			return err
		}
	}
	return io.ErrClosedPipe // of the engine: nothing is told of it
}
