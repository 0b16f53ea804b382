package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

func init() {
	pickle.Register(func(c *Context) (pyvalue.Ref, error) { return c.Ref(), nil }, nil)
}

// ErrOtherEngine is the error of a Context, Sender or Receiver that is used with an engine which
// it isn't of. A Sender that the program has made itself is of no engine.
var ErrOtherEngine = errors.New("not of this engine")

// newIdentity returns a number that no other engine has, whatever process it is in. It isn't 0.
func newIdentity() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.NativeEndian.Uint64(b[:]) | 1
}

// Ref returns the value that stands for c in arguments.
func (c *Context) Ref() pyvalue.Ref {
	return pickle.NewContext(c.e.identity, uint32(c.id), c.name)
}

// Limits returns the limits of values that have come to e. Handles in them become e's.
func (e *Engine) Limits() pickle.Limits {
	return pickle.Limits{Engine: e.identity, ShareText: true, Gate: e.workshop.enter}
}

// outgoing is a value on its way to a context.
type outgoing struct {
	c         *Context
	receivers []wire.Handle // of the engine, one for each Sender in the value
}

// encoder returns an encoder of values in the form that o.c reads. It notes their receivers in o.
func (o *outgoing) encoder() pickle.Encoder {
	e := o.c.e
	e.mu.Lock()
	defer e.mu.Unlock()
	return pickle.Encoder{Mode: o.c.hello.mode, Limit: e.opt.MaxMessage, Handles: o}
}

// Take implements pickle.Handles.
func (o *outgoing) Take(handle any) error {
	e := o.c.e
	if pickle.EngineOf(handle) != e.identity {
		return ErrOtherEngine
	}
	s, ok := handle.(pyvalue.Sender)
	if !ok || s.Context != 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.router.Listens(wire.Handle(s.Handle)) {
		return errReceiverClosed
	}
	o.receivers = append(o.receivers, wire.Handle(s.Handle))
	return nil
}

// admitLocked lets the context send to the receivers that the value names.
func (o *outgoing) admitLocked() {
	for _, h := range o.receivers {
		o.c.e.router.Admit(h, o.c.id)
	}
}
