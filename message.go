package mitogen

import (
	"context"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// Receiver is a mailbox of the engine. Contexts that its Sender has been passed to put values in.
// Where nothing takes what they send (it is closed, or not theirs to send to), what they send next
// raises mitogen.DeadError there.
type Receiver struct {
	r *engine.Receiver
	e *Engine
}

// Receiver returns a new mailbox.
func (e *Engine) Receiver() *Receiver { return &Receiver{e.e.Receiver(), e} }

// Sender returns the handle for contexts to send to. If the program passes it to a call, or sends
// it, that context may send. It may stand as an argument, or anywhere inside of an argument. A
// context that gets it from another context needs Admit. A Sender is of its engine: any other
// engine refuses it (ErrOtherEngine). Its own engine refuses it when the Receiver is closed
// (ErrClosed).
func (r *Receiver) Sender() pyvalue.Sender { return r.r.Sender() }

// Admit lets c send to r. It fails if c is gone, or r is closed, or they are of two engines.
func (r *Receiver) Admit(c *Context) error { return r.r.Admit(c.inner()) }

// Message is one value in a Receiver.
type Message struct {
	From *Context // who sent it

	value  []byte
	limits pickle.Limits
}

// Get waits for the next message. It returns an error
//
//   - with From, once for each context that could send and can't any more: io.EOF if it has closed
//     its Sender or the program has closed the context, else why the context is gone: a
//     *report.LostError or what Context.Err returns;
//   - without From: io.EOF if r is closed, an error that matches ErrClosed if the engine is, and
//     ctx's when ctx ends first.
//
// What has come before is returned first. Where no context can send, Get waits until one can.
// While messages aren't taken, those who send wait, each once it is a MiB ahead.
func (r *Receiver) Get(ctx context.Context) (Message, error) {
	m, err := r.r.Get(ctx)
	if m.From == nil {
		return Message{}, err
	}
	return Message{From: r.e.wrap(m.From), value: m.Value, limits: r.e.e.Limits()}, err
}

// Close ends r; what comes for it from now on is refused. What has come before is still returned.
func (r *Receiver) Close() { r.r.Close() }

// Decode stores the message's value in *into, exactly, or says where it doesn't fit.
func (m Message) Decode(into any) error { return decode(m.value, m.limits, into) }

// Send sends value to a receiver in a context, whose Sender has come from there. It returns when
// the value is on its way, which may take until the receiver has caught up. For the first value it
// returns when the receiver has the value. A *pyvalue.Error says what is wrong with value. Other
// errors say that to is of another engine (ErrOtherEngine) or closed (ErrClosed), or that its
// context is gone. If ctx ends first, the error matches ErrCancelled and ctx's error. The receiver
// may have got the value nevertheless.
func (e *Engine) Send(ctx context.Context, to pyvalue.Sender, value any) error {
	return e.e.Send(ctx, to, value)
}
