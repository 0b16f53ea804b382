package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

func start(t *testing.T, e *Engine, target string, o ConnectOptions) *Context {
	t.Helper()
	c, err := e.Start(target, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dict reads a pickled dict.
func dict(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := pickle.Unmarshal(b, limits, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A chain of hops is set up, and called, before anything has come back.
func TestChainWaitsForNothing(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c := start(t, e, "local+local+sudo:web", ConnectOptions{})
	p := call(c, "m:f")
	f := <-fakes
	for _, hop := range []wire.ContextID{1, 2} {
		g := f.expect(hop, wire.LoadModule)
		if !strings.HasPrefix(string(g.Payload), "_mitogen_spawn\x00") {
			t.Fatalf("module %q", g.Payload[:20])
		}
		if hop == 1 { // what starts a guard goes over this link once
			f.given(hop, guardModule)
		}
		g = f.expect(hop, wire.Connect)
		id, plan, err := wire.ParseConnect(g.Payload)
		if id != hop+1 || err != nil || g.Reply == 0 {
			t.Fatal(id, err, g)
		}
		m := dict(t, plan)
		for _, key := range []string{"name", "argv", "env", "tty", "wait", "prompts", "timeout", "fork",
			"near", "head", "with"} {
			if _, ok := m[key]; !ok {
				t.Errorf("CONNECT without %s", key)
			}
		}
		if m["near"] != true || m["timeout"] != 30.0 {
			t.Errorf("CONNECT: %v", m)
		}
	}
	g := f.expect(3, wire.Call)
	if c.name != "local+local+sudo:web" || c.id != 3 {
		t.Error(c.name, c.id)
	}
	f.hello(1)
	f.hello(2)
	f.hello(3)
	f.reply(g, wire.Data, encode(t, "up"))
	if v, err := result(t, p); v != "up" {
		t.Error(v, err)
	}
	if s := c.Stats(); s.Parent != 2 || s.Calls != 1 || s.Hello == 0 || s.Result < s.Hello ||
		s.FramesUp != 2 {
		t.Errorf("stats: got %+v, want parent 2, one call, 2 frames up", s)
	}
	if s := e.Contexts()[0].Stats(); s.RoundTrips != 1 {
		t.Errorf("a chain and a call took %d round trips", s.RoundTrips)
	}
}

// A password goes to a hop that has shown that it is ours.
func TestSecretsWaitForHello(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	var o ConnectOptions
	o.Sudo.Password = "hunter2"
	c := start(t, e, "local+sudo", o)
	p := call(c, "m:f")
	f := <-fakes
	select {
	case g := <-f.frames:
		t.Fatalf("before HELLO: %v", g)
	case <-time.After(50 * time.Millisecond):
	}
	f.hello(1)
	g := f.connect(1)
	if !strings.Contains(string(g.Payload), "hunter2") {
		t.Error("no password")
	}
	f.hello(2)
	f.reply(f.expect(2, wire.Call), wire.Data, nil)
	if _, err := result(t, p); err != nil {
		t.Error(err)
	}
}

// Hops are shared by equal options, targets are not.
func TestSharedHops(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	a := start(t, e, "local+sudo", ConnectOptions{})
	b := start(t, e, "local+sudo", ConnectOptions{})
	hop := start(t, e, "local", ConnectOptions{})
	other := start(t, e, "local", ConnectOptions{})
	var o ConnectOptions
	o.Python = []string{"python2"}
	else_ := start(t, e, "local+sudo", o)
	if a == b || a.parent != b.parent || a.parent != hop || other == hop || else_.parent == hop {
		t.Error("not shared as they should be")
	}
	if n := len(e.Contexts()); n != 6 {
		t.Errorf("%d contexts", n)
	}
	f := <-fakes
	for f.id() != hop.id {
		f = <-fakes
	}
	f.hello(hop.id)
	if err := hop.Connected(within(t)); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 2; {
		if g := f.next(); g.Handle == wire.Connect {
			n++
		}
	}
	hop.Close() // its children need it
	if hop.Err() != nil {
		t.Fatal(hop.Err())
	}
	a.Close() // never up: its hop is told to kill it
	for {
		if g := f.next(); g.Handle == wire.Kill {
			break
		}
	}
	if !errors.Is(a.Err(), ErrClosed) || hop.Err() != nil {
		t.Fatal(a.Err(), hop.Err())
	}
	go b.Close()
	for {
		if g := f.next(); g.Handle == wire.Shutdown && g.Dst == hop.id {
			break
		}
	}
	f.exit(methods.Failure{What: methods.WhatExit})
	<-hop.Done()
}

func TestConnectFails(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	for _, test := range []struct {
		target string
		fail   func(f *fake)
		kind   error
		hop    string
		text   string
	}{
		{"local", func(f *fake) {
			f.raw([]byte("welcome\n"))
			f.exit(methods.Failure{What: methods.WhatExit, Status: 127, Text: "MITO-NOPY\n"})
		}, connect.ErrNoPython, "local", "welcome"},
		{"local", func(f *fake) {
			f.raw([]byte("MITO-EC0\nTraceback\n"))
			f.exit(methods.Failure{What: methods.WhatExit, Status: 1})
		}, connect.ErrDied, "local", "Traceback"},
		{"local", func(f *fake) {
			f.raw([]byte("\xf1MG\x99 broken frame and what else there is 0123456789"))
		}, connect.ErrForeign, "local", "unknown kind"},
		{"local", func(f *fake) {
			f.send(wire.Frame{Src: f.id(), Handle: wire.Hello, Payload: []byte("?")})
		}, connect.ErrForeign, "local", "HELLO"},
		{"local+sudo", func(f *fake) {
			f.hello(f.id())
			f.reply(f.connect(f.id()), wire.Error,
				encode(t, pyvalue.Tuple{"exit", 1, "mallory is not in the sudoers file.\x1b[2J", 0}))
		}, connect.ErrNotInSudoers, "local+sudo", "not in the sudoers"},
		{"local+sudo", func(f *fake) {
			f.hello(f.id())
			f.reply(f.connect(f.id()), wire.Error, encode(t, pyvalue.Tuple{"unanswered", nil, "", 0}))
		}, connect.ErrPasswordRequired, "local+sudo", ""},
		{"local+sudo+local", func(f *fake) {
			f.hello(f.id())
			f.reply(f.connect(f.id()), wire.Error, encode(t, pyvalue.Tuple{"repeated", nil, "", 0}))
		}, connect.ErrSudoPassword, "local+sudo", ""},
	} {
		c := start(t, e, test.target, ConnectOptions{})
		p := call(c, "m:f")
		test.fail(<-fakes)
		_, err := result(t, p)
		ce := (*connect.Error)(nil)
		if !errors.As(err, &ce) || !errors.Is(err, test.kind) || ce.Hop != test.hop ||
			!strings.Contains(ce.Text, test.text) {
			t.Errorf("target %s: got %#v, want a connect.Error at %s: %v, %q",
				test.target, err, test.hop, test.kind, test.text)
			continue
		}
		if strings.Contains(ce.Text, "\x1b") {
			t.Errorf("%q isn't clean", ce.Text)
		}
		if c.Err() != err || c.Connected(within(t)) != err {
			t.Errorf("context says %v", c.Err())
		}
		for _, c := range e.Contexts() {
			e.tree.lose(c, ErrClosed, true)
		}
	}
}

// id finds the fake's id in the head that it was sent.
func (f *fake) id() wire.ContextID {
	f.t.Helper()
	var id int
	waitFor(f.t, "the head", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, rest, ok := strings.Cut(string(f.boot), "C=(")
		for _, r := range rest {
			if r == ',' {
				return ok
			}
			id = id*10 + int(r-'0')
		}
		id = 0
		return false
	})
	return wire.ContextID(id)
}

func TestBadTargets(t *testing.T) {
	e, _ := fakeEngine(t, Options{})
	for _, target := range []string{"", "+", "local+", "a b"} {
		if _, err := e.Start(target, ConnectOptions{}); err == nil {
			t.Errorf("connected to %q", target)
		}
	}
	e.Close()
	if _, err := e.Start("local", ConnectOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed engine: %v", err)
	}
}

// The loss of a hop fails what is behind it, naming it and its last words.
func TestLost(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c := start(t, e, "local+local+local", ConnectOptions{})
	f := <-fakes
	f.hello(1)
	f.hello(2)
	f.hello(3)
	if err := c.Connected(within(t)); err != nil {
		t.Fatal(err)
	}
	p := call(c, "m:f")
	for f.next().Handle != wire.Call {
	}
	f.send(wire.Frame{Src: 1, Handle: wire.Lost,
		Payload: wire.AppendLost(nil, 2, "ended with status 255\nno more\x1b[0m beer\n")})
	_, err := result(t, p)
	lost := (*report.LostError)(nil)
	if !errors.As(err, &lost) || lost.Context != "local+local+local" || lost.Hop != "local+local" ||
		lost.Reason != "ended with status 255" || lost.Text != "no more\\x1b[0m beer\n" {
		t.Errorf("call in a lost context: got %#v, want a LostError of local+local", err)
	}
	if !strings.Contains(err.Error(), `local+local lost: ended with status 255: no more\x1b[0m beer`) {
		t.Errorf("text of the LostError: got %v, want the hop, the status and the escaped text", err)
	}
	if _, err := result(t, call(c, "m:f")); !errors.As(err, &lost) {
		t.Errorf("afterwards: %v", err)
	}
}

// A context that ends by itself is lost, with what its process said last.
func TestLostByItself(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c := start(t, e, "local", ConnectOptions{})
	f := <-fakes
	f.hello(1)
	p := call(c, "m:f")
	for f.next().Handle != wire.Call {
	}
	f.Note([]byte("Connection reset by peer\r\n"))
	f.exit(methods.Failure{What: methods.WhatExit, Status: 255})
	_, err := result(t, p)
	lost := (*report.LostError)(nil)
	if !errors.As(err, &lost) || lost.Text != "Connection reset by peer\n" ||
		lost.Reason != "ended (status 255)" {
		t.Errorf("call over a lost link: got %#v, want a LostError with the text of ssh", err)
	}
}

// Silence is answered with PING, and then with the end, except of what is busy on this machine.
func TestHeartbeat(t *testing.T) {
	for _, test := range []struct {
		name    string
		stopped bool
		method  string
		dies    bool
	}{{"busy", false, "local", false}, {"stopped", true, "local", true},
		{"silent", false, "sudo", true}} {
		t.Run(test.name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{Heartbeat: 60 * time.Millisecond})
			c := start(t, e, test.method, ConnectOptions{})
			f := <-fakes
			f.stopped = test.stopped
			f.hello(1)
			f.expect(1, wire.Ping)
			if !test.dies {
				for range 12 { // twice the timeout
					f.expect(1, wire.Ping)
				}
				if c.Err() != nil {
					t.Errorf("it was killed: %v", c.Err())
				}
				return
			}
			<-c.Done()
			waitFor(t, "the kill", f.wasKilled)
			if lost := (*report.LostError)(nil); !errors.As(c.Err(), &lost) ||
				!strings.Contains(lost.Reason, "heard nothing") {
				t.Error(c.Err())
			}
		})
	}
}

func TestHeartbeatAnswered(t *testing.T) {
	e, fakes := fakeEngine(t, Options{Heartbeat: 100 * time.Millisecond})
	c := start(t, e, "sudo", ConnectOptions{})
	f := <-fakes
	f.hello(1)
	for range 20 {
		if g := f.expect(1, wire.Ping); g.Reply != 0 {
			f.reply(g, wire.Data, nil)
		}
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

// Close asks, and then doesn't ask any more.
func TestCloseEngine(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	deaf, g := connected(t, e, fakes)
	p := call(deaf, "m:f")
	go func() {
		for f.next().Handle != wire.Shutdown {
		}
		f.exit(methods.Failure{What: methods.WhatExit})
	}()
	e.Close()
	<-f.done
	<-g.done
	if f.wasKilled() || !g.wasKilled() {
		t.Errorf("killed: %t who obeyed, %t who did not", f.wasKilled(), g.wasKilled())
	}
	for _, c := range []*Context{c, deaf} {
		if !errors.Is(c.Err(), ErrClosed) && c.Err() == nil {
			t.Error(c.Err())
		}
	}
	if _, err := result(t, p); err == nil {
		t.Error("call to a closed engine ended well")
	}
}

func TestCloseContext(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	go func() {
		f.expect(1, wire.Shutdown)
		f.exit(methods.Failure{What: methods.WhatExit})
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if f.wasKilled() || !errors.Is(c.Err(), ErrClosed) {
		t.Error(c.Err())
	}
	c.Close()
	if n := len(e.Contexts()); n != 0 {
		t.Errorf("%d contexts left", n)
	}
}
