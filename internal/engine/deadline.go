package engine

import (
	"context"
	"os"
	"sync"
	"time"
)

// deadline bounds Reads, Writes or Accepts. They wait for its context, which ends with the
// deadline, or with the context that newDeadline was given.
type deadline struct {
	parent context.Context // static

	mu    sync.Mutex // protects following
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer
}

func newDeadline(parent context.Context) *deadline {
	d := &deadline{parent: parent}
	d.ctx, d.end = context.WithCancelCause(parent)
	return d
}

// context returns what an operation that begins now waits for.
func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ctx
}

// set has operations end at t, those that wait already included; the zero time: never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.ctx.Err() != nil && d.parent.Err() == nil {
		d.ctx, d.end = context.WithCancelCause(d.parent)
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.end(os.ErrDeadlineExceeded)
		return
	}
	timer := (*time.Timer)(nil)
	timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer {
			d.end(os.ErrDeadlineExceeded)
		}
	})
	d.timer = timer
}

// over is the error of an operation whose context has ended.
func over(ctx context.Context, closed error) error {
	if context.Cause(ctx) == os.ErrDeadlineExceeded {
		return os.ErrDeadlineExceeded
	}
	return closed
}
