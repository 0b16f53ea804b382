package engine

import (
	"context"
	"io"
	"sync"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Receiver takes values that contexts send.
type Receiver struct {
	e      *Engine
	handle wire.Handle

	mu     sync.Mutex // protects following
	queue  []Message
	closed bool
	more   chan struct{} // holds one
}

// Message is one value in a Receiver; End: its sender won't send any more.
type Message struct {
	From  *Context
	Value []byte // pickle
	End   bool
	cost  int
}

// Receiver opens one. Contexts are let in as its Sender is passed to them.
func (e *Engine) Receiver() *Receiver {
	r := &Receiver{e: e, more: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.handle = e.router.Listen(r)
	return r
}

// Sender is how contexts name r.
func (r *Receiver) Sender() pickle.Sender { return pickle.Sender{Handle: uint32(r.handle)} }

// Admit lets c send to r.
func (r *Receiver) Admit(c *Context) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.e.router.Admit(r.handle, c.id)
}

// deliverLocked takes a value. Frames that aren't items are an end; of these there are no more than admissions.
func (r *Receiver) deliverLocked(e *Engine, c *Context, a *route.Action) {
	f := &a.Frame
	m := Message{From: c, cost: a.Cost, End: f.Kind != wire.Item}
	if !m.End {
		m.Value = f.Payload
		if !a.Owned {
			m.Value = append([]byte(nil), f.Payload...)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.queue = append(r.queue, m)
	r.signal()
}

func (r *Receiver) signal() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// Get waits for the next message. io.EOF: r is closed.
func (r *Receiver) Get(ctx context.Context) (Message, error) {
	for {
		r.mu.Lock()
		if len(r.queue) > 0 {
			m := r.queue[0]
			r.queue = r.queue[1:]
			if len(r.queue) > 0 {
				r.signal() // there may be another one who waits
			}
			r.mu.Unlock()
			r.e.consumed(m.From, r.handle, m.cost)
			return m, nil
		}
		closed := r.closed
		r.mu.Unlock()
		if closed {
			r.signal()
			return Message{}, io.EOF
		}
		select {
		case <-r.more:
		case <-ctx.Done():
			return Message{}, givenUp(ctx, "get from a receiver")
		}
	}
}

// Close ends r.
func (r *Receiver) Close() {
	r.e.mu.Lock()
	r.e.router.Unlisten(r.handle)
	r.e.mu.Unlock()
	r.mu.Lock()
	r.closed = true
	r.signal()
	r.mu.Unlock()
}

// Send sends a value to a receiver of a context.
func (e *Engine) Send(ctx context.Context, to pickle.Sender, value any) error {
	e.mu.Lock()
	c := e.contexts[wire.ContextID(to.Context)]
	e.mu.Unlock()
	if c == nil {
		return route.ErrGone
	}
	e.admit(c, value)
	e.mu.Lock()
	mode := c.mode
	e.mu.Unlock()
	b, err := pickle.Append(nil, value, mode)
	if err != nil {
		return err
	}
	f := wire.Frame{Kind: wire.Item, Dst: c.id, Handle: wire.Handle(to.Handle), Payload: b}
	_, err = c.parts(ctx, &f)
	return err
}
