package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// using is code of the user's own that has a package load a shared library of its own.
const using = `
import foreign
def use():
    return repr([foreign.load(name) for name in ('lib/liba.so', 'lib/liba.so', 'plain.so')])
def fails():
    errors = []
    for name in ('lib/none.so', 'text.so'):
        try:
            foreign.load(name)
        except OSError as e:
            errors.append(str(e))
    return repr(errors)
`

// foreign is a package that loads its libraries by ctypes, as it finds them.
const foreign = `
import ctypes, os
def load(name):
    file = os.path.join(os.path.dirname(__file__), name)
    assert os.path.isfile(file) or 'none' in name
    return ctypes.CDLL(file).value()
`

// TestLibraries: a package loads libraries that lie in it, and those that these need, though
// nothing of it is on the target's disk.
func TestLibraries(t *testing.T) {
	p, ok := testpython.Default()
	if !ok || testpython.Blind(t) == "env " {
		t.Skip("no python3, or no root for a target that doesn't share this disk")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"foreign/__init__.py": foreign,
		"foreign/text.so": "no library", "foreign-1.dist-info/RECORD": "foreign/__init__.py,,\n",
		"foreign/a.c":     "int seven(void); int count; int value(void) { return seven() + count++; }",
		"foreign/seven.c": "int seven(void) { return 7; }",
		"foreign/plain.c": "int value(void) { return 5; }"} {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{"-o lib/libseven.so seven.c -Wl,-soname,libseven.so",
		"-o lib/liba.so a.c -Llib -lseven", "-o plain.so plain.c"} {
		os.Mkdir(filepath.Join(dir, "foreign/lib"), 0o755)
		cc := exec.Command("gcc", append([]string{"-shared", "-fPIC"}, strings.Fields(args)...)...)
		cc.Dir = filepath.Join(dir, "foreign")
		if out, err := cc.CombinedOutput(); err != nil {
			t.Fatalf("gcc %s: %v\n%s", args, err, out)
		}
	}
	c := nativeContext(t, dir, p, fstest.MapFS{"mine.py": {Data: []byte(using)}}, mitogen.Options{})
	got, err := mitogen.Call[string](t.Context(), c, "mine:use")
	if want := "[7, 8, 5]"; err != nil || got != want { // one library, whatever is loaded twice
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	got, err = mitogen.Call[string](t.Context(), c, "mine:fails")
	if err != nil || !strings.Contains(got, "lib/none.so") ||
		!strings.Contains(got, "/foreign/text.so: ") || strings.Contains(got, "/proc/") {
		t.Errorf("errors: got %s, %v, want both with their places", got, err)
	}
}

// TestWholeDistributions: of a distribution of which the target has half, maybe of another version,
// all comes from the engine.
func TestWholeDistributions(t *testing.T) {
	p, ok := testpython.Default()
	if !ok || testpython.Blind(t) == "env " {
		t.Skip("no python3, or no root for a target that doesn't share this disk")
	}
	dir, there := t.TempDir(), t.TempDir()
	for file, text := range map[string]string{
		dir + "/half/__init__.py": "import half_part\nversion = half_part.version",
		dir + "/half_part.py":     "version = 2", there + "/half_part.py": "version = 1",
		dir + "/half-2.dist-info/RECORD": "half/__init__.py,,\nhalf_part.py,,\n",
		dir + "/alone.py":                "version = 2", there + "/alone.py": "version = 1",
		dir + "/alone-2.dist-info/RECORD": "alone.py,,\n",
	} {
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.Path = "env PYTHONPATH=" + there + " " + p.Path
	c := nativeContext(t, dir, p, fstest.MapFS{"mine.py": {Data: []byte(
		"import alone, half\ndef versions():\n    return '%d %d' % (half.version, alone.version)")}},
		mitogen.Options{})
	got, err := mitogen.Call[string](t.Context(), c, "mine:versions")
	if err != nil || got != "2 1" {
		t.Errorf("got %s, %v, want 2 1: what it has whole is its own", got, err)
	}
}
