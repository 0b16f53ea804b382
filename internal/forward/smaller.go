package forward

import (
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Bundles are packed better, which takes more time, while the answer to a question is on its way:
// so it costs none, and is done only where an answer takes long. What isn't ready goes as it is.

const (
	packAfter  = 30 * time.Millisecond // how long an answer takes where it pays
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

func (s *smaller) keep(id bundle.ID, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[id] = data
}

// pack packs what n brings, unless ctx answers at once.
func (f *Forwarder) pack(ctx wire.ContextID, n *Need) {
	time.AfterFunc(packAfter, func() {
		for _, c := range []*closure.Closure{n.call, n.learned} {
			if c == nil || len(c.Foreign) == 0 || !f.waits(ctx) || !f.small.begin(c) {
				continue
			}
			for _, d := range f.drafts(ctx, c) {
				d.Make() // first, as more depends on it
			}
			all := c.Lacking(func(string) bool { return false })
			bundle.Smaller(all, f.small.keep, f.empty)
		}
	})
}

// waits reports whether an answer of ctx is to come.
func (f *Forwarder) waits(ctx wire.ContextID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	return x != nil && len(x.asks) > 0
}

// empty reports whether there is no context.
func (f *Forwarder) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.contexts) == 0
}
