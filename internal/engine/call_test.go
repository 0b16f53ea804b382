package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// A context can be called before it has said anything: the call stands right behind the boot.
func TestCallBeforeHello(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Modules: ModuleOptions{Path: []fs.FS{fstest.MapFS{
		"own/__init__.py": {}, "own/mod.py": {Data: []byte("x = 1")}}}}})
	c, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Calls.Go(within(t), "own.mod:f", []any{"a", []byte("b")}, map[string]any{"k": 1}, false)
	f := <-fakes
	f.enable(1)
	answers, ids := f.coming(1)
	text, id := f.bundle(1)
	if answers != 0 || len(ids) != 1 || ids[0] != id {
		t.Error(answers, ids, id)
	}
	for _, want := range []string{"own\x00/dev/null/embedded/own/__init__.py\x00p",
		"own.mod\x00/dev/null/embedded/own/mod.py\x00mx = 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("bundle %q, want %q", text, want)
		}
	}
	g := f.expect(1, wire.Call)
	target, args, err := wire.ParseCall(g.Payload)
	if err != nil || target != "own.mod:f" || string(args[:2]) != "\x80\x02" {
		t.Errorf("call %q %q: %v", target, args, err)
	}
	f.hello(1)
	f.reply(g, wire.Data, encode(t, 42))
	if v, err := result(t, p); v != int64(42) {
		t.Errorf("got %v, %v", v, err)
	}
	// Now it is known what reads the next one, and the module is there.
	q := c.Calls.Go(within(t), "own.mod:f", []any{1}, nil, false)
	g = f.expect(1, wire.Call)
	if _, args, _ := wire.ParseCall(g.Payload); string(args[:2]) != "\x80\x04" {
		t.Errorf("arguments %q", args)
	}
	f.reply(g, wire.Data, nil)
	if v, err := result(t, q); v != nil || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestErrors(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	p := call(c, "m:f")
	f.reply(f.expect(1, wire.Call), wire.Error,
		encode(t, pyvalue.Tuple{"builtins", "ValueError", "no", "Traceback…", pyvalue.Tuple{"no", 1}}))
	_, err := result(t, p)
	ce := (*report.CallError)(nil)
	if !errors.As(err, &ce) || ce.Type != "ValueError" || ce.Text != "no" || len(ce.Args) != 2 ||
		ce.Error() != "ValueError: no" {
		t.Errorf("raise ValueError: got %#v, want a CallError with its type, text and arguments", err)
	}
	p = call(c, "m:f")
	f.reply(f.expect(1, wire.Call), wire.Dead, []byte("because"))
	if _, err := result(t, p); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("dead answer: got %v, want an error with \"because\"", err)
	}
	for _, payload := range []string{"", "garbage", "\x80\x02N."} {
		p = call(c, "m:f")
		f.reply(f.expect(1, wire.Call), wire.Error, []byte(payload))
		if _, err := result(t, p); err == nil {
			t.Errorf("error %q is none", payload)
		}
	}
	for _, target := range []string{"", "m", "m\x00:f"} {
		if _, err := result(t, call(c, target)); err == nil {
			t.Errorf("called %q", target)
		}
	}
	if _, err := result(t,
		c.Calls.Go(within(t), "m:f", []any{make(chan int)}, nil, false)); err == nil {
		t.Error("a channel is no value")
	}
	f.quiet(1)
}

// A value larger than a frame goes in parts, and no further than its window.
func TestLargeCall(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	big := strings.Repeat("x", 5<<19)
	done := make(chan *Pending)
	go func() { done <- c.Calls.Go(context.Background(), "m:f", []any{big}, nil, false) }()
	sent, value := 0, 0
	for {
		g := f.expect(1, wire.Call)
		value += len(g.Payload)
		if g.Kind == wire.Data {
			f.reply(g, wire.Data, nil)
			break
		}
		if sent += len(g.Payload); sent >= wire.Window {
			f.quiet(1)
			f.send(wire.Frame{Src: 1, Handle: wire.Credit,
				Payload: wire.AppendCredit(nil, g.Reply, uint32(sent))})
			sent = 0
		}
	}
	if value < 5<<19 {
		t.Errorf("%d bytes came", value)
	}
	if _, err := result(t, <-done); err != nil {
		t.Error(err)
	}
}

// An answer in parts is put together, and its window given back.
func TestLargeAnswer(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	p := call(c, "m:f")
	g := f.expect(1, wire.Call)
	b := encode(t, strings.Repeat("y", 3<<20))
	credit := 0
	for part := range (wire.Frame{Src: 1, Handle: g.Reply, Payload: b}).Split() {
		f.send(part)
	}
	for credit < 2<<20 {
		h := f.expect(1, wire.Credit)
		flow, n, err := wire.ParseCredit(h.Payload)
		if flow != g.Reply || err != nil {
			t.Fatal(flow, err)
		}
		credit += int(n)
	}
	if v, err := result(t, p); err != nil || len(v.(string)) != 3<<20 {
		t.Error(err)
	}
}

// At most a MiB of calls waits in a context.
func TestUnansweredCalls(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	const calls, size = 30, 100 << 10
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if _, err := result(t, c.Calls.Go(within(t), "m:f", []any{make([]byte, size)}, nil,
				false)); err != nil {
				t.Error(err)
			}
		})
	}
	var waiting []wire.Frame
	for range wire.Window / size {
		waiting = append(waiting, f.expect(1, wire.Call))
	}
	f.quiet(1)
	for _, g := range waiting {
		f.reply(g, wire.Data, nil)
	}
	for range calls - len(waiting) {
		f.reply(f.expect(1, wire.Call), wire.Data, nil)
	}
	wg.Wait()
}

func TestCancel(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	ctx, cancel := context.WithCancel(context.Background())
	p := c.Calls.Go(ctx, "m:f", nil, nil, false)
	g := f.expect(1, wire.Call)
	go cancel()
	go func() {
		h := f.expect(1, wire.Cancel)
		if n, _ := wire.ParseU32[wire.Handle](h.Payload); n != g.Reply {
			t.Errorf("cancels %d, not %d", n, g.Reply)
		}
		f.reply(g, wire.Error, encode(t,
			pyvalue.Tuple{"builtins", "KeyboardInterrupt", "", "", pyvalue.Tuple{}}))
	}()
	_, _, err := p.Result(ctx)
	ce := (*report.CallError)(nil)
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) ||
		errors.Is(err, ErrKilled) || !errors.As(err, &ce) {
		t.Errorf("cancelled call: got %v, want ErrCancelled without ErrKilled, as a CallError", err)
	}
	if c.Err() != nil {
		t.Errorf("context is gone: %v", c.Err())
	}
}

// What doesn't end when it is cancelled is killed, and that is said.
func TestCancelKills(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Grace: 20 * time.Millisecond})
	c, f := connected(t, e, fakes)
	other := call(c, "m:other")
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err := c.Calls.Go(context.Background(), "m:f", nil, nil, false).Result(ctx)
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) ||
		!errors.Is(err, ErrKilled) {
		t.Errorf("call past its deadline: got %v, want ErrCancelled and ErrKilled", err)
	}
	lost := (*report.LostError)(nil)
	if _, err := result(t, other); !errors.As(err, &lost) ||
		!strings.Contains(lost.Reason, "m:f did not end") {
		t.Errorf("the other call: got %v, want a LostError that names m:f", err)
	}
	<-c.Done()
	waitFor(t, "the kill", f.wasKilled)
}

// A call to a context that isn't up has nothing to be interrupted: it is given up, and the context
// lives on.
func TestCancelBeforeHello(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Grace: time.Hour})
	c, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err = call(c, "m:f").Result(ctx)
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("call past its deadline: got %v, want ErrCancelled", err)
	}
	f := <-fakes
	g := f.expect(1, wire.Call)
	f.expect(1, wire.Cancel)
	f.hello(1)
	f.reply(g, wire.Error, nil)
	f.quiet(1)
}

// Items come one by one; who doesn't take them isn't sent more than a window.
func TestStream(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	p := c.Calls.Go(within(t), "m:f", nil, nil, true)
	g := f.expect(1, wire.Call)
	item := encode(t, make([]byte, 100<<10))
	for range 10 {
		f.reply(g, wire.Item, item)
	}
	f.quiet(1) // no credit: nothing has been taken
	for i := range 10 {
		if _, ok, err := p.Next(within(t)); !ok || err != nil {
			t.Fatal(i, ok, err)
		}
	}
	total := 0
	for total < 700<<10 {
		_, n, _ := wire.ParseCredit(f.expect(1, wire.Credit).Payload)
		total += int(n)
	}
	f.reply(g, wire.Data, nil)
	if _, ok, err := p.Next(within(t)); ok || err != nil {
		t.Error(ok, err)
	}
}

// Who leaves a stream ends the call.
func TestLeaveStream(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	p := c.Calls.Go(within(t), "m:f", nil, nil, true)
	g := f.expect(1, wire.Call)
	f.reply(g, wire.Item, encode(t, 1))
	if _, ok, err := p.Next(within(t)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	left := make(chan struct{})
	go func() { p.Leave(); close(left) }()
	f.expect(1, wire.Cancel)
	f.reply(g, wire.Item, encode(t, 2))
	f.reply(g, wire.Error, encode(t, pyvalue.Tuple{"builtins", "KeyboardInterrupt", "", "", nil}))
	<-left
}

// Calls from many goroutines, some of which give up, all end, each with its own answer.
func TestManyCallers(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	go func() {
		for {
			select {
			case g := <-f.frames:
				if g.Handle == wire.Call {
					_, args, _ := wire.ParseCall(g.Payload)
					v, err := pickle.Decode(args, limits)
					if err != nil {
						t.Error(err)
						return
					}
					f.reply(g, wire.Data, encode(t, v.(pyvalue.Tuple)[0].(pyvalue.Tuple)[0]))
				}
			case <-f.done:
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				p := c.Calls.Go(ctx, "m:f", []any{i*1000 + n}, nil, false)
				if n%10 == 0 {
					cancel()
				}
				b, _, err := p.Result(ctx)
				cancel()
				if n%10 == 0 && errors.Is(err, ErrCancelled) {
					continue
				}
				if v, _ := pickle.Decode(b, limits); err != nil || v != int64(i*1000+n) {
					t.Errorf("call %d: got %v, %v; want its number", i*1000+n, v, err)
				}
			}
		})
	}
	wg.Wait()
}

// A caller that waits for the next item when the stream ends is told so, whatever it was just
// doing.
func TestStreamEndsWhileWaiting(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	for range 500 {
		p := c.Calls.Go(within(t), "m:f", nil, nil, true)
		ended := make(chan error, 1)
		go func() {
			_, _, err := p.Next(within(t))
			ended <- err
		}()
		f.reply(f.expect(1, wire.Call), wire.Data, nil)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

// A request that has its answer is not sent any further, even if its sender waits for its window.
func TestAnswerBeforeTheRequestIsSent(t *testing.T) {
	for name, kind := range map[string]wire.Kind{"refused": wire.Dead, "failed": wire.Error,
		"answered": wire.Data} {
		for _, early := range []bool{false, true} { // ctx ends before the answer comes
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			ctx, cancel := context.WithCancel(within(t))
			pending := make(chan *Pending, 1)
			go func() { pending <- c.Calls.Go(ctx, "m:f", []any{make([]byte, 5*wire.Window)}, nil, false) }()
			var g wire.Frame
			for sent := 0; sent < wire.Window; sent += len(g.Payload) {
				g = f.expect(1, wire.Call)
			}
			if early {
				cancel()
				p := <-pending
				pending <- p
			}
			f.reply(g, kind, encode(t, pyvalue.Tuple{"builtins", "E", "", "", nil}))
			if g = f.expect(1, wire.Call); g.Kind != wire.Part || len(g.Payload) != 0 {
				t.Errorf("%s: engine sent %v, want that the value is given up", name, g)
			}
			_, _, err := (<-pending).Result(within(t))
			if (err == nil) != (kind == wire.Data) {
				t.Errorf("%s: got %v", name, err)
			}
			f.quiet(1)
			cancel()
			works(t, c, f)
			e.Close()
		}
	}
}

// A module that goes alone is refused in its place where it is too large.
func TestLoadAboveMaxMessage(t *testing.T) {
	e, fakes := fakeEngine(t, Options{MaxMessage: leastMessage})
	c, f := connected(t, e, fakes)
	for size, form := range map[int]string{100: "d", leastMessage - 100: "d", leastMessage: "-",
		50 * leastMessage: "-"} {
		name := fmt.Sprint("data", size)
		if err := c.Supply.Load(within(t), name, make([]byte, size)); err != nil {
			t.Error(err)
		}
		c.root.stream.Kick()
		g := f.expect(1, wire.LoadModule)
		if want := name + "\x00\x00" + form; !strings.HasPrefix(string(g.Payload), want) {
			t.Errorf("%d bytes: got %.80q, want %q", size, g.Payload, want)
		}
	}
}
