package forward

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
)

var linux = pysource.Target{Version: [3]int{3, 13}, Implementation: "cpython", Platform: "linux",
	OSName: "posix"}

// tree makes a file system of "path: source" lines.
func tree(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, f := range files {
		name, text, _ := strings.Cut(f, ": ")
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// script collects what a Forwarder sends, as text.
type script struct{ lines []string }

func (s *script) send(b Batch) {
	for _, a := range b.Actions {
		var line string
		switch {
		case a.Load != nil:
			line = fmt.Sprintf("load %d %c%s", a.Ctx, a.Load.Letter, a.Load.Name)
			for _, m := range a.Sent {
				line += fmt.Sprintf("=%s", m.Reason)
			}
		case a.Op == bundle.Ask:
			line = fmt.Sprintf("ask %d %v", a.Ctx, a.Names)
			if a.Native {
				line += " and what it takes"
			}
		case a.Op == bundle.Coming:
			line = fmt.Sprintf("coming %d %d/%d", a.Ctx, len(a.IDs), a.Answers)
		default:
			line = fmt.Sprintf("send %d", a.Ctx)
			if a.Op == bundle.Forward {
				line = fmt.Sprintf("forward %d at %d", a.Ctx, a.Hop)
			}
			for _, m := range a.Sent {
				line += fmt.Sprintf(" %s=%s", m.Name, m.Reason)
			}
			if a.Bundle.Negative > 0 {
				line += fmt.Sprintf(" -%d", a.Bundle.Negative)
			}
		}
		s.lines = append(s.lines, line)
	}
}

// expect compares what was sent since the last time.
func (s *script) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if !slices.Equal(s.lines, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, s.lines, want)
	}
	s.lines = nil
}

func builtin(string) ([]byte, bool) { return nil, false }

// forwarder has the user's own files in own and foreign ones in lib.
func forwarder(own, lib fs.FS) (*Forwarder, *script) {
	s := &script{}
	f := modules.New([]modules.Entry{{FS: own, Own: true}, {FS: lib}}, builtin, modules.Options{})
	return New(f, s.send), s
}

func call(f *Forwarder, ctx wire.ContextID, module string) {
	f.Want(ctx, f.Need(linux, Program{Name: module, Roots: []string{module}}))
}

func TestCall(t *testing.T) {
	f, s := forwarder(tree("app/__init__.py: ", "app/main.py: import os, app.part, lib",
		"app/part.py: import nowhere"),
		tree("lib/__init__.py: import dep", "dep.py: ", "more.py: "))
	f.Add(1, 0)
	f.Add(1, 0)
	call(f, 1, "os")
	call(f, 1, "json.decoder")
	call(f, 1, "installed.there")
	s.expect(t, "of the standard library, or of the target alone")
	call(f, 1, "app.main")
	s.expect(t, "own", "ask 1 [dep lib]", "coming 1 1/0",
		"send 1 app=call app.part=call app.main=call -1")
	f.lacks(1, []string{"lib", "dep", "never asked"})
	s.expect(t, "foreign", "coming 1 2/1", "send 1 dep=bundle", "send 1 lib=bundle")
	f.lacks(1, []string{"lib"})
	s.expect(t, "an answer to nothing")
	call(f, 1, "lib")
	s.expect(t, "again")
	f.Add(2, 0)
	call(f, 2, "lib")
	f.lacks(2, nil)
	s.expect(t, "installed there", "ask 2 [dep lib]", "coming 2 0/1")
	f.Gone(2)
	call(f, 2, "more")
	f.lacks(2, nil)
	if m, given := f.Asked(2, linux, "", "more"); m == nil || given {
		t.Error("no refusal for a context that is gone")
	}
	s.expect(t, "gone")
}

// Behind a hop a bundle is sent once.
func TestHop(t *testing.T) {
	f, s := forwarder(tree("own/__init__.py: "), tree())
	for i, parent := range []wire.ContextID{0, 1, 1} {
		f.Add(wire.ContextID(i+1), parent)
	}
	call(f, 2, "own")
	call(f, 3, "own")
	s.expect(t, "hop", "coming 2 1/0", "send 2 own=call", "coming 3 1/0", "forward 3 at 1 own=call")
	id := bundleID(t, f)
	f.Dropped(1, id, 3)
	s.expect(t, "dropped", "send 3")
	f.Dropped(1, id, 3)
	f.Dropped(7, id, 3)
	f.Dropped(1, id, 7)
	s.expect(t, "dropped again")
}

func bundleID(t *testing.T, f *Forwarder) bundle.ID {
	t.Helper()
	c := f.closure(linux, Program{Roots: []string{"own"}})
	return bundle.Pack(c.Own())[0].ID
}

func TestAskedAlone(t *testing.T) {
	f, s := forwarder(tree("app.py: def f(): import plug, extra, nowhere"),
		tree("plug.py: import late", "late.py: import later", "later.py: ", "extra.py: "))
	f.Add(1, 0)
	call(f, 1, "app")
	s.expect(t, "call", "load 1 mapp=call")
	if m, _ := f.Asked(1, linux, "app", "plug"); m != nil {
		t.Error("alone:", m.Name)
	}
	s.expect(t, "own", "ask 1 [late later]")
	f.lacks(1, []string{"late", "later"})
	s.expect(t, "foreign", "coming 1 3/1", "send 1 later=asked", "send 1 late=asked",
		"send 1 plug=asked")
	if m, _ := f.Asked(1, linux, "app", "extra"); m != nil {
		t.Error("alone:", m.Name)
	}
	s.expect(t, "no question: it asks", "coming 1 1/0", "send 1 extra=asked")
	if m, _ := f.Asked(1, linux, "app", "extra"); m == nil || m.Letter != modules.Plain {
		t.Error("what was lost on the way must come alone:", m)
	}
	for _, name := range []string{"nowhere", "no name!"} {
		if m, _ := f.Asked(1, linux, "app", name); m == nil || m.Letter != modules.Missing ||
			m.Reason == "" {
			t.Error("nowhere:", m)
		}
	}
	s.expect(t, "alone")
	// The next one need not ask.
	f.Add(2, 0)
	call(f, 2, "app")
	s.expect(t, "learned", "ask 2 [extra late later plug]", "coming 2 1/0", "send 2 app=call",
		"coming 2 1/0", "send 2 -1")
	f.lacks(2, []string{"late", "plug"})
	s.expect(t, "lacks two", "coming 2 2/1", "send 2 late=learned", "send 2 plug=learned")
}

// What is nowhere is learned too, and sent in the cheapest way.
func TestLearnedNegative(t *testing.T) {
	f, s := forwarder(tree(), tree())
	f.Add(1, 0)
	f.Asked(1, linux, "platform", "odd")
	f.Add(2, 0)
	call(f, 2, "platform")
	s.expect(t, "negative", "load 2 -odd")
}

func TestBounds(t *testing.T) {
	f, s := forwarder(tree("a.py: "), tree())
	f.Add(1, 0)
	for i := range 2 * maxLearned {
		f.Asked(1, linux, "app", fmt.Sprint("x", i))
	}
	if n := len(f.lore.of("app")); n != maxTries {
		t.Error("learned", n)
	}
	for i := range 2 * maxPrograms {
		f.Asked(1, linux, fmt.Sprint("app", i), "x")
	}
	if n := len(f.lore.names); n != maxPrograms {
		t.Error("learned for", n)
	}
	f.Grant(1, linux, f.Need(linux, Program{Text: []byte("import a")}))
	f.contexts[1].closures = maxClosures
	if m, _ := f.Asked(1, linux, "app", "a"); m == nil || m.Letter != modules.Plain {
		t.Error("after many questions:", m)
	}
	s.expect(t, "alone")
	if n := len(f.contexts[1].grant.refused); n != maxRefused {
		t.Error("refused", n)
	}
	for i := range 2 * cached {
		f.closure(linux, Program{Roots: []string{fmt.Sprint("y", i)}})
	}
	if n := len(f.cache.entries); n != cached {
		t.Error("closures", n)
	}
}

func TestPrograms(t *testing.T) {
	f, s := forwarder(tree("a.py: ", "b.py: ", "c.py: ", "tool/__init__.py: ",
		"tool/__main__.py: from . import x\nif __name__ == '__main__':\n import c",
		"tool/x.py: ", "plain.py: if __name__ == '__main__':\n import a"), tree())
	f.Add(1, 0)
	text := []byte("import a\nif __name__ == '__main__':\n    import b\nelse:\n    import c\n")
	f.Want(1, f.Need(linux, Program{Name: "s", Text: text}))
	s.expect(t, "script", "coming 1 1/0", "send 1 a=call b=call")
	f.Want(1, f.Need(linux, Program{Name: "-m tool", Main: "tool",
		Roots: []string{"tool", "tool.__main__"}}))
	s.expect(t, "package", "coming 1 1/0", "send 1 c=call tool=call tool.x=call tool.__main__=call")
	f.Want(1, f.Need(linux, Program{Name: "-m plain", Main: "plain",
		Roots: []string{"plain", "plain.__main__"}}))
	s.expect(t, "module", "coming 1 1/0", "send 1 plain=call")
	f.Add(2, 0)
	f.Want(2, f.Need(linux, Program{Name: "s", Text: []byte("import (")}))
	f.Want(2, f.Need(linux, Program{Name: "-m json", Main: "json",
		Roots: []string{"json", "json.__main__"}}))
	s.expect(t, "nothing understood, nothing of ours")
}

// A changed file is noticed, and those who ask at once share the work.
func TestFreshAndShared(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("a.py", "import b")
	write("b.py", "")
	var reads atomic.Int32
	finder := modules.New([]modules.Entry{{FS: os.DirFS(dir), Own: true}}, builtin, modules.Options{
		Rewrite: func(name, path string, source []byte) []byte {
			if name == "a" {
				reads.Add(1)
				time.Sleep(20 * time.Millisecond)
			}
			return source
		}})
	f := New(finder, func(Batch) {})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if c := f.closure(linux, Program{Roots: []string{"a"}}); !c.Has("b") || c.Has("c") {
				t.Error("wrong closure")
			}
		})
	}
	wg.Wait()
	if n := reads.Load(); n > 2 { // a file that has just been written is read once more
		t.Error("read", n, "times")
	}
	write("c.py", "")
	write("a.py", "import c")
	if c := f.closure(linux, Program{Roots: []string{"a"}}); c.Has("b") || !c.Has("c") {
		t.Error("the change was not seen")
	}
}

// What a second context's call costs the engine, where nothing has changed: 400 modules.
func BenchmarkSecond(b *testing.B) {
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "pkg"), 0o777); err != nil {
		b.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	write := func(name, text string) {
		p := filepath.Join(dir, "pkg", name)
		if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
			b.Fatal(err)
		}
		os.Chtimes(p, old, old)
	}
	all := ""
	for i := range 400 {
		write(fmt.Sprintf("m%d.py", i), "import os\n"+strings.Repeat("def f(x):\n    return x + 1\n", 50))
		all += fmt.Sprintf("from . import m%d\n", i)
	}
	write("__init__.py", all)
	os.Chtimes(filepath.Join(dir, "pkg"), old, old)
	var path modules.Path
	if err := path.Add(dir, true); err != nil {
		b.Fatal(err)
	}
	defer path.Close()
	f := New(modules.New(path.Entries, builtin, modules.Options{}), func(Batch) {})
	f.Add(1, 0)
	call(f, 1, "pkg")
	id := wire.ContextID(1)
	for b.Loop() {
		id++
		f.Add(id, 0)
		call(f, id, "pkg")
	}
}

// TestSite prints times for what $MITOGEN_SITE has: a site-packages directory and names to import.
func TestSite(t *testing.T) {
	fields := strings.Fields(os.Getenv("MITOGEN_SITE"))
	if len(fields) < 2 {
		t.Skip("MITOGEN_SITE is not set")
	}
	var path modules.Path
	if err := path.Add(fields[0], false); err != nil {
		t.Fatal(err)
	}
	defer path.Close()
	f := New(modules.New(path.Entries, builtin, modules.Options{}), func(Batch) {})
	for id := wire.ContextID(1); id < 6; id++ {
		start := time.Now()
		f.Add(id, 0)
		n := f.Need(linux, Program{Name: "x", Roots: fields[1:]})
		need := time.Since(start)
		f.Want(id, n)
		want := time.Since(start)
		f.lacks(id, n.call.Foreign)
		t.Log(n.call.Modules(), "modules: need", need, "want", want-need, "lacks", time.Since(start)-want)
	}
}
