package engine

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// patience limits each step of a test, on a loaded machine too.
const patience = 20 * time.Second

// fake is a context next to the engine that is played by a test: it sees what the engine writes and
// writes what it likes.
type fake struct {
	t      testing.TB
	plan   methods.Plan
	out    *os.File // what the engine reads
	frames chan wire.Frame

	mu      sync.Mutex // protects following
	boot    []byte
	failure methods.Failure
	words   []byte
	stopped bool
	killed  bool
	up      bool

	end  sync.Once
	done chan struct{}
}

// fakeEngine returns an engine whose processes are fakes, which come out of the channel.
func fakeEngine(t testing.TB, o Options) (*Engine, chan *fake) {
	t.Helper()
	before := runtime.NumGoroutine()
	fakes := make(chan *fake, 100)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = -1
	}
	if o.Modules.builtin == nil {
		o.Modules.builtin = builtins
	}
	o.start = func(ctx context.Context, plan methods.Plan, _ connect.SSHOptions) (process,
		io.WriteCloser, io.ReadCloser, error) {
		inR, inW, err := os.Pipe()
		if err != nil {
			return nil, nil, nil, err
		}
		outR, outW, err := os.Pipe()
		if err != nil {
			return nil, nil, nil, err
		}
		f := &fake{t: t, plan: plan, out: outW, frames: make(chan wire.Frame, 10000),
			done: make(chan struct{})}
		go f.read(inR)
		fakes <- f
		return f, inW, outR, nil
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		waitFor(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
	return e, fakes
}

// builtins are the runtime's modules, with a placeholder for the module that takes bundles.
func builtins(name string) ([]byte, bool) {
	if name == forwardModule {
		return []byte("pass\n"), true
	}
	return boot.Module(name)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b := make([]byte, 1<<20)
			t.Fatalf("waited in vain for %s\n%s", what, b[:runtime.Stack(b, true)])
		}
	}
}

// read is the fake's end of what the engine writes. Closed, it ends.
func (f *fake) read(r *os.File) {
	defer r.Close()
	sc := wire.NewScanner(r)
	sc.Noise = func(b []byte) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.boot = append(f.boot, b...)
	}
	for {
		g, err := sc.Next()
		if err != nil {
			f.exit(methods.Failure{What: methods.WhatExit})
			return
		}
		g.Payload = bytes.Clone(g.Payload)
		select {
		case f.frames <- g:
		case <-f.done:
		}
	}
}

// exit ends the process.
func (f *fake) exit(why methods.Failure) {
	f.end.Do(func() {
		f.mu.Lock()
		if f.failure.What == "" {
			f.failure = why
		}
		f.mu.Unlock()
		f.out.Close()
		close(f.done)
	})
}

func (f *fake) Connected() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = true
}

func (f *fake) Note(noise []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.words = append(f.words, noise...)
}

func (f *fake) Text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.words)
}

func (f *fake) LoggedIn() bool { return false }

func (f *fake) Fail(what string) {
	f.mu.Lock()
	if f.failure.What == "" && !f.up {
		f.failure.What = what
	}
	f.mu.Unlock()
	f.Kill()
}

func (f *fake) Done() <-chan struct{} { return f.done }

func (f *fake) Failure() methods.Failure {
	text := f.Text()
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.failure
	v.Text += text
	return v
}

func (f *fake) Stopped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopped
}

func (f *fake) Kill() {
	f.mu.Lock()
	f.killed = true
	f.mu.Unlock()
	f.exit(methods.Failure{What: methods.WhatExit, Status: -9})
}

func (f *fake) Close() error {
	f.exit(methods.Failure{What: methods.WhatExit})
	return nil
}

func (f *fake) wasKilled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.killed
}

// next returns the next frame from the engine.
func (f *fake) next() wire.Frame {
	f.t.Helper()
	select {
	case g := <-f.frames:
		return g
	case <-time.After(patience):
		f.t.Fatal("nothing came from the engine")
		return wire.Frame{}
	}
}

// expect returns the next frame, which must be for that handle.
func (f *fake) expect(dst wire.ContextID, h wire.Handle) wire.Frame {
	f.t.Helper()
	g := f.next()
	if g.Dst != dst || g.Handle != h {
		f.t.Fatalf("engine sent %v, want %v for %d", g, h, dst)
	}
	return g
}

// connect returns the next CONNECT for a hop next to the engine, which comes behind the modules
// that a hop needs.
func (f *fake) connect(hop wire.ContextID) wire.Frame {
	f.t.Helper()
	g := f.next()
	for g.Dst == hop && g.Handle == wire.LoadModule { // what it needs for that
		g = f.next()
	}
	if g.Dst != hop || g.Handle != wire.Connect {
		f.t.Fatalf("engine sent %v, want CONNECT for %d", g, hop)
	}
	return g
}

// bundle returns the text of the next bundle for a context, which must be announced, and its id.
func (f *fake) bundle(dst wire.ContextID) (text string, id wire.BundleID) {
	f.t.Helper()
	var b []byte
	for {
		p, err := wire.ParsePiece(f.expect(dst, wire.BundlePiece).Payload)
		if err != nil || int(p.Offset) != len(b) {
			f.t.Fatal(p.Offset, err)
		}
		if b = append(b, p.Data...); len(b) == int(p.Total) {
			id = p.ID
			break
		}
	}
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(out), id
}

// coming returns the next COMING for a context.
func (f *fake) coming(dst wire.ContextID) (answers int, ids []wire.BundleID) {
	f.t.Helper()
	answers, ids, err := wire.ParseComing(f.expect(dst, wire.Coming).Payload)
	if err != nil {
		f.t.Fatal(err)
	}
	return answers, ids
}

// enable takes the module that lets a context take bundles.
func (f *fake) enable(dst wire.ContextID) {
	f.t.Helper()
	f.given(dst, forwardModule)
}

// given takes a module of the runtime.
func (f *fake) given(dst wire.ContextID, module string) {
	f.t.Helper()
	if g := f.expect(dst, wire.LoadModule); !bytes.HasPrefix(g.Payload, []byte(module+"\x00")) {
		f.t.Fatalf("module: got %.50q, want %s", g.Payload, module)
	}
}

// quiet fails if the engine says anything before it has taken what was sent until now: it answers a
// PING after that.
func (f *fake) quiet(id wire.ContextID) { f.quietBut(id, nil) }

// quietBut is quiet, but for frames that pass.
func (f *fake) quietBut(id wire.ContextID, pass func(wire.Frame) bool) {
	f.t.Helper()
	f.send(wire.Frame{Src: id, Handle: wire.Ping, Reply: 5555, Payload: []byte("sync")})
	g := f.next()
	for pass != nil && pass(g) {
		g = f.next()
	}
	if g.Handle != 5555 || string(g.Payload) != "sync" {
		f.t.Fatalf("engine sent %v %q", g, g.Payload)
	}
}

// send writes a frame to the engine; auth is src.
func (f *fake) send(g wire.Frame) {
	g.Auth = g.Src
	f.raw(g.Append(nil))
}

func (f *fake) raw(b []byte) {
	f.t.Helper()
	if _, err := f.out.Write(b); err != nil {
		f.t.Logf("fake: %v", err)
	}
}

// hello says HELLO for a context.
func (f *fake) hello(id wire.ContextID) {
	f.t.Helper()
	f.send(wire.Frame{Src: id, Handle: wire.Hello, Payload: encode(f.t, map[string]any{
		"version":        pyvalue.Tuple{int64(3), int64(11), int64(7), "final", int64(0)},
		"implementation": "cpython", "platform": "linux", "uid": 1000,
		"hostname": fmt.Sprint("host", id), "pid": 4242, "executable": "/usr/bin/python3", "pickle": 4})})
}

// reply answers a request.
func (f *fake) reply(to wire.Frame, kind wire.Kind, payload []byte) {
	f.t.Helper()
	f.send(wire.Frame{Kind: kind, Src: to.Dst, Dst: to.Src, Handle: to.Reply, Payload: payload})
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := pickle.Append(nil, v, pickle.Proto4)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// connected returns a context that is up, and its fake.
func connected(t testing.TB, e *Engine, fakes chan *fake) (*Context, *fake) {
	t.Helper()
	c, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := <-fakes
	f.raw([]byte("MITO-EC0\n"))
	f.hello(c.id)
	if err := c.Connected(within(t)); err != nil {
		t.Fatal(err)
	}
	return c, f
}

// within is a context that ends with the test's patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// call is a call without arguments.
func call(c *Context, target string) *Pending {
	return c.Calls.Go(context.Background(), target, nil, nil, false)
}

// result waits for a call and returns its value.
func result(t testing.TB, p *Pending) (any, error) {
	t.Helper()
	b, _, err := p.Result(within(t))
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return pickle.Decode(b, limits)
}
