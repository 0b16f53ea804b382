package runtimetest

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// mute has the test say nothing more by itself: no credit for output.
func (l *link) mute(ids ...wire.ContextID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		for _, h := range []wire.Handle{wire.Stdout, wire.Stderr} {
			l.held[flow{id, h}] = true
		}
	}
}

// while has the test say something often until do returns.
func (l *link) while(do func()) {
	stop := make(chan struct{})
	go func() {
		for {
			l.send(wire.Frame{Dst: first, Handle: wire.Ping})
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	defer close(stop)
	do()
}

// silent demands that the context says that it heard nothing, and ends.
func (l *link) silent() {
	l.t.Helper()
	l.ends()
	words := make([]byte, 4096)
	l.err.SetReadDeadline(time.Now().Add(patience))
	n, _ := l.err.Read(words)
	contains(l.t, "last words", string(words[:max(n, 0)]), " s of silence (--heartbeat)")
}

// TestSilenceOfTheBusy: whatever wakes a context, its parent's silence ends it.
func TestSilenceOfTheBusy(t *testing.T) {
	thread := func(body string) string {
		return "import os, sys, time\ntry:\n  import _thread as thread\nexcept ImportError:\n  import " +
			"thread\n" +
			"import _mitogen as core\ndef run():\n  while 1:\n    time.sleep(.05)\n    " + body +
			"\nthread.start_new_thread(run, ())"
	}
	begin := func(do func(l *link)) func(l *link) func() {
		return func(l *link) func() {
			l.mute(first)
			l.while(func() { do(l) })
			return l.silent
		}
	}
	together(t, 1,
		// output
		begin(func(l *link) { l.call("rt:execute", thread("os.write(1, 'x'.encode())")).value() }),
		begin(func(l *link) { l.call("rt:execute", thread("core.poke()")).value() }), // a woken reader
		begin(func(l *link) { // a call that prints
			l.call("rt:execute", "import os, time\nwhile 1:\n  time.sleep(.05)\n  os.write(2, 'x'.encode())")
		}),
		begin(func(l *link) { // a child that sends
			id := l.child(first, l.py)
			l.mute(id)
			l.callAt(id, "rt:execute", thread("os.write(1, 'x'.encode())")).value()
		}),
		begin(func(l *link) { // timers of a hop
			l.learnsToSpawn()
			l.call("rt:execute",
				"import _mitogen as core\ndef again():\n  core.after(.05, again)\nagain()").value()
		}),
	)
}

// TestSilenceWhileRunning: what runs outlasts a silence that ends what is idle.
func TestSilenceWhileRunning(t *testing.T) {
	// answered demands that p's answer comes, though nothing is sent meanwhile.
	answered := func(begin func(l *link) *pending) func(l *link) func() {
		return func(l *link) func() {
			var p *pending
			l.while(func() { p = begin(l) })
			return func() { equal(l.t, "result", p.value(), "held") }
		}
	}
	togetherWith(t, timeouts(1, 60),
		answered(func(l *link) *pending { return l.call("rt:slow", 3, "held") }),
		answered(func(l *link) *pending { // twice, the second waiting
			l.call("rt:slow", 2, "first")
			return l.call("rt:slow", 2, "held")
		}),
		answered(func(l *link) *pending { return l.callAt(l.child(first, l.py), "rt:slow", 3, "held") }),
		answered(func(l *link) *pending { // two hops down
			return l.callAt(l.child(l.child(first, l.py), l.py), "rt:slow", 3, "held")
		}),
		func(l *link) func() { // a tunnel
			l.while(func() { l.call("rt:echo", 1).value() })
			l.push(first, "_mitogen_spawn")
			l.push(first, "_mitogen_fork")
			l.push(first, "_mitogen_tunnel")
			spec, err := pickle.Append(nil, map[string]any{"argv": []any{"sh", "-c", "sleep 3; echo held"}},
				pickle.Proto2Both)
			if err != nil {
				l.t.Fatal(err)
			}
			p := l.request(wire.Frame{Dst: first, Handle: wire.Open, Payload: spec})
			return func() { p.wait() }
		},
		func(l *link) func() { return l.silent }, // idle
		func(l *link) func() { // a hop whose child is idle again
			l.while(func() { l.callAt(l.child(first, l.py), "rt:echo", 1).value() })
			l.ping(first, "").wait()
			return l.silent
		},
	)
}

// TestStopped: a context that didn't run for longer than its timeout reads first and then looks at
// the time.
func TestStopped(t *testing.T) {
	stop := func(l *link, pids ...int) func() {
		l.keep()
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
		end := time.After(beats)
		return func() {
			<-end
			for _, pid := range pids {
				syscall.Kill(pid, syscall.SIGCONT)
			}
			equal(l.t, "echo", string(l.ping(first, "there").wait().payload), "there")
		}
	}
	together(t, 1,
		func(l *link) func() { return stop(l, l.cmd.Process.Pid) },
		func(l *link) func() { // a call runs
			p := l.call("rt:slow", 1, "held")
			check := stop(l, l.cmd.Process.Pid)
			return func() {
				check()
				equal(l.t, "result", p.value(), "held")
			}
		},
		func(l *link) func() { // a hop, and what it would look for in its child
			l.keep()
			id := l.child(first, l.py)
			l.call("rt:execute", "import _mitogen as core\nfor c in core.CHILDREN.values():\n  "+
				"c.plan['near'] = 0").value()
			check := stop(l, l.cmd.Process.Pid, l.pid(id))
			return func() {
				check()
				equal(l.t, "echo", l.callAt(id, "rt:echo", "idle").value(), "idle")
			}
		},
	)
}

// TestSilenceOfSlowChild: while much is on its way to a child that isn't on this machine, it may be
// silent for longer.
func TestSilenceOfSlowChild(t *testing.T) {
	stopped := func(bytes int, goesOn bool,
		check func(l *link, id wire.ContextID)) func(l *link) func() {
		return func(l *link) func() {
			l.keep()
			id := l.child(first, l.py)
			l.call("rt:execute", "import _mitogen as core\nfor c in core.CHILDREN.values():\n  "+
				"c.plan['near'] = 0").value()
			syscall.Kill(l.pid(id), syscall.SIGSTOP)
			for n := bytes; n > 0; n -= 50_000 {
				l.send(wire.Frame{Dst: id, Handle: wire.LoadModule,
					Payload: append([]byte("m\x00m\x00M"), make([]byte, min(n, 50_000))...)})
			}
			over := make(chan struct{})
			time.AfterFunc(3*beats, func() {
				if goesOn {
					syscall.Kill(l.pid(id), syscall.SIGCONT)
				}
				close(over)
			})
			return func() {
				<-over
				check(l, id)
			}
		}
	}
	alive := func(l *link, id wire.ContextID) {
		equal(l.t, "echo", l.callAt(id, "rt:echo", "slow").value(), "slow")
	}
	lost := func(l *link, id wire.ContextID) { l.isLost(id, "heard nothing from it", "--heartbeat") }
	together(t, 3, stopped(500_000, true, alive), stopped(100_000, true, alive),
		stopped(0, false, lost), stopped(1000, false, lost))
}

// TestForgedArrival: an answer to a PING says no more than what was sent, whatever a child writes
// there.
func TestForgedArrival(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		bad := l.child(first, py)
		core := "sys.modules['_mitogen']."
		pong := l.call("rt:evaluate", core+"PONG").value().(int64)
		for _, digits := range []string{"'9' * 400", "'9' * 19", "'-1'", "'1' * 100000", "''"} {
			l.callAt(bad, "rt:execute",
				fmt.Sprintf("import _mitogen as m\nm.send(%d, %d, (%s).encode())", first, pong, digits)).value()
			equal(t, digits, l.call("rt:evaluate",
				"[c.timeout() < 7200 and c.arrived <= c.sent for c in "+core+"CHILDREN.values()]").value(),
				pyvalue.NewList(true))
		}
	})
}

// TestKilledTunnel: the end of a process says if a signal has ended it, unless the context itself
// has.
func TestKilledTunnel(t *testing.T) {
	for _, py := range interpreters(t)[:1] {
		l := start(t, py)
		l.push(first, "_mitogen_spawn")
		l.push(first, "_mitogen_fork")
		l.push(first, "_mitogen_tunnel")
		for _, test := range []struct{ script, want string }{
			{"kill -9 $$", "\nkilled by signal 9 (out of memory?)"},
			{"echo words >&2; kill -9 $$", "words\n\nkilled by signal 9 (out of memory?)"},
			{"kill -15 $$", "\nkilled by signal 15"},
			{"echo '3 s of silence (--heartbeat)' >&2; kill -9 $$", "3 s of silence (--heartbeat)\n"},
			{"exit 3", ""},
			{"exec >&-; sleep 1000", ""}, // it is killed
		} {
			spec, err := pickle.Append(nil, map[string]any{"argv": []any{"sh", "-c", test.script}},
				pickle.Proto2Both)
			if err != nil {
				t.Fatal(err)
			}
			p := l.request(wire.Frame{Dst: first, Handle: wire.Open, Payload: spec})
			equal(t, test.script, string(p.wait().payload), test.want)
		}
	}
}

// TestSilenceForAnother: a tunnel of another engine may be silent for as long as that allows.
func TestSilenceForAnother(t *testing.T) {
	open := func(heartbeat int, hops int, check func(l *link, p *pending)) func(l *link) func() {
		return func(l *link) func() {
			var p *pending
			l.while(func() {
				dst := first
				for range hops {
					dst = l.child(dst, l.py)
				}
				l.callAt(dst, "rt:echo", 1).value()
				l.push(dst, "_mitogen_spawn")
				l.push(dst, "_mitogen_fork")
				l.push(dst, "_mitogen_tunnel")
				spec, err := pickle.Append(nil,
					map[string]any{"argv": []any{"sh", "-c", "sleep 6"}, "heartbeat": heartbeat},
					pickle.Proto2Both)
				if err != nil {
					l.t.Fatal(err)
				}
				p = l.request(wire.Frame{Dst: dst, Handle: wire.Open, Payload: spec})
			})
			return func() { check(l, p) }
		}
	}
	lasts := func(_ *link, p *pending) { p.wait() }
	togetherWith(t, timeouts(1, 2),
		open(60, 0, lasts), open(60, 1, lasts), open(1, 0, func(l *link, _ *pending) { l.silent() }))
}

// TestWorkIsBounded: what a hop notes of its children's work is bounded, and ends with that.
func TestWorkIsBounded(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		busy, other := l.child(first, py), l.child(first, py)
		const core = "sys.modules['_mitogen']."
		noted := func() any { return l.call("rt:evaluate", "len("+core+"WORK)").value() }
		if most := l.call("rt:evaluate", core+"WORK_LIMIT").value().(int64); most > 10_000 {
			t.Errorf("limit: got %d, want at most 10,000", most)
		}
		l.call("rt:execute", "import _mitogen as m\nm.WORK_LIMIT = 100").value()
		running := l.callAt(busy, "rt:sleep")
		var waiting []*pending
		for range 300 {
			waiting = append(waiting, l.callAt(busy, "rt:nothing"))
		}
		equal(t, "noted of 301 calls", noted(), int64(100))
		l.cancel(running)
		for _, p := range waiting {
			p.value()
		}
		equal(t, "noted when all have ended", noted(), int64(0))

		for range 300 { // no answer is wanted, or it is no whole call
			l.send(wire.Frame{Dst: busy, Handle: wire.Call, Payload: l.payload("rt:nothing", nil)})
			l.send(wire.Frame{Dst: busy, Handle: wire.Call, Reply: 9999, Kind: wire.Part})
		}
		equal(t, "noted of what isn't answered", noted(), int64(0))

		l.callAt(other, "rt:sleep")
		for range 300 {
			l.callAt(other, "rt:nothing")
		}
		equal(t, "noted of 301 calls", noted(), int64(100))
		l.kill(first, other)
		equal(t, "noted of one that is gone", noted(), int64(0))
		equal(t, "echo", l.callAt(busy, "rt:echo", 1).value(), int64(1))
	})
}
