package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// closedError says what else than a context was closed. It matches ErrClosed.
type closedError string

func (e closedError) Error() string { return string(e) }

// Is makes it match ErrClosed.
func (closedError) Is(target error) bool { return target == ErrClosed }

// Errors of receivers.
const (
	errReceiverClosed closedError = "receiver closed"
	errEngineClosed   closedError = "engine closed"
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

// Message is one value in a Receiver, or the end of those of its sender.
type Message struct {
	From  *Context
	Value []byte // pickle
	end   end
	cost  int
}

// end says why a sender won't send any more.
type end uint8

const (
	endNone end = iota // it may
	endSaid            // it has said so
	endGone            // its context is gone
)

// err returns what Get returns with m. m.From is gone where endGone says so.
func (m *Message) err() error {
	switch m.end {
	case endNone:
		return nil
	case endGone:
		if err := m.From.Err(); !errors.Is(err, ErrClosed) {
			return err
		}
	}
	return io.EOF
}

// Receiver opens one. Contexts are let in as its Sender is passed to them.
func (e *Engine) Receiver() *Receiver {
	r := &Receiver{e: e, more: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.handle = e.router.Listen(r)
	return r
}

// Sender returns the name of r for contexts.
func (r *Receiver) Sender() pyvalue.Sender {
	return pickle.NewSender(r.e.identity, 0, uint32(r.handle))
}

// Admit lets c send to r.
func (r *Receiver) Admit(c *Context) error {
	if err := r.e.tree.owns(c); err != nil {
		return fmt.Errorf("admit to receiver: %w", err)
	}
	o := &outgoing{c: c}
	if err := o.Take(r.Sender()); err != nil {
		return fmt.Errorf("admit %s to receiver: %w", c.name, err)
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("admit %s to receiver: %w", c.name, c.err)
	}
	o.admitLocked()
	return nil
}

// deliverLocked takes a value. Frames that aren't items are an end; of these there are no more than
// admissions.
func (r *Receiver) deliverLocked(e *Engine, c *Context, a *route.Action) {
	f := &a.Frame
	m := Message{From: c, cost: a.Cost}
	switch {
	case f.Kind != wire.Item:
		m.end = endSaid
	case a.Owned:
		m.Value = f.Payload
	default:
		m.Value = append([]byte(nil), f.Payload...)
	}
	r.put(m)
}

func (r *Receiver) put(m Message) {
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

// Get waits for the next message, or the end of a sender: io.EOF, or the loss of its context, with
// a Message that has From. Without From, io.EOF: r is closed; ErrClosed: the engine is.
func (r *Receiver) Get(ctx context.Context) (Message, error) {
	for ended := false; ; {
		m, err := r.take()
		switch {
		case err != nil:
			return Message{}, err
		case m.From != nil:
			r.e.traffic.consumed(m.From, r.handle, m.cost)
			return m, m.err()
		case ended:
			return Message{}, errEngineClosed
		}
		select {
		case <-r.more:
		case <-r.e.work.base.Done():
			ended = true // what came before is taken first
		case <-ctx.Done():
			return Message{}, givenUp(ctx, "get from a receiver")
		}
	}
}

// take returns the first message that waits; a zero one: there is none. io.EOF: nor will there be.
func (r *Receiver) take() (Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 && !r.closed {
		return Message{}, nil
	}
	defer r.signal() // there may be another one who waits
	if len(r.queue) == 0 {
		return Message{}, io.EOF
	}
	m := r.queue[0]
	r.queue[0] = Message{}
	r.queue = r.queue[1:]
	return m, nil
}

// Close ends r.
func (r *Receiver) Close() {
	r.e.mu.Lock()
	r.e.traffic.applyLocked(r.e.router.Unlisten(r.handle, nil))
	r.e.unlock()
	r.mu.Lock()
	r.closed = true
	r.signal()
	r.mu.Unlock()
}

// Send sends a value to a receiver of a context.
func (e *Engine) Send(ctx context.Context, to pyvalue.Sender, value any) error {
	if pickle.EngineOf(to) != e.identity {
		return fmt.Errorf("send to context %d: %w", to.Context, ErrOtherEngine)
	}
	e.mu.Lock()
	c, closed := e.tree.contexts[wire.ContextID(to.Context)], e.tree.closed
	e.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("send to context %d: %w", to.Context, errEngineClosed)
	case to.Context == 0:
		return errors.New("send to the engine itself: got a Sender of one of its receivers")
	case c == nil:
		name := fmt.Sprintf("context %d", to.Context)
		return fmt.Errorf("send: %w", &report.LostError{Context: name, Hop: name, Reason: "gone"})
	}
	if err := c.Calls.send(ctx, wire.Handle(to.Handle), value); err != nil {
		return fmt.Errorf("send to %s: %w", c.name, err)
	}
	return nil
}

// send sends a value to a receiver of c. The first one is answered, so that a receiver that isn't
// there is found out; later c says so by itself.
func (s *calls) send(ctx context.Context, handle wire.Handle, value any) error {
	c := s.c
	o := &outgoing{c: c}
	b, err := o.encoder().Append(nil, value)
	if err != nil {
		return err
	}
	turn := s.sendTurn(handle)
	if err := turn.take(ctx, c, nil); err != nil {
		return err
	}
	defer turn.leave()
	e, f := c.e, wire.Frame{Kind: wire.Item, Dst: c.id, Handle: handle, Payload: b}
	var p *Pending
	e.mu.Lock()
	if c.err != nil {
		defer e.mu.Unlock()
		return c.lostAs()
	}
	o.admitLocked()
	if !e.router.Sending(c.id, handle) {
		p = newPending(c, "send")
		if p.handle, err = e.router.Request(c.id, 0, p); err != nil {
			defer e.mu.Unlock()
			return c.lostAs()
		}
		e.router.Expect(p.handle, oneFrame, true)
		p.open, f.Reply = true, p.handle
	}
	e.mu.Unlock()
	if rest, err := s.parts(ctx, p, &f); err != nil {
		s.giveUpValue(p, &f, len(rest) < len(b))
		return err
	}
	return p.taken(ctx)
}

// giveUpValue takes back what was begun to be sent to a receiver.
func (s *calls) giveUpValue(p *Pending, f *wire.Frame, begun bool) {
	c := s.c
	e := c.e
	e.mu.Lock()
	defer e.unlock()
	if p != nil {
		p.forgetLocked()
	}
	if begun && c.err == nil {
		e.traffic.putLocked(c, &wire.Frame{Kind: wire.Part, Dst: c.id, Handle: f.Handle})
	}
}

// taken waits until a receiver has answered p, which may be nil: it isn't asked.
func (p *Pending) taken(ctx context.Context) error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.c.Calls.giveUpValue(p, nil, false)
		return givenUp(ctx, "send to "+p.c.name)
	}
	switch {
	case p.answer.err != nil:
		return p.answer.err
	case p.answer.kind == wire.Dead:
		return errReceiverClosed
	}
	return nil
}

// sendTurn returns the turn to send to a receiver of c, so that parts of two values don't mix.
func (s *calls) sendTurn(handle wire.Handle) turn {
	c := s.c
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	t := s.turns[handle]
	if t == nil {
		t = make(turn, 1)
		if s.turns == nil {
			s.turns = map[wire.Handle]turn{}
		}
		s.turns[handle] = t
	}
	return t
}
