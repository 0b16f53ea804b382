package mitogen

import (
	"context"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// Receiver is a mailbox of the engine. Contexts put values in by the handle that its Sender names.
type Receiver struct{}

// Message is one value in a Receiver.
type Message struct {
	From uint32 // ID of the context that sent it
}

// Sender returns the handle that contexts can send to; pass it as an argument of a call.
func (r *Receiver) Sender() Sender { return Sender{} }

// Get waits for the next message. It returns io.EOF when the sender has closed its end or r is closed.
func (r *Receiver) Get(ctx context.Context) (Message, error) { return Message{}, errThin }

// Close ends r; what comes for it from now on is refused.
func (r *Receiver) Close() {}

// Decode stores the message's value in *into, exactly, or says where it doesn't fit.
func (m Message) Decode(into any) error { return errThin }

// Sender names a mailbox: a Receiver of the engine or of a context. It can be an argument or a result of calls.
type Sender struct {
	Context uint32
	Handle  uint32
}

// Secret is text that formatting and encoding don't show. Python code gets it as a mitogen.Secret.
type Secret = connect.Secret

// Blob is bytes that Python code sees as mitogen.Blob, for bulk data.
type Blob []byte
