package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// A stream whose ctx ends while the end of its call is being told has a value or an error: never an
// end that looks like a whole stream.
func TestStreamEndsWithItsContext(t *testing.T) {
	raised := encode(t, pyvalue.Tuple{"builtins", "ValueError", "bad", "", nil})
	for name, tt := range map[string]struct {
		kind    wire.Kind
		payload []byte
		items   int // that came before, and after Next has looked
		err     error
	}{
		"value":     {wire.Data, seven, 0, nil},
		"exception": {wire.Error, raised, 0, nil},
		"refused":   {wire.Dead, []byte("no such handle"), 0, nil},
		"items":     {wire.Data, nil, 2, nil},
		"lost":      {wire.Dead, nil, 0, &report.LostError{Context: "c", Hop: "c", Reason: "gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, _ := connected(t, e, fakes)
			p := newCall(c, "", "m:f", true)
			telling, told := make(chan struct{}), make(chan struct{})
			p.told = func(int, error) { close(telling); <-told }
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			type next struct {
				ok  bool
				err error
			}
			waits := later(func() next { _, ok, err := p.Next(ctx); return next{ok, err} })
			go p.answer.finish(tt.kind, tt.payload, tt.err)
			soon(t, telling)
			cancel()
			time.Sleep(20 * time.Millisecond) // in which Next sees that
			for range tt.items {
				p.answer.mu.Lock()
				p.answer.items = append(p.answer.items, item{payload: seven})
				p.answer.mu.Unlock()
			}
			close(told)
			if got := soon(t, waits); !got.ok && got.err == nil {
				t.Error("got the end of the stream, want a value or an error")
			}
		})
	}
}

// A context's own Writer that fails while nothing runs is told of once, and is no offence of the
// context.
func TestWriterFailsWhileNothingRuns(t *testing.T) {
	out, errs := report.WriteStdout, report.WriteStderr
	for name, tt := range map[string]struct {
		ops  []string // of the Writers that fail
		same bool     // they are one
	}{
		"output":      {[]string{out}, false},
		"errors":      {[]string{errs}, false},
		"two Writers": {[]string{out, errs}, false},
		"one Writer":  {[]string{out, errs}, true},
	} {
		t.Run(name, func(t *testing.T) {
			text := &lockedBuffer{}
			e, fakes := fakeEngine(t, Options{Logger: slog.New(slog.NewTextHandler(text, nil))})
			first := &failingWriter{errors.New("disk full")}
			second := &failingWriter{errors.New("broken pipe")}
			if tt.same {
				second = first
			}
			o := ConnectOptions{}
			for _, op := range tt.ops {
				if op == out {
					o.Stdout = first
				} else {
					o.Stderr = second
				}
			}
			c := start(t, e, "local", o)
			f := <-fakes
			f.hello(c.id)
			if err := c.Connected(within(t)); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				f.send(wire.Frame{Src: c.id, Handle: wire.Stdout, Payload: []byte("x")})
				f.send(wire.Frame{Src: c.id, Handle: wire.Stderr, Payload: []byte("y")})
				time.Sleep(time.Millisecond) // so that they aren't put together
			}
			waitFor(t, "what is written to be handed over", func() bool {
				e.mu.Lock()
				defer e.mu.Unlock()
				return c.figures.count.framesUp >= 41 && !c.outbox.busy
			})
			c.outbox.records.Settle(patience)
			for _, op := range tt.ops {
				if n := strings.Count(text.String(), op); n != 1 {
					t.Errorf("%s: told of %d times, want once:\n%s", op, n, text)
				}
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if c.conduct.offences != 0 || c.conduct.account.units != 0 {
				t.Errorf("got %d offences and %d units, want none", c.conduct.offences, c.conduct.account.units)
			}
		})
	}
}

type failingWriter struct{ err error }

func (w *failingWriter) Write([]byte) (int, error) { return 0, w.err }

// What is begun while the engine closes, and Close waits already, doesn't happen.
func TestNothingBeginsWhileClosing(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, _ := connected(t, e, fakes)
	made := filepath.Join(t.TempDir(), "made")
	e.mu.Lock()
	e.tree.closed = true
	e.mu.Unlock()
	for name, begin := range map[string]func() error{
		"exec": func() error {
			_, _, err := e.Exec(within(t), "local", ConnectOptions{}, Command{Args: []string{"touch", made}})
			return err
		},
		"exec with input": func() error {
			_, _, err := e.Exec(within(t), "local", ConnectOptions{},
				Command{Args: []string{"tee", made}, Stdin: strings.NewReader("x")})
			return err
		},
		"connect": func() error {
			_, err := e.Start("local", ConnectOptions{})
			return err
		},
		"send": func() error {
			return e.Send(within(t), pickle.NewSender(e.identity, uint32(c.id), 1000), 1)
		},
	} {
		if err := begin(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: got %v, want %v", name, err, ErrClosed)
		}
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("a program was run while the engine closed")
	}
	e.mu.Lock()
	e.tree.closed = false // for the cleanup
	e.mu.Unlock()
}

// What is given up leaves nothing in the context's list of what it was asked.
func TestNothingIsKeptOfWhatIsGivenUp(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	go f.swallow()
	handle := uint32(1000)
	// the first to a receiver, which is to be answered
	send := func(ctx context.Context, v any) error {
		handle++
		return e.Send(ctx, pickle.NewSender(e.identity, uint32(c.id), handle), v)
	}
	for name, ask := range map[string]func(ctx context.Context) error{
		"ping": func(ctx context.Context) error {
			_, err := c.Calls.Ping(ctx)
			return err
		},
		"first send": func(ctx context.Context) error { return send(ctx, 1) },
		"first send of what is large": func(ctx context.Context) error {
			return send(ctx, make([]byte, 3*wire.Window))
		},
	} {
		for range 3 {
			ctx, cancel := context.WithTimeout(within(t), 10*time.Millisecond)
			if err := ask(ctx); !errors.Is(err, ErrCancelled) {
				t.Errorf("%s: got %v, want %v", name, err, ErrCancelled)
			}
			cancel()
		}
		e.mu.Lock()
		asked := 0
		for range e.router.Asked(c.id) {
			asked++
		}
		if c.Calls.open.n > 0 || asked > 0 || c.Calls.calling != 0 {
			t.Errorf("%s: %d requests are kept as open, and %d by the router, want none", name,
				c.Calls.open.n, asked)
		}
		c.Calls.open.clear()
		e.mu.Unlock()
	}
}

// A module of which a ctx has cut off the second half is taken back: what comes next isn't appended
// to it.
func TestHalfAModuleIsTakenBack(t *testing.T) {
	large := make([]byte, 3*wire.Window)
	for _, name := range []string{"another", "half"} { // which is sent next
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			ctx, cancel := context.WithCancel(within(t))
			loaded := later(func() error { return c.Supply.Load(ctx, "half", large) })
			for sent := 0; sent < wire.Window; {
				g := f.expect(c.id, wire.LoadModule)
				sent += len(g.Payload)
			}
			cancel()
			if err := soon(t, loaded); !errors.Is(err, ErrCancelled) {
				t.Errorf("got %v, want %v", err, ErrCancelled)
			}
			if g := f.expect(c.id, wire.LoadModule); g.Kind != wire.Part || len(g.Payload) > 0 {
				t.Errorf("engine sent %v with %d bytes, want that the half is given up", g, len(g.Payload))
			}
			loaded = later(func() error { return c.Supply.Load(within(t), name, []byte("x")) })
			if err := soon(t, loaded); err != nil {
				t.Error(err)
			}
			c.root.stream.Kick()
			if g := f.expect(c.id, wire.LoadModule); g.Kind != wire.Data ||
				!strings.HasPrefix(string(g.Payload), name+"\x00") {
				t.Errorf("engine sent %v %.20q, want the module %s", g, g.Payload, name)
			}
		})
	}
	t.Run("nothing was sent", func(t *testing.T) {
		e, fakes := fakeEngine(t, Options{})
		c, f := connected(t, e, fakes)
		e.mu.Lock()
		for ok := true; ok; { // another one has the window
			ok, _ = e.router.Reserve(c.id, 0, wire.MaxPayload)
		}
		e.mu.Unlock()
		ctx, cancel := context.WithTimeout(within(t), 10*time.Millisecond)
		defer cancel()
		if err := c.Supply.Load(ctx, "whole", large); !errors.Is(err, ErrCancelled) {
			t.Errorf("got %v, want %v", err, ErrCancelled)
		}
		f.quiet(c.id)
	})
}

// An Audit that blocks holds up an Exec no longer than its ctx, or the engine.
func TestAuditOfExecBlocks(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(cancel func(), e *Engine)
		errors []error
	}{
		"ctx":    {func(cancel func(), _ *Engine) { cancel() }, []error{ErrCancelled, context.Canceled}},
		"engine": {func(_ func(), e *Engine) { go e.Close() }, []error{ErrClosed}},
		"both":   {func(cancel func(), e *Engine) { cancel(); go e.Close() }, []error{ErrCancelled}},
	} {
		// at which it blocks
		for _, last := range []report.EventKind{report.EventConnect, report.EventExec} {
			t.Run(fmt.Sprint(name, " at ", last), func(t *testing.T) {
				began, free := make(chan struct{}), make(chan struct{})
				e, err := New(Options{Logger: slog.New(slog.DiscardHandler),
					Audit: func(ev report.Event) error {
						if ev.Kind == last {
							close(began)
							<-free
						}
						return nil
					}})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				defer close(free)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				done := later(func() error {
					_, _, err := e.Exec(ctx, "local", ConnectOptions{},
						Command{Args: []string{"true"}, Stdout: io.Discard})
					return err
				})
				soon(t, began)
				tt.end(cancel, e)
				if err := soon(t, done); !isAll(err, tt.errors...) {
					t.Errorf("got %v, want %v", err, tt.errors)
				}
			})
		}
	}
}

// The answers to a PING and to the first value that is sent to a receiver are one frame, and what
// is kept of them counts as memory.
func TestAnswersWithoutAValue(t *testing.T) {
	asks := map[string]func(e *Engine, c *Context){
		"ping": func(_ *Engine, c *Context) { c.Calls.Ping(context.Background()) },
		"send": func(e *Engine, c *Context) {
			e.Send(context.Background(), pickle.NewSender(e.identity, uint32(c.id), 1000), 1)
		},
		"beat": func(e *Engine, c *Context) {
			e.mu.Lock()
			c.figures.pingLocked(&beatPing{c})
			e.unlock()
		},
	}
	for name, ask := range asks {
		for what, tt := range map[string]struct {
			kind wire.Kind
			size int
			rule route.Rule
		}{
			"parts": {wire.Part, wire.MaxPayload, route.ValueSize},
			"items": {wire.Item, 1000, route.PortMemory},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				e, fakes := fakeEngine(t, Options{MaxMemory: 2 * leastMessage})
				c, f := connected(t, e, fakes)
				go ask(e, c)
				var g wire.Frame
				for g.Reply == 0 {
					g = f.next()
				}
				n := 2 // frames
				if tt.kind == wire.Item {
					n = 2*leastMessage/(tt.size+64) + 2
				}
				f.flood(n, func(int) wire.Frame {
					return wire.Frame{Src: c.id, Handle: g.Reply, Kind: tt.kind, Payload: make([]byte, tt.size)}
				})
				convictedFor(t, c, string(tt.rule))
			})
		}
	}
}
