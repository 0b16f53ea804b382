package engine

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// A listener has up to acceptAhead connections accepted before Accept takes them, so that a burst
// waits for no round trip. More of them wait at the system there.
const acceptAhead = 16

// acceptPause is between two tries to accept, after a shortage there.
const acceptPause = 100 * time.Millisecond

// Listener accepts connections at a context's machine. Nothing else there can open one: each is the
// answer to a question of ours.
type Listener struct {
	c       *Context
	place   *Tunnel
	network string
	addrs   []net.Addr // static
	by      *deadline
	ready   chan *Socket // workers send, Accept receives; never closed
	workers sync.WaitGroup

	mu  sync.Mutex // protects following
	err error      // why it has ended
}

// ListenSocket has c listen, and waits until it does. Errors are as those of DialSocket.
func ListenSocket(ctx context.Context, c *Context, network, address string) (*Listener, error) {
	failed := func(err error) error {
		return netFailure(c, "listen", network, ends{nil, place{network, address}}, err)
	}
	what, err := endpoint(network, address, true)
	if err != nil {
		return nil, failed(err)
	}
	if err := auditSocket(ctx, c, "listen "+address); err != nil {
		return nil, failed(err)
	}
	what["listen"] = true
	t, err := sockets(ctx, c, what)
	if err != nil {
		return nil, failed(err)
	}
	l := newListener(c, t, network)
	b, err := t.first(ctx)
	if err == nil {
		l.addrs, err = addresses(network, b)
	}
	if err == nil && len(l.addrs) == 0 {
		err = errors.New("read addresses: got none, want one")
	}
	if err != nil {
		t.Close()
		return nil, failed(err)
	}
	if network == "unix" {
		l.addrs = []net.Addr{&net.UnixAddr{Name: address, Net: network}}
	}
	l.begin(acceptAhead)
	return l, nil
}

func newListener(c *Context, t *Tunnel, network string) *Listener {
	return &Listener{c: c, place: t, network: network, by: newDeadline(t.ctx),
		ready: make(chan *Socket)}
}

// begin has up to ahead connections accepted before Accept takes them.
func (l *Listener) begin(ahead int) {
	for range ahead {
		l.workers.Go(l.work)
	}
	l.c.e.work.jobs.Go(func() {
		<-l.place.p.done
		l.fail(l.place.p.failure())
	})
}

// fail ends l with err; nil: it was closed there.
func (l *Listener) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		if l.err = net.ErrClosed; err != nil {
			l.err = socketFailure(err)
		}
	}
	l.mu.Unlock()
	l.place.Close()
}

// work accepts one connection after another.
func (l *Listener) work() {
	ctx := l.place.ctx
	for ctx.Err() == nil {
		s, err := l.accept(ctx)
		switch {
		case err == nil:
			select {
			case l.ready <- s:
			case <-ctx.Done():
				s.discard()
			}
		case errors.Is(err, syscall.EMFILE):
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		default:
			l.fail(err)
			return
		}
	}
}

// accept asks for a connection, and waits for it.
func (l *Listener) accept(ctx context.Context) (*Socket, error) {
	what := map[string]any{"accept": uint32(l.place.p.handle)}
	s, err := openSocket(ctx, l.c, l.network, what)
	if err != nil {
		return nil, err
	}
	if err := s.opened(ctx); err != nil {
		s.discard()
		return nil, err
	}
	if l.network == "unix" {
		s.local = l.addrs[0]
	}
	return s, nil
}

// Accept returns the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	ctx := l.by.context()
	select {
	case s := <-l.ready:
		return s, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if l.place.ctx.Err() == nil {
		err = over(ctx, net.ErrClosed)
	}
	if err == nil {
		err = net.ErrClosed
	}
	return nil, netFailure(l.c, "accept", l.network, ends{nil, l.Addr()}, err)
}

// Close ends listening. Connections that were accepted live on.
func (l *Listener) Close() error {
	l.mu.Lock()
	closed := l.err != nil
	if !closed {
		l.err = net.ErrClosed
	}
	l.mu.Unlock()
	if closed {
		return netFailure(l.c, "close", l.network, ends{nil, l.Addr()}, net.ErrClosed)
	}
	l.place.Close()
	l.workers.Wait()
	return nil
}

// Addr returns the listener's address on the context's machine; the first, if it has several.
func (l *Listener) Addr() net.Addr { return l.addrs[0] }

// SetDeadline has Accepts fail from t on; the zero time: never.
func (l *Listener) SetDeadline(t time.Time) error {
	l.by.set(t)
	return nil
}
