package engine

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// answer holds what has come of a request, and how that was given up.
type answer struct {
	p      *Pending
	stream bool          // items are taken by Next; else they are collected. Static
	more   chan struct{} // holds one: there are items

	mu      sync.Mutex // protects following
	ended   bool
	given   bool         // up: no caller takes items any more
	stopped bool         // interrupted, or about to be
	why     *cancelError // of stop; nil: it wasn't stopped, or its error is known
	killed  bool         // its context was killed, as it did not end
	grace   *time.Timer  // of stop
	kind    wire.Kind
	payload []byte
	said    string // by text
	err     error
	items   []item
	kept    *kept // accounts for what has come; nil: that is little
	size    int   // of collected items
}

type item struct {
	payload []byte
	cost    int
}

// take hands an answer to who waits, and returns what is consumed by that.
func (a *answer) take(ev event) (consumed int) {
	p := a.p
	if ev.kind != wire.Item {
		a.account(ev.kept)
		first := a.finish(ev.kind, ev.data, ev.err)
		if ev.kept > 0 {
			a.settle(first)
		}
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.given {
		return ev.cost
	}
	if !a.stream {
		a.size += len(ev.data) + 64
		if a.size > p.c.e.opt.MaxMessage {
			a.items = nil
			why := fmt.Sprintf("call %s: items of more than %d bytes", p.target, p.c.e.opt.MaxMessage)
			a.abortLocked(&pyvalue.Error{Reason: why, Err: pickle.ErrTooLarge})
			return ev.cost
		}
		a.items = append(a.items, item{ev.data, 0})
		return ev.cost
	}
	a.items = append(a.items, item{ev.data, ev.cost})
	a.signal()
	return 0
}

// abort cancels p, whose error will be err.
func (a *answer) abort(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended && a.err == nil {
		a.abortLocked(err)
	}
}

func (a *answer) abortLocked(err error) {
	a.err, a.given = err, true
	go a.p.stop(nil) // it may never end by itself
}

// finish sets the result; the first counts. It returns whether this is the first.
func (a *answer) finish(kind wire.Kind, payload []byte, err error) bool {
	p := a.p
	a.mu.Lock()
	if a.ended {
		a.mu.Unlock()
		return false
	}
	a.ended, a.kind, a.payload = true, kind, payload
	if a.grace != nil {
		a.grace.Stop()
	}
	if a.err == nil {
		a.err = err
	}
	a.mu.Unlock()
	if p.told != nil {
		p.told(0, a.outcome())
	}
	close(p.done)
	s := p.c.root.stream
	if p.waited.Load() {
		s.Served()
	}
	s.Interrupt()
	return true
}

// outcome returns p's end for an audit log. It leaves out an exception's text, because the target
// writes that.
func (a *answer) outcome() error {
	switch {
	case a.err != nil:
		return a.err
	case a.kind == wire.Error:
		return errors.New("exception")
	case a.kind == wire.Dead:
		return errors.New("not called")
	}
	return nil
}

func (a *answer) signal() {
	if a.more == nil {
		return
	}
	select {
	case a.more <- struct{}{}:
	default:
	}
}

// pop takes an item, if there is one, and gives its window back.
func (a *answer) pop() (item, bool) {
	p := a.p
	a.mu.Lock()
	if len(a.items) == 0 {
		a.mu.Unlock()
		return item{}, false
	}
	it := a.items[0]
	a.items[0] = item{}
	a.items = a.items[1:]
	a.mu.Unlock()
	p.c.e.traffic.consumed(p.c, p.handle, it.cost)
	return it, true
}

// last returns the result of Next once the call has ended.
func (a *answer) last() (value []byte, ok bool, err error) {
	if it, ok := a.pop(); ok { // came between two looks
		return it.payload, true, nil
	}
	if err := a.p.failure(); err != nil {
		return nil, false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	value, a.payload = a.payload, nil
	return value, len(value) > 0, nil
}

// judge decides what failure returns. The result of a call that was cancelled comes too late.
func (a *answer) judge() error {
	err := a.answered()
	lost := (*report.LostError)(nil)
	switch {
	case a.why == nil && a.killed:
		return joined(err, ErrKilled)
	case a.why == nil || !a.killed && errors.As(err, &lost):
		return err
	}
	why := *a.why
	if why.killed = a.killed; !a.killed && err != error(a.why) {
		why.call = err
	}
	return &why
}

// answered is the error that came as the answer.
func (a *answer) answered() error {
	p := a.p
	switch {
	case a.err != nil:
		return a.err
	case a.kind == wire.Dead:
		return fmt.Errorf("call %s in %s: %s", p.target, p.c.name, oneLine(string(a.payload)))
	case a.kind != wire.Error:
		return nil
	}
	v, err := pickle.DecodeError(a.payload, p.c.e.Limits())
	if err != nil {
		return fmt.Errorf("call %s in %s: read its error: %w", p.target, p.c.name, err)
	}
	trace := printable.Text(asInstalled(v.Traceback))
	return &report.CallError{Context: p.c.name, Module: v.Module, Type: v.Type, Text: v.Text,
		Traceback: trace, Args: v.Args}
}

// reason returns the error that p was stopped for; nil: p has its own error.
func (a *answer) reason() error {
	if a.why == nil {
		return nil
	}
	return a.why
}

// takeNoMore drops the items of p that have come, and those to come. The window of both is given
// back.
func (a *answer) takeNoMore() {
	a.mu.Lock()
	a.given = true
	a.mu.Unlock()
	a.dropItems()
}

func (a *answer) dropItems() {
	for {
		if _, ok := a.pop(); !ok {
			return
		}
	}
}
