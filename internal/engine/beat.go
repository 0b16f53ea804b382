package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// beatsPerTimeout is how often streams are looked at in the time after which a silent one is dead. One that has been
// silent for a look is sent a PING, so that both ends hear something three times in that time.
const beatsPerTimeout = 6

// beat is what the last look at a context next to the engine has seen.
type beat struct {
	down, up int64 // bytes
	silent   int   // looks without anything from it
	asked    bool  // a PING is on its way
}

// beatLocked starts the heartbeat with the first context.
func (e *Engine) beatLocked() {
	if e.beating || e.opt.Heartbeat < 0 {
		return
	}
	e.beating = true
	e.jobs.Add(1)
	go e.beats()
}

func (e *Engine) beats() {
	defer e.jobs.Done()
	t := time.NewTicker(e.opt.Heartbeat / beatsPerTimeout)
	defer t.Stop()
	for {
		select {
		case <-e.base.Done():
			return
		case <-t.C:
			e.look()
		}
	}
}

// look pings the silent and ends the dead.
func (e *Engine) look() {
	e.mu.Lock()
	var silent []*Context
	for _, c := range e.contexts {
		if c.stream == nil || !c.up {
			continue
		}
		n := c.stream.Counters()
		b := &c.beat
		if n.BytesUp != b.up {
			b.silent = 0
		} else {
			b.silent++
		}
		if (n.BytesDown == b.down || b.silent > 0) && !b.asked {
			e.pingLocked(c, &beatPing{c})
			b.asked = true
		} else if n.BytesDown == b.down {
			e.pingLocked(c, nil) // it must hear us, whether it answers or not
		}
		b.down, b.up = n.BytesDown, n.BytesUp
		if b.silent > beatsPerTimeout {
			silent = append(silent, c)
		}
	}
	e.unlock()
	for _, c := range silent {
		if near := c.hop.Method == "local" || c.hop.Method == "fork"; near && !c.proc.Stopped() {
			continue // busy, not dead
		}
		why := fmt.Sprintf("killed: heard nothing from it for %s", e.opt.Heartbeat)
		e.lose(c, &LostError{Why: why, Text: c.proc.Text()}, true)
	}
}

// pingLocked sends PING; without an owner no answer is wanted.
func (e *Engine) pingLocked(c *Context, q owner) {
	f := wire.Frame{Dst: c.id, Handle: wire.Ping}
	if q != nil {
		h, err := e.router.Request(c.id, 0, q)
		if err != nil {
			return
		}
		e.router.Expect(h, oneFrame, false)
		f.Reply = h
	}
	e.putLocked(c, &f)
}

// beatPing is the owner of the heartbeat's PING.
type beatPing struct{ c *Context }

func (q *beatPing) deliverLocked(*Engine, *Context, *route.Action) { q.c.beat.asked = false }

// Ping sends a message there and back, once c is up, and returns the time that took.
func (c *Context) Ping(ctx context.Context) (time.Duration, error) {
	if err := c.Connected(ctx); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, givenUp(ctx, "ping "+c.name)
	}
	p := &Pending{c: c, target: "PING", done: make(chan struct{})}
	start := time.Now()
	if err := c.request(ctx, p, wire.Ping, nil); err != nil {
		return 0, err
	}
	select {
	case <-p.done:
		return time.Since(start), p.failure()
	case <-ctx.Done():
		c.e.mu.Lock()
		c.e.applyLocked(c.e.router.Forget(p.handle, nil))
		c.e.unlock()
		return 0, givenUp(ctx, "ping "+c.name)
	}
}
