package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/internal/aside"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

// ErrAudit is the error of what can't be told to Options.Audit, and so doesn't happen.
var ErrAudit = errors.New("audit")

// auditor hands events to Options.Audit, one after another, in their order. A nil one does nothing.
type auditor struct {
	number  uint32                   // static; of the engine
	tell    func(report.Event) error // static
	failed  func(error)              // static; called once, when an event could not be told
	calls   atomic.Uint64
	telling sync.Mutex // held while tell is called; taken before mu

	mu     sync.Mutex // protects following
	queue  []report.Event
	busy   bool
	closed bool
	err    error
}

// newAuditor returns nil, which tells nothing, if tell is nil. failed is called once, when an event
// could not be told.
func newAuditor(tell func(report.Event) error, failed func(error)) *auditor {
	if tell == nil {
		return nil
	}
	return &auditor{number: auditors.Add(1), tell: tell, failed: failed}
}

// auditors counts the engines of this process that are audited.
var auditors atomic.Uint32

// before tells of what is about to happen, which must not be done if there is an error. It may
// block, until ctx ends.
func (a *auditor) before(ctx context.Context, ev report.Event) error {
	if a == nil {
		return nil
	}
	if !a.note(ev) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return cmp.Or(a.err, ErrClosed)
	}
	return a.flushed(ctx)
}

// flushed returns when all that is queued has been told, or ctx has ended.
func (a *auditor) flushed(ctx context.Context) error {
	_, err := aside.Do(ctx, nil, func() (struct{}, error) { return struct{}{}, a.flush() })
	return err
}

// add tells of what has happened. It doesn't block and may be called under Engine.mu.
func (a *auditor) add(ev report.Event) {
	if a == nil || !a.note(ev) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.busy {
		a.busy = true
		go a.flush()
	}
}

// note queues ev, unless telling has failed.
func (a *auditor) note(ev report.Event) bool {
	ev.Time = time.Now()
	ev.Engine = a.number
	texts := []*string{&ev.Context, &ev.Method, &ev.Host, &ev.User, &ev.Name, &ev.Outcome}
	for _, s := range texts {
		*s = printable.Line(*s)
	}
	ev.Reason = oneLine(ev.Reason)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil || a.closed {
		return false
	}
	a.queue = append(a.queue, ev)
	return true
}

// flush tells all that is queued. The first error stays.
func (a *auditor) flush() error {
	if a == nil {
		return nil
	}
	a.telling.Lock()
	defer a.telling.Unlock()
	for {
		a.mu.Lock()
		queue := a.queue
		a.queue = nil
		if len(queue) == 0 || a.err != nil {
			a.busy = false
			defer a.mu.Unlock()
			return a.err
		}
		a.mu.Unlock()
		for _, ev := range queue {
			if err := a.tell(ev); err != nil {
				a.stop(err)
				break
			}
		}
	}
}

// auditPatience limits the time that Close waits for an audit log to take the remaining events.
const auditPatience = time.Second

// close returns when all events have been told, or an error after auditPatience. There are no
// further events then.
func (a *auditor) close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(context.Background(), auditPatience, errUntold)
	defer cancel()
	return a.flushed(ctx)
}

var errUntold = fmt.Errorf("%w: what happened last was not taken in time", ErrAudit)

// stop ends everything that would have to be told.
func (a *auditor) stop(err error) {
	a.mu.Lock()
	a.err = fmt.Errorf("%w: %w", ErrAudit, err)
	err = a.err
	a.mu.Unlock()
	go a.failed(err)
}

// event begins an Event about c.
func (c *Context) event(kind report.EventKind) report.Event {
	ev := report.Event{Kind: kind, ID: uint32(c.id), Context: c.name}
	for _, p := range []*Context{c.parent, c.launch.carrier} {
		if p != nil {
			ev.Parent = uint32(p.id)
		}
	}
	return ev
}
