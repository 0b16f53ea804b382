package modules

import (
	"bytes"
	"compress/zlib"
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

func fileFinder(o Options) *Finder {
	fsys := fstest.MapFS{}
	for name, text := range map[string]string{
		"a/__init__.py": "", "a/x.txt": "x", "a/mod.py": "y = 1", "a/b/__init__.py": "", "a/b/y.txt": "y",
		"a/data/z-1.txt": "z", "a/c/__init__.py": "",
		"space/p/q.txt": "q", "up.txt": "", "single.py": "", "a/large": strings.Repeat("x", MaxSource+1),
		"A_x.y-1.dist-info/METADATA": "m", "A_x.y-1.dist-info/RECORD": "a/__init__.py,,\nbin/x,,\n",
		"b-2.egg-info/PKG-INFO": "p", "b-2.egg-info/top_level.txt": "b\n",
	} {
		fsys[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return New([]Entry{{FS: fsys}}, func(name string) ([]byte, bool) { return nil, name == "mitogen" },
		o)
}

// all is a context that was given everything.
type all struct{}

func (all) Any() bool          { return true }
func (all) Plugged() bool      { return true }
func (all) Names(string) bool  { return true }
func (all) Sent(string) bool   { return true }
func (all) Reads() bool        { return true }
func (all) Quotes(string) bool { return false }
func (all) Spells(string) bool { return false }

func (all) Says(string) bool { return false }

func (all) Runs(int64, func() []byte) bool { return false }

// inflated returns what a context makes of a file's bytes.
func inflated(t *testing.T, rest []byte, size int, err error) (string, error) {
	t.Helper()
	if err != nil {
		return "", err
	}
	text, err := inflateAll(rest)
	if err != nil || len(text) != size {
		t.Fatalf("%d bytes, %v, want %d", len(text), err, size)
	}
	return text, nil
}

func inflateAll(rest []byte) (string, error) {
	z, err := zlib.NewReader(bytes.NewReader(rest))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(z)
	return string(text), err
}

func TestFile(t *testing.T) {
	for _, c := range []struct {
		o         Options
		pkg, name string
		want      string // "-": refused
	}{
		{pkg: "a", name: "x.txt", want: "x"},
		{pkg: "a", name: "b/y.txt", want: "y"},
		{pkg: "a.b", name: "y.txt", want: "y"},
		{pkg: "a", name: "data/z-1.txt", want: "z"},
		{pkg: "a", name: "mod.py", want: "y = 1"},
		{pkg: "space", name: "p/q.txt", want: "q"},
		{pkg: "a", name: "large", want: "-"},
		{pkg: "a", name: "data", want: "-"},
		{pkg: "a", name: "none", want: "-"},
		{pkg: "a", name: "", want: "-"},
		{pkg: "a", name: "../up.txt", want: "-"},
		{pkg: "a", name: "/x.txt", want: "-"},
		{pkg: "a", name: "b/../x.txt", want: "-"},
		{pkg: "a", name: "x.txt\x00", want: "-"},
		{pkg: "a", name: `data\z-1.txt`, want: "-"},
		{pkg: "", name: "up.txt", want: "-"},
		{pkg: "..", name: "up.txt", want: "-"},
		{pkg: "a/b", name: "y.txt", want: "-"},
		{pkg: "single", name: "up.txt", want: "-"},
		{pkg: "mitogen", name: "x", want: "-"},
		{o: Options{Deny: []string{"a"}}, pkg: "a", name: "x.txt", want: "-"},
		{o: Options{Deny: []string{"a.b"}}, pkg: "a", name: "x.txt", want: "x"},
		{o: Options{Deny: []string{"a.b"}}, pkg: "a", name: "b/y.txt", want: "-"},
		{o: Options{Deny: []string{"a.b"}}, pkg: "a.b", name: "y.txt", want: "-"},
		{o: Options{Deny: []string{"a.mod"}}, pkg: "a", name: "mod.py", want: "-"},
		{o: Options{Allow: []string{"a.b"}}, pkg: "a", name: "b/y.txt", want: "y"},
		{o: Options{Allow: []string{"a.b"}}, pkg: "a", name: "x.txt", want: "-"},
		{o: Options{Allow: []string{"a.b"}}, pkg: "a", name: "data/z-1.txt", want: "-"},
		{o: Options{Rewrite: func(name, _ string, source []byte) []byte { return []byte(name) }},
			pkg: "a", name: "mod.py", want: "a.mod"},
	} {
		rest, size, err := fileFinder(c.o).File(all{}, c.pkg, c.name)
		if text, err := inflated(t, rest, size, err); err == nil && text != c.want || err != nil &&
			c.want != "-" {
			t.Errorf("file with %v in %q, %q: got %q, %v; want %q", c.o, c.pkg, c.name, text, err, c.want)
		}
	}
}

func TestList(t *testing.T) {
	for _, c := range []struct {
		o         Options
		pkg, name string
		want      string
	}{
		{pkg: "a", want: "__init__.py b/ c/ data/ large mod.py x.txt"},
		{pkg: "a", name: "data", want: "z-1.txt"},
		{pkg: "space", want: "p/"},
		{pkg: "a", name: "x.txt", want: "-"},
		{pkg: "a", name: "..", want: "-"},
		{o: Options{Deny: []string{"a.b", "a.mod"}}, pkg: "a", want: "__init__.py c/ data/ large x.txt"},
	} {
		got, err := fileFinder(c.o).List(all{}, c.pkg, c.name)
		if text := strings.Join(got, " "); err == nil && text != c.want || err != nil && c.want != "-" {
			t.Errorf("list with %v of %q, %q: got %q, %v; want %q", c.o, c.pkg, c.name, text, err, c.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	const a, b = "A_x.y-1.dist-info", "b-2.egg-info"
	f := fileFinder(Options{Deny: []string{"b"}})
	for _, c := range []struct{ dir, name, want string }{
		{a, "METADATA", "m"}, {a, "none", "-"}, {a, "../up.txt", "-"}, {a, "", "-"}, {"a", "x.txt", "-"},
		{".", "up.txt", "-"}, {b, "PKG-INFO", "-"},
		{"x/" + a, "METADATA", "-"}, {a + "/../a", "x.txt", "-"},
	} {
		rest, size, err := f.Metadata(all{}, c.dir, c.name)
		if got, err := inflated(t, rest, size, err); got != strings.TrimPrefix(c.want, "-") ||
			(err != nil) != (c.want == "-") {
			t.Errorf("metadata %q of %q: got %q, %v; want %q", c.name, c.dir, got, err, c.want)
		}
	}
}
