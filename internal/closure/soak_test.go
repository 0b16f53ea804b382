package closure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/testpython"
)

// soaked are packages, and what of them is imported.
var soaked = map[string][]string{
	"django": {"django.db.models", "django.forms", "django.http",
		"django.core.management"},
	"requests":             {"requests"},
	"jinja2":               {"jinja2"},
	"flask":                {"flask"},
	"click":                {"click"},
	"rich":                 {"rich.console", "rich.table"},
	"pyyaml":               {"yaml"},
	"attrs":                {"attr", "attrs"},
	"httpx":                {"httpx"},
	"sqlalchemy":           {"sqlalchemy", "sqlalchemy.orm"},
	"pygments":             {"pygments", "pygments.lexers"},
	"boto3":                {"boto3"},
	"google-cloud-storage": {"google.cloud.storage"},
	"python-dateutil":      {"dateutil.parser"},
	"packaging":            {"packaging.version", "packaging.specifiers"},
	"paramiko":             {"paramiko"},
}

// listImported prints the modules that an import has loaded from site-packages, and the names that
// it asked for in vain.
const listImported = `
import sys
site = sys.argv[2]
class NoExtensions(object):
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path)
        if spec and spec.origin and spec.origin.endswith('.so') and spec.origin.startswith(site):
            raise ImportError(name)
class Asked(object):
    def find_spec(self, name, path=None, target=None):
        vain.append(name)
vain = []
from importlib.machinery import PathFinder
sys.meta_path.insert(0, NoExtensions())
sys.meta_path.append(Asked())
before = set(sys.modules)
__import__(sys.argv[1])
for name in sorted(set(sys.modules) - before):
    m = sys.modules[name]
    spec = getattr(m, '__spec__', None)
    if spec is None or spec.name != name:
        continue
    where = (getattr(spec, 'origin', None) or '').startswith(site)
    places = getattr(spec, 'submodule_search_locations', None)
    if where or places and 'site-packages' in str(list(places)):
        print(name)
print('--')
for name in vain:
    print(name)
`

// TestAgainstPackages compares closures with what imports really load.
func TestAgainstPackages(t *testing.T) {
	if os.Getenv("MITOGEN_SOAK") == "" {
		t.Skip("MITOGEN_SOAK is not set")
	}
	found := slices.DeleteFunc(testpython.Find(),
		func(i testpython.Interp) bool { return i.Impl != "cpython" || !i.AtLeast(3, 6) })
	for _, i := range []testpython.Interp{found[0], found[len(found)-1]} {
		t.Run(i.Name(), func(t *testing.T) { againstPackages(t, i) })
	}
}

func againstPackages(t *testing.T, i testpython.Interp) {
	python, site := install(t, i)
	src := modules.New([]modules.Entry{{FS: os.DirFS(site)}}, noBuiltin, modules.Options{}).Pass()
	target := pysource.Target{Implementation: "cpython", Platform: "linux", OSName: "posix"}
	fmt.Sscanf(i.Version, "%d.%d.%d", &target.Version[0], &target.Version[1], &target.Version[2])
	for _, name := range sorted(soaked) {
		for _, root := range soaked[name] {
			out, err := exec.Command(python, "-c", listImported, root, site).Output()
			if err != nil {
				t.Logf("%s doesn't work without extension modules", root)
				continue
			}
			compare(t, root, string(out), Of(src, target, []string{root}))
		}
	}
}

func noBuiltin(string) ([]byte, bool) { return nil, false }

// compare reports what a closure lacks and what it has too much. An extension module is right as a
// negative answer.
func compare(t *testing.T, root, out string, c *Closure) {
	loaded, vain, _ := strings.Cut(out, "--\n")
	var have, no []string
	for _, g := range c.All() {
		for _, m := range g.Members {
			if m.Letter == modules.Missing {
				no = append(no, m.Name)
			} else {
				have = append(have, m.Name)
			}
		}
	}
	missed := without(strings.Fields(loaded), append(slices.Clone(have), no...))
	asked := without(strings.Fields(vain), no)
	more := without(have, strings.Fields(loaded))
	t.Logf("%s: %d modules, %d missed %v, %d superfluous %v; %d negative, %d of %d missed %v", root,
		len(have), len(missed), missed,
		len(more), more, len(no), len(asked), len(strings.Fields(vain)), asked)
}

func without(names, other []string) []string {
	names = slices.DeleteFunc(slices.Clone(names),
		func(n string) bool { return slices.Contains(other, n) })
	slices.Sort(names)
	return slices.Compact(names)
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// install puts the packages into a virtual environment in the user's cache directory.
func install(t *testing.T, i testpython.Interp) (python string, site string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	venv := filepath.Join(cache, "mitogen-go", "closure", i.Name())
	python = filepath.Join(venv, "bin", "python")
	commands := [][]string{
		{i.Path, "-m", "venv", venv},
		append([]string{filepath.Join(venv, "bin", "pip"), "install", "-q"}, sorted(soaked)...),
	}
	if _, err := os.Stat(filepath.Join(venv, "complete")); err == nil {
		commands = nil
	}
	for _, command := range commands {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("run %v: %v; output:\n%s", command, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(venv, "complete"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages"))
	if len(dirs) != 1 {
		t.Fatalf("site-packages: %v", dirs)
	}
	return python, dirs[0]
}
