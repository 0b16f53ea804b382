package forward

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// refused fails unless ctx is refused each name, in the same words as for what is nowhere.
func refused(t *testing.T, f *Forwarder, ctx wire.ContextID, names ...string) {
	t.Helper()
	for _, name := range names {
		m, given := f.Asked(ctx, linux, "program", name)
		if given || m == nil || m.Letter != modules.Missing ||
			m.Reason != modules.Refused(name).Reason || m.Path != "" || len(m.Source) > 0 {
			t.Errorf("%d asks for %q: got %+v, given %v, want a refusal", ctx, name, m, given)
		}
	}
}

// given fails unless ctx gets each name, alone or in a bundle.
func given(t *testing.T, f *Forwarder, s *script, ctx wire.ContextID, names ...string) {
	t.Helper()
	for _, name := range names {
		s.lines = nil
		m, ok := f.Asked(ctx, linux, "", name)
		lines := strings.Join(s.lines, " ") + " "
		bundled := m == nil && (strings.Contains(lines, " "+name+"=") || strings.Contains(lines,
			"ask "))
		if !ok || !bundled && (m == nil || m.Letter == modules.Missing) {
			t.Errorf("%d asks for %q: got %+v and %q, want the module", ctx, name, m, s.lines)
		}
	}
	s.lines = nil
}

func treasures() (own, lib fs.FS) {
	return tree("app/__init__.py: ",
			"app/main.py: import app.part\ndef f():\n import app.late, vend", "app/part.py: ",
			"app/late.py: def g():\n import later",
			"app/secret.py: KEY = 1", "secret.py: KEY = 1", "later.py: ",
			"keys/private.py: KEY = 1", "plugins/__init__.py: ",
			"plugins/one.py: import plugins.base",
			"plugins/base.py: ", "os.py: KEY = 1", "logging.py: KEY = 1"),
		tree("vend/__init__.py: ", "vend/extra.py: import companion", "companion.py: ",
			"unrelated/__init__.py: ", "unrelated/x.py: ")
}

var hidden = []string{"secret", "app.secret", "keys", "keys.private", "plugins", "plugins.one",
	"unrelated", "unrelated.x", "os", "logging", "companion",
	"nowhere", "", ".", "..", "app.", ".app", "app..main", "../secret", "/etc/passwd", "app/main",
	"app/main.py", "app\x00main", "app\\main",
	"app.main\n", "ａｐｐ.ｓｅｃｒｅｔ", "app․secret", "APP.SECRET", "__main__", strings.Repeat("a",
		300), strings.Repeat("a.", 100) + "a", "app.secret.py", "\xff", "/vend/extra.py",
	"/vend.libs/lib.so.1"}

// A context that nothing was called in gets nothing.
func TestNothingIsServed(t *testing.T) {
	f, s := forwarder(treasures())
	f.Add(1, 0)
	refused(t, f, 1, append(hidden, "app", "app.main", "vend")...)
	refused(t, f, 2, "app")
	s.expect(t, "refusals")
}

// A context in which the target's own code was called gets nothing either.
func TestTargetsOwn(t *testing.T) {
	f, _ := forwarder(treasures())
	f.Add(1, 0)
	for _, module := range []string{"os", "json.decoder", "installed.there", "logging"} {
		n := f.Need(linux, Program{Name: module, Roots: []string{module}})
		f.Grant(1, linux, n)
		f.Want(1, n)
	}
	refused(t, f, 1, append(hidden, "app", "app.main", "vend")...)
}

// What was called may be had, what it names, and what that names in turn.
func TestClosureIsServed(t *testing.T) {
	f, s := forwarder(treasures())
	f.Add(1, 0)
	call(f, 1, "app.main")
	refused(t, f, 1, append(hidden, "vend.extra")...)
	given(t, f, s, 1, "app.late", "later", "vend")
	f.lacks(1, []string{"vend"})
	given(t, f, s, 1, "vend.extra")
	f.lacks(1, []string{"companion"})
	for _, name := range hidden {
		if name != "companion" {
			refused(t, f, 1, name)
		}
	}
	f.Add(2, 0)
	refused(t, f, 2, "app", "app.main", "app.late", "vend", "later")
}

// A script that imports only when it runs brings nothing of third parties with it, but what it
// names may be had.
func TestScriptWithoutImports(t *testing.T) {
	f, s := forwarder(treasures())
	f.Add(1, 0)
	n := f.Need(linux, Program{Name: "script", Text: []byte("def f():\n    import vend\n")})
	if !n.Idle() || !n.Grants() {
		t.Errorf("idle %v, grants %v, want both", n.Idle(), n.Grants())
	}
	f.Grant(1, linux, n)
	given(t, f, s, 1, "vend")
	refused(t, f, 1, hidden...)
	if n := f.Need(linux, Program{Name: "os", Roots: []string{"os"}}); n.Grants() {
		t.Error("os grants something")
	}
}

// What was refused goes unasked once a call names it.
func TestRefusedThenCalled(t *testing.T) {
	f, s := forwarder(treasures())
	f.Add(1, 0)
	refused(t, f, 1, "later", "secret")
	n := f.Need(linux, Program{Name: "app.late", Roots: []string{"app.late"}})
	f.Grant(1, linux, n)
	s.expect(t, "the refused one", "coming 1 1/0", "send 1 later=asked")
	f.Want(1, n)
	s.expect(t, "the call", "coming 1 1/0", "send 1 app=call app.late=call")
	refused(t, f, 1, "secret")
}

// A directory that merely lies there is no package, though it has the name of one.
func TestHollowDirectories(t *testing.T) {
	own := tree("Documents/plan.py: ", "keys/private.py: ", "app.py: import Documents, keys.private",
		"late.py: def f():\n import Documents, keys.private")
	for _, module := range []string{"Documents", "Documents.other", "yum.Documents", "Documents.a.b"} {
		f, s := forwarder(own, tree())
		f.Add(1, 0)
		call(f, 1, module)
		if text := strings.Join(s.lines, " ") + " "; strings.Contains(text, "Documents=") {
			t.Errorf("call of %s: %q", module, s.lines)
		}
		refused(t, f, 1, "Documents", "keys", "keys.private", "Documents.plan")
	}
	f, s := forwarder(own, tree())
	f.Add(1, 0)
	call(f, 1, "app")
	s.expect(t, "call", "coming 1 1/0", "send 1 keys=call keys.private=call app=call")
	refused(t, f, 1, "Documents", "Documents.plan")
	f.Add(2, 0)
	call(f, 2, "late")
	given(t, f, s, 2, "keys", "keys.private")
	refused(t, f, 2, "Documents", "Documents.plan")
}

// Names can be allowed that no code names.
func TestServe(t *testing.T) {
	own, lib := treasures()
	for _, c := range []struct{ serve, yes, no string }{
		{"plugins", "plugins plugins.one plugins.base", "secret app keys.private"},
		{"plugins.*", "plugins plugins.one", "secret"},
		{"plugins.one", "plugins plugins.one plugins.base", "secret"},
		{"secret", "secret", "secret2 app.secret keys"},
		{"keys.private", "keys keys.private", "keys.other"},
		{"vend", "vend vend.extra", "unrelated"},
	} {
		s := &script{}
		finder := modules.New([]modules.Entry{{FS: own, Own: true}, {FS: lib}}, builtin,
			modules.Options{Serve: []string{c.serve}})
		f := New(finder, s.send)
		f.Add(1, 0)
		given(t, f, s, 1, strings.Fields(c.yes)...)
		refused(t, f, 1, strings.Fields(c.no)...)
	}
}

// A module that one context had to ask for in a program is not given to another context that was
// called less.
func TestLearnedIsFiltered(t *testing.T) {
	f, s := forwarder(treasures())
	f.Add(1, 0)
	call(f, 1, "secret")
	call(f, 1, "keys.private")
	call(f, 1, "app.main")
	s.lines = nil
	f.lore.learn("app.main", "secret", false) // as if 1 had asked for it while app.main ran
	f.lore.learn("app.main", "keys.private", false)
	f.lore.learn("app.main", "app.late", false)
	f.lore.learn("app.main", "later", false)
	f.lore.learn("app.main", "nowhere", false)
	f.Add(2, 0)
	call(f, 2, "app.main")
	all := strings.Join(s.lines, " ")
	for name, want := range map[string]bool{"secret": false, "keys": false, "keys.private": false,
		"app.late": true, "later": true} {
		if got := strings.Contains(all+" ", " "+name+"="); got != want {
			t.Errorf("%s was sent: %v, want %v; %q", name, got, want, s.lines)
		}
	}
}

// A call that another context makes gives what that one may have, and no more.
func TestLend(t *testing.T) {
	f, s := forwarder(treasures())
	f.Add(1, 0)
	f.Add(2, 0)
	call(f, 1, "app.main")
	s.lines = nil
	f.Lend(1, 2, linux, "secret")
	f.Lend(1, 2, linux, "../secret")
	f.Lend(2, 1, linux, "secret")
	f.Lend(1, 2, linux, "app.main")
	f.Lend(7, 2, linux, "secret")
	refused(t, f, 2, hidden...)
	refused(t, f, 1, "secret")
	given(t, f, s, 2, "app.main", "app.late")
}

// Long-lived contexts keep a bounded number of closures, and forget nothing.
func TestManyPrograms(t *testing.T) {
	f, s := forwarder(treasures())
	f.Add(1, 0)
	for i := range 3 * maxRecent {
		f.Grant(1, linux, f.Need(linux, Program{Text: fmt.Appendf(nil,
			"# %d\ndef f():\n import app.part, x%d", i, i)}))
	}
	g := &f.contexts[1].grant
	if len(g.recent) > maxRecent || !g.has("x0") || !g.has(fmt.Sprint("x", 3*maxRecent-1)) ||
		g.has("x") {
		t.Errorf("%d closures are kept", len(g.recent))
	}
	code := map[string]int{}
	for _, m := range g.ownCode() {
		code[m.Name+string(m.Code[:min(len(m.Code), 4)])]++
	}
	newest := fmt.Sprint("__main__# ", 3*maxRecent-1)[:12]
	for _, want := range []string{"__main__# 0\n", newest, "app.part"} {
		if code[want] != 1 && (want == "app.part" || code[want] == 0) {
			t.Errorf("the user's own code has %q %d times, want it once", want, code[want])
		}
	}
	given(t, f, s, 1, "app.part")
	refused(t, f, 1, hidden...)
}

// The user's own code has one order, though all programs have one name: whichever came first, of a
// recent call or of an older one.
func TestOwnCodeOrder(t *testing.T) {
	programs := []string{"x = 1", "x = 2", "x = 3", "import app.part", "x = 1\nimport app.late", ""}
	var want []string
	for round := range 40 {
		f, _ := forwarder(treasures())
		f.Add(1, 0)
		g := &f.contexts[1].grant
		for _, i := range rand.New(rand.NewPCG(uint64(round), 0)).Perm(len(programs)) {
			f.Grant(1, linux, f.Need(linux, Program{Text: []byte(programs[i])}))
			if round%2 == 1 {
				g.mu.Lock()
				g.condense()
				g.mu.Unlock()
			}
		}
		var got []string
		for _, m := range g.ownCode() {
			got = append(got, m.Name+" "+m.Path+" "+string(m.Code))
		}
		if want == nil {
			want = got
		}
		if len(got) < len(programs)+2 || !slices.Equal(got, want) {
			t.Fatalf("round %d: got %q, want %q", round, got, want)
		}
	}
}

// looked counts looks at files.
type looked struct {
	fs.FS
	n *atomic.Int64
}

func (l looked) Open(name string) (fs.File, error) {
	l.n.Add(1)
	return l.FS.Open(name)
}

func (l looked) Stat(name string) (fs.FileInfo, error) {
	l.n.Add(1)
	return fs.Stat(l.FS, name)
}

// Refusals look at no file.
func TestRefusalsLookAtNothing(t *testing.T) {
	own, lib := treasures()
	var n atomic.Int64
	finder := modules.New([]modules.Entry{{FS: looked{own, &n}, Own: true}, {FS: looked{lib, &n}}},
		builtin, modules.Options{})
	f := New(finder, func(Batch) {})
	f.Add(1, 0)
	call(f, 1, "app.part")
	n.Store(0)
	for i := range 1000 {
		if _, given := f.Asked(1, linux, "", fmt.Sprint("secret", i)); given {
			t.Fatal("given")
		}
		for _, question := range []string{"rsecret\x00x", "lkeys\x00", "r..\x00x", "l\x00", "x",
			"ssecret", "skeys", "s", "s..",
			"rvend\x00data"} {
			if _, err := f.File(1, linux, "", question); err == nil {
				t.Fatalf("%q was answered", question)
			}
		}
	}
	if n.Load() > 0 {
		t.Errorf("%d looks at files", n.Load())
	}
	// a missing name is looked for a few times, so that other contexts need not ask
	for range 10 * maxLearned {
		f.Asked(1, linux, "program", fmt.Sprint("x", n.Add(1)))
	}
	if names := f.lore.of("program"); len(names) != maxTries {
		t.Errorf("%d names were learned, want %d", len(names), maxTries)
	}
}

// Files are those of packages that were sent.
func TestFilesOfSentPackages(t *testing.T) {
	own := tree("app/__init__.py: ", "app/main.py: import pkgutil, vend", "app/data.txt: DATA",
		"other/__init__.py: import pkgutil", "other/data.txt: DATA")
	lib := tree("vend/__init__.py: ", "vend/data.txt: DATA", "alien/__init__.py: ",
		"alien/data.txt: DATA", "Vend-1.dist-info/METADATA: M",
		"Vend-1.dist-info/top_level.txt: vend", "Alien-1.dist-info/METADATA: M",
		"Alien-1.dist-info/top_level.txt: alien")
	f, _ := forwarder(own, lib)
	f.Add(1, 0)
	ask := func() (got []string) {
		for _, q := range []string{"rapp\x00data.txt", "rother\x00data.txt", "rvend\x00data.txt",
			"ralien\x00data.txt", "lapp\x00", "lother\x00", "lvend\x00", "lalien\x00",
			"tVend-1.dist-info\x00METADATA", "tAlien-1.dist-info\x00METADATA", "sapp", "sother", "svend",
			"salien", "r\x00data.txt"} {
			if file, err := f.File(1, linux, "", q); err == nil && len(file.Data) > 0 {
				got = append(got, strings.ReplaceAll(q, "\x00", " "))
			}
		}
		return got
	}
	if got := ask(); got != nil {
		t.Errorf("before a call: %q", got)
	}
	call(f, 1, "app.main")
	if got, want := ask(), []string{"rapp data.txt", "lapp ",
		"tVend-1.dist-info METADATA", "sapp"}; !slices.Equal(got, want) {
		t.Errorf("before it is known what the target lacks: got %q, want %q", got, want)
	}
	f.lacks(1, []string{"vend"})
	want := []string{"rapp data.txt", "rvend data.txt", "lapp ", "lvend ",
		"tVend-1.dist-info METADATA", "sapp", "svend"}
	if got := ask(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	f.Add(2, 0)
	call(f, 2, "app.main")
	f.lacks(2, nil)
	if _, err := f.File(2, linux, "", "rvend\x00data.txt"); err == nil {
		t.Error("a file of a package that the target has was given")
	}
}
