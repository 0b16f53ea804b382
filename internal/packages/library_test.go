package packages

import (
	"path/filepath"
	"strings"
	"testing"
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
	p := blindPython(t)
	dir := site(t, map[string]string{"foreign/__init__.py": foreign, "foreign/text.so": "no library",
		"foreign-1.dist-info/RECORD": "foreign/__init__.py,,\n", "foreign/lib/empty": "",
		"foreign/a.c":     "int seven(void); int count; int value(void) { return seven() + count++; }",
		"foreign/seven.c": "int seven(void) { return 7; }",
		"foreign/plain.c": "int value(void) { return 5; }"})
	for _, args := range []string{"-o lib/libseven.so seven.c -Wl,-soname,libseven.so",
		"-o lib/liba.so a.c -Llib -lseven", "-o plain.so plain.c"} {
		shared(t, filepath.Join(dir, "foreign"), args)
	}
	call := own(t, dir, p, using)
	got, err := call("use")
	if want := "[7, 8, 5]"; err != nil || got != want { // one library, whatever is loaded twice
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	got, err = call("fails")
	if err != nil || !strings.Contains(got, "lib/none.so") ||
		!strings.Contains(got, "/foreign/text.so: ") || strings.Contains(got, "/proc/") {
		t.Errorf("errors: got %s, %v, want both with their places", got, err)
	}
}

// TestWholeDistributions: of a distribution of which the target has half, maybe of another version,
// all comes from the engine.
func TestWholeDistributions(t *testing.T) {
	p := blindPython(t)
	dir := site(t, map[string]string{
		"half/__init__.py": "import half_part\nversion = half_part.version",
		"half_part.py":     "version = 2", "alone.py": "version = 2",
		"half-2.dist-info/RECORD":  "half/__init__.py,,\nhalf_part.py,,\n",
		"alone-2.dist-info/RECORD": "alone.py,,\n"})
	there := site(t, map[string]string{"half_part.py": "version = 1", "alone.py": "version = 1"})
	p.Path = "env PYTHONPATH=" + there + " " + p.Path
	got, err := own(t, dir, p, "import alone, half\ndef versions():\n"+
		"    return '%d %d' % (half.version, alone.version)")("versions")
	if err != nil || got != "2 1" {
		t.Errorf("got %s, %v, want 2 1: what it has whole is its own", got, err)
	}
}
