package runtimetest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// leaver is a shell command that leaves a process in a session of its own, and prints its pid.
const leaver = `setsid sleep 1000 >/dev/null 2>&1 & echo $!`

// kept runs a script with keep.
func (l *link) kept(source string) *pending {
	l.t.Helper()
	l.stdout()
	l.stderr()
	return l.call("_mitogen_run:script", []byte(source), "prog.py", []string{"prog.py"}, "", false,
		true)
}

// leaves runs a script or, with call, a function of the context, that leaves a process; it returns
// its pid.
func (l *link) leaves(how string) int {
	l.t.Helper()
	source := "import os\nf = os.popen('''" + leaver + "''')\nresult = int(f.readline())\n"
	switch how {
	case "call":
		return int(l.call("rt:execute", source).value().(int64))
	case "kept":
		equal(l.t, "status", l.kept(source+"print(result)").value(), int64(0))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(l.stdout()))
	if err != nil {
		l.t.Fatal(err)
	}
	return pid
}

// lives tells whether a process runs.
func lives(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// What a program that is kept has left lives on. All else that the context has started ends with
// it, whichever came first.
func TestKeepIsForItsProgram(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for _, order := range []string{"kept call", "call kept", "kept call kept call", "kept"} {
			t.Run(order, func(t *testing.T) {
				l := start(t, py)
				var kept, called []int
				for how := range strings.FieldsSeq(order) {
					pid := l.leaves(how)
					defer syscall.Kill(pid, syscall.SIGKILL)
					if how == "kept" {
						kept = append(kept, pid)
					} else {
						called = append(called, pid)
					}
				}
				running := l.kept("import os\nf = os.popen('''" + leaver +
					"''')\nos.write(1, f.readline().encode())\nimport time\ntime.sleep(1000)")
				l.await("the last one's process", func() bool { return l.printedLocked("\n") })
				pid, err := strconv.Atoi(strings.TrimSpace(l.stdout()))
				if err != nil {
					t.Fatal(err)
				}
				called = append(called, pid)
				l.cmd.Process.Kill()
				_ = running
				eventually(t, "the end of all but what is kept",
					func() bool { return !slices.ContainsFunc(called, lives) })
				time.Sleep(50 * time.Millisecond)
				for _, pid := range kept {
					if !lives(pid) {
						t.Errorf("%d, which is to be kept, has ended", pid)
					}
					syscall.Kill(pid, syscall.SIGKILL)
				}
				l.leavesNone(t, patience) // guards neither
			})
		}
	})
}

// A program can be kept where there is no module resource, or one without use: it bears no mark.
func TestKeepWithoutResource(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		for name, module := range map[string]string{
			"none":      "None",
			"empty":     "type(sys)('resource')",
			"no limits": "type('R', (), {'getrlimit': lambda *a: int('none')})()",
		} {
			t.Run(name, func(t *testing.T) {
				l := l.in(t)
				l.call("rt:execute", "import sys\nsys.modules['resource'] = "+module).value()
				equal(t, "status", l.kept("print(1)").value(), int64(0))
				equal(t, "output", l.stdout(), "1\n")
			})
		}
	})
}

// A mark says that a guard runs. It isn't set before, or after a guard that can't be started.
func TestMarkComesAfterGuard(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for name, tt := range map[string]struct{ forks, want string }{
			"started":     {"fork()", "[False] True"},
			"not started": {"int('no memory')", "[False] False"},
			"started at the 2nd": {
				"(seen[1:] and [fork] or [lambda: int('no memory')])[0]()",
				"[False, False] True",
			},
		} {
			t.Run(name, func(t *testing.T) {
				got := start(t, py).call("rt:execute", `
import os, posix, _mitogen as m
seen = []
fork = posix.fork
def forking():
    seen.append('MARK' in m.__dict__)   # names of core
    return `+tt.forks+`
posix.fork = forking
for i in range(`+strconv.Itoa(strings.Count(tt.want, ",")+1)+`):
    try:
        for fd in os.pipe(): os.close(fd)
    except ValueError:
        pass
posix.fork = fork
left = 'MARK' in m.__dict__     # names of core
result = '%s %s' % (seen, left)
`).value()
				equal(t, "marks seen, and left", got, tt.want)
			})
		}
	})
}

// failsAfterFork has a function fail in the context, once it has started a program's process.
const failsAfterFork = `
import os, posix, sys, _mitogen as m, _mitogen_run as r
forked = []
fork, real = posix.fork, getattr(%[1]s) # names of core
def forking():
    pid = fork()
    forked.append(pid)
    return pid
def failing(*args):
    if forked and forked[0]:
        setattr(%[1]s, real)    # names of core
        raise %[2]s
    return real(*args)
for fd in os.pipe(): os.close(fd)   # has a guard, which has a file
posix.fork = forking
setattr(%[1]s, failing) # names of core
before = len(os.listdir('/proc/self/fd'))
streams, polled = len(m.STREAMS), len(m.FDS)
try:
    try:
        r.script('import time\ntime.sleep(1000)'.encode(), 'x.py', ['x.py'], '', %[3]s)
        result = 'no exception'
    except Exception:
        result = sys.exc_info()[0].__name__
finally:
    posix.fork = fork
    setattr(%[1]s, real)    # names of core
try:
    os.kill(forked[-1], 0)
    result = 'the program lives'
except OSError:
    pass
if len(os.listdir('/proc/self/fd')) != before or len(m.STREAMS) != streams or len(m.FDS) != polled:
    result = 'something is left: %%s' %% [len(os.listdir('/proc/self/fd')) - before,
                                        len(m.STREAMS) - streams, len(m.FDS) - polled]
`

// A program whose process was started, but can't be supervised, is ended, and nothing of it stays.
func TestProgramThatCannotBeSupervised(t *testing.T) {
	on(t, []test{{"", func(t *testing.T, l *link) {
		l.runs("print(1)", 0, "1\n", "")
		for _, tt := range []struct{ name, fails, with, more, want string }{
			{"no more files", "m, 'high'", "OSError(24, 'Too many open files')", "False", "OSError"},
			{"no memory", "m.Stream, '__init__'", "MemoryError()", "False", "MemoryError"},
			{"no more files, and input", "m, 'no_input'", "OSError(24, 'Too many open files')", "True",
				"OSError"},
			{"no memory, with sockets", "m.Stream, '__init__'", "MemoryError()", "False", "MemoryError"},
			{"no watcher", "r, 'watcher'", "OSError(12, 'Cannot allocate memory')", "False", "OSError"},
			{"no more files, kept", "m, 'high'", "OSError(24, 'Too many open files')", "False, True",
				"OSError"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				l := l.in(t)
				source := fmt.Sprintf(failsAfterFork, tt.fails, tt.with, tt.more)
				if tt.name == "no watcher" { // there is one elsewhere than on Linux
					source = "import _mitogen_run as r\nr.LINUX = False\n" + source + "\nr.LINUX = True"
				}
				if strings.HasSuffix(tt.name, "sockets") { // forks may ask
					source = "import _mitogen as m\nm.ANNOUNCED = [1]\n" + source + "\nm.ANNOUNCED = []"
				}
				equal(t, "exception", l.call("rt:execute", source).value(), tt.want)
				l.runs("print(2)", 0, "2\n", "")
			})
		}
	}}})
}

// Where the kernel doesn't end what a program leaves in its group, this has an end with the run
// too.
func TestWatcherEndsWhatIsLeft(t *testing.T) {
	const leave = "import os\npid = os.fork()\nif not pid:\n  os.closerange(0, 3)\n  import time\n  " +
		"time.sleep(1000)\n  os._exit(0)\nprint(pid)"
	on(t, []test{{"", func(t *testing.T, l *link) {
		l.runs("print(1)", 0, "1\n", "")
		l.call("rt:execute", "import _mitogen_run as r\nr.LINUX = False").value()
		defer func() { l.call("rt:execute", "import _mitogen_run as r\nr.LINUX = True").value() }()
		for range 5 {
			equal(t, "status", l.script(leave).value(), int64(0))
			pid, err := strconv.Atoi(strings.TrimSpace(l.stdout()))
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end of what the program has left", func() bool { return !lives(pid) })
		}
		equal(t, "status", l.kept(leave).value(), int64(0))
		pid, err := strconv.Atoi(strings.TrimSpace(l.stdout()))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		if !lives(pid) {
			t.Error("what was to be kept has ended")
		}
		syscall.Kill(pid, syscall.SIGKILL)
		equal(t, "zombies", len(zombies(l.cmd.Process.Pid)), 0)
	}}})
}

// Frames for a program that doesn't read take no more room, however many come.
func TestFramesForProgramThatComputes(t *testing.T) {
	on(t, []test{{"", func(t *testing.T, l *link) {
		p := l.script("import os, signal\nos.write(1, 'started'.encode())\nwhile 1: signal.pause()")
		l.await("start", func() bool { return l.printedLocked("started") })
		long := []byte(strings.Repeat("for nothing", 100))
		for _, tt := range []struct {
			name  string
			count int
			frame func(i int) wire.Frame
		}{
			{"credit", 150_000, func(i int) wire.Frame {
				return wire.Frame{Handle: wire.Credit,
					Payload: wire.AppendCredit(nil, wire.Handle(1000+i%3), 1)}
			}},
			{"credit for any flow", 150_000, func(i int) wire.Frame {
				return wire.Frame{Handle: wire.Credit, Payload: wire.AppendCredit(nil, wire.Handle(i), 1)}
			}},
			{"handles that the program hasn't", 20_000, func(i int) wire.Frame {
				return wire.Frame{Handle: wire.Handle(1<<20 + i), Kind: wire.Item, Payload: long}
			}},
			{"what only parents may send", 20_000, func(i int) wire.Frame {
				return wire.Frame{Handle: wire.LoadModule, Payload: long}
			}},
		} {
			grown := func(from int) int {
				for i := range tt.count {
					f := tt.frame(from + i)
					f.Dst, f.Src, f.Auth = first, first+1, first+1
					l.send(f)
				}
				l.ping(first, "all is read").wait()
				return number(t, l.cmd.Process.Pid, "status", "VmRSS")
			}
			before := grown(0) // and the interpreter has what it keeps for itself
			room := 6_000
			if l.py.Impl == "pypy" { // whose heap breathes
				room = 12_000
			}
			if after := grown(tt.count); after > before+room {
				t.Errorf("%s: the context has grown from %d to %d KiB by %d frames", tt.name, before, after,
					tt.count)
			}
		}
		l.cancel(p)
		p.wait()
	}}})
}
