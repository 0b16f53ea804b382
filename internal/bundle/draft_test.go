package bundle

import (
	"fmt"
	"testing"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// native returns groups of one extension module each.
func native(names ...string) (groups []closure.Group) {
	for _, name := range names {
		m := &modules.Module{Name: name, Letter: modules.Native, Source: []byte(name), Size: len(name)}
		copy(m.Key[:], name)
		groups = append(groups, closure.Group{Members: []closure.Member{{Module: m, Package: "p"}}})
	}
	return groups
}

// A Book sends a bundle that was made ahead, to contexts that need all of it.
func TestDrafts(t *testing.T) {
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

// Bundles of extension modules that no context has are forgotten, the oldest first, and made again
// when they are needed. Those that a context has stay.
func TestIdleNatives(t *testing.T) {
	old := maxIdle
	t.Cleanup(func() { maxIdle = old })
	maxIdle = 0
	b := New()
	sent := map[string]ID{}
	for i, name := range []string{"p.stays", "p.goes", "p.new"} {
		id := wire.ContextID(i + 1)
		b.Add(id, 0)
		sent[name] = b.pick(b.contexts[id], native(name))[0].ID
		if name == "p.goes" {
			b.Gone(id)
		}
	}
	if b.bundles[sent["p.stays"]] == nil || b.bundles[sent["p.new"]] == nil {
		t.Error("a bundle that a context has was forgotten")
	}
	if b.bundles[sent["p.goes"]] != nil || len(b.natives) != 2 {
		t.Errorf("got %d bundles kept, want 2, without that which no context has", len(b.natives))
	}
	b.Add(4, 0)
	again := b.pick(b.contexts[4], native("p.goes", "p.stays"))
	if len(again) != 2 || b.bundles[sent["p.goes"]] == nil || b.bundles[sent["p.stays"]] == nil {
		t.Errorf("got %d bundles for a new context, want the same 2", len(again))
	}
}

// What is made ahead while answers are awaited is dropped with the last of them.
func TestUnusedDrafts(t *testing.T) {
	b := New()
	for id := range 2 {
		b.Add(1+wire.ContextID(id), 0)
		b.contexts[1+wire.ContextID(id)].asked = [][]string{{"p"}}
	}
	b.Drafts(1, native("p.a"))[0].Make()
	b.Lacks(1, nil)
	if len(b.drafts) != 1 {
		t.Errorf("one answer is to come: got %d drafts, want 1", len(b.drafts))
	}
	b.Gone(2)
	if len(b.drafts) != 0 {
		t.Errorf("no answer is to come: got %d drafts, want none", len(b.drafts))
	}
}
