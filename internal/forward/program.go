package forward

import (
	"time"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Bring has ctx be sent a program, which it has said that it expects.
func (f *Forwarder) Bring(ctx wire.ContextID, program *bundle.Bundle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return
	}
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	b.add(f.book.Bring(ctx, program))
	b.send()
}
