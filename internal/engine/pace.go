package engine

import (
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// The windows of sessions grow with their link, so that a long one is used to its capacity, and are
// no larger than that takes: what is on the way can't be overtaken by a key press.
const (
	maxWindow  = 8 << 20  // of a flow
	maxWidened = 32 << 20 // of the flows on one stream together, beyond wire.Window each
	bulkAt     = 64 << 10 // bytes of a flow from which on it may need a larger window

	// By satellite a round trip takes 0.6 s. A longer round trip has waited behind bytes of the flow
	// itself, on a slow link: there each larger window would make the next round trip longer.
	longestTrip = time.Second
)

// pace watches one direction of a session. A nil pace does nothing. One goroutine uses it.
type pace struct {
	down  bool
	total int
	since time.Time // when passed was 0
	// passed counts bytes since then, half a window at most.
	passed  int
	widened int // beyond wire.Window; guarded by Engine.mu
}

// moved notes that n bytes were sent, or were taken.
func (p *pace) moved(t *Tunnel, n int) {
	if p == nil || !p.bulk(n) {
		return
	}
	e := t.c.e
	e.mu.Lock()
	defer e.unlock()
	more := p.moreLocked(t, n)
	switch {
	case more == 0:
	case p.down:
		e.router.Widen(t.c.id, t.p.handle, more)
	default:
		e.traffic.applyLocked(e.router.Grant(t.c.id, t.p.handle, more, nil))
	}
}

// bulk counts n bytes, and tells whether the flow may need a larger window.
func (p *pace) bulk(n int) bool {
	p.total += n
	return p.total >= bulkAt
}

// moreLocked returns the bytes that the window is to grow by. When half of it passes in less than a
// round trip, the window holds the flow up, and doubles.
func (p *pace) moreLocked(t *Tunnel, n int) int {
	now := time.Now()
	e, root := t.c.e, t.c.root
	if root.figures.trip == 0 {
		root.figures.trip = -1
		e.work.jobs.Go(t.c.figures.measure)
	}
	if p.passed == 0 {
		p.since = now
	}
	window := wire.Window + p.widened
	if p.passed += n; p.passed < window/2 {
		return 0
	}
	took := now.Sub(p.since)
	p.passed = 0
	switch {
	case root.figures.trip <= 0 || root.figures.trip > longestTrip || took > root.figures.trip:
		return 0 // what holds it up is something else
	case window >= maxWindow || root.conduct.widened+window > maxWidened || !t.p.open:
		return 0
	}
	p.widened += window
	root.conduct.widened += window
	return window
}

// measure keeps the round trip to c's stream. It is asked for when a flow begins to move much, so
// that little of it is in the way.
func (fi *figures) measure() {
	c := fi.c
	d, err := c.Calls.Ping(c.e.work.base)
	c.e.mu.Lock()
	defer c.e.unlock()
	if c.root.figures.trip = max(d, 1); err != nil {
		c.root.figures.trip = 0
	}
}

// narrow gives back what the windows of s were widened by.
func (s *Session) narrow() {
	s.c.e.mu.Lock()
	defer s.c.e.unlock()
	s.c.root.conduct.widened -= s.up.widened + s.down.widened
	s.up.widened, s.down.widened = 0, 0
}
