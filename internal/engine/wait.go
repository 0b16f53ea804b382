package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Limits returns the limits of the result, for decoding it.
func (p *Pending) Limits() pickle.Limits { return p.c.e.Limits() }

// Done returns a channel that is closed when the result is there.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Result waits for the end and returns the pickled value (empty: None). A generator's items come instead of it, if there
// were any. When ctx ends first, the call is cancelled, and its context killed if that has no effect.
func (p *Pending) Result(ctx context.Context) (value []byte, items [][]byte, err error) {
	select {
	case <-p.done:
	default:
		if !p.await(ctx) {
			return nil, nil, p.giveUp(context.Cause(ctx))
		}
	}
	if err := p.failure(); err != nil {
		return nil, nil, err
	}
	for _, it := range p.items {
		items = append(items, it.payload)
	}
	return p.payload, items, nil
}

// await waits for the end, reading the answer itself where that is possible. False: ctx has ended first.
func (p *Pending) await(ctx context.Context) bool {
	s := p.c.root.stream
	defer s.Awaited()
	p.waited.Store(!s.Await(ctx, p.done))
	select {
	case <-p.done:
		return true
	default:
	}
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// Next returns the next item of a stream; io.EOF-like, ok is false at its end. A plain function's result is its only item.
func (p *Pending) Next(ctx context.Context) (value []byte, ok bool, err error) {
	for {
		if it, ok := p.pop(); ok {
			return it.payload, true, nil
		}
		select {
		case <-p.done:
			return p.last()
		default:
		}
		select {
		case <-p.more:
		case <-p.done:
		case <-ctx.Done():
			return nil, false, p.giveUp(context.Cause(ctx))
		}
	}
}

// pop takes an item, if there is one, and gives its window back.
func (p *Pending) pop() (item, bool) {
	p.mu.Lock()
	if len(p.items) == 0 {
		p.mu.Unlock()
		return item{}, false
	}
	it := p.items[0]
	p.items[0] = item{}
	p.items = p.items[1:]
	p.mu.Unlock()
	p.c.e.consumed(p.c, p.handle, it.cost)
	return it, true
}

// last is what Next returns once the call has ended.
func (p *Pending) last() (value []byte, ok bool, err error) {
	if it, ok := p.pop(); ok { // came between two looks
		return it.payload, true, nil
	}
	if err := p.failure(); err != nil {
		return nil, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	value, p.payload = p.payload, nil
	return value, len(value) > 0, nil
}

// failure is the error that p, which has ended, ended with.
func (p *Pending) failure() error {
	switch {
	case p.err != nil:
		return p.err
	case p.kind == wire.Dead:
		return fmt.Errorf("call %s in %s: %s", p.target, p.c.name, oneLine(string(p.payload)))
	case p.kind != wire.Error:
		return nil
	}
	v, err := pickle.DecodeError(p.payload, p.c.e.Limits())
	if err != nil {
		return fmt.Errorf("call %s in %s: read its error: %w", p.target, p.c.name, err)
	}
	return &CallError{p.c.name, v.Module, v.Type, v.Text, connect.Clean(v.Traceback), v.Args}
}

// Cancel interrupts the call; it doesn't wait for that.
func (p *Pending) Cancel() {
	if p.c == nil { // see Failed
		return
	}
	e := p.c.e
	p.mu.Lock()
	p.given = true
	p.mu.Unlock()
	e.mu.Lock()
	defer e.unlock()
	if !p.open || p.cancel {
		return
	}
	p.cancel = true
	if p.sent {
		p.sendCancelLocked()
	}
}

func (p *Pending) sendCancelLocked() {
	if p.open && p.c.err == nil {
		p.c.e.putLocked(p.c, &wire.Frame{Dst: p.c.id, Handle: wire.Cancel, Payload: wire.AppendU32(nil, p.handle)})
	}
}

// giveUp cancels the call, because of cause, and waits for it to end. A context that isn't up has nothing to wait for.
func (p *Pending) giveUp(cause error) error {
	p.Cancel()
	p.dropItems()
	e, c := p.c.e, p.c
	e.mu.Lock()
	if !c.up && p.open {
		p.closeLocked()
		e.applyLocked(e.router.Forget(p.handle, nil))
		e.unlock()
		err := &cancelError{cause: cause}
		p.finish(wire.Dead, nil, err)
		return err
	}
	e.mu.Unlock()
	t := time.NewTimer(e.opt.Grace)
	defer t.Stop()
	select {
	case <-p.done:
		return p.afterCancel(cause)
	case <-t.C:
	}
	why := fmt.Sprintf("killed: %s did not end when it was cancelled", p.target)
	e.lose(c, &LostError{Why: why}, true)
	return &cancelError{cause: cause, killed: true}
}

// afterCancel is what a cancelled call ends with. Its result, should there be one, comes too late.
func (p *Pending) afterCancel(cause error) error {
	err := p.failure()
	if lost := (*LostError)(nil); errors.As(err, &lost) {
		return err
	}
	return &cancelError{cause: cause, call: err}
}

// Leave ends a stream that nobody listens to any more.
func (p *Pending) Leave() {
	select {
	case <-p.done:
		p.dropItems()
	default:
		p.giveUp(context.Canceled)
	}
}

func (p *Pending) dropItems() {
	for {
		if _, ok := p.pop(); !ok {
			return
		}
	}
}

// consumed gives back what was taken of a flow from c.
func (e *Engine) consumed(c *Context, flow wire.Handle, cost int) {
	if cost == 0 {
		return
	}
	e.mu.Lock()
	e.applyLocked(e.router.Consumed(c.id, flow, cost, nil))
	e.unlock()
}
