package runtimetest

import (
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// script runs source as the program `prog.py`, without stdin.
func (l *link) script(source string, args ...string) *pending {
	l.t.Helper()
	l.stdout()
	l.stderr()
	return l.call("_mitogen_run:script", []byte(source), "prog.py",
		append([]string{"prog.py"}, args...), "", false)
}

// runs demands the exit status and output of a script.
func (l *link) runs(source string, status int, stdout, stderr string) {
	l.t.Helper()
	equal(l.t, "status", l.script(source).value(), int64(status))
	equal(l.t, "stdout", l.stdout(), stdout)
	equal(l.t, "stderr", l.stderr(), stderr)
}

// A KeyboardInterrupt that is no CANCEL ends a program as it ends an interpreter.
func scriptInterrupt(t *testing.T, l *link) {
	for _, source := range []string{
		"raise KeyboardInterrupt",
		"import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)",
		"def f():\n  raise KeyboardInterrupt('enough')\nf()",
		// While another thread reads what comes.
		"import mitogen, threading, time\nt = threading.Thread(target=mitogen.Receiver().get)\n" +
			"t.setDaemon(True)\nt.start()\ntime.sleep(.2)\nraise KeyboardInterrupt",
	} {
		equal(t, "status of "+source, l.script(source).value(), int64(130))
		contains(t, "stderr", l.stderr(), `File "prog.py", line `, "KeyboardInterrupt")
	}
	hook := "import sys\ndef hook(t, v, tb):\n  sys.excepthook = old\n  print(t.__name__)\n" +
		"old = sys.excepthook\nsys.excepthook = hook\nraise KeyboardInterrupt"
	l.runs(hook, 130, "KeyboardInterrupt\n", "")
	l.runs("print('next')", 0, "next\n", "")
}

func TestScript(t *testing.T) {
	on(t, []test{
		{"as a program", func(t *testing.T, l *link) {
			p := l.script("import sys\nprint(__name__)\nprint(__file__)\nprint(sys.argv)\n"+
				"print(sys.modules['__main__'].__dict__ is globals())", "a", "b c")
			equal(t, "status", p.value(), int64(0))
			equal(t, "stdout", l.stdout(), "__main__\nprog.py\n['prog.py', 'a', 'b c']\nTrue\n")
		}},
		{"exit status", exitStatus},
		{"exception", scriptException},
		{"interrupt of its own", scriptInterrupt},
		{"syntax error", func(t *testing.T, l *link) {
			equal(t, "status", l.script("import os\n\nx = = 3\n").value(), int64(1))
			contains(t, "stderr", l.stderr(), `File "prog.py", line 3`, "x = = 3", "SyntaxError: ")
		}},
		{"excepthook", func(t *testing.T, l *link) {
			l.runs("import sys\nold = sys.excepthook\ndef hook(t, v, tb):\n  sys.excepthook = old\n  "+
				"print(t.__name__)\nsys.excepthook = hook\n1/0", 1, "ZeroDivisionError\n", "")
		}},
		{"atexit", func(t *testing.T, l *link) {
			l.runs("import atexit\ndef bye(): print('bye')\natexit.register(bye)\nprint('end')", 0,
				"end\nbye\n", "")
			l.runs("print('once')", 0, "once\n", "")
		}},
		{"threads", func(t *testing.T, l *link) {
			for range 2 {
				l.runs("import threading, time\ndef late():\n  time.sleep(.2)\n  print('late')\n"+
					"threading.Thread(target=late).start()\nprint('main')", 0, "main\nlate\n", "")
			}
		}},
		{"thread pools", func(t *testing.T, l *link) {
			if l.py.Major == 2 {
				t.Skip("Python 2 has none")
			}
			for range 2 {
				l.runs("from concurrent.futures import ThreadPoolExecutor\nimport time\np = "+
					"ThreadPoolExecutor(2)\n"+
					"p.submit(lambda: (time.sleep(.1), print('done')))", 0, "done\n", "")
			}
		}},
		{"classes of __main__", func(t *testing.T, l *link) {
			l.runs("import pickle\nclass A(object):\n  x = 1\na = pickle.loads(pickle.dumps(A(), 2))\n"+
				"print(type(a) is A)", 0, "True\n", "")
		}},
		{"names of an earlier run", func(t *testing.T, l *link) {
			l.runs("left = 1", 0, "", "")
			l.runs("print('left' in globals())", 0, "False\n", "")
		}},
		{"source", func(t *testing.T, l *link) {
			l.runs("import inspect\ndef f():\n    return 1\nprint(inspect.getsource(f))", 0,
				"def f():\n    return 1\n\n", "")
		}},
		{"forms of source", func(t *testing.T, l *link) {
			l.runs("print('crlf')\r\nif 1:\r\n    print('more')\r\n", 0, "crlf\nmore\n", "")
			l.runs("", 0, "", "")
			l.runs("# nothing", 0, "", "")
			l.runs("print('no newline at the end')  # comment", 0, "no newline at the end\n", "")
			l.runs("\xef\xbb\xbfprint('bom')\n", 0, "bom\n", "")
			l.runs("# coding: latin-1\nprint(len(u'\xe9'))\n", 0, "1\n", "")
			l.runs("from __future__ import division\nprint(1/2)\n", 0, "0.5\n", "")
			if l.py.Major > 2 {
				l.runs("print('\u00e9' == '\\xe9')", 0, "True\n", "")
			}
		}},
		{"imports of modules that travel", func(t *testing.T, l *link) {
			l.serve("companion", "def f(): return 'with it'\n")
			l.runs("import companion\nprint(companion.f())", 0, "with it\n", "")
		}},
		{"interrupted", func(t *testing.T, l *link) {
			// Python 2 does not see a signal that comes just before a long system call.
			p := l.script("print('started')\nimport sys\nsys.stdout.flush()\n" +
				"import time\nwhile 1: time.sleep(.1)")
			l.await("start", func() bool { return l.printedLocked("started\n") })
			l.cancel(p)
			p.fails("KeyboardInterrupt")
		}},
		{"no stdin", func(t *testing.T, l *link) {
			l.runs("import sys\nprint(repr(sys.stdin.read()))", 0, "''\n", "")
		}},
	})
}

func exitStatus(t *testing.T, l *link) {
	for _, tt := range []struct {
		code, stderr string
		status       int
	}{
		{"", "", 0}, {"None", "", 0}, {"0", "", 0}, {"3", "", 3}, {"256 + 5", "", 5}, {"-1", "", 255},
		{"True", "", 1},
		{"'it went wrong'", "it went wrong\n", 1}, {"[1]", "[1]\n", 1},
	} {
		l.runs("import sys\nprint('before')\nsys.exit("+tt.code+")\nprint('after')", tt.status,
			"before\n", tt.stderr)
	}
	l.runs("raise SystemExit(4)", 4, "", "")
	l.runs("try:\n  exit(6)\nfinally:\n  print('finally')", 6, "finally\n", "")
}

func scriptException(t *testing.T, l *link) {
	equal(t, "status", l.script("def f():\n    return {}['absent']  # here\n\nf()\n").value(),
		int64(1))
	s := l.stderr()
	contains(t, "stderr", s, "Traceback (most recent call last):\n",
		`File "prog.py", line 4, in <module>`, `File "prog.py", line 2, in f`,
		"return {}['absent']  # here", "\nKeyError: 'absent'\n")
	for _, ours := range []string{"<_mitogen>", "_mitogen_run"} {
		if strings.Contains(s, ours) {
			t.Errorf("the traceback shows the runtime:\n%s", s)
		}
	}
}

// input runs a script with stdin; feed sends data to it.
func (l *link) input(source string) (p *pending, feed func(data string)) {
	l.t.Helper()
	l.stdout()
	p = l.call("_mitogen_run:script", []byte(source), "prog.py", []string{"prog.py"}, "", true)
	return p, func(data string) {
		for {
			n := min(len(data), wire.MaxPayload)
			l.send(wire.Frame{Dst: first, Handle: wire.Stdin, Reply: p.reply, Payload: []byte(data[:n])})
			if data = data[n:]; data == "" {
				return
			}
		}
	}
}

func TestStdin(t *testing.T) {
	k := flow{first, wire.Stdin}
	on(t, []test{
		{"data behind the call", func(t *testing.T, l *link) {
			p, feed := l.input("import sys\nprint(sys.stdin.read().upper())")
			feed("some ")
			feed("data")
			feed("")
			equal(t, "status", p.value(), int64(0))
			equal(t, "stdout", l.stdout(), "SOME DATA\n")
		}},
		{"end of file at once", func(t *testing.T, l *link) {
			p, feed := l.input("import sys\nprint(repr(sys.stdin.read()))")
			feed("")
			p.value()
			equal(t, "stdout", l.stdout(), "''\n")
		}},
		{"late data", func(t *testing.T, l *link) {
			p, feed := l.input("import sys\nfor n in (1, 2):\n  sys.stdout.write('name? ')\n  " +
				"sys.stdout.flush()\n  print(sys.stdin.readline().strip() + '!')")
			l.await("question", func() bool { return l.printedLocked("name? ") })
			feed("ada\n")
			l.await("second question", func() bool { return l.printedLocked("ada!\nname? ") })
			feed("bob\n")
			equal(t, "status", p.value(), int64(0))
			equal(t, "stdout", l.stdout(), "name? ada!\nname? bob!\n")
		}},
		{"child reads it", func(t *testing.T, l *link) {
			p, feed := l.input("import os\nos.system('cat')")
			feed("for the child")
			feed("")
			p.value()
			equal(t, "stdout", l.stdout(), "for the child")
		}},
		{"5 MB, with credit", func(t *testing.T, l *link) {
			l.forget(k)
			p, feed := l.input("import os\nn = 0\nwhile 1:\n  d = os.read(0, 65536)\n  if not d: break\n  " +
				"n += len(d)\nprint(n)")
			piece := strings.Repeat("i", 1<<20)
			for i := range 5 {
				l.await("credit", func() bool { return l.granted[k] >= i<<20 })
				feed(piece)
			}
			feed("")
			equal(t, "status", p.value(), int64(0))
			equal(t, "stdout", l.stdout(), "5242880\n")
			l.await("credit for all", func() bool { return l.granted[k] == 5<<20 })
		}},
		{"not read", func(t *testing.T, l *link) {
			l.forget(k)
			p, feed := l.input("import sys, time\nprint('sleeping')\nsys.stdout.flush()\ntime.sleep(.3)")
			feed(strings.Repeat("i", 1<<20))
			equal(t, "status", p.value(), int64(0))
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.granted[k] > 128<<10 {
				t.Errorf("credit for %d bytes that nobody has read", l.granted[k])
			}
		}},
		{"what one run leaves is not the next one's", func(t *testing.T, l *link) {
			p, feed := l.input("import os\nprint(len(os.read(0, 3)))")
			feed(strings.Repeat("first ", 40_000))
			q, feedQ := l.input("import sys\nprint(sys.stdin.read())")
			feed("late")
			feedQ("second")
			feedQ("")
			p.value()
			feed("")
			q.value()
			equal(t, "stdout", l.stdout(), "3\nsecond\n")
		}},
		{"cancelled", cancelledInput},
		{"null afterwards", func(t *testing.T, l *link) {
			p, feed := l.input("pass")
			feed("unread")
			p.value()
			equal(t, "rest", l.call("rt:evaluate", "os.read(0, 10) + sys.stdin.read().encode()").value(),
				l.noBytes())
		}},
	})
}

// cancelledInput ends runs whose children read: these see no end of the input, which is kept open
// until they are gone.
func cancelledInput(t *testing.T, l *link) {
	files := func() any { return l.call("rt:evaluate", "len(os.listdir('/proc/self/fd'))").value() }
	for _, source := range []string{
		"subprocess.Popen(reader).wait()",
		"try: subprocess.Popen(reader).wait()\nexcept KeyboardInterrupt: pass",
		"subprocess.Popen(reader)\nimport time\ntime.sleep(60)",
	} {
		before := files()
		p, feed := l.input("import subprocess\nreader = ['sh', '-c', 'exec 3<&0; cat <&3 & echo =$$ " +
			"$!=; wait; echo end']\n" + source)
		feed("half")
		l.await("a reader", func() bool { return l.printedLocked("half") && l.printedLocked("=\n") })
		l.cancel(p)
		p.wait()
		time.Sleep(50 * time.Millisecond) // in which the reader would have ended
		printed := l.stdout()
		if strings.Contains(printed, "end") {
			t.Errorf("%s: the reader saw an end", source)
		}
		for _, pid := range strings.Fields(strings.Split(printed, "=")[1]) {
			l.call("rt:evaluate", "os.kill("+pid+", 9)").value()
		}
		for end := time.Now().Add(10 * time.Second); files() != before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %v files are open, want %v", source, files(), before)
			}
		}
	}
}

func (l *link) forget(k flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.granted, k)
}

// noBytes is an empty byte string as this Python sends it.
func (l *link) noBytes() any {
	if l.py.Major == 2 {
		return ""
	}
	return []byte{}
}

func TestModule(t *testing.T) {
	run := func(l *link, name string, args ...string) *pending {
		l.t.Helper()
		l.stdout()
		l.stderr()
		return l.call("_mitogen_run:module", name, append([]string{}, args...), false)
	}
	on(t, []test{
		{"of the library", func(t *testing.T, l *link) {
			equal(t, "status", run(l, "timeit", "-n1", "-r1", "1").value(), int64(0))
			contains(t, "stdout", l.stdout(), "1 loop")
		}},
		{"of ours", func(t *testing.T, l *link) {
			l.serve("tool", "import sys\nif __name__ == '__main__':\n  print(sys.argv[1:])\n  sys.exit(5)\n")
			equal(t, "status", run(l, "tool", "a", "b").value(), int64(5))
			equal(t, "stdout", l.stdout(), "['a', 'b']\n")
		}},
		{"package", func(t *testing.T, l *link) {
			l.servePackage("toolbox", "")
			l.serve("toolbox.__main__",
				"from toolbox import hammer\nprint(hammer.name, __name__ == '__main__')\n")
			l.serve("toolbox.hammer", "name = 'hammer'\n")
			equal(t, "status", run(l, "toolbox").value(), int64(0))
			contains(t, "stdout", l.stdout(), "hammer", "True")
		}},
		{"absent", func(t *testing.T, l *link) {
			equal(t, "status", run(l, "nowhere").value(), int64(1))
			contains(t, "stderr", l.stderr(), "nowhere")
		}},
	})
}
