package engine

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// What a context's frames cost it. Its account is emptied by forgiven units a second; a context
// whose account reaches maxOffences is ended. So what may happen to an honest context now and then,
// or for a while, never ends it, and a thousand offences at once do.
const (
	offence = 1000 // a frame that no honest context sends, whatever its program does, and a PING
	denial  = 100  // a frame for what its program may not reach
	// CREDIT for nothing, foreign bytes, a module asked for again, too many questions
	oddity      = 10
	lateness    = 1 // an answer that isn't wanted any more, a frame of a context that is gone
	maxOffences = 1_000_000
	forgiven    = 10_000
)

// account counts the offences of a context, in units. The zero value is empty.
type account struct {
	units int
	when  time.Time // of the last entry
}

// charge adds n units at a time, and says whether there are too many.
func (a *account) charge(n int, now time.Time) bool {
	// since the zero time, and by a clock that was set
	passed := min(max(0, now.Sub(a.when)), maxOffences/forgiven*time.Second)
	a.units = max(0, a.units-int(passed*forgiven/time.Second)) + n
	a.when = now.Add(-(passed % (time.Second / forgiven))) // what is less than a unit counts later
	return a.units >= maxOffences
}

// conduct is the record of what a context does that it must not, and of what it makes the engine
// keep. Its fields are protected by Engine.mu.
type conduct struct {
	c         *Context
	offences  int // that were reported
	account   account
	convicted bool // it was ended for breaking a rule
	widened   int  // bytes of windows of flows on its stream beyond wire.Window each
	// relayed counts bytes that other contexts have sent to it, and to the contexts behind it, since
	// its stream was last nearly empty.
	relayed map[wire.ContextID]int
}

// deniedLocked reports what a program has tried, and charges its context.
func (t *traffic) deniedLocked(c *Context, a *route.Action) {
	if t.offendLocked(c, denial) {
		c.conduct.noteLocked("frame refused", slog.String("why", a.Why),
			slog.String("handle", a.Handle.String()))
	}
}

// offendLocked charges c for a frame, and ends c if it has sent too many such. It reports whether c
// goes on.
func (t *traffic) offendLocked(c *Context, units int) bool {
	if c == nil || c.err != nil {
		return false
	}
	if !c.conduct.account.charge(units, time.Now()) {
		return true
	}
	t.convictLocked(c, report.CodeOffences,
		fmt.Sprintf("too many frames that it must not send (%d were refused)", c.conduct.offences))
	return false
}

// convictLocked ends a context that has broken a rule.
func (t *traffic) convictLocked(c *Context, code, what string) {
	if c == nil || c.err != nil {
		return
	}
	c.conduct.convicted = true
	t.e.tree.loseLocked(c, &report.LostError{Reason: "killed: " + what, Code: code}, true)
}

// lateLocked takes note of a frame that may be honest. With a reason it is reported.
func (t *traffic) lateLocked(c *Context, a *route.Action) {
	units := lateness
	if a.Handle == wire.Credit {
		units = oddity
	}
	if t.offendLocked(c, units) && a.Why != "" {
		c.conduct.noteLocked("frame refused", slog.String("why", a.Why),
			slog.String("handle", a.Handle.String()))
	}
}

// Limits of values that no caller waits for: HELLO, the ERROR that answers CONNECT, and log
// records.
var (
	helloLimits   = pickle.Limits{Depth: 2, Nodes: 32, Memory: 1 << 20}
	failureLimits = pickle.Limits{Depth: 2, Nodes: 16, Memory: 1 << 20}
	recordLimits  = pickle.Limits{Depth: 2, Nodes: 32, Memory: 1 << 20}
)

// Bounds of answers, in bytes, where they aren't a program's values.
const (
	maxHello = 16 << 10
	oneFrame = wire.MaxPayload
	maxOwn   = 4 << 20 // of functions of the runtime: little, but an exception may have a long text
)

// relayedLocked accounts for a frame of src that is queued for c, at whose stream waiting bytes
// wait.
func (d *conduct) relayedLocked(src *Context, waiting, size int) {
	root := d.c.root
	if root.conduct.relayed == nil {
		root.conduct.relayed = map[wire.ContextID]int{}
	} else if waiting < floodLimit/4 {
		clear(root.conduct.relayed)
	}
	root.conduct.relayed[src.id] += size
}

// floodingLocked returns the context that has sent most of what waits for c; nil: none has sent
// more than a window.
func (d *conduct) floodingLocked() *Context {
	var flooding *Context
	most := wire.Window + wire.MaxPayload
	for id, n := range d.c.root.conduct.relayed {
		x := d.c.e.tree.contexts[id]
		if x != nil && (n > most || flooding != nil && n == most && id < flooding.id) {
			flooding, most = x, n
		}
	}
	return flooding
}

// Pacing: a context that asks without waiting for answers, or logs more than is taken, gets half of
// one processor.
const paceAfter = 256 // requests in a row

// pace rests for as long as was worked since begun, until c is gone.
func (d *conduct) pace(begun time.Time) {
	c := d.c
	t := time.NewTimer(min(time.Since(begun), 100*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.done:
	case <-c.e.work.base.Done():
	}
}

// reportLocked logs that c did what no honest context does, and charges c for it.
func (d *conduct) reportLocked(what string, attrs ...slog.Attr) {
	c := d.c
	d.noteLocked(what, attrs...)
	c.e.traffic.offendLocked(c, offence)
}

// noteLocked logs that c did something wrong; not every time, when it does so often.
func (d *conduct) noteLocked(what string, attrs ...slog.Attr) {
	c := d.c
	d.offences++
	if n := d.offences; n <= 10 || n%1000 == 0 {
		c.outbox.queueLocked(event{report: what, level: slog.LevelWarn,
			attrs: append(attrs, slog.Int("count", n))})
		c.e.audit.refusedLocked(c, what, attrs, n)
	}
}
