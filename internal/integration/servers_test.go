package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// A server is an SSH server other than OpenSSH's. Servers that aren't installed are skipped; `make
// test-new` has them.
type server struct {
	name string
	// key makes a host key in dir, and returns it as known_hosts has it.
	key func(t *testing.T, dir string) string
	// argv serves the connection that is its stdin and stdout.
	argv func(dir string) []string
}

var servers = []server{
	{
		name: "dropbear",
		key: func(t *testing.T, dir string) string {
			for line := range strings.Lines(must(t, "dropbearkey", "-t", "ed25519", "-f",
				filepath.Join(dir, "key"))) {
				if strings.HasPrefix(line, "ssh-ed25519 ") {
					return strings.Join(strings.Fields(line)[:2], " ")
				}
			}
			t.Fatal("dropbearkey prints no key")
			return ""
		},
		argv: func(dir string) []string {
			// without passwords
			return []string{"dropbear", "-i", "-r", filepath.Join(dir, "key"), "-s"}
		},
	},
	{
		name: "tinysshd",
		key: func(t *testing.T, dir string) string {
			must(t, "tinysshd-makekey", filepath.Join(dir, "keys"))
			for line := range strings.Lines(must(t, "tinysshd-printkey", filepath.Join(dir, "keys"))) {
				if f := strings.Fields(line); len(f) > 1 && f[0] == "ssh-ed25519" {
					return f[0] + " " + f[1]
				}
			}
			t.Fatal("tinysshd-printkey prints no key")
			return ""
		},
		argv: func(dir string) []string { return []string{"tinysshd", filepath.Join(dir, "keys")} },
	},
}

// serve has a server take connections until the test ends, and returns its port.
func (s server) serve(t *testing.T, dir string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	argv := s.argv(dir)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File() // blocking, as such programs want it
			c.Close()
			if err != nil {
				return
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Stdin, cmd.Stdout = f, f
			if cmd.Start() == nil {
				go cmd.Wait()
			}
			f.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// admit lets the lab's key in where servers look that have no option for it.
func admit(t *testing.T, l *lab.Lab, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(l.Key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(u.HomeDir, ".ssh")
	file := filepath.Join(dir, "authorized_keys")
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	err = errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, pub, 0o600), os.Chown(dir, uid, gid),
		os.Chown(file, uid, gid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
}

// Servers of other makers are logged in at by ssh and natively, and hosts behind them are reached.
func TestOtherServers(t *testing.T) {
	l := lab.Need(t)
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			need(t, s.name)
			admit(t, l, lab.None)
			dir := t.TempDir()
			key := s.key(t, dir)
			port := s.serve(t, dir)
			known := filepath.Join(dir, "known_hosts")
			config := filepath.Join(dir, "config")
			text := fmt.Sprintf("Host x\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  IdentityFile %s\n  "+
				"IdentitiesOnly yes\n  IdentityAgent none\n"+
				"  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n", port, lab.None, l.Key, known)
			err := errors.Join(os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%d %s\n", port, key),
				0o600), os.WriteFile(config, []byte(text), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			for _, native := range []bool{false, true} {
				o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: config,
					Native: native}}}
				t.Run(fmt.Sprintf("native %v", native), func(t *testing.T) { throughServer(t, o) })
			}
		})
	}
}

func throughServer(t *testing.T, o mitogen.ConnectOptions) {
	u, err := user.Lookup(lab.None)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, mitogen.Options{})
	for _, target := range []string{"x", "x+local"} {
		c, err := e.Start(target, o)
		if err != nil {
			t.Fatal(err)
		}
		if uid, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil ||
			fmt.Sprint(uid) != u.Uid {
			t.Errorf("%s: got uid %d, %v, want %s", target, uid, err, u.Uid)
		}
		text := strings.Repeat("x", 1<<20)
		if back, err := mitogen.Call[string](t.Context(), c, "os.path:join", "", text); err != nil ||
			back != text {
			t.Errorf("%s: got %d characters, %v, want %d", target, len(back), err, len(text))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if status, err := e.Exec(ctx, "x", o,
		mitogen.Command{Args: []string{"sh", "-c", "exit 7"}}); err != nil && status != 7 {
		t.Errorf("exec: got status %d, %v, want 7", status, err)
	}
	o.SSH.ConfigFile, o.SSH.IdentityFile = withoutKey(t, o.SSH.ConfigFile), ""
	if _, err := engine(t, mitogen.Options{}).Connect(ctx, "x", o); !errors.Is(err, connect.ErrAuth) {
		t.Errorf("without a key: got %v, want %v", err, connect.ErrAuth)
	}
}

// withoutKey writes a configuration as another, without a key.
func withoutKey(t *testing.T, config string) string {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "config")
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "IdentityFile") {
			kept = append(kept, line)
		}
	}
	kept = append(kept, "  PubkeyAuthentication no\n")
	if err := os.WriteFile(name, []byte(strings.Join(kept, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
