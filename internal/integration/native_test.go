package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

// sshClients counts the ssh processes that this one has started.
func sshClients() int {
	out, _ := exec.Command("pgrep", "-x", "-P", fmt.Sprint(os.Getpid()), "ssh").Output()
	return len(strings.Fields(string(out)))
}

// config writes an ssh configuration for the lab's sshd under the name "x".
func (n nativeLab) config(t *testing.T, lines ...string) string {
	t.Helper()
	text := fmt.Sprintf("Host x\n  HostName %s\n  Port %d\n  User %s\n", n.Host, n.Port, lab.Free)
	for _, l := range lines {
		text += "  " + l + "\n"
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

type nativeLab struct{ *lab.Lab }

// SSH without the ssh program: by key, password, passphrase, agent, through jumps and hops; and how
// it is refused.
func TestNative(t *testing.T) {
	l := nativeLab{lab.Need(t)}
	key, known := "IdentityFile "+l.Key, "UserKnownHostsFile "+l.KnownHosts
	none, strict := "IdentityAgent none", "StrictHostKeyChecking yes"
	empty := filepath.Join(t.TempDir(), "empty")
	other := filepath.Join(t.TempDir(), "other")
	text, err := os.ReadFile(l.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	must(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other+".key")
	pub, err := os.ReadFile(other + ".key.pub")
	if err != nil {
		t.Fatal(err)
	}
	changed := append(bytes.Fields(text)[0], ' ')
	changed = append(changed, pub...)
	if err := errors.Join(os.WriteFile(other, changed, 0o600),
		os.WriteFile(empty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	pw := func(s string) connect.SSHOptions { return connect.SSHOptions{Password: secret.Secret(s)} }
	for _, tt := range []struct {
		name   string
		target string
		lines  []string
		ssh    connect.SSHOptions
		want   error
	}{
		{"key", "x", []string{key, known, none, strict}, connect.SSHOptions{}, nil},
		{"key, then sudo", "x+sudo", []string{key, known, none, strict}, connect.SSHOptions{}, nil},
		{"behind a hop", "local+x+local", []string{key, known, none, strict}, connect.SSHOptions{}, nil},
		{"jump", "x", []string{key, known, none, strict, "ProxyJump y", "Host y", "HostName " + l.Host,
			fmt.Sprint("Port ", l.Port), "User " + lab.Pass, key, known, none}, connect.SSHOptions{}, nil},
		{"password", "x", []string{"PubkeyAuthentication no", known, strict}, pw(l.Password), nil},
		{"wrong password", "x", []string{"PubkeyAuthentication no", known, strict}, pw("wrong"),
			connect.ErrAuth},
		{"no key", "x", []string{"IdentityFile /none", "IdentitiesOnly yes", known, none, strict},
			connect.SSHOptions{}, connect.ErrAuth},
		{"locked key", "x", []string{"IdentityFile " + l.LockedKey, known, none, strict},
			connect.SSHOptions{Passphrase: secret.Secret(l.Passphrase)}, nil},
		{"locked key, wrong", "x", []string{"IdentityFile " + l.LockedKey, known, none, strict},
			connect.SSHOptions{Passphrase: "wrong"}, connect.ErrAuth},
		{"unknown host", "x", []string{key, "UserKnownHostsFile /none", none, strict},
			connect.SSHOptions{}, connect.ErrHostKey},
		{"unknown host, nobody to ask", "x", []string{key, "UserKnownHostsFile /none", none},
			connect.SSHOptions{}, connect.ErrHostKey},
		{"unknown host, accepted", "x", []string{key, "UserKnownHostsFile " + empty, none},
			connect.SSHOptions{HostKeys: connect.HostKeysAcceptNew}, nil},
		{"known then", "x", []string{key, "UserKnownHostsFile " + empty, none, strict},
			connect.SSHOptions{}, nil},
		{"changed host key", "x", []string{key, "UserKnownHostsFile " + other, none},
			connect.SSHOptions{HostKeys: connect.HostKeysAcceptNew}, connect.ErrHostKeyChanged},
		{"refused", "y", []string{"Host y", "HostName 127.0.0.1", "Port 1"}, connect.SSHOptions{},
			connect.ErrRefused},
		{"refused behind a hop", "local+y", []string{"Host y", "HostName 127.0.0.1", "Port 1"},
			connect.SSHOptions{}, connect.ErrRefused},
		{"further arguments", "x", []string{key, known, none, strict},
			connect.SSHOptions{Args: []string{"-v"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := engine(t, mitogen.Options{})
			o := mitogen.ConnectOptions{Options: connect.Options{SSH: tt.ssh}}
			o.SSH.ConfigFile, o.SSH.Native = l.config(t, tt.lines...), true
			c, err := e.Connect(t.Context(), tt.target, o)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				var failed *connect.Error
				if !errors.As(err, &failed) || failed.Hop != tt.target ||
					strings.Contains(err.Error(), l.Password) {
					t.Errorf("connect: got %v (%+v), want a ConnectError at %s without the password",
						err, failed, tt.target)
				}
				return
			}
			if _, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil {
				t.Error(err)
			}
			text := strings.Repeat("x", 3<<20)
			if back, err := mitogen.Call[string](t.Context(), c, "os.path:join", "", text); err != nil ||
				back != text {
				t.Error(len(back), err)
			}
			if n := sshClients(); n != 0 {
				t.Errorf("%d ssh processes", n)
			}
		})
	}
}

// An agent's key, and what the ssh program has to do.
func TestNativeAgentAndFallback(t *testing.T) {
	l := nativeLab{lab.Need(t)}
	t.Setenv("SSH_AUTH_SOCK", sshAgent(t))
	must(t, "ssh-add", "-q", l.Key)
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{Native: true}}}
	known := "UserKnownHostsFile " + l.KnownHosts
	o.SSH.ConfigFile = l.config(t, "IdentityFile /none", known, "StrictHostKeyChecking yes")
	e := engine(t, mitogen.Options{})
	connected(t, e, "x", o)
	if n := sshClients(); n != 0 {
		t.Errorf("%d ssh processes", n)
	}
	var log lines
	e = engine(t, mitogen.Options{Logger: slog.New(slog.NewTextHandler(&log,
		&slog.HandlerOptions{Level: slog.LevelDebug}))})
	o.SSH.ConfigFile = l.config(t, "IdentityFile "+l.Key, known, "VerifyHostKeyDNS ask")
	connected(t, e, "x", o)
	if n := sshClients(); n != 1 {
		t.Errorf("%d ssh processes where one has to be", n)
	}
	if text := log.String(); !strings.Contains(text, "ssh is left to the program") ||
		!strings.Contains(text, "verifyhostkeydns ask") {
		t.Error(text)
	}
}

// A person is asked for a password and about a key.
func TestNativeAsks(t *testing.T) {
	l := nativeLab{lab.Need(t)}
	var asked []string
	e := engine(t, mitogen.Options{Prompt: func(_ context.Context, p connect.Prompt) (string, error) {
		asked = append(asked, p.Kind.String())
		if p.Kind.String() == "host key" {
			return "yes", nil
		}
		return l.Password, nil
	}})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{Native: true,
		ConfigFile: l.config(t, "PubkeyAuthentication no",
			"UserKnownHostsFile "+filepath.Join(t.TempDir(), "k"), "KbdInteractiveAuthentication no")}}}
	connected(t, e, "x", o)
	if got := strings.Join(asked, ", "); got != "host key, password" {
		t.Errorf("asked for %s", got)
	}
}

// What accepts connections and says nothing is given up in time.
func TestNativeTimeout(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{Options: connect.Options{Timeout: 300_000_000,
		SSH: connect.SSHOptions{Native: true, Port: silent.Addr().(*net.TCPAddr).Port}}}
	if _, err := e.Connect(t.Context(), "127.0.0.1", o); !errors.Is(err, connect.ErrTimeout) {
		t.Error(err)
	}
}

// The timeout holds for the whole connect, also if the started command isn't an interpreter.
func TestNativeTimeoutOfTheInterpreter(t *testing.T) {
	l := lab.Need(t)
	e := engine(t, mitogen.Options{})
	for _, native := range []bool{true, false} {
		o := mitogen.ConnectOptions{Options: connect.Options{Timeout: 1500 * time.Millisecond,
			Python: []string{"sleep 60 #"},
			SSH:    connect.SSHOptions{Native: native, ConfigFile: l.Config}}}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if _, err := e.Connect(ctx, lab.Free, o); !errors.Is(err, connect.ErrTimeout) {
			t.Errorf("native %v: %v", native, err)
		}
		cancel()
	}
}
