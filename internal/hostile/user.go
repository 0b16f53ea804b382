// Package hostile is the other user of a machine in tests: an account without rights that plants
// files where they may be executed or read, listens where passwords may be sent, and swaps
// directories while they are checked. It also has the watchers of the victims: which paths their
// processes name, and whether that user could have made them.
//
// Only tests use it. It needs the lab, and so root.
package hostile

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// python runs the other user's scripts: the system's, because that account can enter no home
// directory.
const python = "/usr/bin/python3"

//go:embed plant.py
var plantScript string

//go:embed listen.py
var listenScript string

//go:embed swap.py
var swapScript string

// Beg is the script of an account that begs for the password of the account that enters it.
//
//go:embed beg.py
var Beg string

// Rounds returns how often a test repeats what only chance decides: few for `make test`, many for
// `make hostile`.
func Rounds(few, many int) int {
	if Long() {
		return many
	}
	return few
}

// Long tells whether the long forms of the tests are wanted.
func Long() bool { return os.Getenv("MITOGEN_HOSTILE") != "" }

// UID returns the number of an account of the lab.
func UID(t testing.TB, name string) int {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// Hand gives a path to an account.
func Hand(t testing.TB, path, name string) {
	t.Helper()
	uid := UID(t, name)
	if err := os.Lchown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
}

// command makes a command of the other user.
func command(script string, args ...string) *exec.Cmd {
	argv := lab.As(lab.Other, append([]string{python, "-Ic", script}, args...)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	return cmd
}

// A Trap holds the files that the other user has planted.
type Trap struct {
	Planted []string // paths
	Refused []string // names that could not be planted: not a fault
	sprung  string   // file that a planted file writes to when it is executed
}

// A Kind of trap says what a planted name is.
type Kind string

// The kinds.
const (
	Zip       Kind = "zip"       // what ends in .zip is an archive of modules
	Directory Kind = "directory" // what ends in .zip is a directory of modules
	Pipe      Kind = "pipe"      // each file is a named pipe: a process that opens one waits for ever
)

// Plant has the other user make each of the named paths, as far as that account can: a directory
// gets a file for each module of the standard library, and for what Python imports at its start.
// What is planted is removed when the test ends.
func Plant(t testing.TB, kind Kind, names []string) *Trap {
	t.Helper()
	f, err := os.CreateTemp("", "hostile-sprung-")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	t.Cleanup(func() { os.Remove(f.Name()) })
	if err := os.Chmod(f.Name(), 0o666); err != nil {
		t.Fatal(err)
	}
	var made struct{ Planted, Refused, Made []string }
	if err := json.Unmarshal(plant(t, string(kind), f.Name(), names), &made); err != nil {
		t.Fatalf("plant: %v", err)
	}
	// That user removes them, because root could remove another user's files.
	t.Cleanup(func() { plant(t, "remove", f.Name(), made.Made) })
	return &Trap{Planted: made.Planted, Refused: made.Refused, sprung: f.Name()}
}

// plant runs plant.py.
func plant(t testing.TB, kind, sprung string, names []string) []byte {
	t.Helper()
	in, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(plantScript, kind, sprung)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("plant: %v", err)
	}
	return out
}

// Has tells whether a path is planted, or below what is.
func (p *Trap) Has(path string) bool {
	return slices.ContainsFunc(p.Planted, func(planted string) bool {
		return path == planted || strings.HasPrefix(path, planted+"/")
	})
}

// Sprung returns a line for each planted file that was executed.
func (p *Trap) Sprung(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(p.sprung)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Reset forgets which planted files were executed.
func (p *Trap) Reset(t testing.TB) {
	t.Helper()
	if err := os.Truncate(p.sprung, 0); err != nil {
		t.Fatal(err)
	}
}

// A Listener is a process of the other user's that listens on sockets and keeps what it is sent.
type Listener struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// Heard holds the bytes that came to a Listener on one connection.
type Heard struct {
	Socket string
	Bytes  string
}

// Listen has the other user listen on each of the sockets. A socket that exists is replaced, if
// that account can do so.
func Listen(t testing.TB, sockets ...string) *Listener {
	t.Helper()
	return start(t, command(listenScript, sockets...))
}

// Swap has the other user exchange two paths in turn, as quickly as can be, until the Listener is
// closed.
func Swap(t testing.TB, a, b string) *Listener {
	t.Helper()
	return start(t, command(swapScript, a, b))
}

// start starts a process, and returns when it has said that it is ready.
func start(t testing.TB, cmd *exec.Cmd) *Listener {
	t.Helper()
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
	l := &Listener{cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() { l.in.Close(); l.cmd.Process.Kill(); l.cmd.Wait() })
	if line, err := l.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%s: got %q, %v, want ready", cmd.Args[len(cmd.Args)-1], line, err)
	}
	return l
}

// Close ends the process and returns all connections that had come, in their order.
func (l *Listener) Close(t testing.TB) []Heard {
	t.Helper()
	l.in.Close()
	out, err := io.ReadAll(l.out)
	if err != nil {
		t.Fatal(err)
	}
	l.cmd.Wait()
	var all []Heard
	if len(out) > 0 {
		if err := json.Unmarshal(out, &all); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return all
}
