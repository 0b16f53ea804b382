package runtimetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// trees are process tables as Python writes them: pid: (name, ours, root's, ended, children, waited,
// reads). Process 1 was started.
var trees = []struct{ name, table, want string }{
	{"asks", "{1: ('sudo', 0, 1, 0, [], 0, 0)}", "ASKS"},
	{"asks, behind a script", "{1: ('sh', 1, 0, 0, [2], 1, 0), 2: ('su', 0, 1, 0, [], 0, 0)}", "ASKS"},
	{"has had helpers, and reads", "{1: ('sudo', 0, 1, 0, [], 1, 1)}", "ASKS"},
	{"its command may have ended", "{1: ('su', 0, 1, 0, [], 1, 0)}", "PERHAPS"},
	{"has started its command", "{1: ('sudo', 0, 1, 0, [2], 0, 0), 2: ('sh', 0, 0, 0, [], 0, 0)}", "BEGUN"},
	{"has started one of root's", "{1: ('sudo', 0, 1, 0, [2], 0, 0), 2: ('sudo', 0, 1, 0, [], 0, 0)}", "BEGUN"},
	{"has become its command", "{1: ('python3', 0, 0, 0, [], 0, 0)}", "BEGUN"},
	{"has become one of root's", "{1: ('python3', 0, 1, 0, [], 0, 0)}", "BEGUN"},
	{"has become ours", "{1: ('sudo', 1, 0, 0, [], 0, 0)}", "ABSENT"},
	{"has ended", "{1: ('sudo', 0, 1, 1, [], 0, 0)}", "BEGUN"},
	{"is gone", "{}", "BEGUN"},
	{"behind a script, has ended", "{1: ('sh', 1, 0, 0, [2], 0, 0), 2: ('su', 0, 1, 1, [], 0, 0)}", "ABSENT"},
	{"behind a script, is gone", "{1: ('sh', 1, 0, 0, [2], 0, 0)}", "ABSENT"},
	{"two", "{1: ('sh', 1, 0, 0, [2, 3], 0, 0), 2: ('su', 0, 1, 0, [], 0, 0), 3: ('sudo', 0, 1, 0, [], 0, 0)}", "BEGUN"},
	{"and another account", "{1: ('sh', 1, 0, 0, [2, 3], 0, 0), 2: ('su', 0, 1, 0, [], 0, 0), 3: ('sh', 0, 0, 0, [], 0, 0)}", "BEGUN"},
}

// judged runs asking() on a table in the hop; processes that the table lacks don't exist.
const judged = `
import os
import _mitogen as m
table = %s
def look(pid):
    return table.get(pid)
def kill(pid, sig):
    raise OSError(%d, 'as the test wants')
names = m.asking.__globals__
process, real = names['process'], os.kill
names['process'], os.kill = look, kill
try:
    state = m.asking(1, ['sudo', 'su'])
finally:
    names['process'], os.kill = process, real
result = [n for n in ('ABSENT', 'BEGUN', 'PERHAPS', 'ASKS', 'HIDDEN') if names[n] == state][0]
`

// seen is what the hop sees of itself and of a child, by /proc, by /proc without lists of children, and by ps.
const seen = `
import os, time
import _mitogen as m
pid = os.fork()
if not pid:
    time.sleep(60)
    os._exit(0)
me, child = m.process(os.getpid()), m.process(pid)
ps = m.listed()
result = [me[1] and not me[2] and not me[3] and pid in me[4], child[1] and child[4] == [], str(pid) in m.below(os.getpid()), pid in ps[os.getpid()][4]]
os.kill(pid, 9)
os.waitpid(pid, 0)
result += [m.process(os.getpid())[5], pid in m.process(os.getpid())[4]]
result = ' '.join([str(not not r) for r in result])
`

// listedBy is what the hop sees of itself by ps, which an environment, a file in the search path, or a shell
// may not come between. %s: what is done before.
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

// reads says "got" and the line that comes on its standard input, or on its terminal, within some time.
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

// led starts a program whose dialogue we lead, says "hush" when it asks, and returns what it said. asks has the
// hop take the program for one that asks.
func (l *link) led(dialogue string, asks bool) string {
	l.t.Helper()
	state, patience := "BEGUN", ".1"
	if asks {
		state, patience = "ASKS", "60"
	}
	l.learnsToSpawn()
	l.call("rt:execute", "import _mitogen as m\nm.asking = lambda pid, names: m."+state+"\nm.echoes = lambda fd: 0").value()
	id := l.newID()
	p := l.plan(first, id, l.py)
	p["argv"], p["tty"], p["dialogue"] = []string{l.py.Path, "-c", reads, dialogue, patience}, true, dialogue
	if dialogue == "ask" {
		p["prompts"] = []any{prompt("password:", nil)}
	}
	c := l.connect(first, id, p)
	l.send(wire.Frame{Dst: first, Handle: wire.Connect, Kind: wire.Item, Payload: append(wire.AppendConnect(nil, id, nil), "hush\n"...)})
	return c.failsTo("exit", int64(0))
}

// A hop sees whether a program still asks, as the engine does (internal/spawn).
func TestAsking(t *testing.T) {
	on(t, []test{
		hopTest("trees", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			for _, tt := range trees {
				equal(t, tt.name, l.call("rt:execute", fmt.Sprintf(judged, tt.table, 3)).value(), tt.want)
			}
			equal(t, "hidden", l.call("rt:execute", fmt.Sprintf(judged, "{}", 1)).value(), "HIDDEN")
			equal(t, "hidden child", l.call("rt:execute", fmt.Sprintf(judged, "{1: ('sh', 1, 0, 0, [2], 0, 0)}", 1)).value(), "HIDDEN")
		}),
		hopTest("real ones", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			equal(t, "itself, child, list of all, ps; waited, child", l.call("rt:execute", seen).value(), "True True True True True False")
		}),
		hopTest("by ps alone", func(t *testing.T, l *link) {
			l.learnsToSpawn()
			dir := t.TempDir()
			for _, name := range []string{"ps", "sh"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho 1 0 0 S planted\n"), 0o755); err != nil {
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
				{"a format of ps", "os.environ.update({'PS_FORMAT': 'comm', 'PS_PERSONALITY': 'bsd', 'COLUMNS': '3'})", true},
				{"no ps", "Posix.execve = lambda self, *a: os._exit(1)\n    m.posix = Posix()", false},
			} {
				got := l.call("rt:execute", fmt.Sprintf(listedBy, tt.before)).value()
				equal(t, "listed, and files left open; "+tt.name, got, pickle.Tuple{tt.seen, int64(0)})
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
			p := l.plan(first, id, l.py).dialogue(`stty -echo </dev/tty; printf 'Password: ' >/dev/tty; exec 3</dev/tty; python3 -c '
import select
print("typed" * len(select.select([3], [], [], .2)[0]))' >&2; exit 4`, prompt("password:", "hush"))
			if text := l.connect(first, id, p).failsTo("exit", int64(4)); strings.Contains(text, "typed") {
				t.Errorf("an answer was typed to a program without root's rights: %q", text)
			}
		}),
	})
}
