// Package aside runs code of a caller's, which may block, such as a Prompt, a file system or the
// handler of a logger: in goroutines that nothing waits for without a limit.
package aside

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Do runs do in a goroutine of its own and returns what it returns, or, when ctx ends or gone is
// closed first, zero and an error.
func Do[T any](
	ctx context.Context,
	gone <-chan struct{},
	do func() (T, error),
) (v T, err error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1) // do's goroutine sends once and doesn't wait
	go func() {
		v, err := do()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return v, context.Cause(ctx)
	case <-gone:
		return v, context.Canceled
	}
}

// Queue runs functions one after another, in a goroutine that is there while there is something to
// run.
type Queue struct {
	Group *sync.WaitGroup // of such goroutines; static

	mu    sync.Mutex // protects following
	queue []func()
	idle  chan struct{} // closed when all has been run; nil: nothing is to be
	late  bool          // Settle has waited in vain for what is being run
	over  int           // records that were dropped, and not yet reported
}

// Put has do run behind what was put before.
func (a *Queue) Put(do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.putLocked(do)
}

func (a *Queue) putLocked(do func()) {
	a.queue = append(a.queue, do)
	if a.idle == nil {
		a.idle = make(chan struct{})
		a.Group.Add(1)
		go a.run()
	}
}

func (a *Queue) run() {
	defer a.Group.Done()
	for {
		a.mu.Lock()
		queue := a.queue
		a.queue = nil
		if len(queue) == 0 {
			close(a.idle)
			a.idle, a.late = nil, false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		for _, do := range queue {
			do()
		}
	}
}

// Works reports whether Settle would wait.
func (a *Queue) Works() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.idle != nil && !a.late
}

// Settle waits until all has been run, d at most. If that is not enough, it doesn't wait again
// until all has been.
func (a *Queue) Settle(d time.Duration) {
	a.mu.Lock()
	idle, late := a.idle, a.late
	a.mu.Unlock()
	if idle == nil || late {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
		a.mu.Lock()
		a.late = a.idle == idle
		a.mu.Unlock()
	}
}

// Log is a slog.Handler that no goroutine waits for which has to report something.
type Log struct {
	slog.Handler
	reports *Queue
	wishes  *wishes // of Handler
}

// NewLog returns a handler that has h called by reports.
func NewLog(h slog.Handler, reports *Queue) Log {
	return Log{h, reports, &wishes{}}
}

// wishes knows which levels a slog.Handler didn't want when it was asked last.
type wishes struct {
	first    sync.Once
	unwanted sync.Map // of slog.Level
}

// ask asks the handler, which may block.
func (w *wishes) ask(ctx context.Context, h slog.Handler, level slog.Level) (wanted bool) {
	wanted = h.Enabled(ctx, level)
	if wanted {
		w.unwanted.Delete(level)
	} else {
		w.unwanted.Store(level, true)
	}
	return wanted
}

// maxWaiting bounds the records that wait for a handler which blocks.
const maxWaiting = 10_000

// Enabled returns true: the handler is asked where it may block. So a record may be made under
// Engine.mu.
func (h Log) Enabled(context.Context, slog.Level) bool { return true }

// Handle has the record handled, and doesn't wait for that. A record for which there is no room is
// dropped and counted; the count goes before the next record that there is room for. While other
// records wait, a record of a level that the handler didn't want takes no room.
func (h Log) Handle(ctx context.Context, r slog.Record) error {
	a := h.reports
	a.mu.Lock()
	defer a.mu.Unlock()
	h.wishes.first.Do(func() { // before a record has the handler block
		a.putLocked(func() { h.wishes.ask(ctx, h.Handler, slog.LevelDebug) })
	})
	if _, unwanted := h.wishes.unwanted.Load(r.Level); unwanted && a.idle != nil {
		return nil
	}
	if len(a.queue) >= maxWaiting {
		a.over++
		return nil
	}
	if a.over > 0 {
		lost := slog.NewRecord(r.Time, slog.LevelWarn, "log records dropped", 0)
		lost.AddAttrs(slog.Int("count", a.over))
		a.over = 0
		a.putLocked(func() { h.pass(ctx, lost) })
	}
	a.putLocked(func() { h.pass(ctx, r) })
	return nil
}

// pass hands a record to the handler if that wants it.
func (h Log) pass(ctx context.Context, r slog.Record) {
	if h.wishes.ask(ctx, h.Handler, r.Level) {
		h.Handler.Handle(ctx, r)
	}
}

// WithAttrs returns a handler that adds attributes to each record.
func (h Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	return NewLog(h.Handler.WithAttrs(attrs), h.reports)
}

// WithGroup returns a handler that puts attributes into a Group.
func (h Log) WithGroup(name string) slog.Handler {
	return NewLog(h.Handler.WithGroup(name), h.reports)
}
