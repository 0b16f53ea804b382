package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// openSSH has a shell find the machine's own ssh, scp and sftp, with the configuration of serve-ssh
// and the options in place of %s.
const openSSH = `mkdir $HOME/bin && for p in ssh scp sftp; do
	own=/usr/bin/$p; case $p in ssh) o="-F $MITOGEN_SSH_CONFIG %s";; *) o="-S $HOME/bin/ssh";; esac
	printf '#!/bin/sh\nexec %%s "$@"\n' "$own $o" >$HOME/bin/$p; chmod 755 $HOME/bin/$p; done
	export PATH=$HOME/bin:$PATH`

// The machine's own ssh, and what uses it, reach the same by serve-ssh: by its ControlPath, and by
// its SSH server at a port and at a socket.
func TestServeClients(t *testing.T) {
	l := lab.Need(t)
	for _, name := range []string{"ssh", "scp", "sftp"} {
		if _, err := os.Stat("/usr/bin/" + name); err != nil {
			t.Skip(err)
		}
	}
	unlike := func(c client) bool { return strings.Contains(c.script, "$MITOGEN_SSH") }
	all := slices.DeleteFunc(slices.Clone(clients), unlike)
	program, port := buildMitogen(t), l.NewPort(t)
	for _, tt := range []struct {
		name, options, target string
		command               []string
	}{
		{"ControlPath", "", lab.Pass + "+sudo", []string{"serve-ssh"}},
		{"port", "-S none", lab.Free, []string{"serve-ssh", "--listen", "0"}},
		{"socket", "-S none", lab.Pass + "+sudo", []string{"serve-ssh", "--listen", "unix"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := "export HOME=" + t.TempDir() + "; "
			c := clientTest{l, program, port, tt.command, home + fmt.Sprintf(openSSH, tt.options)}
			c.run(t, tt.target, all)
		})
	}
}

// runtimeDir returns the variable for a runtime directory of the test alone: tests of attacks make
// and remove the user's.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "mgo") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "XDG_RUNTIME_DIR=" + dir
}

// tools returns the interpreter of a set of scripts/python-tools.sh.
func tools(t *testing.T, set string) string {
	t.Helper()
	python := filepath.Join(os.Getenv("MITOGEN_TOOLS"), set, "bin", "python")
	if _, err := os.Stat(python); err != nil || os.Getenv("MITOGEN_TOOLS") == "" {
		t.Skipf("no %[1]s: MITOGEN_TOOLS=$(scripts/python-tools.sh %[1]s) has them", set)
	}
	return python
}

// Clients with an SSH of their own find what they need in the configuration.
func TestServeOtherClients(t *testing.T) {
	l := lab.Need(t)
	python := tools(t, "ssh")
	program := buildMitogen(t)
	for name, clients := range map[string][]string{
		"0":    {"paramiko", "fabric", "asyncssh", "libssh", "libssh2"},
		"unix": {"paramiko", "fabric", "asyncssh"},
	} {
		for _, client := range clients {
			t.Run(name+"/"+client, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, program, "serve-ssh", "--listen", name, "-F", l.Config,
					"--host-keys", "off", "-t", "web="+lab.Pass+"+sudo", "--",
					python, "testdata/ssh_clients.py", client)
				cmd.Env = append(os.Environ(), runtimeDir(t), "MITOGEN_BECOME_PASSWORD="+l.Password)
				cmd.WaitDelay = time.Second
				if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "well\n") {
					t.Errorf("got %v, want well:\n%s", err, out)
				}
			})
		}
	}
}

// However serve-ssh ends, what it has served ends too, and what is left leads nowhere.
func TestServeEnds(t *testing.T) {
	program := buildMitogen(t)
	for name, sig := range map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM,
		"HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at, err := os.MkdirTemp("/tmp", "serve") // t.TempDir's paths are too long for a socket
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(at)
			cmd := exec.Command(program, "serve-ssh", "--json", "--listen", "0", "-t", "x=local",
				"--config", filepath.Join(dir, "config"), "--include", filepath.Join(dir, "hosts"))
			cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+at)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			var host struct{ Host, Config, Address string }
			for lines := bufio.NewScanner(out); host.Host != "x" && lines.Scan(); {
				if err := json.Unmarshal(lines.Bytes(), &host); err != nil {
					t.Fatalf("got %q: %v", lines.Text(), err)
				}
			}
			// Programs that run: one by each way, of which each has started another.
			pids := filepath.Join(dir, "pids")
			var clients []*exec.Cmd
			for _, options := range [][]string{{}, {"-S", "none"}, {"-S", "none", "-tt"}} {
				args := append([]string{"-F", host.Config}, options...)
				c := exec.Command("ssh", append(args, "x",
					fmt.Sprintf("sleep 1000 & echo $! $$ >>%s; wait", pids))...)
				if _, err := c.StdinPipe(); err != nil { // open, as a person's
					t.Fatal(err)
				}
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				defer c.Process.Kill()
				clients = append(clients, c)
			}
			var all []string
			for end := time.Now().Add(time.Minute); len(all) < 6; time.Sleep(10 * time.Millisecond) {
				b, _ := os.ReadFile(pids)
				if all = strings.Fields(string(b)); time.Now().After(end) {
					t.Fatalf("got processes %q, want 6", all)
				}
			}
			cmd.Process.Signal(sig)
			cmd.Wait()
			for _, c := range clients {
				if err := c.Wait(); err == nil {
					t.Error("an ssh ended with status 0, want an error")
				}
			}
			for _, pid := range all {
				goes(t, "/proc/"+pid+"/cwd")
			}
			if sig == syscall.SIGKILL {
				for _, config := range []string{host.Config, filepath.Join(dir, "config")} {
					said, err := exec.Command("ssh", "-F", config, "x", "echo in").CombinedOutput()
					if err == nil || strings.Contains(string(said), "in\n") {
						t.Errorf("%s: got %q, %v, want an error", config, said, err)
					}
				}
				return
			}
			for _, left := range []string{at + "/mitogen/*", dir + "/config", dir + "/hosts"} {
				if names, err := filepath.Glob(left); len(names) != 0 || err != nil {
					t.Errorf("got %q, %v, want nothing left", names, err)
				}
			}
		})
	}
}

// In the background of a shell with job control, serve-ssh isn't stopped by an ssh that reads the
// terminal of both; in the foreground, Ctrl-C ends it.
func TestServeInBackground(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	serve := "$M serve-ssh -t web=local --config $C"
	typeInShell(t, "bash --norc -i", []string{"M=" + buildMitogen(t), "C=" + config,
		"XDG_RUNTIME_DIR=" + t.TempDir()}, []typing{
		{"PS1='rea''dy> '\n", "ready> "},
		{serve + " &\n", "hosts: host, web"},
		{"\n", "ready> "},
		{"ssh -F $C web 'echo on; tr a-z A-Z'\n", "on\r\n"},
		{"hello\n\x04", "HELLO.*ready> "},
		{"ssh -F $C -t web 'echo on$((1+2)); read x; echo got-$x'\n", "on3"},
		{"more\r", "got-more.*ready> "},
		{"kill %1; wait; echo en''ded\n", "ended.*ready> "},
		{serve + "\n", "hosts: host, web"},
		{"\x03", "ready> "},
		{"echo status$?\n", "status130.*ready> "},
		{"exit\n", ""},
	})
}
