package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/consolesim"
	"github.com/mitogen-go/mitogen/internal/lab"
	"github.com/mitogen-go/mitogen/secret"
)

// onConsole returns options for a login on a console.
func onConsole(t *testing.T) mitogen.ConnectOptions {
	t.Helper()
	p := secret.Secret(lab.Need(t).Password)
	return mitogen.ConnectOptions{Options: connect.Options{Console: connect.ConsoleOptions{
		Password: p}}}
}

// A console is a hop: calls, further hops behind it, an error that says what is wrong, and the
// login
// prompt again at the end.
func TestConsole(t *testing.T) {
	t.Parallel()
	o := onConsole(t)
	c := consolesim.New(t, consolesim.Options{Rate: 11520})
	e := engine(t, mitogen.Options{})
	x := connected(t, e, "serial:"+lab.Free+"@"+c.Device+"+sudo", o)
	if uid, err := mitogen.Call[int](t.Context(), x, "os:getuid"); err != nil || uid != 0 {
		t.Fatalf("uid behind console and sudo: got %d, %v, want 0\n%q", uid, err, c.Seen())
	}
	if _, err := mitogen.Call[int](t.Context(), x, "os:nothing"); err == nil {
		t.Error("a function that isn't there: got no error")
	}
	c.Forget()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	awaitText(t, c, "login: ")
}

func awaitText(t *testing.T, c *consolesim.Console, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Await(ctx, text); err != nil {
		t.Error(err)
	}
}

// Errors of a console name hop, phase and remedy.
func TestConsoleErrors(t *testing.T) {
	t.Parallel()
	o := onConsole(t)
	c := consolesim.New(t, consolesim.Options{})
	for target, want := range map[string]error{
		"serial:" + lab.None + "@/dev/no-such-line": connect.ErrNotFound,
		"console:127.0.0.1:1":                       connect.ErrRefused,
		"console:/no/such/socket":                   connect.ErrNotFound,
		"serial:nobody-here@" + c.Device:            connect.ErrAuth,
	} {
		e := engine(t, mitogen.Options{})
		_, err := e.Connect(t.Context(), target, o)
		failed := (*connect.Error)(nil)
		if !errors.Is(err, want) || !errors.As(err, &failed) || failed.Hop == "" ||
			failed.Phase == "" || failed.Hint == "" {
			t.Errorf("%s: got %v, want %v with hop, phase and hint", target, err, want)
		}
	}
	if _, err := engine(t, mitogen.Options{}).Connect(t.Context(), "local+serial:/dev/ttyS0",
		o); err == nil {
		t.Error("a console behind a hop: got no error")
	}
}
