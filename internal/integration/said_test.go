package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// The error of a connection has the words of the program that stopped it, and how far it had come.
func TestWhatStops(t *testing.T) {
	l := lab.Need(t)
	dir := t.TempDir()
	config := func(name, text string) string {
		lab, err := os.ReadFile(l.Config)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, append([]byte(text), lab...), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	loop := filepath.Join(dir, "loop")
	config("loop", "Include "+loop+"\n")
	key, err := os.ReadFile(l.Key)
	if err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.WriteFile(open, key, 0o644), os.Chmod(open, 0o644)); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	quick := func(o mitogen.ConnectOptions) mitogen.ConnectOptions {
		o.Timeout = 5 * time.Second
		return o
	}
	from := func(file string) mitogen.ConnectOptions {
		return mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: file}}}
	}
	python := func(command string) mitogen.ConnectOptions {
		o := from(l.Config)
		o.Python = []string{command}
		return o
	}
	native := quick(python("sleep 100 #"))
	native.SSH.Native = true
	withKey := from(l.Config)
	withKey.SSH.IdentityFile, withKey.SSH.ConfigFile = open, config("nokey",
		fmt.Sprintf("Host nokey\n  HostName %s\n  Port %d\n  User %s\n  IdentityAgent none\n  "+
			"UserKnownHostsFile %s\n", l.Host, l.Port, lab.Free, l.KnownHosts))
	for _, tt := range []struct {
		name, target       string
		options            mitogen.ConnectOptions
		kind               error
		says, hint         string
		loggedIn, mayRetry bool
	}{
		{"a command hangs", "mito", quick(python("sleep 100 #")), connect.ErrTimeout,
			"timed out after the login", "login is done", true, false},
		{"a command hangs, native", "mito", native, connect.ErrTimeout, "timed out after the login",
			"login is done", true, false},
		{"a server hangs", silent.Addr().String(), quick(from(l.Config)), connect.ErrTimeout, "timed out",
			"firewall", false, true},
		{"no -F", "mito", from("/nonexistent/config"), connect.ErrSetup,
			"Can't open user config file /nonexistent/config", "-F names", false, false},
		{"an Include of itself", "mito", from(loop), connect.ErrSetup,
			"Too many recursive configuration includes", "includes itself", false, false},
		{"a long ControlPath", "mito",
			from(config("path", "ControlPath /tmp/"+strings.Repeat("x", 120)+"\n")), connect.ErrSetup,
			"too long", "shorten ControlPath", false, false},
		{"a wrong keyword", "mito", from(config("word", "Port twenty\n")), connect.ErrSetup, "line 1: ",
			"ssh -G", false, false},
		{"an open key", "nokey", withKey, connect.ErrAuth,
			"Permissions 0644 for '" + open + "' are too open.", "chmod 600", false, false},
		{"a proxy that isn't there", "mito", from(config("proxy", "ProxyCommand no-such-proxy %h\n")),
			connect.ErrSetup, "no-such-proxy", "ProxyCommand", false, false},
		{"an end after the login", "mito", python(`sh -c "echo go away >&2; exit 9" #`), connect.ErrDied,
			"before an interpreter was there (status 9): go away", "plain ssh", true, false},
		{"no shell", "mito", python(`sh -c "echo sh: command not found >&2; exit 127" #`),
			connect.ErrNoShell, "command not found", "login shell", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := engine(t, mitogen.Options{})
			_, err := e.Connect(t.Context(), tt.target, tt.options)
			failed := (*connect.Error)(nil)
			if !errors.As(err, &failed) || !errors.Is(err, tt.kind) ||
				!strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want %v and %q", err, tt.kind, tt.says)
			}
			if !strings.Contains(failed.Hint, tt.hint) || failed.LoggedIn != tt.loggedIn ||
				failed.Passing != tt.mayRetry {
				t.Errorf("%v: got hint %q, logged in %v, passing %v, want %q, %v, %v", err, failed.Hint,
					failed.LoggedIn, failed.Passing, tt.hint, tt.loggedIn, tt.mayRetry)
			}
		})
	}
	// Given up: how far it had come.
	for _, o := range []mitogen.ConnectOptions{python("sleep 1000 #"), native} {
		const phase = "python"
		e := engine(t, mitogen.Options{})
		o.Timeout = 0
		failed := (*connect.Error)(nil)
		var err error
		// A busy machine comes as far in more time.
		for limit := 4 * time.Second; limit < patience; limit *= 2 {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			_, err = e.Connect(ctx, "mito", o)
			cancel()
			if errors.As(err, &failed) && failed.Phase == phase {
				break
			}
		}
		if !errors.As(err, &failed) || failed.Phase != phase ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: got %v, want it in phase %s", err, phase)
		}
	}
	// What ssh alone would refuse.
	for name, text := range map[string]string{"RemoteCommand": "RemoteCommand uptime\n",
		"in a section": "Host *\n  remotecommand = exit 3\n"} {
		e := engine(t, mitogen.Options{})
		o := from(config("remote", text))
		c := connected(t, e, lab.Free, o)
		if uid, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil || uid == 0 {
			t.Errorf("%s: call: got %d, %v", name, uid, err)
		}
		var out strings.Builder
		if status, err := e.Exec(t.Context(), lab.Free, o,
			mitogen.Command{Args: []string{"echo", "well"}, Stdout: &out}); err != nil || status != 0 ||
			out.String() != "well\n" {
			t.Errorf("%s: exec: got %d, %v, %q", name, status, err, out.String())
		}
	}
}

// What a connection prints while it ends, as a login shell that tells of a signal, is no news.
func TestQuietEnd(t *testing.T) {
	lab.Need(t)
	killed := "exec:" + script(t, `"$@"; echo Killed >&2`)
	for _, target := range []string{"su:" + lab.Free, "local+su:" + lab.Free, killed,
		"local+" + killed, "local+" + killed + "+local"} {
		var log lines
		e := engine(t, mitogen.Options{Logger: slog.New(slog.NewTextHandler(&log,
			&slog.HandlerOptions{Level: slog.LevelWarn}))})
		c := connected(t, e, target, mitogen.ConnectOptions{})
		if _, err := mitogen.Call[int](t.Context(), c, "here:uid"); err != nil {
			t.Fatal(err)
		}
		// Another of the same name ends while this one stays.
		again, err := e.Connect(t.Context(), target, mitogen.ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mitogen.Call[int](t.Context(), again, "here:uid"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(again.Close(), c.Close(), e.Close()); err != nil {
			t.Error(err)
		}
		if log.String() != "" {
			t.Errorf("%s: got %s, want no news of its end", target, log.String())
		}
	}
}

// A program that is executed without Python has its own stderr, and nothing of ssh's.
func TestExecHasItsOwnStderr(t *testing.T) {
	l := lab.Need(t)
	for _, policy := range []connect.HostKeys{connect.HostKeysDefault, connect.HostKeysOff} {
		e := engine(t, mitogen.Options{})
		var errs strings.Builder
		o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{ConfigFile: l.Config,
			HostKeys: policy}}}
		status, err := e.Exec(t.Context(), "mito", o,
			mitogen.Command{Args: []string{"sh", "-c", "echo x >&2"}, Stderr: &errs})
		if status != 0 || err != nil || errs.String() != "x\n" {
			t.Errorf("%q: got %d, %v, %q, want x", policy, status, err, errs.String())
		}
	}
}
