package runtimetest

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/pylink"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// kwargs as the last argument of a call are its keyword arguments.
type kwargs map[string]any

// pending is a request whose answer is yet to come.
type pending struct {
	*link
	dst   wire.ContextID
	reply wire.Handle
	*answer
	reached int64 // of a CONNECT's ERROR; set by failsTo
}

// expect gives out a reply handle.
func (l *link) expect(dst wire.ContextID) *pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handle++
	p := &pending{link: l, dst: dst, reply: l.handle, answer: &answer{}}
	l.answers[p.reply] = p.answer
	return p
}

// send sends a frame with the engine's authority, in parts where it is large.
func (l *link) send(f wire.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for part := range f.Split() {
		l.sendLocked(part)
	}
}

// request sends f from a new reply handle.
func (l *link) request(f wire.Frame) *pending {
	p := l.expect(f.Dst)
	f.Reply = p.reply
	l.send(f)
	return p
}

func (l *link) call(target string, args ...any) *pending {
	l.t.Helper()
	return l.callAt(first, target, args...)
}

// echo calls a function of any context that returns v.
func (l *link) echo(v any) *pending {
	l.t.Helper()
	if l.isGo {
		return l.call("go:echo", v)
	}
	return l.call("rt:echo", v)
}

// slow calls a function of any context that runs for a second.
func (l *link) slow() *pending {
	l.t.Helper()
	if l.isGo {
		return l.call("go:slow", 1000)
	}
	return l.call("rt:slow", 1, "slept")
}

func (l *link) callAt(dst wire.ContextID, target string, args ...any) *pending {
	l.t.Helper()
	return l.request(wire.Frame{Dst: dst, Handle: wire.Call, Payload: l.payload(target, args)})
}

// payload returns the payload of a CALL.
func (l *link) payload(target string, args []any) []byte {
	l.t.Helper()
	var kw map[string]any
	if n := len(args); n > 0 {
		if k, ok := args[n-1].(kwargs); ok {
			kw, args = k, args[:n-1]
		}
	}
	b := wire.AppendCall(nil, target)
	if len(args)+len(kw) == 0 {
		return b
	}
	b, err := pickle.AppendCall(b, translated(args), kw, pickle.Proto2Both)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

// translated returns arguments, among them source that names parts of the runtime as python/
// does, with the names that these have in a context.
func translated(args []any) []any {
	all := slices.Clone(args)
	for i, a := range all {
		switch a := a.(type) {
		case string:
			all[i] = pylink.Translate(boot.Table(), a)
		case []byte:
			all[i] = []byte(pylink.Translate(boot.Table(), string(a)))
		}
	}
	return all
}

func (l *link) cancel(p *pending) {
	l.send(wire.Frame{Dst: p.dst, Handle: wire.Cancel, Payload: wire.AppendU32(nil, p.reply)})
}

// wait blocks until the answer is there.
func (p *pending) wait() *answer {
	p.t.Helper()
	p.await(fmt.Sprintf("answer to %d", p.reply), func() bool { return p.done })
	return p.answer
}

// come reports whether the answer is there.
func (p *pending) come() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// value is the result of a call that succeeds.
func (p *pending) value() any {
	p.t.Helper()
	a := p.wait()
	if a.kind == wire.Error {
		p.t.Fatalf("the call failed: %v", p.error())
	}
	if a.kind != wire.Data {
		p.t.Fatalf("answer of the call: got %v: %s; want data", a.kind, a.payload)
	}
	if len(a.payload) == 0 {
		return nil
	}
	return p.decode(a.payload)
}

func (l *link) decode(b []byte) any {
	l.t.Helper()
	v, err := pickle.Decode(b, pickle.Limits{})
	if err != nil {
		l.t.Fatalf("decode %.300q: %v", b, err)
	}
	return v
}

// error is the ERROR of a call that fails.
func (p *pending) error() *pyvalue.Exception {
	p.t.Helper()
	a := p.wait()
	if a.kind != wire.Error {
		p.t.Fatalf("%v %.300q instead of an error", a.kind, a.payload)
	}
	e, err := pickle.DecodeError(a.payload, pickle.Limits{})
	if err != nil {
		p.t.Fatalf("decode error %.300q: %v", a.payload, err)
	}
	return e
}

// fails demands an exception of the type (`type` of builtins or `module.type`) whose text holds
// all of words.
func (p *pending) fails(typ string, words ...string) *pyvalue.Exception {
	p.t.Helper()
	e := p.error()
	got := e.Module + "." + e.Type
	if e.Module == "builtins" || e.Module == "exceptions" || e.Module == "__builtin__" {
		got = e.Type
	}
	if got != typ {
		p.t.Errorf("%s, want %s (%s)\n%s", got, typ, e.Text, e.Traceback)
	}
	contains(p.t, "text of the error", e.Text, words...)
	return e
}

// dead demands a DEAD whose text holds all of words.
func (p *pending) dead(words ...string) {
	p.t.Helper()
	a := p.wait()
	if a.kind != wire.Dead {
		p.t.Fatalf("%v %.300q instead of DEAD", a.kind, a.payload)
	}
	contains(p.t, "text of DEAD", string(a.payload), words...)
}

// list returns the items of a stream of values that have come.
func (p *pending) list() []any {
	p.t.Helper()
	p.mu.Lock()
	items := p.items
	p.mu.Unlock()
	var values []any
	for _, b := range items {
		values = append(values, p.decode(b))
	}
	return values
}

func contains(t *testing.T, what, s string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(s, w) {
			t.Errorf("%s: no %q in %.3000q", what, w, s)
		}
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	g, w := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want)
	if g != w {
		t.Errorf("%s: got %.2000s, want %.2000s", what, g, w)
	}
}

// serve makes a module known to contexts that ask for it.
func (l *link) serve(name, source string) {
	l.provide(wire.Module{Name: name,
		Path: "/dev/null/srv/" + strings.ReplaceAll(name, ".", "/") + ".py", Form: wire.FormModule,
		Rest: deflate([]byte(source))})
}

func (l *link) servePackage(name, source string) {
	l.provide(wire.Module{Name: name,
		Path: "/dev/null/srv/" + strings.ReplaceAll(name, ".", "/") + "/__init__.py",
		Form: wire.FormPackage,
		Rest: deflate([]byte(source))})
}

func (l *link) provide(m wire.Module) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.modules[m.Name] = m
}

// push sends a module that was provided.
func (l *link) push(dst wire.ContextID, name string) {
	if l.isGo {
		return // it has its services without modules
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loadLocked(dst, name)
}

func deflate(b []byte) []byte {
	var buf bytes.Buffer
	w := zlib.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

// eventually waits for what a context does without telling.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
