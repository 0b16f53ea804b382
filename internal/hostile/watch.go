package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// A Watch is a host whose processes are watched: an sshd of its own for each connection, under
// strace.
type Watch struct {
	Config string // ssh configuration: as the lab's, by way of the watched sshd
	dir    string
}

// NewWatch makes a watched host. It skips the test if strace is missing, which the test set-up
// installs.
func NewWatch(t testing.TB, l *lab.Lab) *Watch {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w := &Watch{dir: t.TempDir()}
	w.Config = filepath.Join(w.dir, "ssh_config")
	old, err := os.ReadFile(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	const watched = "strace -ff -qq -y -x -s 4096 -e trace=%%%%file,clone,clone3,fork,vfork -o " +
		"%s/trace"
	proxy := fmt.Sprintf("Host *\n  ProxyCommand "+watched+" /usr/sbin/sshd -i -f %s/sshd_config\n",
		w.dir, lab.Dir)
	if err := os.WriteFile(w.Config, []byte(proxy+string(old)), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// A Use is one use of a path by a process.
type Use struct {
	PID  int
	Call string
	Path string // absolute, if where the process was is known
	Done bool   // it succeeded
}

// exclusive ends the name of a call that makes a file, and fails if there is one.
const exclusive = "|O_EXCL"

// Makes tells whether the process made what is at the path, by a call that fails if there is
// something.
func (u Use) Makes() bool {
	return u.Done && (strings.HasPrefix(u.Call, "mkdir") || strings.HasPrefix(u.Call, "link") ||
		strings.HasSuffix(u.Call, exclusive))
}

// Uses returns what interpreters of Python on the host have done with paths since the last call,
// forks of interpreters included. All connections must have ended.
func (w *Watch) Uses(t testing.TB) []Use {
	t.Helper()
	w.await(t)
	files, err := filepath.Glob(filepath.Join(w.dir, "trace.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("strace has left nothing: %v", err)
	}
	traces := map[int]*trace{}
	for _, name := range files {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(name), "."))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		traces[pid] = parse(pid, string(text))
		os.Remove(name)
	}
	var all []Use
	for pid, x := range traces {
		all = append(all, x.python(inherits(traces, pid))...)
	}
	return all
}

// await returns when strace has ended, which is after all that it watches.
func (w *Watch) await(t testing.TB) {
	t.Helper()
	for range 6000 {
		if exec.Command("pgrep", "-f", "^strace .* -o "+w.dir+"/").Run() != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("watched processes don't end")
}

// trace holds the uses of paths of one process, and its children.
type trace struct {
	uses     []Use
	children map[int]int // by pid: how many uses came before
}

var (
	callLine = regexp.MustCompile(`^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<([^>]*)>)?`)
	// An argument that is a path, and the directory that it is below.
	pathArg = regexp.MustCompile(`(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"`)
)

func parse(pid int, text string) *trace {
	x := &trace{children: map[int]int{}}
	cwd, open := "", map[string]string{}
	for line := range strings.Lines(text) {
		m := callLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		call, args, result := m[1], m[2], m[3]
		if strings.Contains(call, "clone") || strings.HasSuffix(call, "fork") {
			if child, err := strconv.Atoi(result); err == nil && child > 0 {
				x.children[child] = len(x.uses)
			}
			continue
		}
		if strings.Contains(args, "O_EXCL") {
			call += exclusive
		}
		if m[4] != "" {
			open[result] = m[4]
		}
		for _, p := range paths(call, args) {
			dir, name := p[1], unquote(p[2])
			if dir == "" {
				dir = cwd
			}
			if strings.Contains(p[0], "AT_FDCWD") {
				cwd = dir
			}
			if name == "" {
				continue // of an open file
			}
			if !filepath.IsAbs(name) && dir != "" {
				name = dir + "/" + name
			}
			u := Use{pid, call, name, result == "0" || !strings.HasPrefix(result, "-")}
			if u.Makes() {
				u.Path = below(open, name)
			}
			x.uses = append(x.uses, u)
		}
	}
	return x
}

// below replaces the number of an open directory that a path begins with by the directory. By such
// a path a process names what is in a directory, though another user exchanges that.
func below(open map[string]string, path string) string {
	number, rest, ok := strings.Cut(strings.TrimPrefix(path, "/proc/self/fd/"), "/")
	if dir := open[number]; ok && dir != "" && strings.HasPrefix(path, "/proc/self/fd/") {
		return dir + "/" + rest
	}
	return path
}

// paths finds the arguments of a call that are paths.
func paths(call, args string) [][]string {
	all := pathArg.FindAllStringSubmatch(args, -1)
	switch {
	case len(all) == 0:
		return nil
	case strings.HasPrefix(call, "rename"), strings.HasPrefix(call, "link"):
		return all
	case strings.HasPrefix(call, "symlink"):
		return all[len(all)-1:] // the first is a text
	}
	return all[:1]
}

func unquote(s string) string {
	if name, err := strconv.Unquote(`"` + s + `"`); err == nil {
		return name
	}
	return s
}

// inherits tells whether a process was Python from its first moment.
func inherits(traces map[int]*trace, pid int) bool {
	for parent, x := range traces {
		before, ok := x.children[pid]
		if !ok {
			continue
		}
		is := inherits(traces, parent)
		for _, u := range x.uses[:before] {
			is = u.python(is)
		}
		return is
	}
	return false
}

// python returns the uses during which the process was an interpreter.
func (x *trace) python(is bool) (all []Use) {
	for _, u := range x.uses {
		if was := is; u.python(is) && was {
			all = append(all, u)
		}
		is = u.python(is)
	}
	return all
}

// python tells whether a process is Python after this use of a path, if it was before.
func (u Use) python(was bool) bool {
	if u.Done && strings.HasPrefix(u.Call, "execve") {
		return strings.HasPrefix(filepath.Base(u.Path), "python")
	}
	return was
}
