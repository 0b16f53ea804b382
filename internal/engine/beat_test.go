package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// TestNoticedWhen holds the table of docs/protocol/bootstrap.md, section 8, to the code.
func TestNoticedWhen(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol/bootstrap.md")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	told := e.starts.config(bare(e, 0, ""), ConnectOptions{})
	for _, test := range []struct {
		state  string
		engine time.Duration
		told   int
	}{
		{"connecting, booting", connect.DefaultTimeout, int(connect.DefaultTimeout / time.Second)},
		{"idle", e.opt.Heartbeat, told.Heartbeat},
		{"running", e.opt.busyTimeout, told.BusyTimeout},
	} {
		row := regexp.MustCompile(`(?m)^\| ` + test.state +
			`.*\| ([^|]*) \| ([^|]*) \| ([^|]*) \|$`).FindStringSubmatch(string(page))
		if row == nil {
			t.Errorf("docs/protocol/bootstrap.md has no row for %q", test.state)
			continue
		}
		for i, n := range []int{int(test.engine / time.Second), test.told, test.told} {
			if want := fmt.Sprintf("%d s", n); row[i+1] != want {
				t.Errorf("docs/protocol/bootstrap.md, row %q, column %d: got %q, want %q", test.state, i+2,
					row[i+1], want)
			}
		}
	}
}

// TestSilenceKnowsTheSpeed: on a slow console all timeouts of silence are longer, at both ends.
func TestSilenceKnowsTheSpeed(t *testing.T) {
	e, err := New(Options{Heartbeat: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, slowness := range []time.Duration{0, 1, 4, 32} {
		want := 10 * max(1, int(slowness))
		c := bare(e, 0, "")
		c.figures.slowness, c.stream = slowness, stream.New()
		told := e.starts.config(c, ConnectOptions{})
		if told.Heartbeat != want || told.BusyTimeout != want {
			t.Errorf("slowness %d: the context is told %d and %d s, want %d",
				slowness, told.Heartbeat, told.BusyTimeout, want)
		}
		if got := e.silence(c); got != time.Duration(want)*time.Second {
			t.Errorf("slowness %d: the engine waits for %v, want %d s", slowness, got, want)
		}
	}
}

// TestLargeFramesUnderWay holds the row of what is under way to the code of both sides.
func TestLargeFramesUnderWay(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	frames := regexp.MustCompile(
		`(?m)^\| large frames under way.*\| ([^|]*) \| ([^|]*) \| ([^|]*) \|$`)
	row := frames.FindStringSubmatch(read("../../docs/protocol/bootstrap.md"))
	if row == nil {
		t.Fatal("docs/protocol/bootstrap.md has no row for large frames under way")
	}
	window, spawn := read("../stream/window.go"), read("../../python/child.py")
	for _, test := range []struct {
		column           int
		words            string
		source, constant string
	}{
		{1, "1 s for each KiB", window, `slowest   = 1 << 10`},
		{1, "3 times", window, `tolerance = 3 `},
		{1, "at most 1 h", window, `longest = time\.Hour`},
		{2, "1 s for each 4 KiB", spawn, `SLOWEST = 4096\.0`},
		{2, "at most 1 h", spawn, `SLOW_LIMIT = 3600 `},
	} {
		if !strings.Contains(row[test.column], test.words) ||
			!regexp.MustCompile(test.constant).MatchString(test.source) {
			t.Errorf("column %d of docs/protocol/bootstrap.md: got %q, want %q, as the code has it: %s",
				test.column+1, row[test.column], test.words, test.constant)
		}
	}
}

// looks has the engine look n times at what is silent.
func looks(e *Engine, n int) {
	for range n {
		e.tree.look(false)
	}
}

// TestSilentWhileRunning: what runs may be silent for longer than what is idle. The test looks
// itself, so there is no clock.
func TestSilentWhileRunning(t *testing.T) {
	const idle, busy = beatsPerTimeout, 10 * beatsPerTimeout // looks
	background := context.Background()
	for _, test := range []struct {
		name string
		busy bool
		do   func(e *Engine, c *Context, f *fake)
	}{
		{"idle", false, func(*Engine, *Context, *fake) {}},
		{"call", true, func(_ *Engine, c *Context, _ *fake) { call(c, "m:f") }},
		{"second call", true, func(_ *Engine, c *Context, f *fake) {
			p := call(c, "m:f")
			call(c, "m:g")
			f.reply(f.expect(1, wire.Call), wire.Data, nil)
			<-p.done
		}},
		{"tunnel", true, func(_ *Engine, c *Context, _ *fake) {
			go c.Tunnels.Fork(background, nil)
		}},
		{"user's PING", false, func(_ *Engine, c *Context, f *fake) {
			go c.Calls.Ping(background)
			f.expect(1, wire.Ping)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{Heartbeat: 6 * time.Hour, busyTimeout: 60 * time.Hour})
			c := start(t, e, "sudo", ConnectOptions{})
			f := <-fakes
			f.hello(1)
			if err := c.Connected(background); err != nil {
				t.Fatal(err)
			}
			test.do(e, c, f)
			if test.name == "tunnel" {
				for f.next().Handle != wire.Open {
				}
			}
			looks(e, 2) // the first may find something that has come
			e.tree.look(true)
			looks(e, idle)
			if err := c.Err(); err != nil {
				t.Fatalf("after %d looks: got %v, want no loss", idle, err)
			}
			looks(e, 2)
			if got := c.Err() == nil; got != test.busy {
				t.Fatalf("after %d looks: got alive %t, want %t (%v)", idle+2, got, test.busy, c.Err())
			}
			looks(e, busy)
			lost := (*report.LostError)(nil)
			if !errors.As(c.Err(), &lost) || lost.Code != report.CodeSilent ||
				!strings.Contains(lost.Reason, "--heartbeat") {
				t.Errorf("after %d looks: got %v, want a loss by silence", busy+idle+2, c.Err())
			}
		})
	}
}

// TestHeartbeatOption: a timeout of the user's holds whether something runs or not.
func TestHeartbeatOption(t *testing.T) {
	for _, test := range []struct {
		option    time.Duration
		idle, run int // seconds that a context is told
	}{
		{0, 30, 300}, {90 * time.Second, 90, 90}, {1500 * time.Millisecond, 2, 2}, {-1, 0, 0},
	} {
		e, err := New(Options{Heartbeat: test.option})
		if err != nil {
			t.Fatal(err)
		}
		got := e.starts.config(bare(e, 0, ""), ConnectOptions{})
		if got.Heartbeat != test.idle || got.BusyTimeout != test.run {
			t.Errorf("Heartbeat %s: got %d s idle, %d s running, want %d, %d", test.option, got.Heartbeat,
				got.BusyTimeout, test.idle, test.run)
		}
		e.Close()
	}
}

// TestUploadIsNoSilence: a context that answers marks is alive, and nothing is far behind them. A
// context that doesn't is sent no more..
func TestUploadIsNoSilence(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Heartbeat: 6 * time.Second, busyTimeout: 6 * time.Second})
	c := start(t, e, "sudo", ConnectOptions{})
	f := <-fakes
	f.hello(1)
	if err := c.Connected(context.Background()); err != nil {
		t.Fatal(err)
	}
	const frames = 40
	e.mu.Lock()
	for range frames {
		e.traffic.putLocked(c, &wire.Frame{Dst: c.id, Handle: wire.BundlePiece,
			Payload: make([]byte, wire.MaxPayload)})
	}
	e.unlock()
	marks := 0
	for got := 0; got < frames; {
		switch g := f.next(); {
		case g.Handle == wire.BundlePiece:
			got++
		case g.Handle == wire.Ping && g.Reply == wire.Ping:
			marks++
			if d := e.silence(c); d <= e.opt.busyTimeout && marks == 1 {
				t.Fatalf("before the first answer: got %s, want more than %s", d, e.opt.busyTimeout)
			}
			f.send(wire.Frame{Src: c.id, Auth: c.id, Handle: wire.Ping, Payload: g.Payload})
		}
	}
	if marks < 3 {
		t.Errorf("marks in %d frames: got %d, want some", frames, marks)
	}
	waitFor(t, "the last answer", func() bool { return e.silence(c) == e.opt.busyTimeout })
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

func (e *Engine) silence(c *Context) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.figures.silenceLocked()
}

// TestForkHeartbeat: what is forked for another engine may be silent for as long as that allows.
func TestForkHeartbeat(t *testing.T) {
	for _, test := range []struct {
		heartbeat time.Duration
		told      string // in the OPEN
		silence   time.Duration
	}{
		{0, "", time.Minute}, {10 * time.Second, "", time.Minute},
		{time.Hour, "heartbeat", time.Hour}, {-1, "heartbeat", forever},
	} {
		e, fakes := fakeEngine(t, Options{Heartbeat: time.Minute, busyTimeout: time.Minute})
		c, f := connected(t, e, fakes)
		go c.Tunnels.ForkFor(context.Background(), nil, test.heartbeat)
		open := f.next()
		for open.Handle != wire.Open {
			open = f.next()
		}
		if got := strings.Contains(string(open.Payload), "heartbeat"); got != (test.told != "") {
			t.Errorf("heartbeat %s: got OPEN %q, want one with %q", test.heartbeat, open.Payload, test.told)
		}
		if got := e.silence(c); got != test.silence {
			t.Errorf("heartbeat %s: got %s of silence, want %s", test.heartbeat, got, test.silence)
		}
	}
}
