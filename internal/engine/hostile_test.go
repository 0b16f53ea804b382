package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// flood sends what make returns until the context is gone, at most n times.
func (f *fake) flood(n int, make func(i int) wire.Frame) {
	var b []byte
	for i := 0; i < n; i++ {
		g := make(i)
		g.Auth = g.Src
		if b = g.Append(b); len(b) > 64<<10 || i == n-1 {
			if _, err := f.out.Write(b); err != nil {
				return
			}
			b = b[:0]
		}
	}
}

// lostFor waits until c is gone and fails unless that was because of why.
func lostFor(t *testing.T, c *Context, why string) {
	t.Helper()
	select {
	case <-c.Done():
	case <-within(t).Done():
		t.Fatalf("%s is not ended", c.Name())
	}
	var lost *report.LostError
	if !errors.As(c.Err(), &lost) || !strings.Contains(lost.Reason, why) {
		t.Errorf("%s ended with %v, want %q", c.Name(), c.Err(), why)
	}
}

// works fails unless a call to c is answered.
func works(t *testing.T, c *Context, f *fake) {
	t.Helper()
	go func() {
		for g := f.next(); ; g = f.next() {
			if g.Handle == wire.Call && g.Src == 0 && g.Reply != 0 {
				f.reply(g, wire.Data, encode(t, 7))
				return
			}
		}
	}()
	p := call(c, "m:f")
	if v, err := result(t, p); v != int64(7) {
		t.Errorf("call in %s: got %v, %v; want 7", c.Name(), v, err)
	}
}

// A context may ask for refused things and not read the refusals. That harms neither the engine nor
// the context that it asks for.
func TestFloodOfQuestions(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	bad, badFake := connected(t, e, fakes)
	good, goodFake := connected(t, e, fakes)
	gone, _ := connected(t, e, fakes)
	e.tree.lose(gone, ErrClosed, true)
	badFake.flood(1_000_000, func(i int) wire.Frame { // which an honest one may do, before it knows
		return wire.Frame{Src: bad.id, Dst: gone.id, Handle: wire.Call, Reply: wire.Handle(1000 + i),
			Payload: []byte("os:getpid\x00")}
	})
	convictedFor(t, bad, report.CodeUnread)
	works(t, good, goodFake)
}

// If a context sends to another context that doesn't read, the engine ends the sender.
func TestFloodOfAnother(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	bad, badFake := connected(t, e, fakes)
	good, goodFake := connected(t, e, fakes)
	if err := e.Allow(bad, good); err != nil {
		t.Fatal(err)
	}
	badFake.flood(30_000, func(int) wire.Frame {
		return wire.Frame{Src: bad.id, Dst: good.id, Handle: wire.Call, Payload: make([]byte, 4000)}
	})
	lostFor(t, bad, "more than")
	works(t, good, goodFake)
}

// Frames for a context that isn't connected yet are bounded as well.
func TestFloodOfUnconnected(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	bad, badFake := connected(t, e, fakes)
	// The password waits for the hop's HELLO, and all that goes behind it.
	var o ConnectOptions
	o.Sudo.Password = "secret"
	good := start(t, e, "sudo:a+sudo", o)
	<-fakes
	if err := e.Allow(bad, good); err != nil {
		t.Fatal(err)
	}
	badFake.flood(1000, func(int) wire.Frame {
		return wire.Frame{Src: bad.id, Dst: good.id, Handle: wire.Call,
			Payload: make([]byte, wire.MaxPayload)}
	})
	lostFor(t, bad, "more than")
	if good.Err() != nil {
		t.Error(good.Err())
	}
}

func TestEmptyFrames(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	f.send(wire.Frame{Src: c.id, Handle: wire.Stdout})
	lostFor(t, c, "window")
}

// blocked is a writer and a log handler that take nothing.
type blocked chan struct{}

func (b blocked) Write(p []byte) (int, error)                   { <-b; return len(p), nil }
func (b blocked) Enabled(context.Context, slog.Level) bool      { return true }
func (b blocked) Handle(_ context.Context, r slog.Record) error { <-b; return nil }
func (b blocked) WithAttrs([]slog.Attr) slog.Handler            { return b }
func (b blocked) WithGroup(string) slog.Handler                 { return b }

// Frames of a context that nothing listens to are bounded in number, not only in bytes.
func TestManySmallFrames(t *testing.T) {
	for name, test := range map[string]struct {
		frame wire.Frame
		ends  bool
	}{
		"output":  {wire.Frame{Handle: wire.Stdout, Payload: []byte("x")}, false},
		"records": {wire.Frame{Handle: wire.Log, Payload: someRecord}, false},
		"modules": {wire.Frame{Handle: wire.GetModule, Payload: []byte("a\x00b")}, true},
		"noise":   {wire.Frame{Handle: wire.Call}, true},
	} {
		t.Run(name, func(t *testing.T) {
			deaf := make(blocked)
			e, fakes := fakeEngine(t, Options{Logger: slog.New(deaf)})
			defer close(deaf)
			c, f := connected(t, e, fakes)
			c.Programs.redirect(deaf, io.Discard, nil)
			test.frame.Src = c.id
			f.flood(200_000, func(int) wire.Frame { return test.frame })
			if test.ends {
				convictedFor(t, c, report.CodeOffences)
			} else {
				f.quiet(c.id)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if n := len(c.outbox.queue); n > 5000 {
				t.Errorf("%d events are kept", n)
			}
		})
	}
}
