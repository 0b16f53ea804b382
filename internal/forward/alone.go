package forward

import (
	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/report"
)

// aloneLimit bounds the compressed bytes of modules that go alone, where a bundle would do. The
// module of the runtime that takes bundles in has 3.5 KB.
const aloneLimit = 2 << 10

// alone returns the modules that a call needs, dependencies first, and nil if a bundle is better.
// They go alone where they are few and small, all top-level modules of the user's own, and leave
// nothing to ask about: such a context does without the runtime's module for bundles.
func (n *Need) alone() []*modules.Module {
	if n.learned != nil || n.program.Main != "" || n.program.Text != nil || len(n.call.Foreign) > 0 {
		return nil
	}
	var all []*modules.Module
	size := 0
	for _, g := range n.call.Own() {
		for _, m := range g.Members {
			if !m.Own || m.Letter != modules.Plain || m.Package != "" || m.Length() > 4*aloneLimit {
				return nil
			}
			if size += len(m.Rest()); size > aloneLimit {
				return nil
			}
			all = append(all, m.Module)
		}
	}
	return all
}

// bringAlone has x be sent modules alone and returns true, unless it takes bundles already: what
// goes alone may overtake these. Forwarder.mu is held.
func (b *batch) bringAlone(n *Need, all []*modules.Module) bool {
	x := b.x
	if len(all) == 0 || len(x.asks)+len(x.wants)+len(x.held) > 0 || x.grant.began() {
		return false
	}
	for _, m := range all {
		x.grant.loaded(m, n.target)
		b.actions = append(b.actions, Action{Action: bundle.Action{Ctx: b.ctx}, Load: m,
			Sent: []report.Sent{{Name: m.Name, Reason: report.SentCall}}})
	}
	return true
}

// began reports whether the context was sent any modules.
func (g *grant) began() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.bundles)+len(g.alone) > 0
}
