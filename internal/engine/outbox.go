package engine

import (
	"context"
	"io"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/aside"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stdio"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// maxLog limits the bytes of log records that wait for a slow handler. Further records are dropped
// and counted. Each record counts logCost more than its payload.
const (
	maxLog  = 1 << 20
	logCost = 256
)

// event is something to hand over outside of Engine.mu: output, a log record, a report of ours, an
// answer.
type event struct {
	handle  wire.Handle // Stdout, Stderr, Log; 0: another event
	data    []byte
	cost    int
	kept    int // bytes of an answer, accounted for until it is taken
	report  string
	level   slog.Level // of report
	attrs   []slog.Attr
	pending *Pending
	kind    wire.Kind
	err     error
}

// outbox holds the events of a context that haven't been handled yet, and hands them over. Events
// keep their order, so that output is written when the call that made it returns.
type outbox struct {
	c       *Context
	records aside.Queue // handles log records

	// Protected by Engine.mu:
	queue      []event
	busy       bool      // drain runs
	logs       int       // bytes, also of records that are being handled
	unreported int       // records that were dropped, of which a report waits
	dropped    int       // log records
	stdout     io.Writer // owned by drain while it runs
	stderr     io.Writer
}

func (b *outbox) queueLocked(ev event) {
	b.queue = append(b.queue, ev)
	if !b.busy {
		b.busy = true
		b.c.e.work.drains.Add(1)
		go b.drain()
	}
}

// queueOutputLocked queues what was written to fd 1 or 2. Small pieces that wait for a slow writer
// become one.
func (b *outbox) queueOutputLocked(f *wire.Frame, cost int) {
	if q := b.queue; len(q) > 0 && q[len(q)-1].handle == f.Handle {
		last := &q[len(q)-1]
		last.data = append(last.data, f.Payload...)
		last.cost += cost
		return
	}
	b.queueLocked(event{handle: f.Handle, data: append([]byte(nil), f.Payload...), cost: cost})
}

func (b *outbox) queueLogLocked(payload []byte) {
	if b.logs+len(payload)+logCost > maxLog {
		b.dropped++
		return
	}
	b.logs += len(payload) + logCost
	b.queueLocked(event{handle: wire.Log, data: append([]byte(nil), payload...)})
}

// drain hands over what is queued, in its order, until there is nothing.
func (b *outbox) drain() {
	c := b.c
	e := c.e
	defer e.work.drains.Done()
	for {
		e.mu.Lock()
		queue, dropped := b.queue, b.dropped
		b.queue, b.dropped = nil, 0
		if len(queue) == 0 {
			b.busy = false
			e.unlock()
			return
		}
		e.unlock()
		begun := time.Now()
		for i := range queue {
			b.hand(&queue[i], queue[i+1:])
			if i%yieldAfter == yieldAfter-1 {
				runtime.Gosched()
			}
		}
		if dropped > 0 {
			b.reportDropped(dropped)
			b.records.Settle(outputPatience)
			c.conduct.pace(begun)
		}
	}
}

// reportDropped has the number of records that were dropped told. One report at most waits.
func (b *outbox) reportDropped(n int) {
	c := b.c
	c.e.mu.Lock()
	waits := b.unreported > 0
	b.unreported += n
	c.e.mu.Unlock()
	if waits {
		return
	}
	b.records.Put(func() {
		c.e.mu.Lock()
		n := b.unreported
		b.unreported = 0
		c.e.mu.Unlock()
		b.log(slog.LevelWarn, time.Now(), "log records dropped", slog.Int("count", n))
	})
}

// hand hands one event over. Records go to a goroutine of their own, as their handler may call the
// context. What comes behind them waits until they have been handled, but not for ever. later has
// events behind it.
func (b *outbox) hand(ev *event, later []event) {
	c := b.c
	e := c.e
	switch {
	case ev.pending != nil:
		b.records.Settle(outputPatience)
		e.traffic.consumed(c, ev.pending.handle, ev.pending.answer.take(*ev))
	case ev.report != "":
		ev, now := *ev, time.Now()
		b.records.Put(func() { b.log(ev.level, now, ev.report, ev.attrs...) })
	case ev.handle == wire.Log:
		data := ev.data
		b.records.Put(func() { b.handRecord(data) })
	default:
		b.records.Settle(outputPatience)
		e.mu.Lock()
		w := b.stdout
		if ev.handle == wire.Stderr {
			w = b.stderr
		}
		e.mu.Unlock()
		if w != nil {
			_, err := w.Write(ev.data)
			if own, ok := w.(*stdio.Sink); ok && err != nil && !own.Tells() { // a run's sink tells the run
				b.unwritten(own, err, later)
			}
		}
		e.traffic.consumed(c, ev.handle, ev.cost)
	}
}

// outputLocked takes c's own writers from o.
func (b *outbox) outputLocked(o ConnectOptions) {
	c := b.c
	b.stdout = c.e.writers.Sink(c.name, report.WriteStdout, o.Stdout, nil)
	b.stderr = c.e.writers.Sink(c.name, report.WriteStderr, o.Stderr, nil)
}

// unwritten ends all calls without an answer as seen before later, the events behind output that
// could not be written: several calls' output may come before the first one's answer. If there are
// none, the error is logged, once.
func (b *outbox) unwritten(own *stdio.Sink, err error, later []event) {
	c := b.c
	e := c.e
	e.mu.Lock()
	var calls []*Pending
	for _, queue := range [][]event{later, b.queue} {
		for i := range queue {
			calls = append(calls, queue[i].pending)
		}
	}
	calls = slices.DeleteFunc(append(calls, c.Calls.open.all()...),
		func(p *Pending) bool { return p == nil || !p.call })
	if len(calls) == 0 && !own.Logged {
		own.Logged = true
		b.queueLocked(event{report: err.Error(), level: slog.LevelWarn})
	}
	e.unlock()
	for _, p := range calls {
		p.answer.abort(err)
	}
}

// handRecord handles one record, unless the context was ended for its records.
func (b *outbox) handRecord(data []byte) {
	c := b.c
	c.e.mu.Lock()
	convicted := c.conduct.convicted
	c.e.mu.Unlock()
	if !convicted {
		b.record(data)
	}
	c.e.mu.Lock()
	b.logs -= len(data) + logCost
	c.e.mu.Unlock()
}

// record passes one record of Python's logging on.
func (b *outbox) record(payload []byte) {
	c := b.c
	v, err := pickle.Decode(payload, recordLimits)
	t, ok := v.(pyvalue.Tuple)
	if err != nil || !ok || len(t) != 5 {
		c.e.mu.Lock()
		c.conduct.reportLocked("malformed log record")
		c.e.unlock()
		return
	}
	level, _ := t[0].(int64)
	logger, _ := t[1].(string)
	seconds, _ := t[2].(float64)
	message, _ := t[3].(string)
	trace, _ := t[4].(string)
	attrs := []slog.Attr{slog.String("logger", bounded(logger))}
	if trace != "" {
		attrs = append(attrs, slog.String(tracebackKey, boot.Readable(trace)))
	}
	b.log(slogLevel(level), unixTime(seconds), boot.Readable(message), attrs...)
}

func (b *outbox) log(level slog.Level, when time.Time, message string, attrs ...slog.Attr) {
	c := b.c
	h := c.e.handler
	if !h.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(when, level, message, 0)
	r.AddAttrs(slog.String("context", c.name))
	r.AddAttrs(attrs...)
	h.Handle(context.Background(), r)
}

// unixTime is the time that Python's time.time means; now where it is out of all reason.
func unixTime(seconds float64) time.Time {
	if !(seconds > 0 && seconds < 1e11) {
		return time.Now()
	}
	whole, frac := math.Modf(seconds)
	return time.Unix(int64(whole), int64(frac*1e9))
}

// slogLevel maps Python's 10, 20, 30, 40, 50 to slog's -4, 0, 4, 8, 12, and what lies between
// likewise.
func slogLevel(level int64) slog.Level {
	level = min(max(level, 0), 100)
	return slog.Level(math.Round(float64(level-20) * 0.4))
}

// pythonLevel is the reverse of slogLevel.
func pythonLevel(l slog.Level) int { return max(1, 20+int(math.Round(float64(l)*2.5))) }
