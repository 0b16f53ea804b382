package engine

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// files makes a file system of "path: source" lines.
func files(lines ...string) []fs.FS {
	m := fstest.MapFS{}
	for _, l := range lines {
		name, text, _ := strings.Cut(l, ": ")
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return []fs.FS{m}
}

// A call of the standard library, or of what only the target has, brings nothing with it.
func TestPlainCall(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{Path: files("own.py: ")}})
	c, f := connected(t, e, fakes)
	for _, target := range []string{"os:getpid", "json.decoder:x", "its.own:f"} {
		p := call(c, target)
		f.reply(f.expect(1, wire.Call), wire.Data, nil)
		if _, err := result(t, p); err != nil {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Modules != 0 || len(s.Sent) != 0 {
		t.Errorf("stats: got %+v, want no modules", s)
	}
}

// What takes bundles comes with the first bundle. A hop has it, and passes it on, from its second
// child on.
func TestPassedOn(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{
		Path: files("own.py: ", "pkg/__init__.py: ")}})
	first := start(t, e, "local+sudo:first", ConnectOptions{})
	f := <-fakes
	f.hello(1)
	with := func(id wire.ContextID) any {
		t.Helper()
		got, payload, err := wire.ParseConnect(f.connect(1).Payload)
		if got != id || err != nil {
			t.Fatalf("CONNECT of %d, %v, want %d", got, err, id)
		}
		return dict(t, payload)["with"]
	}
	if got := fmt.Sprint(with(2)); strings.Contains(got, forwardModule) {
		t.Errorf("passed on to the first child: got %s, want no %s", got, forwardModule)
	}
	f.hello(2)
	p := call(first, "own:f")
	f.given(2, "own")
	f.reply(f.expect(2, wire.Call), wire.Data, nil)
	result(t, p)
	second := start(t, e, "local+sudo:second", ConnectOptions{})
	if got := fmt.Sprint(with(3)); !strings.Contains(got, forwardModule) {
		t.Errorf("passed on to the second child: got %s, want %s too", got, forwardModule)
	}
	f.hello(3)
	p = call(second, "pkg:f")
	f.coming(3)
	f.bundle(3)
	f.reply(f.expect(3, wire.Call), wire.Data, nil)
	result(t, p)
	p = call(first, "pkg:f")
	f.enable(2)
	f.coming(2)
	f.expect(1, wire.Forward)
	f.reply(f.expect(2, wire.Call), wire.Data, nil)
	result(t, p)
}

// A foreign module costs a question, the answer to which is all that it needs.
func TestForeignCall(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	h := slog.NewTextHandler(lockedWriter{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug})
	e, fakes := fakeEngine(t, Options{Logger: slog.New(h), Modules: ModuleOptions{
		Path: files("own.py: import lib"),
		Packages: files("lib/__init__.py: import dep, gone", "dep.py: x = 1  # comment",
			"other.py: import dep")}})
	c, f := connected(t, e, fakes)
	before := c.Stats().RoundTrips
	p := call(c, "own:f")
	f.enable(1)
	f.given(1, lacksModule) // before the question
	if g := f.expect(1, wire.Ask); string(g.Payload) != "dep\x00lib\x00_bz2" {
		t.Errorf("asked %q", g.Payload)
	}
	if answers, ids := f.coming(1); answers != 0 || len(ids) != 1 {
		t.Error(answers, ids)
	}
	f.bundle(1)
	g := f.expect(1, wire.Call)
	f.send(wire.Frame{Src: 1, Handle: wire.Lacks,
		Payload: wire.AppendNames(nil, []string{"lib", "dep", "evil"})})
	answers, ids := f.coming(1)
	if answers != 1 || len(ids) != 2 {
		t.Error(answers, ids)
	}
	for i, want := range []string{"dep\x00", "lib\x00"} {
		if text, id := f.bundle(1); id != ids[i] || !strings.Contains(text, want) ||
			strings.Contains(text, "evil") {
			t.Errorf("bundle %q", text)
		}
	}
	f.reply(g, wire.Data, nil)
	if _, err := result(t, p); err != nil {
		t.Error(err)
	}
	s := c.Stats()
	if n := s.RoundTrips - before; n != 2 {
		t.Error(n, "round trips")
	}
	var sent []string
	for _, m := range s.Sent {
		sent = append(sent, fmt.Sprintf("%s=%s", m.Name, m.Reason))
	}
	if got := strings.Join(sent, " "); got != "own=call dep=bundle lib=bundle" {
		t.Error("sent", got)
	}
	if s.Modules != 5 ||
		s.Negative != 1 || s.Questions != 1 || s.Asked != 0 || s.Found != s.Minified ||
		s.Compressed == 0 || s.Scan == 0 || s.Pack == 0 {
		t.Errorf("stats after the first call: got %+v, want 5 modules, one negative, one question", s)
	}
	// The answer is known now, and dep is there.
	p = call(c, "other:f")
	if g := f.expect(1, wire.Ask); string(g.Payload) != "other\x00_bz2" {
		t.Errorf("asked %q", g.Payload)
	}
	g = f.expect(1, wire.Call)
	f.send(wire.Frame{Src: 1, Handle: wire.Lacks})
	if answers, ids := f.coming(1); answers != 1 || len(ids) != 0 {
		t.Error(answers, ids)
	}
	f.reply(g, wire.Data, nil)
	result(t, p)
	waitFor(t, "the log", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), "context=local") &&
			strings.Count(log.String(), "bundle sent") == 3 &&
			strings.Count(log.String(), "asked what it lacks") == 2
	})
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// What is asked alone comes with all it needs, and alone if that has got lost. The next context
// need not ask.
func TestAskedAlone(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{
		Path:     files("own.py: def f(): import late, nowhere"),
		Packages: files("late/__init__.py: import late.later", "late/later.py: ")}})
	c, f := connected(t, e, fakes)
	p := call(c, "own:f")
	f.given(1, "own")
	g := f.expect(1, wire.Call)
	ask := func(name string) {
		f.send(wire.Frame{Src: 1, Handle: wire.GetModule, Payload: []byte(name)})
	}
	ask("late")
	f.enable(1)
	f.coming(1)
	if text, _ := f.bundle(1); !strings.Contains(text, "late\x00") ||
		!strings.Contains(text, "late.later\x00") {
		t.Errorf("bundle %q", text)
	}
	for name, want := range map[string]string{"late": "late/__init__.py\x00p",
		"late.later": "late/later.py\x00m"} {
		ask(name)
		if g := f.expect(1, wire.LoadModule); !strings.HasPrefix(string(g.Payload),
			name+"\x00/dev/null/embedded/"+want) {
			t.Errorf("got module %q, want %q", g.Payload, want)
		}
		ask(name)
		f.quiet(1)
	}
	ask("nowhere")
	if g := f.expect(1, wire.LoadModule); !strings.HasPrefix(string(g.Payload),
		"nowhere\x00\x00-not in") {
		t.Errorf("module %q", g.Payload)
	}
	f.reply(g, wire.Data, nil)
	result(t, p)
	if s := c.Stats(); s.Asked != 4 || s.Negative != 1 { // two were known to be on their way
		t.Errorf("stats: got %+v, want 4 asked, one negative", s)
	}
	d, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f = <-fakes
	p = call(d, "own:f")
	f.enable(2)
	var all string
	take := func() {
		_, ids := f.coming(2)
		for range ids {
			text, _ := f.bundle(2)
			all += text
		}
	}
	f.given(2, lacksModule)
	f.expect(2, wire.Ask)
	take()
	take()
	g = f.expect(2, wire.Call)
	f.hello(2)
	f.send(wire.Frame{Src: 2, Handle: wire.Lacks,
		Payload: wire.AppendNames(nil, []string{"late", "_bz2"})})
	take()
	for _, want := range []string{"own\x00", "late\x00", "late.later\x00", "nowhere\x00"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q isn't there", want)
		}
	}
	f.reply(g, wire.Data, nil)
	result(t, p)
	if s := d.Stats(); len(s.Sent) != 3 || s.Sent[0].Reason != "call" ||
		s.Sent[1].Reason != "learned" {
		t.Errorf("sent modules: got %+v, want 3, for a call and learned", s.Sent)
	}
}

// Children of one hop: the bundle passes the hop's link once, also when they had to wait for the
// hop's HELLO.
func TestOneCopy(t *testing.T) {
	source := "x = '''\n" + digits(300_000) + "'''"
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{Path: files("own.py: " + source)}})
	var o ConnectOptions
	o.Sudo.Password = "secret"
	var all []*Pending
	const n = 5
	for i := range n {
		c := start(t, e, fmt.Sprintf("local+sudo:user%d", i), o)
		all = append(all, call(c, "own:f"))
	}
	f := <-fakes
	f.hello(1)
	kept, pieces, calls := false, 0, []wire.Frame{}
	coming := map[wire.ContextID]bool{}
	for forwards := 0; len(calls) < n || forwards < n-1; {
		switch g := f.next(); g.Handle {
		case wire.Coming:
			coming[g.Dst] = true
		case wire.BundlePiece:
			if !coming[g.Dst] {
				t.Error("not announced:", g)
			}
			pieces++
			kept = true
		case wire.Forward:
			_, ctx, err := wire.ParseForward(g.Payload)
			if g.Dst != 1 || !kept || !coming[ctx] || err != nil {
				t.Error("forward", g, ctx, kept, err)
			}
			forwards++
		case wire.Call:
			calls = append(calls, g)
		case wire.LoadModule:
			if g.Dst > 2 { // the first child's hop didn't have what takes bundles
				t.Error("to another child:", g)
			}
		}
	}
	if pieces < 2 || pieces > 3 {
		t.Error(pieces, "pieces")
	}
	for _, g := range calls {
		f.hello(g.Dst)
		f.reply(g, wire.Data, nil)
	}
	for _, p := range all {
		if _, err := result(t, p); err != nil {
			t.Error(err)
		}
	}
	if s := e.Contexts()[0].Stats(); s.BytesDown > 350_000 {
		t.Error(s.BytesDown, "bytes down")
	}
	// A hop that hasn't kept it says so.
	d := start(t, e, "local+sudo:user9", o)
	p := call(d, "own:f")
	f.expect(1, wire.Connect)
	f.coming(d.id)
	id, _, err := wire.ParseForward(f.expect(1, wire.Forward).Payload)
	if err != nil {
		t.Fatal(err)
	}
	g := f.expect(d.id, wire.Call)
	drop := func(ctx wire.ContextID) {
		f.send(wire.Frame{Src: 1, Handle: wire.Dropped, Payload: wire.AppendForward(nil, id, ctx)})
	}
	drop(12345)
	drop(1)
	f.quiet(1)
	drop(d.id)
	if _, again := f.bundle(d.id); again != id {
		t.Error("another bundle")
	}
	drop(d.id)
	f.quiet(1)
	f.hello(d.id)
	f.reply(g, wire.Data, nil)
	result(t, p)
}

// digits is text that can't be compressed well: n hexadecimal digits count half.
func digits(n int) string {
	var b strings.Builder
	for x := uint64(88172645463325252); b.Len() < n; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		fmt.Fprintf(&b, "%016x", x)
	}
	return b.String()
}

// What a script or module imports goes with it.
func TestRunBringsModules(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{Path: files("a.py: ", "b.py: ",
		"tool.py: if __name__ == '__main__':\n  import b")}})
	c, f := connected(t, e, fakes)
	for i, p := range []Program{
		{Function: "script", Script: []byte("import a"), Args: []any{1}},
		{Function: "module", Module: "tool", Args: []any{1}},
		{Function: "script", Script: []byte("import a"), Args: []any{1}},
	} {
		done := make(chan error)
		go func() {
			_, err := c.Programs.Run(context.Background(), p)
			done <- err
		}()
		if i == 0 {
			f.enable(1)
		}
		if want := []string{"a\x00", "b\x00"}; i < len(want) {
			f.coming(1)
			if text, _ := f.bundle(1); !strings.Contains(text, want[i]) {
				t.Errorf("bundle %q", text)
			}
		}
		if i == 0 {
			f.expect(1, wire.LoadModule) // _mitogen_run
		}
		f.reply(f.expect(1, wire.Call), wire.Data, encode(t, 0))
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Answers to no question, and questions without end, are bounded.
func TestHostileAnswers(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{Path: files("own.py: ", "deep.py: ")}})
	c, f := connected(t, e, fakes)
	for _, g := range []wire.Frame{
		{Handle: wire.Lacks, Payload: []byte("own")},
		{Handle: wire.Lacks, Payload: bytes.Repeat([]byte{0}, 100_000)},
		{Handle: wire.Dropped, Payload: []byte("short")},
		{Handle: wire.Dropped, Payload: make([]byte, 20)},
		{Handle: wire.GetModule, Payload: bytes.Repeat([]byte("x"), 1000)},
		{Handle: wire.BundlePiece, Payload: make([]byte, 100)},
	} {
		g.Src = c.id
		f.flood(100, func(int) wire.Frame { return g }) // too few to be ended for
	}
	f.quiet(c.id)
	f.flood(20_000, func(i int) wire.Frame {
		return wire.Frame{Src: c.id, Handle: wire.GetModule, Payload: fmt.Append(nil, "x", i)}
	})
	waitFor(t, "answers", func() bool { return c.Stats().Negative > 1000 })
	f.exit(f.Failure())
	<-c.Done()
}
