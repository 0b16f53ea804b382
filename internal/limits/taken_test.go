package limits

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A taking takes a resource from a process that runs.
type taking struct {
	name  string
	limit int // of setrlimit
	left  func(t *testing.T, pid int) []uint64
	sides []string
}

// opened counts the descriptors of a process. Under a limit of so many, and with none free below,
// it can open none.
func opened(t *testing.T, pid int) uint64 {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return uint64(len(files))
}

// mapped returns the memory that a process has mapped, in bytes.
func mapped(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := strconv.ParseUint(strings.Fields(string(text))[0], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// constant returns a function that returns n whatever the process has.
func constant(n ...uint64) func(*testing.T, int) []uint64 {
	return func(*testing.T, int) []uint64 { return n }
}

var takings = []taking{
	{"descriptors", unix.RLIMIT_NOFILE, func(t *testing.T, pid int) []uint64 {
		n := opened(t, pid)
		if !soak {
			return []uint64{n - 2, n, n + 4}
		}
		var all []uint64
		for more := range uint64(24) {
			all = append(all, n+more)
		}
		return all
	}, []string{"daemon", "hop", "context"}},
	// Of a process of Go, the runtime ends it: it can't go on without memory (see goNeeds).
	{"memory", unix.RLIMIT_AS, func(t *testing.T, pid int) []uint64 {
		return []uint64{mapped(t, pid), mapped(t, pid) + 1<<20}
	},
		[]string{"hop", "context"}},
	{"file size", unix.RLIMIT_FSIZE, constant(0), []string{"daemon", "hop", "context"}},
	{"locked memory", unix.RLIMIT_MEMLOCK, constant(0), []string{"daemon"}},
	{"queued signals", unix.RLIMIT_SIGPENDING, constant(0), []string{"daemon", "hop", "context"}},
}

// pidAt returns the process of a warm context, of which each call is done by a copy.
func pidAt(t *testing.T, target string) int {
	t.Helper()
	parent := step{"call", []string{"os:getppid"}, 0, nil}
	all, stderr := parent.take(t, nil, true, []string{target})
	if len(all) != 1 || all[0].Error != nil {
		t.Fatalf("%s: got %+v, want its pid; it says %.1000s", target, all, stderr)
	}
	var pid int
	if err := json.Unmarshal(all[0].Result, &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// setLimit sets a soft limit of a process, and returns what gives it back.
func setLimit(t *testing.T, pid, limit int, n uint64) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(pid, limit, nil, &old); err != nil {
		t.Skipf("prlimit: %v", err)
	}
	if err := unix.Prlimit(pid, limit, &unix.Rlimit{Cur: min(n, old.Max), Max: old.Max},
		nil); err != nil {
		t.Fatal(err)
	}
	return func() { unix.Prlimit(pid, limit, &old, nil) } // it may have ended
}

// A resource that a daemon, a hop or a context loses while it runs is an error for what would need
// it, at each step. Other targets, other clients and the daemon live on, and all works again once
// the resource is back.
func TestTaken(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "lim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	said, daemon, up := daemonIn(t, filepath.Join(dir, "own", "d.sock"), nil)
	if !up {
		t.Fatalf("the daemon has not started: %s", said)
	}
	const hop, context = "exec:env MITO_LIMITS_TAKEN=1 sh", "exec:env MITO_LIMITS_TAKEN=1 sh+local"
	for i, x := range takings {
		for _, side := range x.sides {
			if !soak && (i > 1 || side == "context") {
				continue // a sample
			}
			t.Run(x.name+" of "+side, func(t *testing.T) {
				beside := bystander(t)
				pidAt(t, context)
				pid := daemon.Process.Pid
				switch side {
				case "hop":
					pid = pidAt(t, hop)
				case "context":
					pid = pidAt(t, context)
				}
				targets := []string{hop, context, hop + "+exec:env MITO_LIMITS_NEW=1 sh",
					"exec:env MITO_LIMITS_NEW=2 sh", "local"}
				lacking := len(targets)
				if side != "daemon" {
					lacking = 3
				}
				for i, n := range x.left(t, pid) {
					for j, do := range steps {
						if !soak && (i+j)%len(steps) != 0 {
							continue // a sample
						}
						t.Logf("%s, %d left", do.name, n)
						restore := setLimit(t, pid, x.limit, n)
						all, stderr := do.take(t, nil, true, targets)
						restore()
						if len(all) == 0 && side == "daemon" && strings.Contains(stderr, "error:") {
							continue // it could not even accept the client
						}
						do.check(t, targets, lacking, all, stderr)
					}
				}
				beside()
				all, stderr := call(t, nil, true, targets)
				check(t, targets, 0, all, stderr)
			})
		}
	}
	for _, word := range crashed {
		if strings.Contains(said.String(), word) {
			t.Fatalf("the daemon says %q:\n%.3000s", word, said)
		}
	}
}

// bystander starts a script by the daemon, and returns what demands that it goes on and ends well.
func bystander(t *testing.T) (ends func()) {
	t.Helper()
	cmd := command(t, nil, "run", "--daemon", "-t", "local", "-c",
		"import sys\nprint('up')\nsys.stdout.flush()\nprint(sys.stdin.read())")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("up\n"))
	if _, err := io.ReadFull(out, first); err != nil {
		t.Fatalf("the other client's script: %v", err)
	}
	return func() {
		t.Helper()
		io.WriteString(in, "alive")
		in.Close()
		rest, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil || string(rest) != "alive\n" {
			t.Errorf("the other client's script: got %q, %v, want it to end well", rest, err)
		}
	}
}
