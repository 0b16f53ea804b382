package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// renamed is a package whose modules are imported by other names than the engine knows them by: as
// those of another package, and from its directory as a place of sys.path.
const renamed = `
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.modules['alias'] = sys.modules[__name__]
sys.path.append(os.path.join(HERE, 'inner'))
`

// binary is a package that is its own extension module once it has found that, as OpenCV's is.
const binary = `
import os, sys
def find():
    module = sys.modules.pop(__name__)
    sys.path.insert(1, os.path.dirname(os.path.abspath(__file__)))
    try:
        __import__(__name__)
        return sys.modules[__name__]
    finally:
        del sys.path[1]
        sys.modules[__name__] = module
if hasattr(sys, 'looking_for_binary'):
    raise ImportError('it has found itself')
sys.looking_for_binary = 1
NATIVE = find()
`

// binarySource is an extension module, without a header of Python's.
const binarySource = `
static struct {
    long references; void *type, *init; long index; void *copy;
    const char *name, *doc; long size; void *methods, *slots, *traverse, *clear, *free;
} def = {1, 0, 0, 0, 0, "itself", "in C", -1};
extern void *PyModule_Create2(void *, int);
void *PyInit_itself(void) { return PyModule_Create2(&def, 1013); }
`

// TestBinaryOfTheSameName: a package finds an extension module of its own name in its directory.
func TestBinaryOfTheSameName(t *testing.T) {
	p := blindPython(t)
	dir := site(t, stableWheel(t, p.Machine))
	got, err := own(t, dir, p, "import itself\ndef doc():\n"+
		"    return '%s %s' % (itself.NATIVE.__doc__, itself.__name__)")("doc")
	if err != nil || got != "in C itself" {
		t.Errorf("got %q, %v, want both modules", got, err)
	}
}

// stableWheel returns the files of a wheel whose extension module has the stable ABI.
func stableWheel(t *testing.T, machine string) map[string]string {
	t.Helper()
	const file = "itself/itself.abi3.so"
	from := site(t, map[string]string{"itself/binary.c": binarySource})
	shared(t, from, "-o "+file+" itself/binary.c")
	object, err := os.ReadFile(filepath.Join(from, file))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"itself/__init__.py": binary, file: string(object),
		"itself-1.dist-info/WHEEL":    "Tag: cp32-abi3-linux_" + machine + "\n",
		"itself-1.dist-info/METADATA": "Name: itself\nVersion: 1\n",
		"itself-1.dist-info/RECORD":   "itself/__init__.py,,\n" + recorded(file, object)}
}

// TestOtherNames: a file of a package is imported by each name that Python would import it by.
func TestOtherNames(t *testing.T) {
	p := blindPython(t)
	dir := site(t, map[string]string{"renamed/__init__.py": renamed,
		"renamed/sub.py": "NAME = __name__", "renamed/deep/__init__.py": "NAME = __name__",
		"renamed/deep/mod.py": "NAME = __name__", "renamed/inner/__init__.py": "",
		"renamed/inner/flat.py": "NAME = __name__"})
	const source = "import renamed\ndef names():\n  import alias.sub, alias.deep.mod, flat\n" +
		"  import renamed.sub, renamed.inner.flat\n" +
		"  return ' '.join([m.NAME for m in (alias.sub, alias.deep, alias.deep.mod, flat, " +
		"renamed.inner.flat)])\n" +
		"def gone():\n  try:\n    import alias.nowhere\n  except ImportError as e:\n    return str(e)\n"
	call := own(t, dir, p, source)
	got, err := call("names")
	plain := exec.Command(p.Path, "-c", source+"print(names())")
	plain.Env = append(os.Environ(), "PYTHONPATH="+dir)
	want, wrong := plain.Output()
	if err != nil || wrong != nil || got+"\n" != string(want) {
		t.Errorf("got %s, %v, want as plain Python: %s, %v", got, err, want, wrong)
	}
	if got, err = call("gone"); err != nil || got == "" {
		t.Errorf("a module that there isn't: got %q, %v", got, err)
	}
}
