package mitogen_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
)

// Exec needs no Python where the only hop has none, and says the same either way.
func TestExecWithoutPython(t *testing.T) {
	e, err := mitogen.New(mitogen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, python := range map[string][]string{
		"Python":    nil,
		"no Python": {"no-such-python", "nor-such"},
	} {
		var out, errs bytes.Buffer
		status, err := e.Exec(t.Context(), "local", mitogen.ConnectOptions{Options: connect.Options{
			Python: python}},
			mitogen.Command{
				Args: []string{"sh", "-c", "cat; echo $A; pwd; echo bad >&2; exit 7"}, Dir: "/",
				Env:   map[string]string{"A": "b"},
				Stdin: strings.NewReader("in "), Stdout: &out, Stderr: &errs,
			})
		if status != 7 || err != nil || out.String() != "in b\n/\n" || errs.String() != "bad\n" {
			t.Errorf("%s: status %d, %v, stdout %q, stderr %q", name, status, err, out.String(),
				errs.String())
		}
	}
}

// A status comes with no error but a writer's; else it is none.
func TestStatusOfErrors(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	c := connected(t, e, mitogen.ConnectOptions{})
	gone := connected(t, e, mitogen.ConnectOptions{})
	gone.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	program := mitogen.Command{Args: []string{"true"}}
	for name, do := range map[string]func() (int, error){
		"no command":  func() (int, error) { return c.Exec(t.Context(), mitogen.Command{}) },
		"ctx":         func() (int, error) { return c.Exec(ended, program) },
		"script, ctx": func() (int, error) { return c.Run(ended, mitogen.Script{}) },
		"closed":      func() (int, error) { return gone.Exec(t.Context(), program) },
		"no target": func() (int, error) {
			return e.Exec(t.Context(), "", mitogen.ConnectOptions{}, program)
		},
		"engine's, ctx": func() (int, error) {
			return e.Exec(ended, "local", mitogen.ConnectOptions{}, program)
		},
	} {
		if status, err := do(); status != -1 || err == nil {
			t.Errorf("%s: got %d, %v, want -1 and an error", name, status, err)
		}
	}
}

// A script's own KeyboardInterrupt is no error of the call.
func TestInterruptOfAScript(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	c := connected(t, e, mitogen.ConnectOptions{})
	var errs bytes.Buffer
	source := []byte("raise KeyboardInterrupt")
	status, err := c.Run(t.Context(), mitogen.Script{Name: "s.py", Source: source, Stderr: &errs})
	if status != 130 || err != nil || !strings.Contains(errs.String(), `File "s.py", line 1`) {
		t.Errorf("got %d, %v, %q, want 130 and a traceback", status, err, errs.String())
	}
}
