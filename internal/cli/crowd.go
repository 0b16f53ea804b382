package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/process"
)

// Descriptors that a connection needs here while it is made, by what makes it. A connection by a
// process has pipes for three streams, both ends of them at first, and what watches the process.
const (
	daemonNeed  = 2
	nativeNeed  = 3
	processNeed = 8
)

// need returns how many descriptors a target takes at most.
func (f *fleet) need(sp *spot) int {
	if f.daemon {
		return daemonNeed
	}
	total := 0
	for i, w := range sp.chain {
		o := merged(optionsAt(f.options, sp.chain, i), &w.Options)
		hops, err := methods.ParseTarget(w.Target)
		if err != nil {
			continue // which its job finds out
		}
		for k, h := range hops {
			switch {
			case (i > 0 || k > 0) && (h.Method != "ssh" || o.SSH.FromHop): // its hop does that
			case h.Method == "ssh" && o.SSH.Native:
				total += nativeNeed
			default:
				total += processNeed
			}
		}
	}
	return total
}

// newCrowd returns the crowd of a fleet: as many as --forks says, or as there are descriptors for.
func (f *fleet) newCrowd() *crowd {
	need := 1
	for i := range f.s.opt.spots {
		need = max(need, f.need(&f.s.opt.spots[i]))
	}
	most := f.s.opt.forks
	if f.s.opt.gathers {
		most = len(f.s.opt.spots)
	}
	return &crowd{most: max(1, min(most, process.FileRoom()/need)), left: make(chan struct{})}
}

// A crowd is the targets that are worked on at once. It gets smaller where the machine has no room
// for so many.
type crowd struct {
	mu     sync.Mutex // protects following
	most   int
	inside int
	left   chan struct{} // closed, and made anew, when there may be room
	full   bool          // one alone had no room
	kept   []*mitogen.Context
	closes bool // contexts of targets that are done, to make room for more
}

// enter waits for room. False: ctx has ended first. The caller leaves it in both cases.
func (c *crowd) enter(ctx context.Context) bool {
	for {
		c.mu.Lock()
		if c.inside < c.most {
			c.inside++
			c.mu.Unlock()
			return true
		}
		left := c.left
		c.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			c.mu.Lock()
			c.inside++
			c.mu.Unlock()
			return false
		}
	}
}

// leave makes room for another one.
func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside--
	close(c.left)
	c.left = make(chan struct{})
}

// done takes the context of a target that is done. If other targets need its room, it closes the
// context.
func (c *crowd) done(x *mitogen.Context) {
	c.mu.Lock()
	closes := c.closes
	if !closes {
		c.kept = append(c.kept, x)
	}
	c.mu.Unlock()
	if closes {
		x.Close()
	}
}

// shrink makes the crowd smaller by the caller, who is in it and has found no room. False: the
// caller is alone, so no other target's end could make room.
func (c *crowd) shrink() bool {
	c.mu.Lock()
	kept := c.kept
	c.kept, c.closes = nil, true
	others := c.inside > 1
	if others {
		c.most = min(c.most, c.inside-1)
	}
	c.mu.Unlock()
	for _, x := range kept {
		x.Close()
	}
	return others || len(kept) > 0
}

// Who is alone tries again some times, as those before may not have closed all yet.
const (
	aloneTries = 3
	alonePause = 100 * time.Millisecond
)

// retry tells whether a job that found no room is to be done again, and waits until it may. alone
// counts how often it was tried alone.
func (c *crowd) retry(ctx context.Context, alone *int) bool {
	if c.shrink() {
		c.leave()
		return c.enter(ctx)
	}
	c.mu.Lock()
	c.full = c.full || *alone == aloneTries
	full := c.full
	c.mu.Unlock()
	*alone++
	return !full && pause(ctx, alonePause)
}

// foundNoRoom tells whether a target's connect failed because a machine lacks descriptors,
// processes or memory, so that nothing was run.
func (h *host) foundNoRoom() bool {
	if h.err == nil || h.context != nil && h.context.Stats().Hello > 0 {
		return false
	}
	if failed := (*connect.Error)(nil); errors.As(h.err, &failed) && failed.Given {
		return false // another try would be another attempt with the password
	}
	return methods.Shortage(h.err) != nil
}
