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

// deniedLocked reports what a program has tried, and charges its context.
func (e *Engine) deniedLocked(c *Context, a *route.Action) {
	if e.offendLocked(c, denial) {
		c.noteLocked("frame refused", slog.String("why", a.Why), slog.String("handle", a.Handle.String()))
	}
}

// offendLocked charges c for a frame, and ends c if it has sent too many such. It reports whether c
// goes on.
func (e *Engine) offendLocked(c *Context, units int) bool {
	if c == nil || c.err != nil {
		return false
	}
	if !c.account.charge(units, time.Now()) {
		return true
	}
	e.convictLocked(c, report.CodeOffences,
		fmt.Sprintf("too many frames that it must not send (%d were refused)", c.offences))
	return false
}

// convictLocked ends a context that has broken a rule.
func (e *Engine) convictLocked(c *Context, code, what string) {
	if c == nil || c.err != nil {
		return
	}
	c.convicted = true
	e.loseLocked(c, &report.LostError{Reason: "killed: " + what, Code: code}, true)
}

// lateLocked takes note of a frame that may be honest. With a reason it is reported.
func (e *Engine) lateLocked(c *Context, a *route.Action) {
	units := lateness
	if a.Handle == wire.Credit {
		units = oddity
	}
	if e.offendLocked(c, units) && a.Why != "" {
		c.noteLocked("frame refused", slog.String("why", a.Why), slog.String("handle", a.Handle.String()))
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

// afterLocked has do called by the goroutine that reads the frame's stream, before its next frame
// and outside of Engine.mu: so decoding costs only those behind that stream.
func (e *Engine) afterLocked(do func()) { e.after = append(e.after, do) }

// takeAfterLocked returns what is to be done once Engine.mu is let go.
func (e *Engine) takeAfterLocked() []func() {
	if len(e.after) == 0 {
		return nil
	}
	after := e.after
	e.after = nil
	return after
}

// relayedLocked accounts for a frame of src that is queued for c, at whose stream waiting bytes
// wait.
func (c *Context) relayedLocked(src *Context, waiting, size int) {
	root := c.root
	if root.relayed == nil {
		root.relayed = map[wire.ContextID]int{}
	} else if waiting < floodLimit/4 {
		clear(root.relayed)
	}
	root.relayed[src.id] += size
}

// floodingLocked returns the context that has sent most of what waits for c; nil: none has sent
// more than a window.
func (e *Engine) floodingLocked(c *Context) *Context {
	var flooding *Context
	most := wire.Window + wire.MaxPayload
	for id, n := range c.root.relayed {
		x := e.contexts[id]
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
func (c *Context) pace(begun time.Time) {
	t := time.NewTimer(min(time.Since(begun), 100*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.done:
	case <-c.e.base.Done():
	}
}
