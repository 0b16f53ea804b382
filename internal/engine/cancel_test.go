package engine

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// interrupted answers a call as a context does whose call was interrupted.
func (f *fake) interrupted(call wire.Frame) {
	f.t.Helper()
	raised := pyvalue.Tuple{"builtins", "KeyboardInterrupt", "", "", pyvalue.Tuple{}}
	f.reply(call, wire.Error, encode(f.t, raised))
}

// soon returns what comes out of a channel, which may take a while but not for ever.
func soon[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
	return v
}

// later calls f and returns what comes of it.
func later[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// isAll tells whether err matches every error that follows.
func isAll(err error, others ...error) bool {
	for _, other := range others {
		if !errors.Is(err, other) {
			return false
		}
	}
	return true
}

// sleeper is a program that doesn't end by itself.
var sleeper = Program{Function: "script", Script: []byte("while 1: pass"),
	Args: []any{[]byte("while 1: pass"), "s.py", []string{"s.py"}}}

func waitResult(p *Pending, ctx context.Context) <-chan error {
	return later(func() error { _, _, err := p.Result(ctx); return err })
}

// Cancel does to a call what the end of a ctx does, and all who wait, then or later, hear the same.
func TestPendingCancel(t *testing.T) {
	for name, tt := range map[string]struct {
		grace  time.Duration
		answer func(f *fake, call wire.Frame)
		killed bool
	}{
		"ends":      {time.Hour, (*fake).interrupted, false},
		"too late":  {time.Hour, func(f *fake, g wire.Frame) { f.reply(g, wire.Data, nil) }, false},
		"goes on":   {20 * time.Millisecond, func(*fake, wire.Frame) {}, true},
		"bad error": {time.Hour, func(f *fake, g wire.Frame) { f.reply(g, wire.Error, nil) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{Grace: tt.grace})
			c, f := connected(t, e, fakes)
			p := call(c, "m:f")
			first, second := waitResult(p, within(t)), waitResult(p, within(t))
			g := f.expect(1, wire.Call)
			p.Cancel()
			p.Cancel()
			f.expect(1, wire.Cancel)
			tt.answer(f, g)
			_, _, last := p.Result(within(t))
			for i, err := range []error{soon(t, first), soon(t, second), last} {
				if !isAll(err, ErrCancelled, context.Canceled) || errors.Is(err, ErrKilled) != tt.killed {
					t.Errorf("wait %d: got %v, want cancelled, killed %v", i, err, tt.killed)
				}
				if err != last {
					t.Errorf("wait %d: got %v, want %v", i, err, last)
				}
			}
			if tt.killed {
				waitFor(t, "the kill", f.wasKilled)
			} else if c.Err() != nil {
				t.Errorf("the context is gone: %v", c.Err())
			}
		})
	}
}

// Cancel ends a call in a context that isn't up, and takes nothing back that has come.
func TestPendingCancelWithoutAnAnswer(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Grace: time.Hour})
	c, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := call(c, "m:f")
	f := <-fakes
	f.expect(1, wire.Call)
	p.Cancel()
	if _, err := result(t, p); !errors.Is(err, ErrCancelled) {
		t.Errorf("before HELLO: got %v, want %v", err, ErrCancelled)
	}
	f.expect(1, wire.Cancel)
	f.hello(1)
	p = call(c, "m:f")
	f.reply(f.expect(1, wire.Call), wire.Data, encode(t, 5))
	<-p.Done()
	p.Cancel()
	if v, err := result(t, p); v != int64(5) {
		t.Errorf("after the result: got %v, %v, want 5", v, err)
	}
	f.quiet(1)
}

// A waiter that stops leaves the call to the remaining waiters. The end of the last waiter ends the
// call.
func TestWaitersLeaveTheCallToOthers(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Grace: time.Hour})
	c, f := connected(t, e, fakes)
	for _, others := range []int{0, 1, 3} {
		p := call(c, "m:f")
		g := f.expect(1, wire.Call)
		var rest []<-chan error
		for range others {
			rest = append(rest, waitResult(p, within(t)))
		}
		waitFor(t, "the others to wait", func() bool { return int(p.waiters.Load()) == others })
		ctx, cancel := context.WithCancelCause(context.Background())
		leaver := waitResult(p, ctx)
		waitFor(t, "all to wait", func() bool { return int(p.waiters.Load()) == others+1 })
		cause := errors.New("enough")
		cancel(cause)
		if others == 0 {
			f.expect(1, wire.Cancel)
			f.interrupted(g)
		}
		if err := soon(t, leaver); !isAll(err, ErrCancelled, cause, context.Canceled) {
			t.Errorf("%d others: got %v, want cancelled, its cause and canceled", others, err)
		}
		if others == 0 {
			continue
		}
		f.quiet(1)
		f.reply(g, wire.Data, nil)
		for _, err := range rest {
			if err := soon(t, err); err != nil {
				t.Errorf("%d others: one of them got %v", others, err)
			}
		}
	}
}

// An answer that waits for a writer is an answer: its context lives on.
func TestCancelBehindABlockedWriter(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Grace: 20 * time.Millisecond})
	c, f := connected(t, e, fakes)
	free := make(chan struct{})
	c.outbox.stdout = writerFunc(func([]byte) { <-free })
	ctx, cancel := context.WithCancel(context.Background())
	p := call(c, "m:f")
	g := f.expect(1, wire.Call)
	f.send(wire.Frame{Src: 1, Handle: wire.Stdout, Payload: []byte("out")})
	f.reply(g, wire.Data, nil)
	f.quiet(1)
	cancel()
	_, _, err := p.Result(ctx)
	if !errors.Is(err, ErrCancelled) || errors.Is(err, ErrKilled) || c.Err() != nil {
		t.Errorf("got %v and a context with %v, want cancelled, and nothing killed", err, c.Err())
	}
	close(free)
}

type writerFunc func([]byte)

func (w writerFunc) Write(b []byte) (int, error) { w(b); return len(b), nil }

// Close lets the calls that were made before it end, in their order, and takes no further calls.
func TestCloseFinishesCalls(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	for name, early := range map[string]bool{"up": false, "coming up": true} {
		c, err := e.Start("local", ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		f := <-fakes
		var calls []*Pending
		start := func() {
			for range 3 {
				calls = append(calls, call(c, "m:f"))
			}
		}
		if early {
			start()
		}
		f.raw([]byte("MITO-EC0\n"))
		f.hello(c.id)
		if !early {
			if err := c.Connected(within(t)); err != nil {
				t.Fatal(err)
			}
			start()
		}
		closed := later(c.Close)
		waitFor(t, "Close", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return c.life.ending })
		if _, err := result(t, call(c, "m:late")); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: a later call: got %v, want %v", name, err, ErrClosed)
		}
		for i := range calls {
			f.reply(f.expect(c.id, wire.Call), wire.Data, encode(t, i))
		}
		for i, p := range calls {
			if v, err := result(t, p); v != int64(i) {
				t.Errorf("%s: call %d: got %v, %v", name, i, v, err)
			}
		}
		f.expect(c.id, wire.Shutdown)
		f.exit(methods.Failure{What: methods.WhatExit})
		soon(t, closed)
	}
}

// Calls that don't end are waited for in vain, and not for long; other requests aren't waited for.
func TestCloseEndsCalls(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	p := call(c, "m:f")
	f.expect(1, wire.Call)
	soon(t, later(c.Close))
	if _, err := result(t, p); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	waitFor(t, "the kill", f.wasKilled)
}

// A hop that was closed lives on for the contexts behind it. It takes no calls until a caller
// shares it again.
func TestCloseOfAHopRefusesCalls(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	hop, f := connected(t, e, fakes)
	behind, err := e.Start("local+sudo", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.connect(1)
	hop.Close()
	if _, err := result(t, call(hop, "m:f")); !errors.Is(err, ErrClosed) {
		t.Errorf("call: got %v, want %v", err, ErrClosed)
	}
	if _, err := hop.Programs.Run(within(t), sleeper); !errors.Is(err, ErrClosed) {
		t.Errorf("run: got %v, want %v", err, ErrClosed)
	}
	if hop.Err() != nil || behind.Err() != nil {
		t.Error("closed too early:", hop.Err(), behind.Err())
	}
	again, err := e.Start("local", ConnectOptions{})
	if err != nil || again != hop {
		t.Fatal("not shared:", err)
	}
	p := call(hop, "m:f")
	g := f.next()
	for g.Handle != wire.Call {
		g = f.next()
	}
	f.reply(g, wire.Data, nil)
	if _, err := result(t, p); err != nil {
		t.Errorf("shared again: %v", err)
	}
}

// A Run that waits for another one heeds its ctx, the end of the context, and Close.
func TestRunHeedsItsContext(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(c *Context, f *fake, cancel func())
		want error
	}{
		"ctx":           {func(_ *Context, _ *fake, cancel func()) { cancel() }, ErrCancelled},
		"close":         {func(c *Context, _ *fake, _ func()) { go c.Close() }, ErrClosed},
		"closed engine": {func(c *Context, _ *fake, _ func()) { go c.e.Close() }, ErrClosed},
		"lost":          {func(_ *Context, f *fake, _ func()) { f.Kill() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{Grace: time.Millisecond})
			c, f := connected(t, e, fakes)
			first := later(func() error { _, err := c.Programs.Run(within(t), sleeper); return err })
			for f.next().Handle != wire.Call {
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			second := later(func() error { _, err := c.Programs.Run(ctx, sleeper); return err })
			f.quiet(1)
			tt.end(c, f, cancel)
			err := soon(t, second)
			lost := (*report.LostError)(nil)
			if !errors.Is(err, tt.want) && (tt.want != nil || !errors.As(err, &lost)) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if name == "ctx" && len(first) > 0 {
				t.Errorf("the first one has ended: %v", <-first)
			}
			e.Close()
			soon(t, first)
		})
	}
}

// A caller whose module waits for a window doesn't hold up a caller with a ctx.
func TestCallHeedsItsContextBehindAModule(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	big := make([]byte, 2<<20)
	loaded := later(func() error { return c.Supply.Load(e.work.base, "big", bytes.Clone(big)) })
	f.expect(1, wire.LoadModule)
	for name, do := range map[string]func(context.Context) error{
		"fork": func(ctx context.Context) error { _, err := c.Tunnels.Fork(ctx, nil); return err },
		"load": func(ctx context.Context) error { return c.Supply.Load(ctx, "small", nil) },
		"module": func(ctx context.Context) error {
			return c.Supply.prepare(ctx, e.library.ofCall(spawnModule))
		},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := soon(t, later(func() error { return do(ctx) }))
		if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want %v", name, err, ErrCancelled)
		}
		cancel()
	}
	e.Close()
	if err := soon(t, loaded); err == nil {
		t.Error("a module that wasn't taken was sent")
	}
}

// The error of a wait for a connect says whose, which hop it is at, and what that is about.
func TestConnectGivenUp(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, err := e.Start("local+sudo", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("no time")
	check := func(hop, phase string) {
		t.Helper()
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Millisecond, cause)
		defer cancel()
		_, ping := c.Calls.Ping(ctx)
		for _, err := range []error{c.Connected(ctx), ping} {
			failed := (*connect.Error)(nil)
			if !errors.As(err, &failed) {
				t.Fatalf("got %v, want a connect.Error", err)
			}
			if failed.Hop != hop || failed.Phase != phase || failed.Target != "local+sudo" {
				t.Errorf("got %v, want local+sudo at %s, %s", err, hop, phase)
			}
			if !isAll(err, ErrCancelled, context.DeadlineExceeded, cause) {
				t.Errorf("got %v, want cancelled, its cause and the deadline", err)
			}
		}
	}
	f := <-fakes
	reached := func(what string, phase func() bool) {
		waitFor(t, what, func() bool { e.mu.Lock(); defer e.mu.Unlock(); return phase() })
	}
	reached("the start", func() bool { return c.parent.figures.count.phases.Spawn > 0 })
	check("local", connect.PhaseLogin)
	f.raw([]byte("MITO-EC0\n"))
	reached("EC0", func() bool { return c.parent.figures.count.phases.EC0 > 0 })
	check("local", connect.PhasePython)
	f.hello(1)
	f.connect(1)
	reached("CONNECT", func() bool { return c.figures.count.phases.Spawn > 0 && c.parent.hello.up })
	check("local+sudo", connect.PhaseLogin)
}
