package runtimetest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// starters are the functions of os that start programs, or that a library calls before it starts
// one.
const starters = "execv execve fork forkpty pipe pipe2 popen posix_spawn posix_spawnp system"

// guardAsked reports whether the context has asked for the guard.
func (l *link) guardAsked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.asked, func(a ask) bool { return a.name == "_mitogen_guard" })
}

// TestWhatBringsTheGuard: a context asks for its guard before it starts a program, and for nothing
// less.
func TestWhatBringsTheGuard(t *testing.T) {
	const hooked = "import os\nresult = ' '.join([n for n in sorted(dir(os)) if getattr(getattr(os, " +
		"n), '__name__', '') == 'load'])"
	each(t, func(t *testing.T, py interp) {
		l := start(t, py)
		want := l.call("rt:evaluate",
			fmt.Sprintf("' '.join([n for n in %q.split() if hasattr(__import__('posix'), n)])",
				starters)).value()
		equal(t, "functions that bring the guard", l.call("rt:execute", hooked).value(), want)
		for _, harmless := range []string{
			"os.getpid()", "os.open('/dev/null', 0)", "os.dup(1)",
			"hasattr(os, 'posix_fadvise') and os.posix_fadvise(os.open('/', 0), 0, 0, 0)",
		} {
			l.call("rt:execute", "import os\n"+harmless).value()
			equal(t, "the guard is asked for after "+harmless, l.guardAsked(), false)
		}
		l.call("rt:execute", "import os\nfor fd in os.pipe(): os.close(fd)").value()
		equal(t, "the guard is asked for after os.pipe", l.guardAsked(), true)
		equal(t, "functions that bring the guard, afterwards", l.call("rt:execute", hooked).value(), "")
	})
}

// startMany has 16 threads start a program each at the same time, in a session of its own, and
// returns the pids.
const startMany = `
import os, subprocess, sys, threading

def alone():
    os.setsid()
    # Python 2 lets the pipes of other threads through, which wait for their end
    os.closerange(3, 256)

session = {'start_new_session': True}
if sys.version_info < (3, 2):
    session = {'preexec_fn': alone}
getattr(sys, 'setswitchinterval', lambda seconds: sys.setcheckinterval(1))(1e-5)

def popen():
    return subprocess.Popen(['sleep', '1000'], **session).pid

def fork():
    pid = os.fork()
    if not pid:
        alone()
        os.execvp('sleep', ['sleep', '1000'])
    return pid

def shell():
    f = os.popen('setsid sleep 1000 >/dev/null 2>&1 & echo $!')
    try:
        return int(f.readline())
    finally:
        f.close()

def module():
    return __import__(modules.pop()).pid

def start(fn):
    gate.wait()
    pids.append(fn())

modules = ['starts%%d' %% i for i in range(16)]
starters, pids, gate = [%s], [], threading.Event()
threads = [threading.Thread(target=start, args=(starters[i %% len(starters)],)) for i in range(16)]
for t in threads: t.start()
gate.set()
for t in threads: t.join()
result = pids
`

// startsOne is a module that starts a program while it is imported.
const startsOne = `
import os
pid = os.fork()
if not pid:
    os.setsid()
    os.closerange(3, 256)
    os.execvp('sleep', ['sleep', '1000'])
`

var realtimeLimit = regexp.MustCompile(`(?m)^Max realtime timeout +(\S+)`)

// mark returns the limit of a process that says which context has started it; "" if the process has
// ended.
func mark(pid int) string {
	limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if m := realtimeLimit.FindSubmatch(limits); m != nil {
		return string(m[1])
	}
	return ""
}

// guards returns the pids of the context's guards: processes of the context that are none of its
// programs.
func (l *link) guards(programs ...any) (pids []int) {
	for _, p := range marked(l.tag) {
		if p.pid != l.cmd.Process.Pid && !slices.Contains(programs, any(int64(p.pid))) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// TestThreadsStartPrograms: of threads that start the first programs at the same time, all wait for
// the guard. link.finish demands that the programs end with the context.
func TestThreadsStartPrograms(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for _, starters := range []string{"popen", "popen", "popen", "fork", "shell", "popen, fork",
			"module", "module, fork"} {
			t.Run(starters, func(t *testing.T) {
				l := start(t, py)
				for i := range 16 {
					l.serve(fmt.Sprintf("starts%d", i), startsOne)
				}
				pids := l.call("rt:execute", fmt.Sprintf(startMany, starters)).value().(*pyvalue.List).Items
				want := mark(l.cmd.Process.Pid)
				if !strings.HasPrefix(want, strconv.Itoa(4_000_000+l.cmd.Process.Pid)) {
					t.Errorf("limit of the context: got %q, want its mark, %d and 12 digits", want,
						4_000_000+l.cmd.Process.Pid)
				}
				equal(t, "programs", len(pids), 16)
				for _, pid := range pids {
					equal(t, fmt.Sprintf("mark of program %d", pid), mark(int(pid.(int64))), want)
				}
				equal(t, "guards", len(l.guards(pids...)), 1)
			})
		}
	})
}

// TestGuardKeepsNoFiles: a guard has two files open, whatever the context had.
func TestGuardKeepsNoFiles(t *testing.T) {
	const open = `
import fcntl, os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for fd in (100, 1023, 1024, 4095):
    fcntl.fcntl(1, fcntl.F_DUPFD, fd)
`
	const unlisted = `
listdir = os.listdir
def refuse(path):
    if path == '/proc/self/fd':
        raise OSError(2, 'nothing there')
    return listdir(path)
os.listdir = refuse
`
	const first = "\nfor fd in os.pipe(): os.close(fd)"
	each(t, func(t *testing.T, py interp) {
		for _, tt := range []struct{ name, source string }{
			{"listed", open},
			{"up to the limit", open + unlisted},
			{"without a limit", open + unlisted + "os.sysconf = lambda name: -1"},
			{"with a limit that nothing reaches", open + unlisted + "os.sysconf = lambda name: 1 << 40"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				l := start(t, py)
				l.call("rt:execute", tt.source+first).value()
				guards := l.guards()
				if len(guards) != 1 {
					t.Fatalf("got guards %v, want one", guards)
				}
				var files []string
				for end := time.Now().Add(patience); time.Now().Before(end) &&
					len(files) != 2; time.Sleep(10 * time.Millisecond) {
					files, _ = filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", guards[0]))
				}
				if len(files) != 2 {
					t.Errorf("files of the guard: got %v, want two", files)
				}
			})
		}
	})
}

// TestGuardSweepsWithFewFiles: a guard that looks at many processes has one file open at a time.
func TestGuardSweepsWithFewFiles(t *testing.T) {
	const sweep = `
import gc, os, _mitogen as m
for fd in os.pipe(): os.close(fd)
gc.disable()
before = len(os.listdir('/proc/self/fd'))
m.guard_sweep('the mark of nothing', {})
result = len(os.listdir('/proc/self/fd')) - before
`
	each(t, func(t *testing.T, py interp) {
		equal(t, "files that a sweep leaves open", start(t, py).call("rt:execute", sweep).value(),
			int64(0))
	})
}

// failsOnce is a program of which the first start fails: once, replaced functions raise an
// exception. The second start is to bring the guard.
const failsOnce = `
import os, sys, resource, _mitogen as m
real = {}
def fail(*args):
    for holder, name in real:
        setattr(holder, name, real[holder, name])
    raise %[2]s
for holder, name in (%[1]s,):
    real[holder, name] = getattr(holder, name)
    setattr(holder, name, fail)
first = 'no exception'
try:
    for fd in os.pipe(): os.close(fd)
except:
    first = sys.exc_info()[0].__name__
left = len(os.listdir('/proc/self/fd'))
for fd in os.pipe(): os.close(fd)
result = [first, len(os.listdir('/proc/self/fd')) - left]
`

// TestGuardIsTriedAgain: a guard that could not be started is started with the next program,
// whatever was lacking.
func TestGuardIsTriedAgain(t *testing.T) {
	each(t, func(t *testing.T, py interp) {
		for _, tt := range []struct{ name, fails, with, first string }{
			{"interrupted before the mark", "(resource, 'setrlimit')", "KeyboardInterrupt",
				"KeyboardInterrupt"},
			{"interrupted at the lock", "(m.fcntl, 'lockf')", "KeyboardInterrupt", "KeyboardInterrupt"},
			{"no memory", "(m.fcntl, 'lockf')", "MemoryError", "MemoryError"},
			{"no locks", "(m.fcntl, 'lockf')", "IOError(37, 'No locks available')", ""},
			{"no descriptors", "(m.posix, 'pipe')", "OSError(24, 'Too many open files')", "OSError"},
			{"no processes", "(m.posix, 'fork')", "OSError(11, 'Resource temporarily unavailable')", ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				l := start(t, py)
				got := l.call("rt:execute",
					fmt.Sprintf(failsOnce, tt.fails, tt.with)).value().(*pyvalue.List).Items
				if got[0] == "no exception" || tt.first != "" && got[0] != tt.first {
					t.Errorf("first start: got %v, want %s", got[0], tt.first)
				}
				equal(t, "guards", len(l.guards()), 1)
				equal(t, "files that the second start leaves open", got[1], int64(1)) // of the guard's end
				if got, want := mark(l.cmd.Process.Pid), strconv.Itoa(4_000_000+
					l.cmd.Process.Pid); !strings.HasPrefix(got, want) {
					t.Errorf("limit of the context: got %q, want its mark, %s and 12 digits", got, want)
				}
			})
		}
	})
}
