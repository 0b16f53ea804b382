package runtimetest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// patience bounds what should take an instant: reaching it is a failure.
const patience = 60 * time.Second

// marker is an environment variable that all processes of a link have, and those of no other.
const marker = "MITO_TEST"

// nonce sets this run's processes apart from those of other runs.
var nonce = fmt.Sprintf("%d.%d", os.Getpid(), time.Now().UnixNano())

var links atomic.Int32

func TestMain(m *testing.M) {
	goctx.SendLog()
	goctx.Main()
	for fd := 3; fd < 1024; fd++ {
		syscall.CloseOnExec(fd) // what we were given is not for contexts
	}
	flag.Parse()
	// they wait more than they compute
	flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	code := m.Run()
	if left := awaitNone(nonce, 3*time.Second); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "processes left behind:", left)
		for _, p := range left {
			syscall.Kill(p.pid, syscall.SIGKILL)
		}
		code = 1
	}
	os.Exit(code)
}

// process is a running process, as /proc shows it.
type process struct {
	pid  int
	line string
}

// marked returns the processes whose marker begins with tag. Zombies have no environment and don't
// count.
func marked(tag string) []process {
	want := []byte("\x00" + marker + "=" + tag)
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []process
	for _, name := range files {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), want) {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		found = append(found, process{pid, strings.TrimRight(string(line), "\x00")})
	}
	return found
}

// awaitNone waits until nothing marked with tag runs, and returns what still does when the limit is
// reached.
func awaitNone(tag string, limit time.Duration) []process {
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		left := marked(tag)
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// zombies returns the children of parent that have ended and not been waited for.
func zombies(parent int) []int {
	var found []int
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range files {
		stat, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			found = append(found, pid)
		}
	}
	return found
}

// interpreters are those that a test runs on: a sample that package testpython draws for the test,
// so that all tests together run on all; each of them in `make soak`. With -short it is the default
// one: what that is for is the race detector, which sees nothing of Python.
func interpreters(t *testing.T) []testpython.Interp {
	t.Helper()
	all := testpython.Sample(t.Name())
	if len(all) == 0 {
		t.Fatal("no Python interpreter found")
	}
	if py, ok := testpython.Default(); ok && testing.Short() {
		return []testpython.Interp{py}
	}
	return all
}

// test is one of a table. run is given a context that may have been used by the tests before it,
// and leaves it usable.
type test struct {
	name string
	run  func(t *testing.T, l *link)
}

// on runs tests on the interpreters of the test.
func on(t *testing.T, tests []test) {
	t.Helper()
	each(t, func(t *testing.T, py testpython.Interp) {
		var l *link
		for _, tt := range tests {
			if l == nil || t.Failed() {
				l = start(t, py)
			}
			t.Run(tt.name, func(t *testing.T) {
				l := l.in(t)
				tt.run(t, l)
				if got := l.echo("well").value(); got != "well" {
					t.Errorf("the context is not usable afterwards: %v", got)
				}
			})
		}
	})
}

// each runs fn for the interpreters of the test, some at a time.
func each(t *testing.T, fn func(t *testing.T, py testpython.Interp)) {
	t.Helper()
	t.Parallel()
	for _, py := range interpreters(t) {
		t.Run(py.Name(), func(t *testing.T) {
			t.Parallel()
			fn(t, py)
		})
	}
}

type interp = testpython.Interp
