package cli

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen"
)

// gatherPatience bounds the time for which connected targets wait for a further one.
const gatherPatience = 3 * time.Second

// eachPut copies to several contexts. at runs a function with the host of a context, unless nothing
// is told to that any more.
type eachPut func(
	ctx context.Context,
	contexts []*mitogen.Context,
	o mitogen.CopyOptions,
	at func(*mitogen.Context, func(*host)),
) iter.Seq2[*mitogen.Context, mitogen.Result[mitogen.CopyTotals]]

// gathering has targets behind common hops be sent files together, so that each link carries these
// once. A copy begins when no target is being connected any more, or gatherPatience after the last.
//
//	job ── join ──► waiting ──► start ──► copy ──► result to each job
//	job ── out (it has failed, or has a link of its own)
type gathering struct {
	ctx     context.Context
	options mitogen.CopyOptions
	copy    eachPut

	mu      sync.Mutex     // protects following
	pending int            // targets that have neither joined nor are out
	seen    map[*host]bool // those that did either
	waiting []*joined
	timer   *time.Timer // nil: none waits
}

// joined is a target that waits for its copy.
type joined struct {
	h      *host
	result chan mitogen.Result[mitogen.CopyTotals] // gets one

	mu   sync.Mutex // protects following
	left bool       // nothing is told to h any more
}

// gather returns a gathering for the targets of a command.
func (s *state) gather(ctx context.Context, o mitogen.CopyOptions, copy eachPut) *gathering {
	s.opt.gathers = true
	g := &gathering{ctx: ctx, options: o, copy: copy, seen: map[*host]bool{}}
	for i := range s.opt.spots {
		if s.opt.spots[i].err == nil {
			g.pending++
		}
	}
	return g
}

// out notes that h doesn't join, if it hasn't.
func (g *gathering) out(h *host) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.seen[h] {
		g.seenLocked(h)
		g.lookLocked()
	}
}

// seenLocked counts h out of those that may still join.
func (g *gathering) seenLocked(h *host) {
	if !g.seen[h] { // else it is tried again
		g.seen[h] = true
		g.pending--
	}
}

// join has h, whose context is up, take part in the next copy, and waits for what comes of that. If
// ctx ends, so does h's context.
func (g *gathering) join(ctx context.Context, h *host) (mitogen.CopyTotals, error) {
	j := &joined{h: h, result: make(chan mitogen.Result[mitogen.CopyTotals], 1)}
	g.mu.Lock()
	g.seenLocked(h)
	g.waiting = append(g.waiting, j)
	g.lookLocked()
	g.mu.Unlock()
	h.leave()
	select {
	case r := <-j.result:
		return r.Value, r.Err
	case <-ctx.Done():
		j.mu.Lock()
		j.left = true
		j.mu.Unlock()
		go h.context.Close()
		return mitogen.CopyTotals{}, ctx.Err()
	}
}

// lookLocked starts a copy if nothing is to be waited for, else later.
func (g *gathering) lookLocked() {
	switch {
	case len(g.waiting) == 0:
		return
	case g.pending == 0:
		g.startLocked()
	case g.timer == nil:
		g.timer = time.AfterFunc(gatherPatience, g.late)
	default:
		g.timer.Reset(gatherPatience)
	}
}

// late starts a copy without those that aren't there yet.
func (g *gathering) late() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 {
		g.startLocked()
	}
}

func (g *gathering) startLocked() {
	if g.timer != nil {
		g.timer.Stop()
	}
	some := g.waiting
	g.waiting = nil
	go g.put(some)
}

// put copies to some, and tells each what came of it.
func (g *gathering) put(some []*joined) {
	of := map[*mitogen.Context]*joined{}
	contexts := make([]*mitogen.Context, 0, len(some))
	for _, j := range some {
		of[j.h.context] = j
		contexts = append(contexts, j.h.context)
	}
	o := g.options
	at := func(c *mitogen.Context, do func(*host)) { of[c].tell(do) }
	o.Failed = func(e *mitogen.FileError) {
		at(e.Context, func(h *host) { h.tellFailure(e) })
	}
	for c, r := range g.copy(g.ctx, contexts, o, at) {
		of[c].result <- r
	}
}

func (j *joined) tell(do func(*host)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.left {
		do(j.h)
	}
}
