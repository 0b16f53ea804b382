package packages

import (
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// shared compiles a shared object in dir. args are words of gcc's.
func shared(t *testing.T, dir, args string) {
	t.Helper()
	cc := exec.Command("gcc", append([]string{"-shared", "-fPIC"}, strings.Fields(args)...)...)
	cc.Dir = dir
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("gcc %s: %v\n%s", args, err, out)
	}
}

// blindPython returns the interpreter of targets that don't share this disk.
func blindPython(t *testing.T) testpython.Interp {
	t.Helper()
	p, ok := testpython.Default()
	if !ok || testpython.Blind(t) == "env " {
		t.Skip("no python3, or no root for a target that doesn't share this disk")
	}
	return p
}

// own connects a context that can't see dir, whose packages it may be sent, and returns what
// functions of a module of the user's own return there.
func own(t *testing.T, dir string, p testpython.Interp, text string) func(string) (string, error) {
	t.Helper()
	c := nativeContext(t, dir, p, fstest.MapFS{"mine.py": {Data: []byte(text)}}, mitogen.Options{})
	return func(function string) (string, error) {
		return mitogen.Call[string](t.Context(), c, "mine:"+function)
	}
}
