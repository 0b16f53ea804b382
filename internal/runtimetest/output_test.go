package runtimetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

func TestOutput(t *testing.T) {
	on(t, []test{
		{"byte-exact", func(t *testing.T, l *link) {
			l.prints("import sys\nsys.stdout.write('a\\r\\nb'); sys.stderr.write('c\\n\\nd')", "a\r\nb",
				"c\n\nd")
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			for _, fd := range []int{1, 2} {
				l.call("rt:write", fd, all).value()
			}
			equal(t, "stdout", l.stdout(), string(all))
			equal(t, "stderr", l.stderr(), string(all))
		}},
		{"unicode", func(t *testing.T, l *link) {
			l.prints("import os\nos.write(1, u'h\\xe9'.encode('utf-8'))", "h\u00e9", "")
		}},
		{"child processes", func(t *testing.T, l *link) {
			l.prints("import os\nos.system('echo out; echo err >&2; printf tail')", "out\ntail", "err\n")
			l.prints("import subprocess, sys\nsubprocess.call([sys.executable, '-c', 'print(12)'])", "12\n",
				"")
		}},
		{"order with child processes", func(t *testing.T, l *link) {
			l.prints("import os\nprint('1')\nos.system('echo 2')\nprint('3')", "1\n2\n3\n", "")
		}},
		{"before the answer", beforeTheAnswer},
		{"before an error", func(t *testing.T, l *link) {
			l.stdout()
			p := l.call("rt:execute", "import sys\nsys.stdout.write('last words')\n1/0")
			p.fails("ZeroDivisionError")
			equal(t, "output before the answer", p.printed[flow{first, wire.Stdout}], len("last words"))
		}},
		{"10 MB", func(t *testing.T, l *link) {
			l.stdout()
			p := l.call("rt:write", 1, []byte(strings.Repeat("m", 100_000)), 100)
			p.value()
			equal(t, "output before the answer", p.printed[flow{first, wire.Stdout}], 10_000_000)
			equal(t, "stdout", strings.Count(l.stdout(), "m"), 10_000_000)
		}},
		{"no credit is lost", func(t *testing.T, l *link) {
			l.send(wire.Frame{Dst: first, Handle: wire.Credit,
				Payload: wire.AppendCredit(nil, wire.Stdout, 0)})
			l.call("rt:execute", "import rt\nfor i in range(50):\n  rt.write(1, bytearray(100000))\n  "+
				"rt.write(2, bytearray(100000))").value()
			eventually(t, "all credit is back", func() bool {
				return l.call("rt:evaluate", "(lambda m: str([m.FLOWS[0, m.STDOUT], "+
					"m.FLOWS[0, m.STDERR]]))(sys.modules['_mitogen'])").value() == "[1048576, 1048576]"
			})
		}},
		{"back-pressure", backPressure},
		{"one flow held up", oneFlowHeld},
		{"background process", func(t *testing.T, l *link) {
			l.stdout()
			pid := l.call("rt:execute",
				"import subprocess\nresult = subprocess.Popen(['yes', 'background']).pid").value()
			l.await("output of the process", func() bool { return l.printedLocked("background\n") })
			equal(t, "a call meanwhile", l.call("rt:echo", 1).value(), int64(1))
			l.call("rt:execute", strings.ReplaceAll("import os\nos.kill(PID, 9)\nos.waitpid(PID, 0)", "PID",
				fmt.Sprint(pid))).value()
			l.stdout()
		}},
		{"stdin is empty", func(t *testing.T, l *link) {
			l.prints("import os, sys\nprint([os.read(0, 1), sys.stdin.read(), "+
				"os.path.samestat(os.fstat(0), os.stat('/dev/null'))][1:])\n"+
				"os.system('cat; echo end')", "['', True]\nend\n", "")
		}},
		{"processes get fds 0, 1 and 2", func(t *testing.T, l *link) {
			l.prints("import os\nos.system('cd /proc/self/fd; echo *')", "0 1 2 3\n", "")
		}},
		{"replaced and closed files", func(t *testing.T, l *link) {
			l.prints("import sys\nclass F:\n  def write(self, s): pass\nold = sys.stdout, sys.stderr\n"+
				"sys.stdout = sys.stderr = F()\n"+
				"print('unseen')\nsys.stdout = sys.stderr = None\nresult = 1\nsys.stdout, sys.stderr = old", "",
				"")
		}},
	})
}

// prints executes source and demands that it writes just this.
func (l *link) prints(source, stdout, stderr string) {
	l.t.Helper()
	l.stdout()
	l.stderr()
	l.call("rt:execute", source).value()
	equal(l.t, "stdout", l.stdout(), stdout)
	equal(l.t, "stderr", l.stderr(), stderr)
}

func beforeTheAnswer(t *testing.T, l *link) {
	const line = "twelve bytes\n"
	l.stdout()
	var calls []*pending
	for range 300 {
		calls = append(calls, l.call("rt:execute", "print('twelve bytes')"))
	}
	for i, p := range calls {
		p.value()
		if got := p.printed[flow{first, wire.Stdout}]; got < (i+1)*len(line) {
			t.Fatalf("answer %d came behind %d bytes", i, got)
		}
	}
	equal(t, "stdout", l.stdout(), strings.Repeat(line, len(calls)))
}

func backPressure(t *testing.T, l *link) {
	l.stdout()
	release := l.hold(wire.Stdout)
	p := l.call("rt:write", 1, []byte(strings.Repeat("p", 100_000)), 40)
	got := l.settled(p, func() int { return l.owed[flow{first, wire.Stdout}] })
	if got < wire.Window || got > wire.Window+wire.MaxPayload {
		t.Errorf("%d bytes came without credit", got)
	}
	release()
	p.value()
	equal(t, "stdout", len(l.stdout()), 4_000_000)
}

// oneFlowHeld: stderr comes while stdout's window is used up.
func oneFlowHeld(t *testing.T, l *link) {
	l.stdout()
	l.stderr()
	release := l.hold(wire.Stdout)
	p := l.call("rt:execute", "import threading, rt\nt = threading.Thread(target=rt.write, args=(1, "+
		"bytearray(3000000)))\n"+
		"t.start()\nimport time\ntime.sleep(.3)\nrt.write(2, 'other'.encode())\nt.join()")
	l.await("stderr", func() bool {
		b := l.output[flow{first, wire.Stderr}]
		return b != nil && b.String() == "other"
	})
	if p.come() {
		t.Error("the call has ended: nothing was held up")
	}
	release()
	p.value()
	equal(t, "stdout", len(l.stdout()), 3_000_000)
}
