package runtimetest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/askcases"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// judged runs asking() on a table in the hop, with some names; processes that the table lacks don't
// exist, or are hidden.
const judged = `
import os
import _mitogen as m
table = %s
def look(pid):
    return table.get(pid)
def kill(pid, sig):
    raise OSError(%d, 'as the test wants')
names = m.asking.__globals__
process, real = names['process'], os.kill       # names of core
names['process'], os.kill = look, kill      # names of core
try:
    state = m.asking(1, %s)
finally:
    names['process'], os.kill = process, real   # names of core
states = {m.ABSENT: 'quiet', m.BEGUN: 'begun', m.PERHAPS: 'perhaps', m.ASKS: 'asks',
          m.HIDDEN: 'hidden'}
result = states[state]
`

// table is the results of Python's process() for a case.
func table(all map[int]askcases.Process) string {
	var b strings.Builder
	for pid, q := range all {
		fmt.Fprintf(&b, "%d: (%q", pid, q.Name)
		for _, flag := range []string{"own", "root", "ended", "", "waited", "reading", "passing"} {
			if flag == "" {
				fmt.Fprintf(&b, ", %s", strings.ReplaceAll(fmt.Sprint(q.Children), " ", ", "))
				continue
			}
			fmt.Fprintf(&b, ", %d", bit(slices.Contains(strings.Fields(q.Flags), flag)))
		}
		b.WriteString("), ")
	}
	return "{" + b.String() + "}"
}

func list(names []string) string {
	return "'" + strings.Join(names, " ") + "'.split()"
}

func tuple(it askcases.Identity) string {
	return fmt.Sprintf("(%d, %d, %d, %q)", it.RUID, it.EUID, it.RGID, it.Groups)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// seen prints the hop's view of itself and of a child, by three ways: /proc, /proc without lists of
// children, and ps.
const seen = `
import os, time
import _mitogen as m
pid = os.fork()
if not pid:
    time.sleep(60)
    os._exit(0)
me, child = m.process(os.getpid()), m.process(pid)
ps = m.listed()
result = [me[1] and not me[2] and not me[3] and pid in me[4], child[1] and child[4] == [],
          str(pid) in m.below(os.getpid()), pid in ps[os.getpid()][4]]
os.kill(pid, 9)
os.waitpid(pid, 0)
result += [m.process(os.getpid())[5], pid in m.process(os.getpid())[4]]
result = ' '.join([str(not not r) for r in result])
`

// readers tells of children, by their signals, whether the hop takes them for readers of passwords:
// one with none, one like sudo, one with half of these; one like su, one with more than these.
const readers = `
import os, signal
import _mitogen as m
def caught(*signals):
    for s in signals:
        signal.signal(s, lambda n, f: None)
def blocked(*signals):
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)
def reads(prepare, *signals):
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            prepare(*signals)
            os.write(w, 'x'.encode())
            signal.pause()
        finally:
            os._exit(1)
    os.read(r, 1)
    try:
        return bool(m.process(pid)[6])
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(r)
        os.close(w)
result = [reads(caught), reads(caught, signal.SIGTTIN, signal.SIGTTOU)]
result.append(reads(caught, signal.SIGTTIN))
if hasattr(signal, 'pthread_sigmask'):
    result += [reads(blocked, signal.SIGTSTP), reads(blocked, signal.SIGTSTP, signal.SIGHUP)]
result = str(result[:3]), str(result[3:] or [True, False])
`

// listedBy prints the hop's view of itself by ps. No environment, file in the search path or shell
// may come between. %s is code that runs before.
const listedBy = `
import os
import _mitogen as m
files = len(os.listdir('/proc/self/fd'))
environ = os.environ.copy()
posix = m.posix
class Posix(object):
    def __getattr__(self, name):
        return getattr(posix, name)
try:
    %s
    ps = m.listed()
finally:
    m.posix = posix
    os.environ.clear()
    os.environ.update(environ)
result = os.getpid() in ps, len(os.listdir('/proc/self/fd')) - files
`

// reads says "got" and the line that comes on its standard input, or on its terminal, within some
// time.
const reads = `
import os, select, sys
fd = 0
if sys.argv[1] != 'stdin':
    fd = os.open('/dev/tty', os.O_RDWR)
os.write(2, 'asks'.encode())
if fd:
    os.write(fd, 'Password: '.encode())
patience = float(sys.argv[2])
if select.select([fd], [], [], patience)[0]:
    os.write(2, ('got ' + os.read(fd, 100).decode()).encode())
`

// led starts a program whose dialogue the engine leads, says "hush" when it asks, and returns its
// output. If asks is set, the hop takes the program for a program that asks.
func (l *link) led(dialogue string, asks bool) string {
	l.t.Helper()
	state, patience := "BEGUN", ".1"
	if asks {
		state, patience = "ASKS", "60"
	}
	l.learnsToSpawn()
	l.call("rt:execute", "import _mitogen as m\nm.asking = lambda pid, names: m."+state+
		"\nm.echoes = lambda fd: 0").value()
	id := l.newID()
	p := l.plan(first, id, l.py)
	p["argv"], p["tty"], p["dialogue"] = []string{l.py.Path, "-c", reads, dialogue,
		patience}, true, dialogue
	if dialogue == "ask" {
		p["prompts"] = []any{prompt("password:", nil)}
	}
	c := l.connect(first, id, p)
	l.send(wire.Frame{Dst: first, Handle: wire.Connect, Kind: wire.Item,
		Payload: append(wire.AppendConnect(nil, id, nil), "hush\n"...)})
	return c.failsTo("exit", int64(0))
}

// A hop sees whether a program still asks, as the engine does (internal/spawn).
func TestAsking(t *testing.T) {
	on(t, []test{
		hopTest("trees", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			const absent, forbidden = 3, 1
			judge := func(all map[int]askcases.Process, problem int) any {
				text := fmt.Sprintf(judged, table(all), problem, list(askcases.Names))
				return l.call("rt:execute", text).value()
			}
			for _, tt := range askcases.Trees {
				equal(t, tt.Name, judge(tt.All, absent), tt.Want)
			}
			equal(t, "hidden", judge(nil, forbidden), "hidden")
			script := map[int]askcases.Process{1: {Name: "sh", Flags: "own", Children: []int{2}}}
			equal(t, "hidden child", judge(script, forbidden), "hidden")
			equal(t, "askers and time", l.call("rt:execute", `import _mitogen as m
result = ' '.join(m.ASKERS), m.LASTING`).value(),
				pyvalue.Tuple{strings.Join(askcases.Askers, " "), askcases.Lasting})
		}),
		hopTest("accounts", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			for _, tt := range askcases.Rights {
				text := fmt.Sprintf("import _mitogen as m\nown, root = m.rights(%s, %s, %d)\n"+
					"result = ' '.join([n for n, v in (('own', own), ('root', root)) if v])",
					tuple(tt.Us), tuple(tt.It), bit(tt.Setuid))
				equal(t, tt.Name, l.call("rt:execute", text).value(), tt.Want)
			}
			for _, tt := range askcases.Status {
				text := fmt.Sprintf("import _mitogen as m\nit, reads, passes = m.parse_status(%q)\n"+
					"flags = [n for n, v in (('reading', reads), ('passing', passes)) if v]\n"+
					"result = it == %s, ' '.join(flags)", tt.Text, tuple(tt.Identity))
				equal(t, tt.Name, l.call("rt:execute", text).value(), pyvalue.Tuple{true, tt.Flags})
			}
		}),
		hopTest("ps", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			for _, tt := range askcases.PS {
				text := fmt.Sprintf("import _mitogen as m\ntable = m.parse_ps(%q, m.COLUMNS[%d], %s)\n"+
					"result = ''\nwant = %s\nfor pid in want:\n"+
					"    got = table[pid]\n    same = [not a == (not b) for a, b in zip(got[1:4], "+
					"want[pid][1:4])]\n"+
					"    if 0 in same or got[0] != want[pid][0] or got[4:] != want[pid][4:]:\n"+
					"        result += repr((pid, got))",
					tt.Text, 1-bit(tt.Full), tuple(tt.Us), table(tt.Want))
				equal(t, tt.Name, l.call("rt:execute", text).value(), "")
			}
		}),
		hopTest("real ones", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			equal(t, "itself, child, list of all, ps; waited, child", l.call("rt:execute", seen).value(),
				"True True True True True False")
			equal(t, "readers", fmt.Sprint(l.call("rt:execute", readers).value()),
				"[[False, True, False] [True, False]]")
		}),
		hopTest("by ps alone", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			dir := t.TempDir()
			for _, name := range []string{"ps", "sh"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho 1 0 0 S planted\n"),
					0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, tt := range []struct {
				name, before string
				seen         bool
			}{
				{"as it is", "pass", true},
				{"another ps in the search path", fmt.Sprintf("os.environ['PATH'] = %q", dir), true},
				{"no search path", "del os.environ['PATH']", true},
				{"a format of ps", "os.environ.update({'PS_FORMAT': 'comm', 'PS_PERSONALITY': 'bsd', " +
					"'COLUMNS': '3'})", true},
				{"a ps that knows no real users", `def execve(self, path, argv, env):
        if 'ruid=' in argv:
            os.write(1, '1 1 0 0 0 S planted\n'.encode())
            os._exit(1)
        posix.execve(path, argv, env)
    Posix.execve = execve
    m.posix = Posix()`, true},
				{"no ps", "Posix.execve = lambda self, *a: os._exit(1)\n    m.posix = Posix()", false},
			} {
				got := l.call("rt:execute", fmt.Sprintf(listedBy, tt.before)).value()
				equal(t, "listed, and files left open; "+tt.name, got, pyvalue.Tuple{tt.seen, int64(0)})
				if left := zombies(l.cmd.Process.Pid); len(left) > 0 {
					t.Errorf("%s: processes %v aren't waited for", tt.name, left)
				}
			}
		}),
		hopTest("led by our parent", func(t *testing.T, l *link) {
			for _, dialogue := range []string{"stdin", "ask"} {
				for _, asks := range []bool{false, true} {
					text := l.led(dialogue, asks)
					if strings.Contains(text, "got hush") != asks {
						t.Errorf("%s, the program asks: %t: said %q", dialogue, asks, text)
					}
				}
			}
		}),
		hopTest("own program", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			id := l.newID()
			p := l.plan(first, id, l.py).dialogue(`stty -echo </dev/tty
printf 'Password: ' >/dev/tty; exec 3</dev/tty; python3 -c '
import select
print("typed" * len(select.select([3], [], [], .2)[0]))' >&2; exit 4`, prompt("password:", "hush"))
			if text := l.connect(first, id, p).failsTo("exit", int64(4)); strings.Contains(text, "typed") {
				t.Errorf("an answer was typed to a program without root's rights: %q", text)
			}
		}),
	})
}
