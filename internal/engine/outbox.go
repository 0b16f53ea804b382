package engine

import (
	"context"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
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

// outbox holds the events of a context that haven't been handled yet. Events keep their order, so
// that output is written when the call that made it returns.
type outbox struct {
	queue      []event
	busy       bool // drain runs
	logs       int  // bytes, also of records that are being handled
	unreported int  // records that were dropped, of which a report waits
	dropped    int  // log records
}

func (c *Context) queueLocked(ev event) {
	b := &c.outbox
	b.queue = append(b.queue, ev)
	if !b.busy {
		b.busy = true
		c.e.drains.Add(1)
		go c.drain()
	}
}

// queueOutputLocked queues what was written to fd 1 or 2. Small pieces that wait for a slow writer
// become one.
func (c *Context) queueOutputLocked(f *wire.Frame, cost int) {
	if q := c.outbox.queue; len(q) > 0 && q[len(q)-1].handle == f.Handle {
		last := &q[len(q)-1]
		last.data = append(last.data, f.Payload...)
		last.cost += cost
		return
	}
	c.queueLocked(event{handle: f.Handle, data: append([]byte(nil), f.Payload...), cost: cost})
}

func (c *Context) queueLogLocked(payload []byte) {
	b := &c.outbox
	if b.logs+len(payload)+logCost > maxLog {
		b.dropped++
		return
	}
	b.logs += len(payload) + logCost
	c.queueLocked(event{handle: wire.Log, data: append([]byte(nil), payload...)})
}

// drain hands over what is queued, in its order, until there is nothing.
func (c *Context) drain() {
	e := c.e
	defer e.drains.Done()
	for {
		e.mu.Lock()
		b := &c.outbox
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
			c.hand(&queue[i], queue[i+1:])
			if i%yieldAfter == yieldAfter-1 {
				runtime.Gosched()
			}
		}
		if dropped > 0 {
			c.reportDropped(dropped)
			c.records.settle(outputPatience)
			c.pace(begun)
		}
	}
}

// reportDropped has the number of records that were dropped told. One report at most waits.
func (c *Context) reportDropped(n int) {
	c.e.mu.Lock()
	waits := c.outbox.unreported > 0
	c.outbox.unreported += n
	c.e.mu.Unlock()
	if waits {
		return
	}
	c.records.put(func() {
		c.e.mu.Lock()
		n := c.outbox.unreported
		c.outbox.unreported = 0
		c.e.mu.Unlock()
		c.log(slog.LevelWarn, time.Now(), "log records dropped", slog.Int("count", n))
	})
}

// hand hands one event over. Records go to a goroutine of their own, as their handler may call the
// context. What comes behind them waits until they have been handled, but not for ever. later has
// events behind it.
func (c *Context) hand(ev *event, later []event) {
	e := c.e
	switch {
	case ev.pending != nil:
		c.records.settle(outputPatience)
		e.consumed(c, ev.pending.handle, ev.pending.take(*ev))
	case ev.report != "":
		ev, now := *ev, time.Now()
		c.records.put(func() { c.log(ev.level, now, ev.report, ev.attrs...) })
	case ev.handle == wire.Log:
		data := ev.data
		c.records.put(func() { c.handRecord(data) })
	default:
		c.records.settle(outputPatience)
		e.mu.Lock()
		w := c.stdout
		if ev.handle == wire.Stderr {
			w = c.stderr
		}
		e.mu.Unlock()
		if w != nil {
			_, err := w.Write(ev.data)
			if own, ok := w.(*sink); ok && err != nil && own.failed == nil { // a run's sink tells the run
				c.unwritten(own, err, later)
			}
		}
		e.consumed(c, ev.handle, ev.cost)
	}
}

// outputLocked takes c's own writers from o.
func (c *Context) outputLocked(o ConnectOptions) {
	c.stdout = c.e.sink(c.name, report.WriteStdout, o.Stdout, nil)
	c.stderr = c.e.sink(c.name, report.WriteStderr, o.Stderr, nil)
}

// unwritten ends all calls without an answer as seen before later, the events behind output that
// could not be written: several calls' output may come before the first one's answer. If there are
// none, the error is logged, once.
func (c *Context) unwritten(own *sink, err error, later []event) {
	e := c.e
	e.mu.Lock()
	var calls []*Pending
	for _, queue := range [][]event{later, c.outbox.queue} {
		for i := range queue {
			calls = append(calls, queue[i].pending)
		}
	}
	calls = slices.DeleteFunc(append(calls, c.open.all()...),
		func(p *Pending) bool { return p == nil || !p.call })
	if len(calls) == 0 && !own.logged {
		own.logged = true
		c.queueLocked(event{report: err.Error(), level: slog.LevelWarn})
	}
	e.unlock()
	for _, p := range calls {
		p.abort(err)
	}
}

// handRecord handles one record, unless the context was ended for its records.
func (c *Context) handRecord(data []byte) {
	c.e.mu.Lock()
	convicted := c.convicted
	c.e.mu.Unlock()
	if !convicted {
		c.record(data)
	}
	c.e.mu.Lock()
	c.outbox.logs -= len(data) + logCost
	c.e.mu.Unlock()
}

// record passes one record of Python's logging on.
func (c *Context) record(payload []byte) {
	v, err := pickle.Decode(payload, recordLimits)
	t, ok := v.(pyvalue.Tuple)
	if err != nil || !ok || len(t) != 5 {
		c.e.mu.Lock()
		c.reportLocked("malformed log record")
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
	c.log(slogLevel(level), unixTime(seconds), boot.Readable(message), attrs...)
}

func (c *Context) log(level slog.Level, when time.Time, message string, attrs ...slog.Attr) {
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
