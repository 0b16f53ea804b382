package modules

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"embed"
	"io"
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

func source(t *testing.T, m Module) string {
	t.Helper()
	r, err := zlib.NewReader(bytes.NewReader(m.Rest))
	if err != nil {
		t.Fatalf("%s: %v", m.Name, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func files(names ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, n := range names {
		m[n] = &fstest.MapFile{Data: []byte("# " + n)}
	}
	return m
}

func TestFind(t *testing.T) {
	path := []fs.FS{
		files("a.py", "pkg/__init__.py", "pkg/b.py", "pkg/b/__init__.py", "space/x/y.py", "native.cpython-311-x86_64-linux-gnu.so",
			"pkg/fast.abi3.so", "both.so", "dir.py/z.py", "später.py"),
		files("a.py", "c.py", "space/__init__.py", "both.py"),
	}
	f := New(path, func(name string) ([]byte, bool) { return []byte("ours"), name == "mitogen" })
	for _, test := range []struct {
		name   string
		letter byte
		want   string // path, or a piece of the reason
	}{
		{"a", Plain, "a.py"},
		{"c", Plain, "c.py"},
		{"pkg", Package, "pkg/__init__.py"},
		{"pkg.b", Package, "pkg/b/__init__.py"}, // a package wins over a module
		{"space", Package, "space/__init__.py"}, // and a real one over a namespace before it
		{"space.x", Namespace, "space/x"},
		{"space.x.y", Plain, "space/x/y.py"},
		{"both", Plain, "both.py"}, // source wins over an extension
		{"native", Missing, "native.cpython-311-x86_64-linux-gnu.so is an extension module"},
		{"pkg.fast", Missing, "pkg/fast.abi3.so is an extension module"},
		{"mitogen", Plain, "<mitogen>"},
		{"später", Plain, "später.py"},
		{"nosuch", Missing, "not in the search path"},
		{"a.b", Missing, "not in the search path"},
	} {
		m := f.Find(test.name)
		if m.Letter != test.letter || m.Name != test.name {
			t.Errorf("%s: letter %c, %q", test.name, m.Letter, m.Rest)
		}
		got := m.Path
		if m.Letter == Missing {
			got = string(m.Rest)
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	if got := source(t, f.Find("a")); got != "# a.py" {
		t.Errorf("a is %q", got)
	}
}

// Nothing but dotted identifiers gets as far as a file system.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "secret.py"), []byte("SECRET"), 0o600)
	sub := filepath.Join(dir, "sub")
	os.Mkdir(sub, 0o700)
	f := New([]fs.FS{noFS{t}, os.DirFS(sub)}, none)
	for _, name := range []string{"", ".", "..", "...secret", "../secret", "..secret", "/etc/passwd", "a/b", "a\\b", "a..b", ".a", "a.",
		"a\x00b", "a b", "a\n", "1a", "a-b", "a:b", "\xff", "a.\u202eb", "secret.py/", "C:", strings.Repeat("a", MaxName+1),
		strings.Repeat("a.", 200) + "a"} {
		if m := f.Find(name); m.Letter != Missing || len(m.Rest) == 0 {
			t.Errorf("%q: %c %q", name, m.Letter, m.Rest)
		}
		if all := f.With(name); all != nil {
			t.Errorf("%q: %v", name, all)
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
	f := New([]fs.FS{files("a/__init__.py", "a/b/c.py")}, none)
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
	f := New([]fs.FS{os.DirFS(dir), zr, sub}, none)
	for name, want := range map[string]string{"d": "d", "z": "z", "e": "# embedded\n"} {
		if m := f.Find(name); m.Letter == Missing || source(t, m) != want {
			t.Errorf("%s: %c %q", name, m.Letter, m.Rest)
		}
	}
	if m := f.Find("d"); m.Path != filepath.Join(dir, "d.py") {
		t.Errorf("tracebacks name %q", m.Path)
	}
}

func TestUnreadable(t *testing.T) {
	huge := files("huge.py")
	huge["huge.py"].Data = make([]byte, MaxSource+1)
	f := New([]fs.FS{brokenFS{}, huge}, none)
	if m := f.Find("broken"); m.Letter != Missing || !strings.Contains(string(m.Rest), "permission denied") {
		t.Errorf("%c %q", m.Letter, m.Rest)
	}
	if m := f.Find("huge"); m.Letter != Missing || !strings.Contains(string(m.Rest), "larger than") {
		t.Errorf("%c %q", m.Letter, m.Rest)
	}
}

// brokenFS has one file that can't be read.
type brokenFS struct{}

func (brokenFS) Open(name string) (fs.File, error) {
	if name == "broken.py" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return nil, fs.ErrNotExist
}

// Equal sources are compressed once.
func TestCompressedByContent(t *testing.T) {
	f := New([]fs.FS{fstest.MapFS{"a.py": {Data: []byte("same")}, "b.py": {Data: []byte("same")}}}, none)
	a, b := f.Find("a"), f.Find("b")
	if &a.Rest[0] != &b.Rest[0] || len(f.compressed) != 1 {
		t.Error("compressed twice")
	}
}
