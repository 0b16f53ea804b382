package closure

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// listNames prints an interpreter's names; earlier versions than 3.10 know only what was built.
const listNames = `
import os, sys
names = getattr(sys, 'stdlib_module_names', None)
if not names:
    names = list(sys.builtin_module_names)
    for f in os.listdir(os.path.dirname(os.__file__)):
        if f.endswith('.py'):
            names.append(f[:-3])
print(' '.join(names))`

// ignored are tests, examples, and names of one build.
func ignored(name string) bool {
	for _, prefix := range []string{"test", "_test", "xx", "_xx", "_ctypes_test", "__main__",
		"__phello__", "_sysconfigdata", "toaiff"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.ContainsAny(name, "-")
}

// patched has names that a patch release of a version brought (3.13.1). The table has them from the
// next version on.
var patched = map[string]version{"_apple_support": {3, 13}}

func TestStdlib(t *testing.T) {
	for _, i := range testpython.Find() {
		if i.Impl != "cpython" {
			continue
		}
		t.Run(i.Name(), func(t *testing.T) {
			out, err := exec.Command(i.Path, "-S", "-c", listNames).Output()
			if err != nil {
				t.Fatal(err)
			}
			target := pysource.Target{Version: [3]int{i.Major, i.Minor}}
			names := slices.DeleteFunc(strings.Fields(string(out)), ignored)
			for _, name := range names {
				if !Stdlib(name, target) && patched[name] != (version{i.Major, i.Minor}) {
					t.Errorf("stdlib.txt lacks %s", name)
				}
			}
			for name, s := range stdlib() {
				if i.AtLeast(3, 10) && !strings.Contains(name, ".") && s.on(target) &&
					!slices.Contains(names, name) && !ignored(name) {
					t.Errorf("%s isn't in the standard library", name)
				}
			}
		})
	}
}

func TestStdlibHas(t *testing.T) {
	for _, c := range []struct {
		name string
		t    pysource.Target
		want bool
	}{
		{"os", python3, true},
		{"os.path", python2, true},
		{"urllib.parse", python3, true},
		{"urllib.parse", python2, false},
		{"importlib.metadata", pysource.Target{Version: [3]int{3, 7}}, false},
		{"asyncore", python3, true},
		{"asyncore", pysource.Target{Version: [3]int{3, 12}}, false},
		{"os", pysource.Target{Version: [3]int{3, 20}}, true},
		{"asyncore", pysource.Target{Version: [3]int{3, 20}}, false},
		{"json", pysource.Target{}, true},
		{"json", pysource.Target{Version: [3]int{2, 5}}, false},
		{"argparse", pysource.Target{}, true},
		{"asyncore", pysource.Target{}, false},
		{"winreg", pysource.Target{Version: [3]int{3, 9}}, true},
		{"winreg", python3, false},
		{"requests", python3, false},
		{"sre_parse", pysource.Target{}, false},
		{"sre_compile", pysource.Target{Version: [3]int{3, 14}}, true},
		{"sre_constants", pysource.Target{Version: [3]int{3, 15}}, false},
		{"profiling.sampling", pysource.Target{Version: [3]int{3, 15}}, true},
		{"profiling", pysource.Target{Version: [3]int{3, 14}}, false},
		{"_math_integer", pysource.Target{Version: [3]int{3, 20}}, true},
		{"_apple_support", pysource.Target{Version: [3]int{3, 13}}, false}, // it came with 3.13.1
		{"_apple_support", pysource.Target{}, false},
		{"compression.zstd", pysource.Target{Version: [3]int{3, 14}}, true},
		{"concurrent.futures.interpreter", pysource.Target{Version: [3]int{3, 13}}, false},
	} {
		if got := stdlibHas(c.name, c.t); got != c.want {
			t.Errorf("%s on %v: got %v", c.name, c.t, got)
		}
	}
}
