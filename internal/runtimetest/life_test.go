package runtimetest

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// states are situations of a context when its stream ends. Each is begun in a context that has
// started a process.
var states = []struct {
	name  string
	begin func(l *link)
}{
	{"idle", func(*link) {}},
	{"sleep", func(l *link) { l.begin("rt:sleep", "sleeping\n") }},
	{"loop", func(l *link) { l.begin("rt:loop", "looping\n") }},
	{"no signals", func(l *link) { l.begin("rt:deaf", "sleeping\n") }},
	{"locked in C", func(l *link) {
		l.begin("rt:locked", "locking\n")
		syscall.Kill(l.cmd.Process.Pid, syscall.SIGUSR1)
		time.Sleep(150 * time.Millisecond)
	}},
	{"stopped", func(l *link) { syscall.Kill(l.cmd.Process.Pid, syscall.SIGSTOP) }},
	{"output without credit", func(l *link) {
		l.hold(wire.Stdout)
		l.settled(l.call("rt:write", 1, make([]byte, 100_000), 100),
			func() int { return l.owed[flow{first, wire.Stdout}] })
	}},
	{"import without answer", func(l *link) {
		l.mu.Lock()
		l.withheld["unanswered"] = true
		l.mu.Unlock()
		l.call("rt:execute", "import unanswered")
		l.await("question", func() bool { return l.asked[len(l.asked)-1].name == "unanswered" })
	}},
	{"with contexts below", func(l *link) {
		below := l.child(l.child(first, l.py), l.py)
		l.child(first, l.py)
		l.callAt(below, "rt:deaf")
		l.await("output", func() bool { return l.output[flow{below, wire.Stdout}] != nil })
	}},
}

// TestStreamEnds: link.finish demands that no process stays.
func TestStreamEnds(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for _, state := range states {
			t.Run(state.name, func(t *testing.T) {
				l := start(t, py)
				l.call("rt:child").value()
				state.begin(l)
			})
		}
	})
}

// TestOneEndCloses: each of the two ends that show the parent's death is enough.
func TestOneEndCloses(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for _, state := range states[:6] {
			t.Run(state.name, func(t *testing.T) {
				l := start(t, py)
				l.arrives(first)
				state.begin(l)
				switch state.name {
				case "locked in C", "stopped":
					l.err.Close() // the kernel sees to it
				default:
					l.up.Close()
				}
				l.leavesNone(t, patience)
			})
		}
	})
}

// TestReaderFails: a context whose reading thread fails ends, and says why.
func TestReaderFails(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for _, state := range states[:2] {
			t.Run(state.name, func(t *testing.T) {
				l := start(t, py)
				l.call("rt:execute", "import _mitogen as m\ndef bad(*args):\n  raise ValueError('bad "+
					"handler')\nm.HANDLERS[5000] = bad").value()
				state.begin(l)
				l.send(wire.Frame{Dst: first, Handle: 5000})
				l.ends()
				words := make([]byte, 4096)
				n, _ := l.err.Read(words)
				contains(t, "old stderr", string(words[:max(n, 0)]), "Traceback", "ValueError: bad handler")
			})
		}
	})
}

func (l *link) shutDown(id wire.ContextID) { l.send(wire.Frame{Dst: id, Handle: wire.Shutdown}) }

// ends waits for the end of the stream and of all processes.
func (l *link) ends() {
	l.t.Helper()
	l.await("end of the stream", func() bool { return l.ended != nil })
	l.leavesNone(l.t, patience)
}

func TestShutdown(t *testing.T) {
	tests := []test{
		{"before anything was called", func(t *testing.T, l *link) {
			l.shutDown(first)
			l.ends()
		}},
		{"idle", func(t *testing.T, l *link) {
			l.call("rt:child").value()
			l.shutDown(first)
			l.ends()
		}},
		{"what is registered to run at exit", func(t *testing.T, l *link) {
			l.call("rt:execute", "import atexit, logging, sys\ndef last():\n  logging.warning('goodbye')\n "+
				" print('bye')\ndef bad():\n  raise ValueError('bad')\n"+
				"atexit.register(last)\natexit.register(bad)\nsys.stdout.write('no newline')").value()
			l.shutDown(first)
			l.ends()
			equal(t, "stdout", l.stdout(), "no newlinebye\n")
			l.record("goodbye")
		}},
		{"much to say at exit", func(t *testing.T, l *link) {
			l.call("rt:execute", "import atexit, os\ndef last():\n  import rt\n  rt.write(1, "+
				"bytearray(100000), 30)\natexit.register(last)").value()
			time.Sleep(50 * time.Millisecond) // so that only main is awake
			l.shutDown(first)
			l.ends()
			equal(t, "stdout", len(l.stdout()), 3_000_000)
		}},
		{"after the running call", func(t *testing.T, l *link) {
			running := l.call("rt:execute", "import time\nprint('begun')\nimport sys\n"+
				"sys.stdout.flush()\ntime.sleep(.3)\nresult = 'done'")
			queued := l.call("rt:note", 1)
			l.await("call", func() bool { return l.printedLocked("begun\n") })
			l.shutDown(first)
			equal(t, "result", running.value(), "done")
			l.ends()
			if queued.come() {
				t.Error("a call has begun after SHUTDOWN")
			}
		}},
		{"with contexts below", func(t *testing.T, l *link) {
			ids := []wire.ContextID{first, l.child(first, l.py)}
			ids = append(ids, l.child(ids[1], l.py))
			for _, id := range ids {
				l.callAt(id, "rt:execute",
					"import atexit, os\natexit.register(os.write, 1, 'bye'.encode())").value()
			}
			for i := range ids {
				l.shutDown(ids[len(ids)-1-i])
			}
			l.ends()
			for _, id := range ids {
				equal(t, fmt.Sprintf("output of %d", id), l.outputOf(id, wire.Stdout), "bye")
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			equal(t, "reports of the end", len(l.lost), 2)
		}},
		{"with a context below that isn't told", func(t *testing.T, l *link) {
			below := l.child(first, l.py)
			l.callAt(below, "rt:deaf")
			l.await("output", func() bool { return l.output[flow{below, wire.Stdout}] != nil })
			l.shutDown(first)
			l.ends()
		}},
	}
	each(t, func(t *testing.T, py interp) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) { tt.run(t, start(t, py)) })
		}
	})
}

// together starts a context for each interpreter and each function, and calls what the functions
// return when all are up: for tests that mostly wait.
func together(t *testing.T, seconds int, begin ...func(l *link) (check func())) {
	t.Helper()
	togetherWith(t, heartbeat(seconds), begin...)
}

func togetherWith(t *testing.T, config func(*boot.Config), begin ...func(l *link) (check func())) {
	t.Helper()
	t.Parallel()
	var checks []func()
	for _, py := range interpreters(t) {
		for _, b := range begin {
			checks = append(checks, b(start(t, py, config)))
		}
	}
	for _, check := range checks {
		check()
	}
}

// TestEndlessExit: what runs at exit has a second.
func TestEndlessExit(t *testing.T) {
	register := func(function string) func(l *link) func() {
		return func(l *link) func() {
			l.call("rt:child").value()
			l.call("rt:execute", "import atexit, rt\natexit.register("+function+")").value()
			l.shutDown(first)
			return l.ends
		}
	}
	together(t, 0, register("rt.sleep"), register("rt.locked"), register("rt.deaf"))
}

// keep sends l something often enough that it stays, until the test ends.
func (l *link) keep() {
	stop := make(chan struct{})
	l.t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				l.send(wire.Frame{Dst: first, Handle: wire.Ping})
			}
		}
	}()
}

// beats is longer than two heartbeats of a second.
const beats = 2500 * time.Millisecond

func TestHeartbeat(t *testing.T) {
	// kept demands that l is still there some heartbeats after begin.
	kept := func(begin func(l *link) *pending) func(l *link) func() {
		return func(l *link) func() {
			l.keep()
			p := begin(l)
			end := time.After(beats)
			return func() {
				<-end
				equal(l.t, "echo", string(l.ping(first, "there").wait().payload), "there")
				if p != nil {
					equal(l.t, "result", p.value(), "held")
				}
			}
		}
	}
	silent := func(begin func(l *link)) func(l *link) func() {
		return func(l *link) func() {
			begin(l)
			return l.ends
		}
	}
	together(t, 1,
		silent(func(*link) {}),
		silent(func(l *link) { l.call("rt:sleep") }),
		silent(func(l *link) { l.connect(first, 6, l.plan(first, 6, l.py)) }),
		kept(func(*link) *pending { return nil }),
		kept(func(l *link) *pending { return l.call("rt:slow", 2, "held") }),
		kept(func(l *link) *pending { return l.call("rt:hold", 2) }),
	)
}

func TestHeartbeatOfHop(t *testing.T) {
	together(t, 1,
		func(l *link) func() { // a busy child, an idle one
			l.keep()
			busy, idle := l.child(first, l.py), l.child(first, l.py)
			p := l.callAt(busy, "rt:hold", 2)
			end := time.After(beats)
			return func() {
				<-end
				equal(l.t, "result", p.value(), "held")
				equal(l.t, "echo", l.callAt(idle, "rt:echo", "idle").value(), "idle")
			}
		},
		func(l *link) func() { // a stopped child
			l.keep()
			id := l.child(first, l.py)
			syscall.Kill(l.pid(id), syscall.SIGSTOP)
			return func() { l.isLost(id, "heard nothing from it") }
		},
		func(l *link) func() { // a dead child, while another process holds its stream
			l.keep()
			id := l.child(first, l.py)
			l.callAt(id, "rt:execute", "import os, time\nif not os.fork():\n  time.sleep(1000)\n"+
				"os.kill(os.getpid(), 9)")
			return func() { l.isLost(id, "ended with status -9") } // the guard ends the other one
		},
	)
}
