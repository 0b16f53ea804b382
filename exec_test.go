package mitogen_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
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
		status, err := e.Exec(t.Context(), "local", mitogen.ConnectOptions{Python: python}, mitogen.Command{
			Args: []string{"sh", "-c", "cat; echo $A; pwd; echo bad >&2; exit 7"}, Dir: "/", Env: map[string]string{"A": "b"},
			Stdin: strings.NewReader("in "), Stdout: &out, Stderr: &errs,
		})
		if status != 7 || err != nil || out.String() != "in b\n/\n" || errs.String() != "bad\n" {
			t.Errorf("%s: status %d, %v, stdout %q, stderr %q", name, status, err, out.String(), errs.String())
		}
	}
}
