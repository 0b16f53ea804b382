package mitogen

import (
	"context"
	"io"

	"github.com/mitogen-go/mitogen/internal/engine"
)

// Receiver is a mailbox of the engine. Contexts that its Sender has been passed to put values in.
type Receiver struct {
	r *engine.Receiver
	e *Engine
}

// Receiver returns a new mailbox.
func (e *Engine) Receiver() *Receiver { return &Receiver{e.e.Receiver(), e} }

// Sender returns the handle for contexts to send to. Passing it to a call, as an argument or inside of []any or
// map[string]any, lets that context send; for others see Admit.
func (r *Receiver) Sender() Sender { return r.r.Sender() }

// Admit lets c send to r.
func (r *Receiver) Admit(c *Context) { r.r.Admit(c.c) }

// Message is one value in a Receiver.
type Message struct {
	From *Context // who sent it

	value []byte
}

// Get waits for the next message. When ctx ends first, the error matches ErrCancelled, ctx.Err()
// and context.Cause(ctx). io.EOF with a Message: From won't send any more; without From: r is
// closed. While messages aren't taken, those who send wait, each once it is a MiB ahead.
func (r *Receiver) Get(ctx context.Context) (Message, error) {
	m, err := r.r.Get(ctx)
	if err != nil {
		return Message{}, err
	}
	if m.End {
		err = io.EOF
	}
	return Message{From: r.e.wrap(m.From), value: m.Value}, err
}

// Close ends r; what comes for it from now on is refused.
func (r *Receiver) Close() { r.r.Close() }

// Decode stores the message's value in *into, exactly, or says where it doesn't fit.
func (m Message) Decode(into any) error { return decode(m.value, into) }

// Send sends value to a receiver in a context, whose Sender has come from there. It returns when the value is on its way,
// which may take until the receiver has caught up.
func (e *Engine) Send(ctx context.Context, to Sender, value any) error {
	return e.e.Send(ctx, to, value)
}
