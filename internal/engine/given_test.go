package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// givenEvents keeps what Options.Audit was told about modules and files, as text.
type givenEvents struct {
	mu     sync.Mutex
	events []string
}

func (l *givenEvents) take(ev report.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ev.Kind != report.EventModule && ev.Kind != report.EventFile {
		return nil
	}
	l.events = append(l.events, fmt.Sprintf("%s %s %q %d %v", ev.Context, ev.Kind, ev.Name,
		ev.Bytes, ev.Refused))
	return nil
}

func (l *givenEvents) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// loaded returns the answer to a question for a module that comes alone.
func (f *fake) loaded(dst wire.ContextID, name string) string {
	f.t.Helper()
	g := f.expect(dst, wire.LoadModule)
	text, ok := strings.CutPrefix(string(g.Payload), name+"\x00")
	if !ok {
		f.t.Fatalf("answer %q, want one about %q", g.Payload, name)
	}
	return text
}

// What a context was given and refused is counted, logged at info, and told.
func TestGivenIsTold(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	h := slog.NewTextHandler(lockedWriter{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelInfo})
	l := &givenEvents{}
	e, fakes := fakeEngine(t, Options{Logger: slog.New(h), Audit: l.take, Modules: ModuleOptions{
		Path: files("own/__init__.py: import pkgutil", "own/text: TEXT", "own/.env: SECRET",
			"secret.py: KEY = 1")}})
	c, f := connected(t, e, fakes)
	p := call(c, "own:f")
	f.enable(1)
	f.coming(1)
	f.bundle(1)
	g := f.expect(1, wire.Call)
	f.send(wire.Frame{Src: 1, Handle: wire.GetModule, Payload: []byte("secret")})
	if text := f.loaded(1, "secret"); !strings.HasPrefix(text, "\x00-not served") {
		t.Errorf("answer %q, want a refusal", text)
	}
	for question, kind := range map[string]wire.Kind{"rown\x00text": wire.Data,
		"rown\x00.env": wire.Dead, "rsecret\x00x": wire.Dead, "z": wire.Dead} {
		f.send(wire.Frame{Src: 1, Handle: wire.GetFile, Reply: 2000, Payload: []byte(question)})
		if a := f.expect(1, 2000); a.Kind != kind || bytes.Contains(a.Payload, []byte("SECRET")) {
			t.Errorf("%q: answer %v %q, want %v", question, a.Kind, a.Payload, kind)
		}
	}
	f.reply(g, wire.Data, nil)
	if _, err := result(t, p); err != nil {
		t.Error(err)
	}
	s := c.Stats()
	if len(s.Sent) != 1 || s.Refused != 4 || len(s.Given) != 1 ||
		s.Given[0] != (report.File{Path: "own/text", Bytes: 4}) {
		t.Errorf("sent %v, given %v, %d refused", s.Sent, s.Given, s.Refused)
	}
	e.Close()
	all := l.all()
	for _, want := range []string{`local module "own" 14 false`, `local module "secret" 0 true`,
		`local file "own/text" 4 false`,
		`local file "rown\\x00.env" 0 true`, `local file "rsecret\\x00x" 0 true`,
		`local file "z" 0 true`} {
		if !slices.Contains(all, want) {
			t.Errorf("%s was not told; told: %q", want, all)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"modules given", "names=own", "module refused", "file given",
		"file refused"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log.String())
		}
	}
}

// Modules are told of once they are given; if that fails, the context is ended.
func TestGivenIsNotTold(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Audit: func(ev report.Event) error {
		if ev.Kind == report.EventModule {
			return errFull
		}
		return nil
	}, Modules: ModuleOptions{Path: files("own.py: ")}})
	c, _ := connected(t, e, fakes)
	_, err := result(t, call(c, "own:f"))
	if !errors.Is(err, ErrAudit) {
		t.Errorf("call: got %v, want %v", err, ErrAudit)
	}
	waitFor(t, "the end of the context", func() bool { return c.Err() != nil })
	if err := c.Err(); !errors.Is(err, ErrAudit) || !errors.Is(err, errFull) {
		t.Errorf("context: got %v, want %v", err, ErrAudit)
	}
	if err := e.Close(); !errors.Is(err, ErrAudit) {
		t.Errorf("close: got %v, want %v", err, ErrAudit)
	}
}

// A flood of refusals is told and logged in part, and kept nowhere.
func TestManyRefusals(t *testing.T) {
	l := &givenEvents{}
	e, fakes := fakeEngine(t, Options{Audit: l.take, Modules: ModuleOptions{Path: files("own.py: ")}})
	c, f := connected(t, e, fakes)
	const n = 3000
	go f.flood(n, func(i int) wire.Frame {
		return wire.Frame{Src: 1, Handle: wire.GetFile, Reply: 2000, Payload: fmt.Appendf(nil,
			"rx%d\x00y", i)}
	})
	for range n {
		if g := f.next(); g.Kind != wire.Dead && g.Handle != wire.LoadModule {
			t.Fatalf("answer %v", g)
		}
	}
	if s := c.Stats(); s.Files+int64(c.conduct.offences) < n || s.Given != nil {
		t.Errorf("%d questions answered, %d offences, given %v", s.Files, c.conduct.offences, s.Given)
	}
	e.Close()
	if all := l.all(); len(all) > maxRefusals+n/1000 {
		t.Errorf("%d refusals were told one by one, want at most %d", len(all), maxRefusals+n/1000)
	}
}

// A context that calls another context gives it the modules that it may have itself, and no other
// modules.
func TestLentModules(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{
		Path: files("own.py: def f(): import late", "late.py: ", "secret.py: ")}})
	a, f := connected(t, e, fakes)
	b, g := connected(t, e, fakes)
	if err := e.Allow(a, b); err != nil {
		t.Fatal(err)
	}
	call(a, "own:f")
	f.given(1, "late")
	f.given(1, "own")
	f.expect(1, wire.Call)
	ask := func(name string) {
		g.send(wire.Frame{Src: b.id, Handle: wire.GetModule,
			Payload: []byte(name)})
	}
	ask("own")
	if text := g.loaded(b.id, "own"); !strings.HasPrefix(text, "\x00-not served") {
		t.Errorf("before a call: %q, want a refusal", text)
	}
	for _, target := range []string{"secret:f", "late:f", "../secret:f", "own"} {
		f.send(wire.Frame{Src: a.id, Dst: b.id, Handle: wire.Call,
			Payload: []byte(target + "\x00")})
		g.expect(b.id, wire.Call)
	}
	ask("secret")
	if text := g.loaded(b.id, "secret"); !strings.HasPrefix(text, "\x00-not served") {
		t.Errorf("secret: %q, want a refusal", text)
	}
	ask("late")
	g.enable(b.id)
	g.coming(b.id)
	if text, _ := g.bundle(b.id); !strings.Contains(text, "late\x00") || strings.Contains(text,
		"secret") || strings.Contains(text, "own") {
		t.Errorf("bundle %q, want late alone", text)
	}
}
