package engine

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// asking is a log handler whose Enabled uses the engine, like a handler that shows the number of
// contexts.
type asking struct {
	slog.Handler
	engine chan *Engine // holds one, once there is one
}

func (h asking) Enabled(context.Context, slog.Level) bool {
	select {
	case e := <-h.engine:
		h.engine <- e
		e.Contexts()
	default:
	}
	return true
}

// A caller's handler is never asked under the engine's lock, whatever the record is about.
func TestHandlerIsAskedOutsideOfTheLock(t *testing.T) {
	for name, what := range map[string]func(e *Engine, c *Context, f *fake){
		"modules given": func(_ *Engine, c *Context, f *fake) {
			call(c, "own:f")
			for g := f.next(); g.Handle != wire.Call; g = f.next() {
			}
		},
		"module refused": func(_ *Engine, c *Context, f *fake) {
			f.send(wire.Frame{Src: c.id, Handle: wire.GetModule, Payload: []byte("nothing")})
		},
		"file refused": func(_ *Engine, c *Context, f *fake) {
			f.send(wire.Frame{Src: c.id, Handle: wire.GetFile, Reply: 2000, Payload: []byte("rown\x00none")})
		},
		"frame refused": func(_ *Engine, c *Context, f *fake) {
			f.send(wire.Frame{Src: c.id, Handle: 99})
		},
		"under the lock": func(e *Engine, _ *Context, _ *fake) {
			e.mu.Lock()
			e.log.Warn("under the lock")
			e.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := &lockedBuffer{}
			h := asking{slog.NewTextHandler(text, nil), make(chan *Engine, 1)}
			e, fakes := fakeEngine(t, Options{Logger: slog.New(h),
				Modules: ModuleOptions{Path: files("own.py: x = 1")}})
			c, f := connected(t, e, fakes)
			h.engine <- e
			soon(t, later(func() error { what(e, c, f); return nil }))
			waitFor(t, name, func() bool { return strings.Contains(text.String(), name) })
		})
	}
}

// A context can't have what it was asked refused as a receiver refuses values: that is an offence,
// and the request goes on.
func TestRequestsAreNotReceivers(t *testing.T) {
	for name, flow := range map[string]func(g wire.Frame) wire.Handle{
		"reply handle of the call": func(g wire.Frame) wire.Handle { return g.Reply },
		"another handle":           func(g wire.Frame) wire.Handle { return g.Reply + 1 },
		"standard input":           func(wire.Frame) wire.Handle { return wire.Stdin },
		"modules":                  func(wire.Frame) wire.Handle { return wire.LoadModule },
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			done := later(func() error {
				_, _, err := c.Calls.Go(within(t), "m:f", []any{make([]byte, 2*wire.Window)}, nil,
					false).Result(within(t))
				return err
			})
			var g wire.Frame
			for sent := 0; sent < wire.Window; sent += len(g.Payload) {
				g = f.expect(c.id, wire.Call)
			}
			f.send(wire.Frame{Src: c.id, Handle: wire.Credit, Payload: wire.AppendCredit(nil, flow(g), 0)})
			f.send(wire.Frame{Src: c.id, Handle: wire.Credit,
				Payload: wire.AppendCredit(nil, g.Reply, wire.Window)})
			for g.Kind == wire.Part {
				g = f.expect(c.id, wire.Call)
				f.send(wire.Frame{Src: c.id, Handle: wire.Credit,
					Payload: wire.AppendCredit(nil, g.Reply, uint32(len(g.Payload)))})
			}
			f.reply(g, wire.Data, seven)
			if err := soon(t, done); err != nil {
				t.Errorf("got %v, want the result", err)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if c.Calls.calling != 0 || c.Calls.open.n > 0 || c.err != nil {
				t.Errorf("%d calls and %d requests are open, context: %v", c.Calls.calling,
					c.Calls.open.n, c.err)
			}
			if offended := c.conduct.offences > 0; offended != (name == "reply handle of the call") {
				t.Errorf("%d offences", c.conduct.offences)
			}
		})
	}
}

// A PING is answered by the last frame of its answer, not by one before it.
func TestBeatIsAnsweredOnce(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	e.mu.Lock()
	c.figures.pingLocked(&beatPing{c})
	c.figures.beat.asked = true
	e.unlock()
	g := f.expect(c.id, wire.Ping)
	asked := func() bool {
		f.quiet(c.id)
		e.mu.Lock()
		defer e.mu.Unlock()
		return c.figures.beat.asked
	}
	for _, kind := range []wire.Kind{wire.Part, wire.Item} {
		f.send(wire.Frame{Src: c.id, Handle: g.Reply, Kind: kind, Payload: []byte("x")})
		if !asked() {
			t.Errorf("a frame of kind %s was taken for the answer", kind)
		}
	}
	f.send(wire.Frame{Src: c.id, Handle: g.Reply})
	if asked() {
		t.Error("the answer was not taken")
	}
}
