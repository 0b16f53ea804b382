package modules

import (
	"archive/zip"
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tree writes files, which end in a slash if they are directories, and holds "-> target" for links.
func writeTree(t *testing.T, dir string, tree map[string]string) {
	t.Helper()
	for name, text := range tree {
		file := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(file, 0o700)
		case link:
			err = os.Symlink(target, file)
		default:
			err = os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// zipOf returns a zip file.
func zipOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(text))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// where finds names, and returns what is said of them with the directory cut off.
func where(t *testing.T, p *Path, dir string, names []string) map[string]string {
	t.Helper()
	t.Cleanup(func() { p.Close() })
	f := New(p.Entries, none, Options{})
	got := map[string]string{}
	for _, name := range names {
		m := f.Find(name)
		got[name] = strings.ReplaceAll(describe(m), dir+string(filepath.Separator), "")
		if m.Own {
			got[name] += " own"
		}
	}
	return got
}

func compareFound(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %s, want %s", name, got[name], want[name])
		}
	}
}

func keys(m map[string]string) (all []string) {
	for k := range maps.Keys(m) {
		all = append(all, k)
	}
	return all
}

const nowhere = "- not in the search path of the engine either"

func TestPath(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"own/a.py": "",
		"lib/b.py": "",
		"lib/a.py": "",
		"some.zip": zipOf(t, map[string]string{"z.py": "", "pkg/__init__.py": "", "pkg/m.py": "",
			"lib/deep.py": "", "ns/x.py": ""}),
		"some.egg":   zipOf(t, map[string]string{"egg.py": "", "ns/y.py": ""}),
		"broken.zip": "this is none",
	})
	p := new(Path)
	for _, e := range []struct {
		place string
		own   bool
	}{{"own", true}, {"some.zip", true}, {"some.zip/lib", false}, {"some.egg", false},
		{"lib", false}} {
		if err := p.Add(filepath.Join(dir, e.place), e.own); err != nil {
			t.Fatal(err)
		}
	}
	for place, want := range map[string]string{
		"nowhere":            "no such file",
		"broken.zip":         "neither a directory nor a zip file",
		"some.zip/none":      "does not exist",
		"some.zip/z.py":      "does not exist",
		"own/a.py/something": "neither a directory nor a zip file",
	} {
		if err := p.Add(filepath.Join(dir, place), true); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", place, err, want)
		}
	}
	want := map[string]string{
		"a": "m own/a.py own", "b": "m lib/b.py", "z": "m some.zip/z.py own",
		"pkg":   "p some.zip/pkg/__init__.py own",
		"pkg.m": "m some.zip/pkg/m.py own", "deep": "m some.zip/lib/deep.py",
		"lib.deep": "m some.zip/lib/deep.py own",
		"egg":      "m some.egg/egg.py", "ns": "n some.zip/ns own", "ns.x": "m some.zip/ns/x.py own",
		"ns.y": "m some.egg/ns/y.py",
	}
	compareFound(t, where(t, p, dir, keys(want)), want)
}

const escapes = ": " + "a link leads out of the search path's directory; put where it leads into " +
	"the search path"

// Links right in a directory of installed packages may lead anywhere; what packages bring may not,
// and nothing in a directory of the user's own.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"secret.py": "SECRET", "lib/file.py": "", "lib/pkg/__init__.py": "",
		"lib/pkg/in.py": "-> sub/real.py", "lib/pkg/sub/real.py": "",
		"lib/pkg/out.py": "-> ../file.py", "src/one.py": "-> ../lib/file.py", "src/pkg": "-> ../lib/pkg",
		"src/self":        "-> self",
		"src/dangling.py": "-> nowhere.py", "src/p/__init__.py": "",
		"src/p/within.py": "-> ../q.py", "src/q.py": "", "src/link": "-> p",
		"src/p/secret.py": "-> ../../secret.py", "src/p/up": "-> ../..",
		"src/abs": "-> " + filepath.Join(dir, "lib/pkg"),
	})
	common := map[string]string{
		"dangling": nowhere, "p.within": "m src/p/within.py", "p.up.secret": nowhere,
		"link.within": "m src/link/within.py",
		"self":        "- stat src/self: too many levels of symbolic links",
	}
	theirs := map[string]string{
		"one": "m src/one.py", "pkg": "p src/pkg/__init__.py", "pkg.in": "m src/pkg/in.py",
		"abs.sub.real": "m src/abs/sub/real.py",
		"pkg.out":      "- openat pkg/out.py: path escapes from parent",
		"p.secret":     "- openat p/secret.py: path escapes from parent",
		"p.up":         "- openat p/up: path escapes from parent",
	}
	ours := map[string]string{
		"one": "- open one.py" + escapes, "pkg": "- open pkg" + escapes, "pkg.in": nowhere,
		"abs.sub.real": nowhere, "pkg.out": nowhere,
		"p.secret": "- open p/secret.py" + escapes, "p.up": "- open p/up" + escapes,
	}
	for _, own := range []bool{false, true} {
		for _, library := range []bool{false, true} {
			p := new(Path)
			if library {
				p.Entries = []Entry{{FS: os.DirFS(filepath.Join(dir, "src")), Own: own}}
			} else if err := p.Add(filepath.Join(dir, "src"), own); err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(common)
			maps.Copy(want, map[bool]map[string]string{false: theirs, true: ours}[own])
			got := where(t, p, dir, keys(want))
			for name, w := range want {
				if own && w[0] != '-' {
					w += " own"
				}
				if g := got[name]; g != w {
					t.Errorf("own %v, os.DirFS %v: %s: got %s, want %s", own, library, name, g, w)
				}
			}
		}
	}
}

// A FIFO in a module's place is no module, and is not waited for.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"p/__init__.py": ""})
	for _, name := range []string{"m.py", "p/data.txt"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, own := range []bool{false, true} {
		p := new(Path)
		if err := p.Add(dir, own); err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		f := New(p.Entries, none, Options{})
		if m := f.Find("m"); m.Letter != Missing {
			t.Errorf("own %v: a FIFO is a module of letter %c", own, m.Letter)
		}
		if _, _, err := f.File(all{}, "p", "data.txt"); err == nil {
			t.Errorf("own %v: a FIFO is a file of a package", own)
		}
		if _, _, err := read(p.Entries[0].FS,
			"m.py"); err == nil { // as if it had taken the place of a file just now
			t.Errorf("own %v: a FIFO can be read", own)
		}
	}
}

// siteTree is a virtual environment with all that setuptools, pip and people leave behind.
var siteTree = map[string]string{
	"lib/python3.12/site-packages/plain.py": "",
	"lib/python3.12/site-packages/extra.pth": "\ufeff# comment\n\n" +
		"../../../src/one  \nDIR/src/two\nnot/there\nimport os; os.abort()\nplain.py\n",
	"lib/python3.12/site-packages/.hidden.pth": "DIR/src/hidden\n",
	"lib/python3.12/site-packages/easy-install.pth": "import sys; sys.__plen = " +
		"len(sys.path)\n./dir.egg\n./zip.egg\nimport sys; new = sys.path[sys.__plen:]\n",
	"lib/python3.12/site-packages/dir.egg/indir.py":     "",
	"lib/python3.12/site-packages/dir.egg/nested.pth":   "DIR/src/hidden\n",
	"lib/python3.12/site-packages/other.egg/unused.py":  "",
	"lib/python3.12/site-packages/__editable__.a-1.pth": "DIR/src/two\nDIR/src/three",
	"lib/python3.12/site-packages/__editable__.b-1.pth": "import " +
		"__editable___b_1_finder; __editable___b_1_finder.install()",
	"lib/python3.12/site-packages/__editable___b_1_finder.py": "import sys\nMAPPING: dict[str, " +
		"str] = {'b': 'DIR/src/b', 'single': 'DIR/src/single', 'ns.c': 'DIR/src/c', 'gone': " +
		"'DIR/gone', 'b.far': \"DIR/src/it's\", '../x': 'DIR/src/b'}\n" +
		"NAMESPACES: dict[str, list[str]] = {}\nPATH_PLACEHOLDER = ''\n",
	"lib/python3.12/site-packages/__editable___unused_1_finder.py": "MAPPING = {'hidden': " +
		"'DIR/src/hidden/hidden'}\n",
	"lib/python3.12/site-packages/zip.egg":      "",
	"lib/python3.12/site-packages/_hatched.pth": "import _editable_impl_hatched\n",
	"lib/python3.12/site-packages/_editable_impl_hatched.py": "from editables.redirector import " +
		"RedirectingFinder as F\nF.install()\nF.map_module('hatched', 'DIR/src/hatched/__init__.py')\n" +
		"F.map_module('hatched_file', 'DIR/src/hatched_file.py')\nF.map_module('dev.part', " +
		"\"DIR/src/it's/__init__.py\")\nF.map_module('broken', 'DIR)\nF.map_module('relative', " +
		"'src/b/__init__.py')\nprint('F.map_module')\n",
	"lib/python3.12/site-packages/_editable_impl_unused.py": "F.map_module('hidden', " +
		"'DIR/src/hidden/hidden.py')\n",
	"lib/python3.12/site-packages/_built_editable.pth": "import _built_editable",
	"lib/python3.12/site-packages/_built_editable.py": "def install(known_source_files, *more):\n   " +
		" pass\n\ninstall({'built': 'DIR/src/built/__init__.py', 'built.near': " +
		"'DIR/src/built/near.py'}, {'built._core': 'built/_core.so'}, None)\n",
	"src/hatched/__init__.py":              "",
	"src/hatched/inside.py":                "",
	"src/hatched_file.py":                  "",
	"src/built/__init__.py":                "",
	"src/built/near.py":                    "",
	"lib64":                                "-> lib",
	"src/one/one.py":                       "",
	"src/two/two.py":                       "",
	"src/three/three.py":                   "",
	"src/three/plain.py":                   "",
	"src/hidden/hidden.py":                 "",
	"src/b/__init__.py":                    "",
	"src/b/near.py":                        "",
	"src/it's/__init__.py":                 "",
	"src/single.py":                        "",
	"src/c/__init__.py":                    "",
	"src/c/d.py":                           "",
	"lib/python3.12/site-packages/ns/e.py": "",
	"lib/python3.12/site-packages/__editable__.windows-1.pth": "import " +
		"__editable___windows_1_finder; __editable___windows_1_finder.install()\r\n",
	"lib/python3.12/site-packages/__editable___windows_1_finder.py": "MAPPING = {'w': 'C:\\\\w', 'x",
}

func TestSitePackages(t *testing.T) {
	dir := t.TempDir()
	tree := maps.Clone(siteTree)
	tree["lib/python3.12/site-packages/zip.egg"] = zipOf(t, map[string]string{"inzip.py": ""})
	writeTree(t, dir, tree)
	dirs, err := SitePackages(dir)
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	p := new(Path)
	for range 2 { // each is added once
		if err := p.AddSite(dirs[0]); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.Entries) != 7 {
		t.Errorf("%d entries", len(p.Entries))
	}
	site := "lib/python3.12/site-packages/"
	want := map[string]string{
		"plain": "m " + site + "plain.py", "one": "m src/one/one.py", "two": "m src/two/two.py",
		"three": "m src/three/three.py",
		"indir": "m " + site + "dir.egg/indir.py", "inzip": "m " + site + "zip.egg/inzip.py",
		"unused": nowhere, "hidden": nowhere,
		"b": "p src/b/__init__.py", "b.near": "m src/b/near.py", "b.far": "p src/it's/__init__.py",
		"single": "m src/single.py",
		"ns":     "n " + site + "ns", "ns.c": "p src/c/__init__.py", "ns.c.d": "m src/c/d.py",
		"ns.e": "m " + site + "ns/e.py", "gone": nowhere,
		"hatched": "p src/hatched/__init__.py", "hatched.inside": "m src/hatched/inside.py",
		"hatched_file": "m src/hatched_file.py",
		"dev":          "n dev", "dev.part": "p src/it's/__init__.py", "broken": nowhere,
		"relative": nowhere,
		"built":    "p src/built/__init__.py", "built.near": "m src/built/near.py",
	}
	compareFound(t, where(t, p, dir, keys(want)), want)
	if _, err := SitePackages(filepath.Join(dir, "src")); err == nil {
		t.Error("src is a virtual environment")
	}
}

func TestParseMapping(t *testing.T) {
	for text, want := range map[string]map[string]string{
		`{}`:                             {},
		`{'a': '/b'}`:                    {"a": "/b"},
		`{'a': "it's", 'b': 'C:\\x\\n'}`: {"a": "it's", "b": `C:\x\n`},
		`{'a': 'caf\xe9\u20ac', 'b': 1}`: {"a": "café€"},
		`{'a': 'b`:                       {},
		`{'a'`:                           {},
		`{a: b}`:                         {},
		``:                               {},
	} {
		if got := parseMapping(text); !maps.Equal(got, want) {
			t.Errorf("mapping %s: got %q, want %q", text, got, want)
		}
	}
}
