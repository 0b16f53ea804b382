package modules

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// finds prints for each name what importlib finds, as describe says it. Packages are imported on
// the way, which is why they hold nothing but what extends their paths.
const finds = `
import importlib, importlib.machinery, importlib.util, os, site, sys
sys.dont_write_bytecode = True
dirs, sites, names = [x.split(os.pathsep) if x else [] for x in sys.stdin.read().split('\n')[:3]]
stdlib = sys.path[:]
sys.path[:] = dirs
for s in sites:
    site.addsitedir(s)
ours = sys.path[:]
for name in names:
    sys.path[:] = ours + stdlib
    for m in [m for m in sys.modules if m[0] == 'q']:
        del sys.modules[m]
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError):
        spec = None
    if spec is None:
        print(name, '-')
    elif spec.origin in (None, 'namespace'):
        print(name, 'n', list(spec.submodule_search_locations)[0])
    elif not spec.origin.endswith('.py'):
        print(name, '-', spec.origin)
    else:
        print(name, spec.submodule_search_locations is None and 'm' or 'p', spec.origin)
`

const extendPath = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"

// randomTree fills dir with modules of few names, so that they get into each other's way. ext is
// the suffix of extension modules.
func randomTree(r *rand.Rand, dir, ext string, depth int, tree map[string]string) {
	for _, name := range []string{"qa", "qb", "qc", "qd"} {
		file := dir + "/" + name
		if r.IntN(3) == 0 {
			tree[file+".py"] = ""
		}
		if r.IntN(12) == 0 {
			tree[file+ext] = ""
		}
		if r.IntN(12) == 0 {
			tree[file+".pyc"] = ""
		}
		if depth == 0 || r.IntN(2) == 0 {
			continue
		}
		tree[file+"/"] = ""
		switch r.IntN(8) {
		case 0, 1:
			tree[file+"/__init__.py"] = ""
		case 2, 3:
			tree[file+"/__init__.py"] = extendPath
		case 4:
			if r.IntN(3) == 0 {
				tree[file+"/__init__"+ext] = ""
			}
		}
		randomTree(r, file, ext, depth-1, tree)
	}
}

// randomPath makes a search path in dir: directories, and a directory with .pth files that name
// more.
func randomPath(t *testing.T, r *rand.Rand, dir, ext string) (dirs []string, site string) {
	tree := map[string]string{}
	for i := range 5 {
		name := fmt.Sprintf("d%d", i)
		tree[name+"/"] = ""
		randomTree(r, name, ext, 2, tree)
		if i < 3 {
			dirs = append(dirs, filepath.Join(dir, name))
		}
	}
	tree["d3/one.pth"] = []string{"", "../d4\n", "# no\nDIR/d0\nqa\n",
		"nowhere\n\n./qb/\n../d4"}[r.IntN(4)]
	tree["d3/two.pth"] = []string{"", "../d4/qc\n", "import os\nqd\n"}[r.IntN(3)]
	r.Shuffle(len(dirs), func(i, j int) { dirs[i], dirs[j] = dirs[j], dirs[i] })
	writeTree(t, dir, tree)
	return dirs[:1+r.IntN(3)], filepath.Join(dir, "d3")
}

// allNames are those that there can be.
func allNames() (names []string) {
	parts := []string{"qa", "qb", "qc", "qd"}
	for _, a := range parts {
		names = append(names, a)
		for _, b := range parts {
			names = append(names, a+"."+b)
			for _, c := range parts {
				names = append(names, a+"."+b+"."+c)
			}
		}
	}
	return names
}

// TestAgainstPython compares with what importlib finds in random trees.
func TestAgainstPython(t *testing.T) {
	found := testpython.Find()
	i := slices.IndexFunc(found, func(i testpython.Interp) bool {
		return i.Impl == "cpython" && i.AtLeast(3, 9)
	})
	if i < 0 {
		t.Skip("no Python 3.9 or later")
	}
	python := found[len(found)-1]
	for _, p := range found[i:] {
		if p.Impl == "cpython" {
			python = p
		}
	}
	ext, err := exec.Command(python.Path, "-c",
		"import importlib.machinery as m; print(m.EXTENSION_SUFFIXES[0], end='')").Output()
	if err != nil {
		t.Fatal(err)
	}
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	if os.Getenv("MITOGEN_SOAK") != "" {
		rounds = 400
	}
	for seed := range uint64(rounds) {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		dirs, site := randomPath(t, rand.New(rand.NewPCG(seed, 1)), dir, string(ext))
		differ := compareWithPython(t, python.Path, dirs, site, string(ext))
		if differ > 0 {
			t.Fatalf("seed %d: %d names differ", seed, differ)
		}
	}
}

// compareWithPython returns how many names lead elsewhere.
func compareWithPython(t *testing.T, python string, dirs []string, site, ext string) (differ int) {
	t.Helper()
	names := allNames()
	cmd := exec.Command(python, "-S", "-c", finds)
	sep := string(os.PathListSeparator)
	cmd.Stdin = strings.NewReader(strings.Join(dirs, sep) + "\n" + site + "\n" +
		strings.Join(names, sep) + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run Python: %v; stderr:\n%s", err, stderr.Bytes())
	}
	p := new(Path)
	defer p.Close()
	for _, d := range dirs {
		if err := p.Add(d, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.AddSite(site); err != nil {
		t.Fatal(err)
	}
	f := New(p.Entries, none, Options{})
	for line := range strings.Lines(string(out)) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		got := f.Find(name)
		if text := describe(got); !same(text, want, ext) {
			t.Errorf("%s: %s, Python has %s", name, text, want)
			differ++
		}
	}
	return differ
}

// same compares what we say with what Python says. Where it takes an extension module that lies
// beside its source we take that.
func same(got, want, ext string) bool {
	if got == want || strings.HasPrefix(want, "-") && strings.HasPrefix(got, "-") {
		return true
	}
	file, native := strings.CutSuffix(strings.TrimPrefix(want, "- "), ext)
	return native && got[1:] == " "+file+".py"
}
