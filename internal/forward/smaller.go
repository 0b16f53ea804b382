package forward

import (
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Bundles are packed better, which takes more time, while the answer to a question is on its way:
// so it costs none, and is done only where an answer takes long and comes over a link. What isn't
// ready goes as it is.

const (
	packAfter  = 10 * time.Millisecond // how long an answer takes where it pays
	maxSmaller = 1024                  // bundles that are kept
)

// smaller holds bundles that were packed better.
type smaller struct {
	mu   sync.Mutex // protects following
	data map[bundle.ID][]byte
	made map[*closure.Closure]bool // closures whose bundles were
}

func (s *smaller) of(id bundle.ID) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[id]
}

// begin reports whether c's bundles are not packed yet, and notes that they are.
func (s *smaller) begin(c *closure.Closure) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[c] {
		return false
	}
	if s.made == nil || len(s.data) > maxSmaller || len(s.made) > cached {
		s.data, s.made = map[bundle.ID][]byte{}, map[*closure.Closure]bool{}
	}
	s.made[c] = true
	return true
}

// again has c's bundles be packed when an answer is waited for next.
func (s *smaller) again(c *closure.Closure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.made, c)
}

func (s *smaller) keep(id bundle.ID, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[id] = data
}

// packLocked packs what n brings, unless ctx answers at once. It ends when no context waits any
// more: from then on it would take the processor from programs that run.
func (f *Forwarder) packLocked(ctx wire.ContextID, n *Need) {
	if !f.contexts[ctx].near {
		time.AfterFunc(packAfter, func() { f.packNow(ctx, n) })
	}
}

func (f *Forwarder) packNow(ctx wire.ContextID, n *Need) {
	for _, c := range []*closure.Closure{n.call, n.learned} {
		if c == nil || len(c.Foreign) == 0 || !f.waits(ctx) || !f.small.begin(c) {
			continue
		}
		for _, d := range f.drafts(ctx, c) {
			d.Make() // first, as more depends on it
		}
		all := c.Lacking(func(string) bool { return false })
		if !bundle.Smaller(all, f.small.keep, f.idle) {
			f.small.again(c)
		}
	}
}

// waits reports whether an answer of ctx is to come.
func (f *Forwarder) waits(ctx wire.ContextID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	return x != nil && len(x.asks) > 0
}

// idle reports whether no answer is to come over a link.
func (f *Forwarder) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.contexts {
		if !x.near && len(x.asks) > 0 {
			return false
		}
	}
	return true
}

// Near tells that no link leads to a context that was added, only pipes of this machine: its
// bundles aren't worth better packing.
func (f *Forwarder) Near(id wire.ContextID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.contexts[id]; x != nil {
		x.near = true
	}
}
