package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// beatsPerTimeout is the number of looks at a stream in the time after which a silent stream is
// dead. If a stream was silent for one look, the engine sends a PING. So both ends hear something
// three times in that time.
const beatsPerTimeout = 6

// beat is the state of a context next to the engine at the last look.
type beat struct {
	down, up int64 // bytes
	silent   int   // looks without anything from it
	asked    bool  // a PING is on its way
}

// silentError says that nothing was heard of a context for a time.
func silentError(d time.Duration, text string) *report.LostError {
	return &report.LostError{Code: report.CodeSilent,
		Reason: fmt.Sprintf("killed: heard nothing from it for %s; --heartbeat allows more", d),
		Text:   methods.PlainWords(text)}
}

// beatLocked starts the heartbeat with the first context.
func (tr *tree) beatLocked() {
	e := tr.e
	if tr.beating || e.opt.Heartbeat < 0 {
		return
	}
	tr.beating = true
	e.work.jobs.Add(1)
	go tr.beats()
}

func (tr *tree) beats() {
	e := tr.e
	defer e.work.jobs.Done()
	interval := e.opt.Heartbeat / beatsPerTimeout
	t := time.NewTicker(interval)
	defer t.Stop()
	for last := time.Now(); ; {
		select {
		case <-e.work.base.Done():
			return
		case <-t.C:
			now := time.Now()
			// If this process was stopped, what came meanwhile is still to be read.
			tr.look(now.Sub(last) > 2*interval)
			last = now
		}
	}
}

// look pings the silent and ends the dead. If late is true, this process didn't run for a while,
// and silence until now says nothing.
func (tr *tree) look(late bool) {
	e := tr.e
	e.mu.Lock()
	silent := map[*Context]time.Duration{}
	for _, c := range tr.contexts {
		if c.stream == nil || !c.hello.up {
			continue
		}
		n := c.stream.Counters()
		b := &c.figures.beat
		if n.BytesUp != b.up || late {
			b.silent = 0
		} else {
			b.silent++
		}
		if (n.BytesDown == b.down || b.silent > 0) && !b.asked {
			c.figures.pingLocked(&beatPing{c})
			b.asked = true
		} else if n.BytesDown == b.down {
			c.figures.pingLocked(nil) // it must hear us, whether it answers or not
		}
		b.down, b.up = n.BytesDown, n.BytesUp
		if b.silent > beatsPerTimeout {
			limit := c.figures.silenceLocked()
			if time.Duration(b.silent-1)*e.opt.Heartbeat/beatsPerTimeout >= limit {
				silent[c] = limit
			}
		}
	}
	e.unlock()
	for c, limit := range silent {
		method, proc := c.launch.hop.Method, c.launch.proc
		if (method == "local" || method == "fork") && !proc.Stopped() {
			continue // busy, not dead
		}
		tr.lose(c, silentError(limit, proc.Text()), true)
	}
}

// silenceLocked returns how long nothing may be heard of a context next to the engine.
func (fi *figures) silenceLocked() time.Duration {
	c, e := fi.c, fi.c.e
	if d := c.stream.Underway(); d > 0 { // and so it is busy
		return fi.slowed(max(e.opt.busyTimeout, c.Tunnels.busyTimeout, d))
	}
	for _, x := range e.tree.contexts {
		if x.root == c && x.hello.up && x.figures.busyLocked() {
			return fi.slowed(max(e.opt.busyTimeout, c.Tunnels.busyTimeout))
		}
	}
	return fi.slowed(e.opt.Heartbeat)
}

// slowed is a timeout as the line's speed has it.
func (fi *figures) slowed(d time.Duration) time.Duration { return max(1, fi.slowness) * d }

// busyLocked says whether something runs in c: a call, a program, a tunnel.
func (fi *figures) busyLocked() bool {
	c := fi.c
	for owner := range c.e.router.Asked(c.id) {
		if p, ok := owner.(*Pending); ok && p.target != pingTarget || owner == (route.ProgramRequest{}) {
			return true
		}
	}
	return false
}

// pingLocked sends PING; without an owner no answer is wanted.
func (fi *figures) pingLocked(q owner) {
	c, e := fi.c, fi.c.e
	f := wire.Frame{Dst: c.id, Handle: wire.Ping}
	if q != nil {
		h, err := e.router.Request(c.id, 0, q)
		if err != nil {
			return
		}
		e.router.Expect(h, oneFrame, true)
		f.Reply = h
	}
	e.traffic.putLocked(c, &f)
}

// beatPing is the owner of the heartbeat's PING.
type beatPing struct{ c *Context }

// deliverLocked takes the answer, and nothing that comes before it.
func (q *beatPing) deliverLocked(_ *Engine, _ *Context, a *route.Action) {
	if a.Frame.Kind != wire.Item {
		q.c.figures.beat.asked = false
	}
}

// pingTarget is in the place of a PING's function.
const pingTarget = "PING"

// Ping sends a message there and back, once c is up, and returns the time that took.
func (s *calls) Ping(ctx context.Context) (time.Duration, error) {
	c := s.c
	if err := c.Connected(ctx); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, givenUp(ctx, "ping "+c.name)
	}
	p := newPending(c, pingTarget)
	start := time.Now()
	if err := s.request(ctx, p, wire.Ping, nil); err != nil {
		return 0, err
	}
	select {
	case <-p.done:
		return time.Since(start), p.failure()
	case <-ctx.Done():
		p.forget()
		return 0, givenUp(ctx, "ping "+c.name)
	}
}
