package modules

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"
)

func py(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// A package that says so has its modules wherever a directory of its name is.
func TestExtendedPackages(t *testing.T) {
	extend := py("__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
	declare := py("__import__('pkg_resources').declare_namespace(__name__)\n")
	path := own(
		fstest.MapFS{"a/__init__.py": extend, "a/one.py": py(""), "a/in/__init__.py": extend,
			"plain/__init__.py": py(""), "n/x/__init__.py": extend},
		fstest.MapFS{"a/__init__.py": py(""), "a/two.py": py(""), "a/one.py": py(""),
			"a/in/deep.py": py(""), "plain/two.py": py("")},
		fstest.MapFS{"a/three.py": py(""), "a/in/deep.py": py(""), "a/in/more.py": py(""),
			"n/x/y.py": py(""), "d/__init__.py": declare},
		fstest.MapFS{"a.py": py(""), "a/four.so": py(""), "d/e/f.py": py("")},
	)
	for i, e := range path {
		path[i].FS = at{e.FS, fmt.Sprint(i)}
	}
	f := New(path, none, Options{})
	for name, want := range map[string]string{
		"a": "p 0/a/__init__.py", "a.one": "m 0/a/one.py", "a.two": "m 1/a/two.py",
		"a.three": "m 2/a/three.py",
		"a.four":  nowhere, "a.in.deep": "m 1/a/in/deep.py", "a.in.more": "m 2/a/in/more.py",
		"plain.two": nowhere,
		"n.x.y":     "m 2/n/x/y.py", "d.e": "n 3/d/e", "d.e.f": "m 3/d/e/f.py", "a.none": nowhere,
	} {
		if got := describe(f.Find(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// at is a file system at some place.
type at struct {
	fs.FS
	dir string
}

func (a at) Place(name string) string { return a.dir + "/" + name }

func TestPolicy(t *testing.T) {
	for _, test := range []struct {
		allow, deny  []string
		served, kept string // names
	}{
		{nil, nil, "a a.b ab", ""},
		{nil, []string{"a"}, "ab c", "a a.b a.b.c"},
		{nil, []string{"a.*"}, "a ab", "a.b a.b.c"},
		{nil, []string{"a.b", "c"}, "a a.bc a.c", "a.b a.b.c c c.d"},
		{[]string{"a.b"}, nil, "a a.b a.b.c", "ab a.c c"},
		{[]string{"a.*"}, nil, "a a.b a.b.c", "ab c"},
		{[]string{"a", "c"}, []string{"a.b"}, "a a.c c", "a.b a.b.c d"},
		{[]string{"a.b"}, []string{"a"}, "", "a a.b"},
	} {
		o := Options{Allow: test.allow, Deny: test.deny}
		for name := range strings.FieldsSeq(test.served) {
			if !o.serves(name) {
				t.Errorf("allow %v, deny %v: %s is not served", test.allow, test.deny, name)
			}
		}
		for name := range strings.FieldsSeq(test.kept) {
			if o.serves(name) {
				t.Errorf("allow %v, deny %v: %s is served", test.allow, test.deny, name)
			}
		}
	}
	f := New(own(noFS{t}), func(name string) ([]byte, bool) { return nil, name == "mitogen" },
		Options{Allow: []string{"a"}})
	if m := f.Find("b"); describe(m) != "- the engine is told not to serve it" {
		t.Error(describe(m))
	}
	if m := f.Find("mitogen"); m.Letter != Plain {
		t.Error("our own module is subject to policy")
	}
}

func TestRewrite(t *testing.T) {
	f := New(own(fstest.MapFS{"p/__init__.py": py("import a\n"), "p/q.py": py("import b\n")}), none,
		Options{
			Rewrite: func(name, path string, source []byte) []byte {
				if name != "p.q" {
					return source
				}
				return append([]byte("import "+filepath.Base(path)[:1]+"x  # rewritten\n"), source...)
			}})
	if m := f.Find("p"); string(m.Source) != "import a\n" || len(m.Info.Imports) != 1 {
		t.Errorf("find p: got %q, %v; want the source as it is, one import", m.Source, m.Info)
	}
	if m := f.Find("p.q"); string(m.Source) != "import qx  # rewritten\nimport b\n" ||
		len(m.Info.Imports) != 2 {
		t.Errorf("find p.q: got %q, %v; want it rewritten, two imports", m.Source, m.Info)
	}
}

// TestSources checks that modules are sent unchanged. The text that is read as code has neither
// comments nor docstrings.
func TestSources(t *testing.T) {
	sources := fstest.MapFS{
		"small.py":  py("'''Doc.'''\n\nimport a  # why\n\n\n\ndef f():  \n    'Doc.'\n    return 1\n"),
		"broken.py": py("def f(:\n    '''\n"), "utf16.py": py("# coding: utf-16\nx = 1\n"),
		"empty.py": py(""),
	}
	f, stripped := New(own(sources), none, Options{}), New(own(sources), none, Options{Strip: true})
	for name, want := range map[string]string{
		"small": "\n\nimport a\n\n\n\ndef f():\n\n    return 1\n", "broken": "def f(:\n    '''\n",
		"utf16": "# coding: utf-16\nx = 1\n", "empty": "",
	} {
		m, s := f.Find(name), stripped.Find(name)
		if m.Scanned != (name == "small" || name == "empty") {
			t.Errorf("%s: got scanned %v", name, m.Scanned)
		}
		if file := sources[name+".py"].Data; !bytes.Equal(m.Source, file) {
			t.Errorf("%s: got source %q, want the file %q", name, m.Source, file)
		}
		if string(m.Code) != want || string(s.Source) != want {
			t.Errorf("%s: got code %q, stripped %q, want %q", name, m.Code, s.Source, want)
		}
	}
	if m := f.Find("small"); m.Info.Imports[0].Line != 3 {
		t.Errorf("got import %v, want it on line 3", m.Info)
	}
}

// The key tells apart all that is sent.
func TestKey(t *testing.T) {
	f := New(own(fstest.MapFS{"a.py": py("x"), "b.py": py("x"), "c/__init__.py": py("x"),
		"d/x": py("")}), none, Options{})
	seen := map[[32]byte]string{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f g"} {
		m := f.Find(name)
		if other := seen[m.Key]; other != "" {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[m.Key] = name
		if f.Find(name).Key != m.Key {
			t.Errorf("%s has two keys", name)
		}
	}
}

// counting counts what is opened.
type counting struct {
	fs.FS
	opened atomic.Int64
}

func (c *counting) Open(name string) (fs.File, error) {
	c.opened.Add(1)
	return c.FS.Open(name)
}

// Stat opens nothing.
func (c *counting) Stat(name string) (fs.FileInfo, error) { return fs.Stat(c.FS, name) }

func TestChangesAreNoticed(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	write := func(name, text string, when time.Time) {
		t.Helper()
		writeTree(t, dir, map[string]string{name: text})
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	write("a.py", "x = 1", old)
	write("p/__init__.py", "", old)
	if err := os.Chtimes(filepath.Join(dir, "p"), old, old); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(dir, old, old)
	c := &counting{FS: os.DirFS(dir)}
	f := New(own(c), none, Options{})
	find := func(name, want string) *Module {
		t.Helper()
		m := f.Find(name)
		if got := strings.TrimSpace(string(m.Source)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		return m
	}
	first := find("a", "x = 1")
	n := c.opened.Load()
	if find("a", "x = 1") != first || c.opened.Load() != n {
		t.Error("read again without need")
	}
	for range 10 {
		f.Find("nosuch")
		f.Find("p.nosuch.either")
	}
	if c.opened.Load()-n > 2 { // p and its file, which must say whether there is more
		t.Errorf("%d files opened for what isn't there", c.opened.Load()-n)
	}
	write("a.py", "x = 1", old.Add(time.Minute))
	if find("a", "x = 1") != first {
		t.Error("the same source is another module")
	}
	write("a.py", "x = 2", old.Add(2*time.Minute))
	find("a", "x = 2")
	for i := range 5 { // faster than the clock of a file system
		write("a.py", fmt.Sprintf("y = %d", i), time.Now().Truncate(time.Second))
		find("a", fmt.Sprintf("y = %d", i))
		name := fmt.Sprintf("new%d", i)
		write(name+".py", "z = 1", old)
		find(name, "z = 1")
	}
	os.Remove(filepath.Join(dir, "a.py"))
	if m := f.Find("a"); m.Letter != Missing {
		t.Error("what is gone is found")
	}
}

// A pass sees one state.
func TestPass(t *testing.T) {
	m := fstest.MapFS{"a.py": py("x = 1\n")}
	f := New(own(m), none, Options{})
	p := f.Pass()
	p.Find("a")
	m["a.py"] = &fstest.MapFile{Data: []byte("x = 2\n"), ModTime: time.Unix(1, 0)}
	if got := string(p.Find("a").Source); got != "x = 1\n" {
		t.Errorf("same pass: %q", got)
	}
	if got := string(f.Find("a").Source); got != "x = 2\n" {
		t.Errorf("next pass: %q", got)
	}
}

// Those who ask at once share the work.
func TestConcurrent(t *testing.T) {
	c := &counting{FS: fstest.MapFS{"p/__init__.py": py("import a"), "p/a.py": py("x"),
		"p/b.py": py("y")}}
	f := New(own(c), none, Options{})
	var wg sync.WaitGroup
	var found sync.Map
	for range 16 {
		wg.Go(func() {
			for _, name := range []string{"p", "p.a", "p.b", "p.c"} {
				m := f.Find(name)
				if first, _ := found.LoadOrStore(name, m); first != m && m.Letter != Missing {
					t.Errorf("%s: two modules", name)
				}
				m.Rest()
			}
		})
	}
	wg.Wait()
	if got := c.opened.Load(); got != 5 { // two directories, three files
		t.Errorf("%d files opened", got)
	}
}
