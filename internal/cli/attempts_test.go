package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab/recorder"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// recorded starts a server for passwords and returns a configuration that calls it "last".
func recorded(t *testing.T, r *recorder.Server, more string) (config string) {
	t.Helper()
	r.Serve(t)
	config = filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("Host last\n  HostName 127.0.0.1\n  Port %d\n  User me\n  IdentityAgent "+
		"none\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  %s\n", r.Port, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// commands has each command that connects, with its arguments.
var commands = map[string][]string{"ping": nil, "call": {"os:getpid"},
	"run": {"-c", "print('well')"}, "exec": {"--", "true"}}

// Without a terminal no server sees a password that wasn't given, nor one twice, whatever is tried
// again; by a daemon, too. With -short one case in four is tried.
func TestCommandsAttempt(t *testing.T) {
	for name, args := range commands {
		for _, daemon := range []bool{false, true} {
			for _, given := range []string{"", "right", "wrong"} {
				t.Run(fmt.Sprint(name, daemon, given), func(t *testing.T) {
					testpython.OneIn(t, 1)
					t.Parallel()
					r := &recorder.Server{Password: "right", Methods: []string{"password"}, HangUp: true}
					all := append([]string{name, "-F", recorded(t, r, "NumberOfPasswordPrompts 5"), "-t", "last",
						"--retries", "2"}, args...)
					cmd := exec.Command("mitogen", all...)
					cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
					cmd.Env = append(os.Environ(), "MITOGEN_SSH_PASSWORD="+given)
					if daemon {
						socket := startDaemon(t)
						cmd.Env = append(cmd.Env, "MITOGEN_DAEMON=1", "MITOGEN_SOCKET="+socket)
					}
					out, err := cmd.CombinedOutput()
					if well := err == nil; well != (given == "right") {
						t.Errorf("got %v: %s", err, out)
					}
					want := []string{"password " + given}
					if given == "" {
						want = nil
					}
					if got := r.Seen(); !slices.Equal(got, want) {
						t.Errorf("server saw %q, want %q (%s)", got, want, out)
					}
					if strings.Contains(string(out), "wrong") {
						t.Errorf("the secret is in %s", out)
					}
				})
			}
		}
	}
}

// startDaemon starts a daemon for the test.
func startDaemon(t *testing.T) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mgo") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "d", "s")
	t.Cleanup(func() { exec.Command("mitogen", "daemon", "stop", "--socket", socket).Run() })
	return socket
}

// On a terminal, the person is asked as by ssh, and what isn't typed isn't sent.
func TestTerminalAttempts(t *testing.T) {
	for _, daemon := range []bool{false, true} {
		for _, method := range []string{"password", "keyboard-interactive"} {
			t.Run(fmt.Sprint(daemon, method), func(t *testing.T) {
				r := &recorder.Server{Password: "right", Methods: []string{method}}
				args := []string{"ping", "-F", recorded(t, r, ""), "-t", "last"}
				if daemon {
					args = append(args, "--daemon", "--socket", startDaemon(t))
				}
				c := startConsole(t, args...)
				c.wait("assword: ")
				c.pty.WriteString("typo\r")
				for range int(patience / time.Millisecond) {
					if strings.Count(c.text(), "assword: ") > 1 {
						break
					}
					time.Sleep(time.Millisecond)
				}
				c.pty.WriteString("right\r")
				if status := c.status(); status != 0 {
					t.Errorf("got status %d, want 0: %s", status, c.text())
				}
				if got := r.Seen(); !slices.Equal(got, []string{method + " typo", method + " right"}) {
					t.Errorf("server saw %q, want what was typed", got)
				}
				c = startConsole(t, "ping", "-F", recorded(t, r, ""), "-t", "last")
				c.wait("assword: ")
				c.pty.WriteString("\x03")
				if status := c.status(); status != exitInterrupted {
					t.Errorf("got status %d, want %d", status, exitInterrupted)
				}
				if got := r.Seen(); len(got) > 0 && got[0] != "keyboard-interactive begun" {
					t.Errorf("server saw %q, want nothing", got)
				}
			})
		}
	}
}

// The password is for the host at the end, whichever way leads there, and whichever command
// connects.
func TestHopsAttempt(t *testing.T) {
	for name, args := range map[string][]string{
		"target":     {"ping", "-t", "last+127.0.0.1:1"},
		"via":        {"ping", "-t", "127.0.0.1:1", "--via", "last"},
		"doctor":     {"doctor", "-t", "last+127.0.0.1:1"},
		"doctor via": {"doctor", "-t", "127.0.0.1:1", "--via", "last"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder.Server{Password: "right", Methods: []string{"password"}}
			cmd := exec.Command("mitogen", append(args, "-F", recorded(t, r, ""))...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			cmd.Env = append(os.Environ(), "MITOGEN_SSH_PASSWORD=right")
			out, err := cmd.CombinedOutput()
			if seen := r.Seen(); err == nil || len(seen) > 0 {
				t.Errorf("got %v, the hop was told %q, want an error and nothing: %s", err, seen, out)
			}
		})
	}
}
