package bundle

import (
	"fmt"
	"testing"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// A Book sends a bundle that was made ahead, to contexts that need all of it.
func TestDrafts(t *testing.T) {
	native := func(names ...string) (groups []closure.Group) {
		for _, name := range names {
			m := &modules.Module{Name: name, Letter: modules.Native, Source: []byte(name)}
			copy(m.Key[:], name)
			groups = append(groups, closure.Group{Members: []closure.Member{{Module: m, Package: "p"}}})
		}
		return groups
	}
	b := New()
	for id := range 5 {
		b.Add(1+wire.ContextID(id), 0)
	}
	for _, c := range []struct {
		what   string
		ctx    int
		names  []string
		drafts int
	}{
		{"the first context", 1, []string{"p.a", "p.b"}, 1},
		{"it has all", 1, []string{"p.a", "p.b"}, 0},
		{"it has one", 1, []string{"p.a", "p.c"}, 1},
		{"another context, the same", 2, []string{"p.a", "p.b"}, 0},
		{"fewer", 3, []string{"p.a"}, 1},
		{"what is ready", 4, []string{"p.a", "p.c"}, 0},
		{"retired", 4, []string{"p.b"}, 1},
		{"nothing", 5, nil, 0},
	} {
		drafts := b.Drafts(wire.ContextID(c.ctx), native(c.names...))
		made := map[*Bundle]bool{}
		for _, d := range drafts {
			made[d.Make()] = true
		}
		sent := b.pick(b.contexts[wire.ContextID(c.ctx)], native(c.names...))
		for _, bundle := range sent {
			delete(made, bundle)
		}
		if len(drafts) != c.drafts || len(made) > 0 || len(b.drafts) > 0 {
			t.Errorf("%s: got %d drafts, %d not sent, %d left, want %d drafts, all sent",
				c.what, len(drafts), len(made), len(b.drafts), c.drafts)
		}
	}
	for i := range 3 * maxDrafts {
		b.Drafts(5, native(fmt.Sprint("p.unused", i)))
	}
	if n := len(b.drafts); n > maxDrafts {
		t.Errorf("unused: got %d drafts, want at most %d", n, maxDrafts)
	}
}
