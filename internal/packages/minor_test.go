package packages

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/modules"
)

// anotherMinor is code of the user's own that imports from a virtual environment of another version
// of Python. Its functions that end in an error return that.
const anotherMinor = `
import importlib.metadata
def error(f):
    try:
        f()
    except Exception as e:
        return '%s %s' % (type(e).__name__, e)
def pure():
    import plain
    return plain.fallback()
def stable():
    import itself
    return itself.NATIVE.__doc__
def metadata():
    m = importlib.metadata
    return ' '.join([m.version('d'), m.version('itself')] + [f.name for f in m.files('d')])
def direct():
    import d._x
def taken():
    from d import _x
def passed_over():
    try:
        import d._x
    except ImportError:
        import d._x
def bytecode():
    import compiled
def bytecode_package():
    try:
        import frozen.inner
    except ImportError:
        import frozen
def cached():
    import stale
def newer():
    import newer
for name in 'direct taken passed_over bytecode bytecode_package cached newer'.split():
    globals()['e_' + name] = lambda f=globals()[name]: error(f)
`

// TestAnotherMinor: of a virtual environment for another minor version, older or newer, what is
// pure and what has the stable ABI works, and the errors of the rest say what to do.
func TestAnotherMinor(t *testing.T) {
	p := blindPython(t)
	if !p.AtLeast(3, 8) {
		t.Skip("no importlib.metadata")
	}
	for _, minor := range []int{p.Minor + 2, p.Minor - 3} {
		t.Run(fmt.Sprintf("3.%d", minor), func(t *testing.T) {
			tag := fmt.Sprintf("cp3%d-cp3%d-manylinux_2_17_%s", minor, minor, p.Machine)
			object := fmt.Sprintf("d/_x.cpython-3%d-%s-linux-gnu.so", minor, p.Machine)
			data, _ := extension(t, p)
			venv := site(t, inside(fmt.Sprintf("lib/python3.%d/site-packages/", minor),
				map[string]string{
					"d/__init__.py": "", object: string(data),
					"d-2.dist-info/WHEEL":    "Tag: " + tag + "\n",
					"d-2.dist-info/METADATA": "Name: d\nVersion: 2\n",
					"d-2.dist-info/RECORD":   recorded(object, data),
					"plain.py": "def fallback():\n  try:\n    from d import _x\n" +
						"  except ImportError:\n    return 'slow'\n",
					"compiled.pyc":                     "bytes",
					"frozen/__init__.pyc":              "bytes",
					"frozen/inner.pyc":                 "bytes",
					"__pycache__/stale.cpython-39.pyc": "bytes",
					"newer.py":                         "x = = 1\n",
				}, stableWheel(t, p.Machine)))
			dirs, err := modules.SitePackages(venv)
			if err != nil || len(dirs) != 1 {
				t.Fatalf("got %q, %v, want one directory", dirs, err)
			}
			call := own(t, dirs[0], p, anotherMinor)
			why := fmt.Sprintf("its wheel is for %s, the target is CPython 3.%d", tag, p.Minor)
			advice := fmt.Sprintf("; make the environment of --venv with Python 3.%d", p.Minor)
			for _, tt := range []struct {
				function string
				want     []string
			}{
				{"pure", []string{"slow"}},
				{"stable", []string{"in C"}},
				{"metadata", []string{"2 1 " + filepath.Base(object)}},
				{"e_direct", []string{"ModuleNotFoundError", "'d._x'", why, advice}},
				{"e_taken", []string{"ImportError", "'d._x'", why, advice}},
				{"e_passed_over", []string{"'d._x': not sent: " + why, advice}},
				{"e_bytecode", []string{"'compiled'", "compiled.pyc", "bytecode without a source"}},
				{"e_bytecode_package", []string{"'frozen'", "bytecode without a source"}},
				{"e_cached", []string{"'stale'", "not in the search path of the engine"}},
				{"e_newer", []string{"SyntaxError", "newer.py, line 1"}},
			} {
				got, err := call(tt.function)
				for _, want := range tt.want {
					if err != nil || !strings.Contains(got, want) {
						t.Errorf("%s: got %q, %v, want %q", tt.function, got, err, want)
					}
				}
			}
		})
	}
}

// recorded is the line of RECORD about a file.
func recorded(file string, data []byte) string {
	sum := sha256.Sum256(data)
	return file + ",sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]) + ",1\n"
}

// inside returns sets of files in a directory.
func inside(dir string, sets ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, files := range sets {
		for name, text := range files {
			all[dir+name] = text
		}
	}
	return all
}
