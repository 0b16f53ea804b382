package runtimetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// TestHops has every interpreter start other interpreters, and be started by them.
func TestHops(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		for _, other := range neighbours(t, py) {
			id := l.child(first, other) // before anything is called
			equal(t, "pid", l.callAt(id, "os:getpid").value(), int64(l.pid(id)))
			below := l.child(id, py)
			equal(t, "pid of the grandchild", l.callAt(below, "os:getpid").value(), int64(l.pid(below)))
			equal(t, "parent's pid", l.callAt(below, "os:getppid").value(), int64(l.pid(id)))
		}
		equal(t, "pid of the hop", l.call("os:getpid").value(), int64(l.cmd.Process.Pid))
	})
}

// neighbours are two interpreters, such that in the end each one has been chosen twice.
func neighbours(t *testing.T, py interp) []interp {
	all := interpreters(t)
	for i := range all {
		if all[i] == py {
			return []interp{all[(i+1)%len(all)], all[(i+len(all)/2)%len(all)]}
		}
	}
	return nil
}

func TestRouting(t *testing.T) {
	on(t, []test{
		hopTest("both ways", bothWays),
		hopTest("before it is up", func(t *testing.T, l *link) {
			a, b := l.newID(), l.newID()
			l.connect(first, a, l.plan(first, a, l.py))
			l.connect(a, b, l.plan(a, b, l.py))
			there, big := l.callAt(b, "os:getppid"), l.callAt(b, "rt:length", strings.Repeat("b", 300_000))
			equal(t, "length", big.value(), int64(300_000))
			equal(t, "parent", there.value(), int64(l.pid(a)))
		}),
		hopTest("while the hop is busy", func(t *testing.T, l *link) {
			p := l.begin("rt:loop", "looping\n")
			id := l.child(first, l.py)
			equal(t, "echo", l.callAt(id, "rt:echo", "busy").value(), "busy")
			if p.come() {
				t.Error("the hop's call has ended")
			}
			l.cancel(p)
			p.fails("KeyboardInterrupt")
			equal(t, "echo", l.callAt(id, "rt:echo", "idle").value(), "idle")
		}),
		hopTest("many calls at once", func(t *testing.T, l *link) {
			ids := []wire.ContextID{first, l.child(first, l.py), l.child(first, l.py)}
			var calls []*pending
			for i := range 3000 {
				calls = append(calls, l.callAt(ids[i%3], "rt:echo", i))
			}
			for i, c := range calls {
				equal(t, "echo", c.value(), int64(i))
			}
		}),
		hopTest("to nobody", func(t *testing.T, l *link) {
			id := l.child(first, l.py)
			l.callAt(99, "rt:nothing").dead("no route to context 99")
			l.kill(first, id)
			l.callAt(id, "rt:nothing").dead(fmt.Sprintf("no route to context %d", id))
		}),
		hopTest("an id twice", func(t *testing.T, l *link) {
			id := l.child(first, l.py)
			l.connect(first, id, l.plan(first, id, l.py)).dead("exists")
			equal(t, "echo", l.callAt(id, "rt:echo", "the first one").value(), "the first one")
		}),
		hopTest("from below", fromBelow),
		hopTest("forged", forged),
		hopTest("foreign bytes", foreignBytes),
	})
}

func bothWays(t *testing.T, l *link) {
	id := l.child(first, l.py)
	below := l.child(id, l.py)
	const n = 3 << 20
	equal(t, "length of an argument", l.callAt(below, "rt:length", strings.Repeat("a", n)).value(),
		int64(n))
	equal(t, "length of a result", len(l.callAt(below, "rt:text", n).value().(string)), n)
	p := l.callAt(below, "rt:count", 1000)
	p.value()
	equal(t, "items", len(p.list()), 1000)
	l.callAt(below, "rt:write", 1, []byte(strings.Repeat("o", 100_000)), 30).value()
	equal(t, "stdout", l.outputOf(below, wire.Stdout) == strings.Repeat("o", 3_000_000), true)
	l.serve("far", "import logging\nlogging.warning('from far')\n")
	l.callAt(below, "far:absent").fails("AttributeError")
	equal(t, "source of the record", l.record("from far").src, below)
	equal(t, "echo", string(l.ping(below, "over there").wait().payload), "over there")
	loop := l.callAt(below, "rt:loop")
	l.cancel(loop)
	loop.fails("KeyboardInterrupt")
}

// forge executes Python in a context that puts frames, written as (kind, dst, src, auth, handle,
// reply, data), on its stream.
func (l *link) forge(id wire.ContextID, frames ...string) {
	l.t.Helper()
	src := "import _mitogen as m\nfor k, d, s, a, h, r, data in [" + strings.Join(frames, ", ") +
		"]:\n" +
		"  m.UP.put(m.pack('>7L', m.MAGIC + k, d, s, a, h, r, len(data)) + " +
		"(type(data) is type(m.EMPTY) and data or data.encode()) + m.TRAILER)\nm.UP.flush()\n"
	l.callAt(id, "rt:execute", src).value()
}

// fromBelow: a hop obeys no child, and carries frames for other contexts to the engine.
func fromBelow(t *testing.T, l *link) {
	a, b := l.child(first, l.py), l.child(first, l.py)
	got := l.expect(a)
	call := "(0, %d, %d, %d, 1, %d, 'rt:nothing\\0')"
	refused := "import _mitogen as m\nh, got = 5000 + %[2]d, []\nm.HANDLERS[h] = lambda *a: " +
		"got.append(a)\n" +
		"m.send(%[1]d, %[2]d, 'rt:nothing\\0'.encode(), 0, h)\nm.wait(lambda: got)\n" +
		"result = got[0][2], m.native(got[0][3])"
	for _, handle := range []wire.Handle{wire.Call, wire.Connect, wire.Shutdown, wire.Kill,
		wire.LoadModule} {
		p := l.callAt(a, "rt:execute", fmt.Sprintf(refused, first, handle))
		equal(t, "answer", fmt.Sprint(p.value()),
			fmt.Sprintf("[1 context %d refuses handle %d]", first, handle))
	}
	l.mu.Lock()
	l.others = nil
	l.mu.Unlock()
	l.forge(a, fmt.Sprintf(call, b, a, a, 1001), fmt.Sprintf(call, 99, a, a, 1001),
		fmt.Sprintf("(0, 0, %d, %d, %d, 0, '')", a, a, got.reply))
	equal(t, "src", got.wait().src, a)
	l.mu.Lock()
	defer l.mu.Unlock()
	equal(t, "frames for others", fmt.Sprint(len(l.others), l.others[0].Dst, l.others[1].Dst),
		fmt.Sprint(2, b, 99))
}

// forged frames are dropped and reported; the stream goes on.
func forged(t *testing.T, l *link) {
	a, b := l.child(first, l.py), l.child(first, l.py)
	below := l.child(a, l.py)
	got, fine := l.expect(a), l.expect(a)
	for _, ids := range [][2]wire.ContextID{{b, a}, {a, b}, {a, 0}, {0, 0}, {first, first}, {a, first},
		{99, 99}} {
		l.forge(a, fmt.Sprintf("(0, 0, %d, %d, %d, 0, 'false')", ids[0], ids[1], got.reply),
			fmt.Sprintf("(0, %d, %d, %d, 1, 0, 'rt:note\\0(S\"forged\"\\nt}t.')", first, ids[0], ids[1]))
	}
	l.forge(a, fmt.Sprintf("(0, 0, %d, %d, %d, 0, '')", below, below, fine.reply)) // its to say
	equal(t, "src", fine.wait().src, below)
	if got.come() {
		t.Error("a forged frame came through")
	}
	equal(t, "notes of the hop", l.call("rt:evaluate", "len(notes())").value(), int64(0))
	r := l.record("dropped a frame from hop")
	equal(t, "source of the report", r.src, first)
	equal(t, "level", r.level, int64(30))
}

func foreignBytes(t *testing.T, l *link) {
	id := l.child(first, l.py)
	l.callAt(id, "rt:execute", "import _mitogen as m\nm.UP.put('debugger> '.encode())").value()
	equal(t, "echo", l.callAt(id, "rt:echo", "well").value(), "well")
	contains(t, "report", l.record("skipped 10 foreign bytes").message, fmt.Sprintf("hop%d", id),
		"debugger> ")
	l.callAt(id, "rt:execute", "import _mitogen as m\nm.UP.put(m.pack('>L', m.MAGIC + 7) + ('inside "+
		"a frame' * 9).encode())\nm.UP.flush()\nimport time\ntime.sleep(1000)")
	l.isLost(id, "foreign", "inside a frame")
}

func TestConnectFails(t *testing.T) {
	on(t, []test{
		hopTest("by itself", func(t *testing.T, l *link) {
			for _, tt := range []struct {
				what   string
				status any
				argv   []string
				words  []string
			}{
				{"exec", nil, []string{"no-such-program", "x"}, []string{"no-such-program", "No such file"}},
				{"exec", nil, []string{"h\u00e9"}, []string{"h\u00e9", "No such file"}},
				{"exec", nil, []string{"/etc/passwd"}, []string{"/etc/passwd", "ermission denied"}},
				{"exec", nil, []string{}, nil},
				{"exit", int64(3), line("echo out", "echo err >&2", "exit 3"), []string{"out\n", "err\n"}},
				{"exit", int64(0), []string{"true"}, nil},
				{"exit", int64(-9), line("kill -9 $$"), nil},
				{"exit", int64(127), boot.Command([]string{"no-such-python", "nor-this"}, boot.Pipe),
					[]string{boot.NoPython}},
				{"exit", int64(1), line("yes 123456789 | head -c 100000 >&2", "echo 'the end' >&2", "exit 1"),
					[]string{"123456789\nthe end\n"}},
				{"exit", int64(-9), line("echo closed >&2", "exec >&- <&-", "exec sleep 1000"),
					[]string{"closed\n"}},
				{"exit", int64(4), append(line(`echo "$1 $EXTRA" >&2`, "exit 4"), "sh", "h\u00e9"),
					[]string{"h\u00e9 w\u00f6rd"}},
				{"foreign", nil, line(`printf '\361MG\011aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'`,
					"exec sleep 1000"), []string{"foreign bytes in a frame", "MG", "aaaa"}},
			} {
				id := l.newID()
				p := l.plan(first, id, l.py)
				p["argv"], p["env"] = tt.argv, map[string]any{"EXTRA": "w\u00f6rd"}
				text := l.connect(first, id, p).failsTo(tt.what, tt.status, tt.words...)
				if len(text) > 4096 {
					t.Errorf("%q: %d bytes of text", tt.argv, len(text))
				}
			}
		}),
		hopTest("how far it came", func(t *testing.T, l *link) {
			const ec0 = `printf '\nMITO-EC0\r\n'`
			for _, tt := range []struct {
				reached int64
				wait    bool // stdin is the terminal
				script  []string
			}{
				{0, false, []string{"exit 4"}},
				{0, false, []string{ec0 + " >&2", "exit 4"}},
				{0, false, []string{ec0 + " >/dev/tty", "exit 4"}},
				{1, false, []string{"echo motd", ec0 + " >&2", "exit 4"}},
				{1, false, []string{"printf '\nMITO-EC0 and more\n'", "exit 4"}},
				{2, false, []string{ec0, "exit 4"}},
				{2, false, []string{"printf '\nMITO-'", "sleep .1", "printf 'EC0\n'", "exit 4"}},
				{1, true, []string{ec0 + " >&2", "echo motd", "stty -echo -icanon min 0 time 2",
					"test -z \"`dd bs=1 count=1 2>&2`\" || exit 5", "exit 4"}},
				{2, true, []string{"stty -isig -echo", ec0, "exit 4"}},
			} {
				id := l.newID()
				p := l.plan(first, id, l.py)
				p["argv"], p["tty"], p["wait"] = line(tt.script...), true, tt.wait
				c := l.connect(first, id, p)
				c.failsTo("exit", int64(4))
				equal(t, fmt.Sprintf("reached by %q", tt.script), c.reached, tt.reached)
			}
		}),
		hopTest("timeout", func(t *testing.T, l *link) {
			id := l.newID()
			p := l.plan(first, id, l.py)
			p["argv"], p["timeout"] = line("echo 'still waiting' >&2", "exec sleep 1000"), 0.2
			l.connect(first, id, p).failsTo("timeout", int64(-9), "still waiting")
		}),
		hopTest("plan that is none", func(t *testing.T, l *link) {
			id := l.newID()
			l.connect(first, id, plan{"argv": "x"}).failsTo("exec", nil)
		}),
		hopTest("no process to be had", func(t *testing.T, l *link) {
			l.call("rt:execute", "import posix\nold = posix.fork\ndef fork():\n  posix.fork = old\n  raise "+
				"OSError(11, 'no more processes')\nposix.fork = fork").value()
			id := l.newID()
			l.connect(first, id, l.plan(first, id, l.py)).failsTo("exec", nil, "no more processes")
		}),
		hopTest("calls that wait for it", func(t *testing.T, l *link) {
			id := l.newID()
			p := l.plan(first, id, l.py)
			p["argv"] = line("sleep .1", "exit 5")
			c := l.connect(first, id, p)
			l.callAt(id, "rt:nothing")
			c.failsTo("exit", int64(5))
			l.callAt(id, "rt:nothing").dead("no route")
		}),
	})
}

func TestDialogue(t *testing.T) {
	const ask = `printf '%s' "$0" >/dev/null; stty -echo </dev/tty; printf 'Password: ' >/dev/tty; ` +
		`read x </dev/tty; `
	// run starts a context behind script.
	run := func(l *link, script string, prompts ...any) (wire.ContextID, *pending) {
		l.believe()
		id := l.newID()
		return id, l.connect(first, id, l.plan(first, id, l.py).dialogue(script, prompts...))
	}
	on(t, []test{
		hopTest("answered", func(t *testing.T, l *link) {
			id, _ := run(l, ask+`test "$x" = hush || exit 4`, prompt("PASSWORD:", "hush"))
			l.arrives(id)
			equal(t, "echo", l.callAt(id, "rt:echo", 1).value(), int64(1))
		}),
		hopTest("two questions", func(t *testing.T, l *link) {
			id, _ := run(l, ask+`printf 'Token? ' >/dev/tty; read y </dev/tty; test "$x$y" = hush1234 ||`+
				` exit 4`,
				prompt("password:", "hush"), prompt("token?", "1234"))
			l.arrives(id)
		}),
		hopTest("wrong", func(t *testing.T, l *link) {
			_, p := run(l, ask+`echo 'Sorry, try again.' >/dev/tty; `+ask+`exit 4`,
				prompt("password:", "hush"))
			text := p.failsTo("repeated", nil, "Sorry, try again.")
			if strings.Contains(text, "hush") {
				t.Errorf("the answer is in the error text: %q", text)
			}
		}),
		hopTest("no answer", func(t *testing.T, l *link) {
			_, p := run(l, ask+"exit 4", prompt("password:", nil))
			p.failsTo("unanswered", nil, "Password: ")
		}),
		hopTest("not asked", func(t *testing.T, l *link) {
			_, p := run(l, "echo 'not allowed' >/dev/tty; exit 6", prompt("password:", "hush"))
			p.failsTo("exit", int64(6), "not allowed")
		}),
		hopTest("has ended when it is answered", func(t *testing.T, l *link) {
			for _, kind := range []string{"questions", "terminal", "stdin"} {
				id := l.newID()
				p := l.plan(first, id, l.py)
				p["argv"], p["tty"], p["dialogue"] = []string{"sleep", "1000"}, true, kind
				c := l.connect(first, id, p)
				l.call("rt:execute", fmt.Sprintf("import os, _mitogen as m\nc = m.CHILDREN[%d]\nr, w = "+
					"os.pipe()\nos.close(r)\n"+
					"before = c.tty, c.w, c.is_asking\nc.tty, c.w, c.is_asking = w, w, lambda: 1\n"+
					"try:\n  m.said_to(c, 'x'.encode())\nfinally:\n  c.tty, c.w, c.is_asking = before\n"+
					"os.close(w)", id)).value()
				l.send(wire.Frame{Dst: first, Handle: wire.Kill, Payload: wire.AppendU32(nil, id)})
				c.failsTo("killed", int64(-1)) // SIGHUP, of its terminal
			}
		}),
		hopTest("what is said afterwards", func(t *testing.T, l *link) {
			id, _ := run(l, "", prompt("password:", nil))
			l.arrives(id)
			l.callAt(id, "rt:execute", "f = open('/dev/tty', 'w')\nf.write('Password: spoken later')\n"+
				"f.close()").value()
			l.record("spoken later")
			equal(t, "echo", l.callAt(id, "rt:echo", 1).value(), int64(1))
		}),
		hopTest("stdin is the terminal", func(t *testing.T, l *link) {
			id := l.newID()
			p := l.plan(first, id, l.py)
			p["argv"], p["wait"] = boot.Command([]string{l.py.Path}, boot.Terminal), true
			l.believe()
			l.connect(first, id, p.dialogue(`stty -echo; printf 'Password: '; read x; test "$x" = hush ||`+
				` exit 4`, prompt("password:", "hush")))
			l.arrives(id)
			all := make([]byte, 300_000)
			for i := range all {
				all[i] = byte(i)
			}
			equal(t, "length", l.callAt(id, "rt:length", all).value(), int64(len(all)))
			l.callAt(id, "rt:write", 1, all).value()
			equal(t, "stdout", l.outputOf(id, wire.Stdout) == string(all), true)
			l.callAt(id, "os:_exit", 3)
			l.isLost(id, "ended with status 3")
		}),
		hopTest("stdin is the terminal, and it ends", func(t *testing.T, l *link) {
			id := l.newID()
			p := l.plan(first, id, l.py)
			p["argv"], p["wait"] = line("echo words", "exit 4"), true
			l.connect(first, id, p.dialogue("")).failsTo("exit", int64(4), "words")
		}),
	})
}

// alone is the number of processes without a child: the first context and its guard.
const alone = 2

func TestLost(t *testing.T) {
	on(t, []test{
		hopTest("ends", func(t *testing.T, l *link) {
			id := l.child(first, l.py)
			l.callAt(id, "rt:execute", "import _mitogen as m, os\nos.write(m.ERR, 'last words'.encode())\n"+
				"os._exit(3)")
			l.isLost(id, "ended with status 3", "last words")
		}),
		hopTest("ends while it is sent something", func(t *testing.T, l *link) {
			id := l.child(first, l.py)
			l.callAt(id, "rt:execute", "import _mitogen as m, os\nfor i in range(10):\n  m.send(0, "+
				"m.STDOUT, ('o' * 5000).encode())\nos._exit(3)")
			for range 20_000 {
				l.send(wire.Frame{Dst: id, Handle: wire.Ping})
			}
			l.isLost(id, "ended with status 3")
			equal(t, "stdout", len(l.outputOf(id, wire.Stdout)), 50_000)
		}),
		hopTest("is killed", func(t *testing.T, l *link) {
			id := l.child(first, l.py)
			l.callAt(id, "os:kill", l.pid(id), 9)
			l.isLost(id, "ended with status -9")
		}),
		hopTest("with all behind it", func(t *testing.T, l *link) {
			a := l.child(first, l.py)
			b := l.child(a, l.py)
			c := l.child(b, l.py)
			l.callAt(a, "os:kill", l.pid(a), 9)
			l.isLost(a, "ended with status -9")
			l.isLost(b, fmt.Sprintf("hop%d is gone", a))
			l.isLost(c, fmt.Sprintf("hop%d is gone", a))
			eventually(t, "they are gone", func() bool { return len(marked(l.tag)) == alone })
		}),
		hopTest("far below", func(t *testing.T, l *link) {
			a := l.child(first, l.py)
			b := l.child(a, l.py)
			l.callAt(b, "os:_exit", 7)
			l.isLost(b, "ended with status 7")
			l.callAt(b, "rt:nothing").dead(fmt.Sprintf("no route to context %d", b))
			equal(t, "echo", l.callAt(a, "rt:echo", "well").value(), "well")
		}),
		hopTest("what it started ends too", func(t *testing.T, l *link) {
			id := l.child(first, l.py)
			l.callAt(id, "rt:execute", "import os, subprocess\nsubprocess.Popen(['sleep', '1000'])\n"+
				"os._exit(0)")
			l.isLost(id, "ended with status 0")
			eventually(t, "the process is gone", func() bool { return len(marked(l.tag)) == alone })
		}),
		hopTest("KILL", func(t *testing.T, l *link) {
			id := l.child(first, l.py)
			l.callAt(id, "rt:execute", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"+
				"while 1: pass")
			l.send(wire.Frame{Dst: first, Handle: wire.Kill,
				Payload: wire.AppendU32(nil, wire.ContextID(99))})
			l.kill(first, id)
			eventually(t, "the process is gone", func() bool { return len(marked(l.tag)) == alone })
		}),
		hopTest("KILL before it is up", func(t *testing.T, l *link) {
			id := l.newID()
			p := l.plan(first, id, l.py)
			p["argv"] = []string{"sleep", "1000"}
			c := l.connect(first, id, p)
			l.send(wire.Frame{Dst: first, Handle: wire.Kill, Payload: wire.AppendU32(nil, id)})
			c.failsTo("killed", int64(-9))
		}),
	})
}
