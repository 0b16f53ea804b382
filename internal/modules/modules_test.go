package modules

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

//go:embed testdata
var embedded embed.FS

func none(string) ([]byte, bool) { return nil, false }

func own(path ...fs.FS) []Entry {
	var all []Entry
	for _, f := range path {
		all = append(all, Entry{FS: f, Own: true})
	}
	return all
}

func files(names ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, n := range names {
		m[n] = &fstest.MapFile{Data: []byte("# " + n)}
	}
	return m
}

// describe says what was found: where, or why not.
func describe(m *Module) string {
	if m.Letter == Missing {
		return "- " + m.Reason
	}
	return fmt.Sprintf("%c %s", m.Letter, m.Path)
}

func TestFind(t *testing.T) {
	path := own(
		files("a.py", "pkg/__init__.py", "pkg/b.py", "pkg/b/__init__.py", "space/x/y.py",
			"native.cpython-311-x86_64-linux-gnu.so",
			"pkg/fast.abi3.so", "both.so", "dir.py/z.py", "später.py", "pair.so", "pair.py", "old.pyc",
			"pkg/__pycache__/b.pyc",
			"nat/__init__.so", "nat/x.py", "mixed/z.py", "mixed.py", "ns/one.py", "ns/in/a.py", "win.pyd",
			"mitogen/x.py"),
		files("a.py", "c.py", "space/__init__.py", "both.py", "pkg/c.py", "ns/two.py", "ns/in/b.py",
			"ns/one.py", "a/q.py"),
	)
	f := New(path, func(name string) ([]byte, bool) { return []byte("ours"), name == "mitogen" },
		Options{})
	for name, want := range map[string]string{
		"a":     "m a.py",
		"a.q":   "- not in the search path of the engine either",
		"c":     "m c.py",
		"pkg":   "p pkg/__init__.py",
		"pkg.b": "p pkg/b/__init__.py",                           // a package wins over a module
		"pkg.c": "- not in the search path of the engine either", // pkg is another one
		// a real one wins over a namespace before it
		"space":   "p space/__init__.py",
		"space.x": "- not in the search path of the engine either",
		"mixed":   "m mixed.py",
		"ns":      "n ns",
		"ns.one":  "m ns/one.py",
		"ns.two":  "m ns/two.py",
		"ns.in":   "n ns/in",
		"ns.in.a": "m ns/in/a.py",
		"ns.in.b": "m ns/in/b.py",
		"both":    "- both.so is an extension module, which can't be sent",
		"pair":    "m pair.py", // what can be sent of the two
		"native": "- native.cpython-311-x86_64-linux-gnu.so is an extension module, which can't be " +
			"sent",
		"win":       "- win.pyd is an extension module, which can't be sent",
		"nat":       "- nat/__init__.so is an extension module, which can't be sent",
		"nat.x":     "- not in the search path of the engine either",
		"pkg.fast":  "- pkg/fast.abi3.so is an extension module, which can't be sent",
		"old":       "- old.pyc can't be sent: it is bytecode without a source",
		"mitogen":   "m <mitogen>",
		"mitogen.x": "- not in the search path of the engine either",
		"später":    "m später.py",
		"dir":       "- not in the search path of the engine either",
		"nosuch":    "- not in the search path of the engine either",
	} {
		m := f.Find(name)
		if got := describe(m); got != want || m.Name != name {
			t.Errorf("%s: %s, %q; want %q", name, m.Name, got, want)
		}
	}
}

// Nothing but dotted names gets as far as a file system.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "secret.py"), []byte("SECRET"), 0o600)
	sub := filepath.Join(dir, "sub")
	os.Mkdir(sub, 0o700)
	f := New(own(noFS{t}, os.DirFS(sub)), none, Options{})
	for _, name := range []string{"", ".", "..", "...secret", "../secret", "..secret", "/etc/passwd",
		"a/b", "a\\b", "a..b", ".a", "a.",
		"a\x00b", "a b", "a\n", "1a", "-a", "a.-b", "a:b", "\xff", "a.\u202eb", "secret.py/", "C:",
		strings.Repeat("a", MaxName+1),
		strings.Repeat("a.", 200) + "a"} {
		if m := f.Find(name); m.Letter != Missing || m.Reason == "" {
			t.Errorf("find %q: got %s, want none and a reason", name, describe(m))
		}
		if all := f.With(name); all != nil {
			t.Errorf("find %q with its packages: got %v, want none", name, all)
		}
	}
}

// noFS fails the test when it is used.
type noFS struct{ t *testing.T }

func (n noFS) Open(name string) (fs.File, error) {
	n.t.Errorf("opened %q", name)
	return nil, fs.ErrNotExist
}

func TestWith(t *testing.T) {
	f := New(own(files("a/__init__.py", "a/b/c.py")), none, Options{})
	var got []string
	for _, m := range f.With("a.b.c") {
		got = append(got, m.Name+" "+string(m.Letter))
	}
	if s := strings.Join(got, ", "); s != "a p, a.b n, a.b.c m" {
		t.Error(s)
	}
	if all := f.With("a.b.d"); all != nil {
		t.Error("a module that isn't there brings", all)
	}
}

// Directories, zip files and what is embedded are all the same.
func TestKindsOfFS(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "d.py"), []byte("d"), 0o600)
	var buf bytes.Buffer
	zw := zip.NewWriter(&buf)
	w, err := zw.Create("z/__init__.py")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("z"))
	zw.Close()
	zr, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(embedded, "testdata")
	if err != nil {
		t.Fatal(err)
	}
	f := New(own(os.DirFS(dir), zr, sub), none, Options{})
	for name, want := range map[string]string{"d": "d", "z": "z", "e": "# embedded"} {
		if m := f.Find(name); m.Letter != Plain && m.Letter != Package ||
			strings.TrimSpace(string(m.Source)) != strings.TrimSpace(want) {
			t.Errorf("find %s: got %s, want source %q", name, describe(m), want)
		}
	}
	if m := f.Find("d"); m.Path != filepath.Join(dir, "d.py") {
		t.Errorf("tracebacks name %q", m.Path)
	}
}

func TestUnreadable(t *testing.T) {
	huge := files("huge.py")
	huge["huge.py"].Data = make([]byte, MaxSource+1)
	f := New(own(brokenFS{files("broken.py")}, huge), none, Options{})
	for name, want := range map[string]string{"broken": "permission denied", "huge": "larger than"} {
		if got := describe(f.Find(name)); !strings.HasPrefix(got, "- ") || !strings.Contains(got, want) {
			t.Errorf("find %s: got %s, want none: %s", name, got, want)
		}
	}
}

// brokenFS has one file that can't be read.
type brokenFS struct{ fstest.MapFS }

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == "broken.py" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return b.MapFS.Open(name)
}
