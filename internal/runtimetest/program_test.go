package runtimetest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lasting are programs that don't end by themselves, in states that are hard to end.
var lasting = map[string]string{
	"sleeps":         "import time\ntime.sleep(1000)",
	"computes":       "while 1: pass",
	"holds the lock": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
	"is stopped":     "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
	"is deaf": "import signal, time\nfor s in (1, 2, 15): signal.signal(s, " +
		"signal.SIG_IGN)\ntime.sleep(1000)",
	"closes all files": "import os, time\nos.closerange(0, 4096)\ntime.sleep(1000)",
	"has a child":      "import os\nos.system('sleep 1000')",
	"has a daemon":     "import os\nos.system('setsid sleep 1000 & setsid setsid sleep 1000 &')",
	"is a daemon": "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): " +
		"os._exit(0)\nos.closerange(0, 4096)\ntime.sleep(1000)",
	"becomes a program":  "import os\nos.execvp('sleep', ['sleep', '1000'])",
	"has a copy":         "import os, time\nos.fork()\ntime.sleep(1000)",
	"closes, then forks": "import os, time\nos.closerange(3, 4096)\nos.fork()\ntime.sleep(1000)",
}

// TestProgramEndsWithItsContext: whether the context is killed, its stream ends, or the program's
// process is, nothing stays.
func TestProgramEndsWithItsContext(t *testing.T) {
	ends := map[string]func(l *link){
		"context killed": func(l *link) { l.cmd.Process.Kill() },
		"stream ends":    func(l *link) { l.close() },
		"shut down": func(l *link) {
			l.shutDown(first)
			time.Sleep(50 * time.Millisecond)
			l.close()
		},
	}
	each(t, func(t *testing.T, py interp) {
		tries := 3 // any three, as a map's order is
		if os.Getenv("MITOGEN_SOAK") != "" {
			tries = len(lasting) * len(ends)
		}
		for name, source := range lasting {
			for how, end := range ends {
				if tries--; tries < 0 {
					return
				}
				t.Run(name+", "+how, func(t *testing.T) {
					l := start(t, py)
					l.script("import os\nos.write(1, 'started'.encode())\n" + source)
					l.await("start", func() bool { return l.printedLocked("started") })
					time.Sleep(100 * time.Millisecond) // it gets to its state, or not yet
					end(l)
					l.leavesNone(t, patience)
				})
			}
		}
	})
}

// TestProgramsEnd: what a program's process ends by is its status, and what it has written comes
// whole.
func TestProgramsEnd(t *testing.T) {
	on(t, []test{
		{"abruptly", func(t *testing.T, l *link) {
			for source, status := range map[string]int{
				"os._exit(7)":                                 7,
				"os.kill(os.getpid(), 9)":                     128 + 9,
				"os.kill(os.getpid(), 15)\ntime.sleep(60)":    128 + 15,
				"os.abort()":                                  128 + 6,
				"os.execvp('sh', ['sh', '-c', 'exit 5'])":     5,
				"os.kill(0, 15)\ntime.sleep(60)":              128 + 15,
				"os.closerange(0, 4096)\nos._exit(4)":         4,
				"import sys\nsys.stdout.close()\nsys.exit(3)": 3,
			} {
				l.stderr()
				equal(t, "status of "+source,
					l.script("import os, time\nos.write(1, 'x'.encode() * 70000)\n"+source).value(), int64(status))
				equal(t, "stdout of "+source, len(l.stdout()), 70000)
				equal(t, "stderr of "+source, l.stderr(), "")
			}
		}},
		{"in copies", func(t *testing.T, l *link) {
			const wait = "\nprint(os.waitpid(pid, 0)[1] >> 8)"
			for child, want := range map[string]string{
				"sys.exit(7)":         "7\n",
				"sys.exit('wrong')":   "1\n",
				"1/0":                 "1\n",
				"os._exit(3)":         "3\n",
				"raise SystemExit(9)": "9\n",
			} {
				l.stderr()
				source := "import os, sys, time\ntime.sleep(.1)\npid = os.fork()\nif not pid: " + child + wait
				equal(t, "status of "+child, l.script(source).value(), int64(0))
				equal(t, "stdout of "+child, l.stdout(), want)
			}
			l.runs("import os\npid = os.fork()\nif pid: print(os.waitpid(pid, 0)[1])", 0, "0\n", "")
			l.script(interruptedFork + "\nif pid: print(result)").value()
			equal(t, "end by an interrupt", l.stdout(), interruptedEnd(t, l)+"\n")
		}},
		{"with what an interpreter does at its end", func(t *testing.T, l *link) {
			const destructor = "class A(object):\n  def __del__(self): os.write(1, 'gone'.encode())\n" +
				"import os\na = A()\nos.write(1, 'end '.encode())"
			// Newer releases of PyPy call no destructor at the end.
			want, err := exec.Command(l.py.Path, "-c", destructor).Output()
			if err != nil {
				t.Fatalf("%s by itself: %v", l.py.Name(), err)
			}
			l.runs(destructor, 0, string(want), "")
			l.runs("import os, signal\nprint(signal.getsignal(2) is signal.default_int_handler, "+
				"signal.getsignal(17) == 0)", 0,
				map[bool]string{true: "True True\n", false: "(True, True)\n"}[l.py.Major > 2], "")
		}},
		{"with the streams of the interpreter", func(t *testing.T, l *link) {
			l.runs("import sys\nprint(sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__ and "+
				"sys.stdin is sys.__stdin__)", 0, "True\n", "")
		}},
		{"and can ask for modules meanwhile", func(t *testing.T, l *link) {
			for i := range 3 {
				l.serve(fmt.Sprint("asked", i), fmt.Sprintf("value = %d\n", i))
			}
			l.runs("import time\nfor i in range(3):\n  time.sleep(.02)\n  print(__import__('asked%d' % "+
				"i).value)", 0, "0\n1\n2\n", "")
			l.runs("import os\nos.closerange(3, 4096)\nos.write(1, 'alive '.encode())\ntry:\n  import "+
				"never_asked\nexcept Exception: print('no')", 0, "alive no\n", "")
		}},
		{"and leave logging as it is", func(t *testing.T, l *link) {
			l.runs("import logging\nlogging.basicConfig(format='%(message)s', level=20)\n"+
				"logging.info('informed')", 0, "", "informed\n")
			l.runs("import logging\nprint(logging.root.handlers == [] and logging.root.level == 30)", 0,
				"True\n", "")
			l.call("rt:execute", "import logging").value()
			l.runs("import logging\nprint(logging.root.handlers == [] and logging.root.level == 30)\n"+
				"logging.basicConfig(format='%(message)s')\nlogging.error('late')", 0, "True\n", "late\n")
			if n := len(l.logs); n > 0 {
				t.Errorf("%d records were sent", n)
			}
		}},
		{"by a signal to the context", func(t *testing.T, l *link) {
			p := l.script("import os, time\ntry:\n  os.write(1, 'started'.encode())\n  time.sleep(60)\n" +
				"except KeyboardInterrupt: print(' interrupted')")
			l.await("start", func() bool { return l.printedLocked("started") })
			syscall.Kill(l.cmd.Process.Pid, syscall.SIGINT)
			equal(t, "status", p.value(), int64(0))
			contains(t, "stdout", l.stdout(), "interrupted")
		}},
	})
}

// TestCopiesOfCalls: a process that a called function forks, and that comes back from it, ends as
// an interpreter does.
func TestCopiesOfCalls(t *testing.T) {
	on(t, []test{{"status", func(t *testing.T, l *link) {
		for child, want := range map[string]string{
			"sys.exit(7)":           "7",
			"sys.exit('in words')":  "1 in words\n",
			"raise ValueError('x')": "1 ValueError: x\n",
			"pass":                  "0",
		} {
			l.stderr()
			source := "import os, sys, time\ntime.sleep(.05)\npid = os.fork()\nif not pid:\n  " + child +
				"\nelse:\n  result = os.waitpid(pid, 0)[1] >> 8"
			got := fmt.Sprint(l.call("rt:execute", source).value())
			words := strings.Split(l.stderr(), "\n")
			if len(words) > 1 {
				got += " " + words[len(words)-2] + "\n"
			}
			equal(t, "status of "+child, got, want)
		}
		l.stderr()
		got := l.call("rt:execute", interruptedFork).value()
		equal(t, "end by an interrupt", fmt.Sprint(got), interruptedEnd(t, l))
		contains(t, "stderr", l.stderr(), "KeyboardInterrupt")
	}}})
}

// interruptedFork has a forked process end by KeyboardInterrupt; result is the signal that ended
// it, or its status.
const interruptedFork = `import os
pid = os.fork()
if not pid: raise KeyboardInterrupt
status = os.waitpid(pid, 0)[1]
result = status & 127 or status >> 8`

// interruptedEnd is result of interruptedFork in a plain interpreter.
func interruptedEnd(t *testing.T, l *link) string {
	t.Helper()
	out, err := exec.Command(l.py.Path, "-c", interruptedFork+"\nprint(result)").Output()
	if err != nil {
		t.Fatalf("%s by itself: %v", l.py.Name(), err)
	}
	return strings.TrimSpace(string(out))
}
