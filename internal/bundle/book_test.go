package bundle

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// trace shows actions in one line.
func trace(actions []Action) string {
	var out []string
	for _, a := range actions {
		switch a.Op {
		case Ask:
			out = append(out, fmt.Sprintf("ask %d %v", a.Ctx, a.Names))
		case Coming:
			out = append(out, fmt.Sprintf("coming %d %d/%d", a.Ctx, len(a.IDs), a.Answers))
		case Send:
			out = append(out, fmt.Sprintf("send %d %v", a.Ctx, a.Bundle.Names))
		case Forward:
			out = append(out, fmt.Sprintf("forward %d %v at %d", a.Ctx, a.Bundle.Names, a.Hop))
		}
	}
	return strings.Join(out, "; ")
}

// versions is a Source of the user's own module m and a foreign p, which m imports.
func versions(m string) *closure.Closure {
	own := &modules.Module{Name: "m", Letter: modules.Plain, Own: true, Source: []byte(m)}
	own.Info.Imports = []pysource.Import{{Module: "p"}}
	copy(own.Key[:], m)
	w := world{"m": own, "p": {Name: "p", Letter: modules.Plain}}
	return closure.Of(w, pysource.Target{}, []string{"m"})
}

func TestBook(t *testing.T) {
	b := New()
	b.Add(1, 0)
	b.Add(2, 1)
	p := versions("one").Lacking(func(string) bool { return false })
	id := Pack(p)[0].ID
	for _, c := range []struct {
		what string
		got  []Action
		want string
	}{
		{"a hop", b.Want(1, versions("one")), "coming 1 1/0; send 1 [m]; ask 1 [p]"},
		{"nobody is asked twice", b.Want(1, versions("one")), ""},
		{"it lacks p", b.Lacks(1, []string{"p", "nobody asked for this"}), "coming 1 1/1; send 1 [p]"},
		{"no answer is expected", b.Lacks(1, []string{"p"}), ""},
		{"all is known", b.Want(1, versions("one")), ""},
		{"its child", b.Want(2, versions("one")), "coming 2 1/0; forward 2 [m] at 1; ask 2 [p]"},
		{"has p", b.Lacks(2, nil), "coming 2 0/1"},
		{"but asks for it", b.asked(2, "p", versions("one")), "coming 2 1/0; forward 2 [p] at 1"},
		{"which is dropped", b.Dropped(1, id, 2), "send 2 [p]"},
		{"once", b.Dropped(1, id, 2), ""},
		{"m changes", b.Want(1, versions("two")), "coming 1 1/0; send 1 [m]"},
		{"m changes back", b.Want(1, versions("one")), "coming 1 1/0; forward 1 [m] at 1"},
		{"nobody there", b.Want(3, versions("one")), ""},
	} {
		if got := trace(c.got); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
	b.Gone(1)
	if len(b.contexts) != 0 {
		t.Errorf("left: %v", b.contexts)
	}
}

// asked does as the engine does when a context asks for a module.
func (b *Book) asked(ctx wire.ContextID, name string, c *closure.Closure) []Action {
	b.Misses(ctx, name, c)
	return b.Want(ctx, c)
}

// What a Book knows of a package stays as it is, whatever an answer says later.
func TestFirstAnswerCounts(t *testing.T) {
	c := versions("one")
	ask := func(b *Book) { b.Ask(1, c, []string{"q"}) }
	for _, tt := range []struct {
		what string
		do   func(b *Book)
		want [2]bool // that it has p, q
	}{
		{"nothing was known", func(b *Book) { ask(b); b.Lacks(1, []string{"p"}) }, [2]bool{false, true}},
		{"asked for it before the answer",
			func(b *Book) { ask(b); b.Misses(1, "p", c); b.Lacks(1, nil) }, [2]bool{false, true}},
		{"asked for it between the answer's two parts",
			func(b *Book) { ask(b); b.Learn(1, nil); b.Misses(1, "p", c); b.Lacks(1, nil) },
			[2]bool{false, true}},
		{"asked twice, and has it now", func(b *Book) {
			ask(b)
			ask(b)
			b.Lacks(1, []string{"p", "q"})
			b.Lacks(1, []string{"q"})
		}, [2]bool{false, false}},
		{"asked twice, and lacks it now", func(b *Book) {
			ask(b)
			ask(b)
			b.Lacks(1, []string{"q"})
			b.Lacks(1, []string{"p", "q"})
		}, [2]bool{true, false}},
	} {
		b := New()
		b.Add(1, 0)
		tt.do(b)
		if got := [2]bool{b.Has(1, "p"), b.Has(1, "q")}; got != tt.want {
			t.Errorf("%s: has p, q: got %v, want %v", tt.what, got, tt.want)
		}
	}
}

// A context gets no module of the user's own that only another one needs, though both were packed
// together.
func TestOwnModulesOfOthers(t *testing.T) {
	w := world{}
	for _, name := range []string{"secret", "common"} {
		w[name] = &modules.Module{Name: name, Letter: modules.Plain, Own: true,
			Source: []byte(name), Key: [32]byte{name[0]}}
	}
	w["secret"].Info.Imports = []pysource.Import{{Module: "common"}}
	b := New()
	got := map[wire.ContextID][]string{}
	want := func(ctx wire.ContextID, root string) {
		b.Add(ctx, 0)
		for _, a := range b.Want(ctx, closure.Of(w, pysource.Target{Version: [3]int{3, 9}},
			[]string{root})) {
			if a.Bundle != nil {
				got[ctx] = append(got[ctx], a.Bundle.Names...)
			}
		}
	}
	want(1, "secret")
	want(2, "common")
	want(3, "secret")
	for ctx, names := range map[wire.ContextID][]string{1: {"common", "secret"}, 2: {"common"},
		3: {"common", "secret"}} {
		slices.Sort(got[ctx])
		if !slices.Equal(got[ctx], names) {
			t.Errorf("context %d got %q, want %q", ctx, got[ctx], names)
		}
	}
}
