package integration

import (
	"bytes"
	"compress/zlib"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
)

// maxAgent is the most that an agent may have compressed, as it is sent, in bytes.
const maxAgent = 1_600_000

// builtAgent returns the agent for this machine, built as in a release.
var builtAgent = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "agent-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("scripts/build-agent.sh", runtime.GOOS+"/"+runtime.GOARCH, dir+"/agent")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "VERSION=v0.0.1")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(text)))
	}
	return os.ReadFile(dir + "/agent")
})

// agentOptions has an engine send the agent to trees.
func agentOptions(t *testing.T) mitogen.Options {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles the standard library anew")
	}
	b, err := builtAgent()
	if err != nil {
		t.Fatalf("build agent: %v", err)
	}
	return mitogen.Options{Agent: func(string, string) ([]byte, error) { return b, nil }}
}

// The agent is small.
func TestAgentSize(t *testing.T) {
	agentOptions(t)
	b, _ := builtAgent()
	var packed bytes.Buffer
	w, _ := zlib.NewWriterLevel(&packed, 3) // as package bundle does
	w.Write(b)
	w.Close()
	t.Logf("agent for %s/%s: %d bytes, %d compressed", runtime.GOOS, runtime.GOARCH, len(b),
		packed.Len())
	if got := packed.Len(); runtime.GOARCH == "amd64" && got > maxAgent {
		t.Errorf("agent compressed: got %d bytes, want at most %d", got, maxAgent)
	}
}

// A tree with busybox alone gets the agent, which does all that a copy of the engine's program does
// there, but Go functions.
func TestAgentInTree(t *testing.T) {
	o := agentOptions(t)
	root := busyboxTree(t)
	os.MkdirAll(root+"/dev/shm", 0o755)
	os.MkdirAll(root+"/proc", 0o755)
	var programs givenPrograms
	o.Audit = programs.audit
	c := connected(t, engine(t, o), treeTarget(t, root, withShm),
		mitogen.ConnectOptions{GoFallback: true})
	const place = "/dev/shm/"
	info, err := c.Info(t.Context())
	if err != nil || info.Implementation != "go" {
		t.Fatalf("info: got %v, %v, want that of a Go context", info, err)
	}
	var out, errs bytes.Buffer
	status, err := c.Exec(t.Context(), mitogen.Command{Stdout: &out, Stderr: &errs,
		Args: []string{"sh", "-c", "cat /proc/$PPID/exe | wc -c"}})
	b, _ := builtAgent()
	want := strconv.Itoa(len(b))
	if got := strings.TrimSpace(out.String()); status != 0 || err != nil || got != want {
		t.Errorf("exec: got status %d, %v, %q, %q, want a parent of %s bytes", status, err, got,
			errs.String(), want)
	}
	copiesBothWays(t, c, place)
	connectsBack(t, c)
	if _, err := whoami.Call(t.Context(), c, "hello"); !errors.Is(err, mitogen.ErrNotRegistered) {
		t.Errorf("Go function: got %v, want %v", err, mitogen.ErrNotRegistered)
	}
	if _, err := mitogen.Call[int](t.Context(), c, "os:getpid"); !errors.Is(err, connect.ErrNoPython) {
		t.Errorf("call: got %v, want %v", err, connect.ErrNoPython)
	}
	if got := programs.count(); got != 1 {
		t.Errorf("got %d lines of programs in the audit log, want 1", got)
	}
	if left := leftIn(root); len(left) > 0 {
		t.Errorf("got %q left in the tree, want nothing", left)
	}
}

// An agent of another platform is never sent: the error names the platform that it is for.
func TestAgentOfOtherPlatform(t *testing.T) {
	root := busyboxTree(t)
	os.MkdirAll(root+"/dev/shm", 0o755)
	os.MkdirAll(root+"/proc", 0o755)
	other := bytes.Clone(otherELF)
	e := engine(t, mitogen.Options{Agent: func(string, string) ([]byte, error) { return other, nil }})
	_, err := e.Connect(t.Context(), treeTarget(t, root, withShm),
		mitogen.ConnectOptions{GoFallback: true})
	want := "linux/" + runtime.GOARCH + ": it is for EM_S390"
	if !errors.Is(err, mitogen.ErrNoBinary) || !strings.Contains(err.Error(), want) {
		t.Errorf("connect: got %v, want what has %q", err, want)
	}
	if left := leftIn(root); len(left) > 0 {
		t.Errorf("got %q left in the tree, want nothing", left)
	}
}

// otherELF is the header of a program for an s390x.
var otherELF = func() []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x02\x01")
	b[17], b[19], b[23] = 2, 22, 1 // ET_EXEC, EM_S390, EV_CURRENT
	b[53], b[55], b[59] = 64, 56, 64
	return b
}()
