package integration

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/report"
)

// answersAlone tells whether c answers within a limit while the interpreter of its hop is stopped:
// whether the hop's server makes c's connection.
func answersAlone(t *testing.T, hop, c *mitogen.Context, limit time.Duration) bool {
	t.Helper()
	info, err := hop.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(info.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(info.PID, syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err = mitogen.Call[string](ctx, c, "os:getcwd")
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

func controlSockets(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "mitogen-*", "m*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The ssh of a hop makes the connections of those behind it that are started with it, and leaves
// nothing behind.
func TestMaster(t *testing.T) {
	l := lab.Need(t)
	dir, err := os.MkdirTemp("/tmp", "m") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Setenv("TMPDIR", dir)
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config,
		Args: []string{"-o", "ControlMaster=auto", "-o", "ControlPersist=60"}}}}
	c := connected(t, e, "mito+root+local", o)
	hop := e.Contexts()[0]
	if n := len(controlSockets(t, dir)); n != 1 {
		t.Errorf("%d control sockets", n)
	}
	if !answersAlone(t, hop, c, patience) {
		t.Error("the hop's context makes the connection")
	}
	further := connected(t, e, "mito+"+lab.Pass, o) // with what is there
	if !answersAlone(t, hop, further, patience) {
		t.Error("the hop's context makes a further connection")
	}
	info, err := hop.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(info.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var lost *report.LostError
	if _, err = mitogen.Call[int](t.Context(), c, "here:sleep", 1000); !errors.As(err, &lost) ||
		lost.Hop != "mito" {
		t.Errorf("after its hop's end: %v", err)
	}
	for end := time.Now().Add(patience); len(controlSockets(t, dir)) > 0 ||
		len(e.Contexts()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left: %q, %d contexts", controlSockets(t, dir), len(e.Contexts()))
		}
	}
}

// Where the hop's server makes no connections, its context does, and says what is wrong.
func TestMasterDenied(t *testing.T) {
	l := lab.Need(t)
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		ConfigFile: l.Config}}}
	c := connected(t, e, lab.Log+"+root", o)
	if answersAlone(t, e.Contexts()[0], c, time.Second) {
		t.Error("the lab's sshd forwards for " + lab.Log)
	}
	if _, err := e.Connect(t.Context(), "mito+127.0.0.1:1", o); !errors.Is(err, connect.ErrRefused) {
		t.Error(err)
	}
}

// A master of the user's is used, and stays.
func TestUsersMaster(t *testing.T) {
	l := lab.Need(t)
	dir, err := os.MkdirTemp("/tmp", "m")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "own")
	master := exec.Command("ssh", "-F", l.Config, "-M", "-S", path, "-N", "mito")
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		master.Process.Signal(syscall.SIGTERM)
		master.Wait()
	}()
	for range 500 {
		if _, err := os.Stat(path); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Setenv("TMPDIR", dir)
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config,
		Args: []string{"-o", "ControlPath=" + path}}}}
	var from []string
	// ours starts the first as it would any
	for _, target := range []string{"mito+local", "mito+sudo+root"} {
		connected(t, e, target, o)
	}
	for range 2 {
		o.SSH.KeepAliveCount++ // another context
		c := connected(t, e, "mito", o)
		from = append(from, strings.Join(environment(t, c, "SSH_CONNECTION"), " "))
	}
	if from[0] == "" || from[0] != from[1] {
		t.Errorf("connections of their own: %q", from)
	}
	if all := controlSockets(t, dir); len(all) > 0 {
		t.Errorf("beside the user's: %q", all)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := exec.Command("ssh", "-F", l.Config, "-S", path, "-O", "check",
		"mito").Run(); err != nil {
		t.Errorf("the user's master is gone: %v", err)
	}
}

func environment(t *testing.T, c *mitogen.Context, name string) []string {
	t.Helper()
	value, err := mitogen.Call[string](t.Context(), c, "os:getenv", name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(value)
}
