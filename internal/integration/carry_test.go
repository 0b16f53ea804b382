package integration

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// ssh behind a hop is spoken from here, over a connection that the hop makes, by every Python.
func TestCarried(t *testing.T) {
	l := lab.Need(t)
	each(t, func(t *testing.T, o mitogen.ConnectOptions) {
		e := engine(t, mitogen.Options{})
		o.SSH.ConfigFile = l.Config
		c, err := e.Start("local+root+local", o)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("0123456789abcdef", 100_000)
		if n, err := mitogen.Call[int](t.Context(), c, "builtins:len", text); err != nil ||
			n != len(text) {
			if n, err = mitogen.Call[int](t.Context(), c, "__builtin__:len", text); err != nil ||
				n != len(text) {
				t.Fatal(n, err)
			}
		}
		if back, err := mitogen.Call[string](t.Context(), c, "os.path:join", "", text); err != nil ||
			back != text {
			t.Error(len(back), err)
		}
		// An idle connection is ended by closing what uses it, and nothing else is.
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		d := connected(t, e, "local+root", o)
		if uid, err := mitogen.Call[int](t.Context(), d, "here:uid"); err != nil || uid != 0 {
			t.Error(uid, err)
		}
	})
}

// The key is not where the hop is, and neither is its use.
func TestKeysStay(t *testing.T) {
	l := lab.Need(t)
	if st, err := os.Stat(l.Key); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(st, err)
	}
	e := engine(t, mitogen.Options{})
	target := "sudo:" + lab.Free + "+" + lab.Pass // a hop that can't read the key
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		ConfigFile: l.Config}}}
	c := connected(t, e, target, o)
	if name, err := mitogen.Call[string](t.Context(), c, "os:getcwd"); err != nil ||
		!strings.HasSuffix(name, lab.Pass) {
		t.Error(name, err)
	}
	o.SSH.FromHop = true
	if _, err := e.Connect(t.Context(), target, o); !errors.Is(err, connect.ErrAuth) {
		t.Errorf("by the hop: %v", err)
	}
	o.SSH.Password = secret.Secret(l.Password)
	if _, err := e.Connect(t.Context(), target, o); err != nil {
		t.Errorf("by the hop, with a password: %v", err)
	}
}

// What the hop finds is told as ssh would tell it.
func TestCarriedRefusals(t *testing.T) {
	lab.Need(t)
	for target, want := range map[string]error{"local+127.0.0.1:1": connect.ErrRefused,
		"local+no-host.invalid": connect.ErrUnknownHost} {
		e := engine(t, mitogen.Options{})
		_, err := e.Connect(t.Context(), target, mitogen.ConnectOptions{})
		var failed *connect.Error
		if !errors.Is(err, want) || !errors.As(err, &failed) || failed.Hop != target {
			t.Errorf("%s: %v, want %v", target, err, want)
		}
	}
	e := engine(t, mitogen.Options{})
	_, err := e.Connect(t.Context(), "127.0.0.1:1+mito", mitogen.ConnectOptions{})
	var failed *connect.Error
	if !errors.Is(err, connect.ErrRefused) || !errors.As(err, &failed) || failed.Hop != "127.0.0.1:1" {
		t.Errorf("the hop itself: %v", err)
	}
}

// A hop that dies takes with it what it carries, at once and by name.
func TestCarrierDies(t *testing.T) {
	l := lab.Need(t)
	e := engine(t, mitogen.Options{})
	o := mitogen.ConnectOptions{Options: connect.Options{SSH: connect.SSHOptions{
		ConfigFile: l.Config}}}
	c := connected(t, e, "local+mito+local", o)
	hop := e.Contexts()[0]
	info, err := hop.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(info.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, err = mitogen.Call[int](t.Context(), c, "here:sleep", 1000)
	var lost *report.LostError
	if !errors.As(err, &lost) || lost.Context != "local+mito+local" || lost.Hop != "local" {
		t.Errorf("after its hop's end: got %v (%+v), want it lost with its hop", err, lost)
	}
	for end := time.Now().Add(patience); len(e.Contexts()) > 0; {
		if time.Now().After(end) {
			t.Fatalf("%d contexts are left", len(e.Contexts()))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
