package portforward

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/internal/process"
)

// MaxConnections bounds the connections that a Server has at a time. Further ones wait.
const MaxConnections = 1000

// Server forwards connections. Its fields are set before it is used.
type Server struct {
	Spec Spec
	// Dial connects to where connections are forwarded to.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Open connects instead of Dial, on behalf of a connection that was accepted, if it isn't nil.
	Open func(ctx context.Context, from net.Conn) (net.Conn, error)
	// Tell is told of each connection, by any goroutine; nil: it isn't.
	Tell func(Event)
	// Room has as many elements as there are connections, of several Servers together; nil: the Server
	// has a bound of its own.
	Room chan struct{}
}

// Event is a step of one connection.
type Event struct {
	Kind EventKind
	ID   uint64 // of the connection; counts up in this process
	From string // the client's address, or if it has none the listener's
	To   string // where it is forwarded to; "" if a SOCKS client hasn't said so
	// Sent and Received count bytes from the client, and to it. They are known when it is closed.
	Sent, Received int64
	Err            error // of Failed, and of Closed if it was no proper end
}

// EventKind is the kind of an Event.
type EventKind string

// Kinds of events. A connection is Opened and then Closed, or Failed.
const (
	Opened EventKind = "opened"
	Failed EventKind = "failed"
	Closed EventKind = "closed"
)

var lastID atomic.Uint64

// handshakeTimeout bounds the time of a SOCKS client to say where it wants to connect to.
const handshakeTimeout = 30 * time.Second

// acceptPause is between two tries to accept, after a shortage.
const acceptPause = 50 * time.Millisecond

// Serve forwards the connections that l accepts, until ctx ends or l fails, and returns why it has
// failed. It closes l and all connections, and returns when they are closed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	room := s.Room
	if room == nil {
		room = make(chan struct{}, MaxConnections)
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for {
		c, err := accept(ctx, l)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case err != nil:
			return err
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			c.Close()
			return nil
		}
		all.Go(func() {
			defer func() { <-room }()
			s.one(ctx, l, c)
		})
	}
}

// accept is Accept, but for shortages and for clients that have left.
func accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for {
		c, err := l.Accept()
		if !process.Passes(err) {
			return c, err
		}
		select {
		case <-time.After(acceptPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Server) tell(e Event) {
	if s.Tell != nil {
		s.Tell(e)
	}
}

// one forwards one connection.
func (s *Server) one(ctx context.Context, l net.Listener, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	e := Event{ID: lastID.Add(1), From: c.RemoteAddr().String(), To: s.Spec.To.Text}
	if e.From == "" || e.From == "@" { // of a UNIX socket
		e.From = l.Addr().String()
	}
	other, err := s.connect(ctx, c, &e)
	if err != nil {
		e.Kind, e.Err = Failed, err
		if !s.Spec.SOCKS() { // whose client reads an answer
			reset(c)
		}
		c.Close()
		if ctx.Err() == nil {
			s.tell(e)
		}
		return
	}
	defer context.AfterFunc(ctx, func() { other.Close() })()
	e.Kind = Opened
	s.tell(e)
	e.Kind = Closed
	e.Sent, e.Received, e.Err = Join(c, other)
	if ctx.Err() != nil {
		e.Err = nil
	}
	s.tell(e)
}

// connect makes the connection that c is forwarded to. A SOCKS client is answered.
func (s *Server) connect(ctx context.Context, c net.Conn, e *Event) (net.Conn, error) {
	if s.Open != nil {
		return s.Open(ctx, c)
	}
	if !s.Spec.SOCKS() {
		return s.Dial(ctx, s.Spec.To.Network, s.Spec.To.Text)
	}
	c.SetDeadline(time.Now().Add(handshakeTimeout))
	q, err := readRequest(c)
	e.To = q.address
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Time{})
	other, err := s.Dial(ctx, "tcp", q.address)
	if told := q.answer(c, err); told != nil && err == nil {
		other.Close()
		err = told
	}
	if err != nil {
		return nil, err
	}
	return other, nil
}
