package modules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

// outlined returns the lines of an outline without times, each with its directory's place before
// it, and the bytes of files by their places.
func outlined(t *testing.T, data []byte, err error) (lines []string, texts map[string]string) {
	t.Helper()
	if err != nil {
		return []string{err.Error()}, nil
	}
	text, err := inflateAll(data)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.BigEndian.Uint32([]byte(text))
	blobs := text[4+n:]
	texts = map[string]string{}
	dir := ""
	for line := range strings.Lines(text[4 : 4+n]) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\x00")
		switch {
		case len(f) == 1:
			lines = append(lines, f[0])
		case f[0][0] == '/':
			dir = f[0]
			lines = append(lines, strings.Join(append([]string{dir}, f[2:]...), " "))
		default:
			lines = append(lines, dir+"/"+f[0]+" "+f[1])
			if len(f) > 3 {
				var size int
				fmt.Sscan(f[3], &size)
				texts[dir+"/"+f[0]], blobs = blobs[:size], blobs[size:]
			}
		}
	}
	if blobs != "" {
		t.Errorf("%q is left of the outline's bytes", blobs)
	}
	return lines, texts
}

// An outline has what may be had, and nothing else.
func TestOutline(t *testing.T) {
	for _, c := range []struct {
		o    Options
		r    Reader
		pkg  string
		want string
	}{
		{pkg: "a", want: "whole|a|a/__init__.py 0|a/large 16777217|a/mod.py 5|a/x.txt 1|a/b|" +
			"a/b/__init__.py 0|a/b/y.txt 1|a/c|a/c/__init__.py 0|a/data|a/data/z-1.txt 1"},
		{pkg: "a.b", want: "whole|a/b|a/b/__init__.py 0|a/b/y.txt 1"},
		{pkg: "space", want: "part|space|space/p|space/p/q.txt 1"},
		{pkg: "single", want: "-"}, {pkg: "..", want: "-"}, {pkg: "a/b", want: "-"},
		{pkg: "mitogen", want: "-"}, {pkg: "nowhere", want: "-"},
		{pkg: "a", r: given{sent: "b"}, want: "-"},
		{pkg: "a", o: Options{Deny: []string{"a.b", "a.mod"}}, want: "whole|a|a/__init__.py 0|" +
			"a/large 16777217|a/x.txt 1|a/c|a/c/__init__.py 0|a/data|a/data/z-1.txt 1"},
		{pkg: "a", o: Options{Deny: []string{"a"}}, want: "-"},
	} {
		if c.r == nil {
			c.r = all{}
		}
		data, err := fileFinder(c.o).Outline(c.r, c.pkg)
		lines, _ := outlined(t, data, err)
		got := strings.ReplaceAll(strings.Join(lines, "|"), Root+unplaced+"/", "")
		if err == nil && got != c.want || err != nil && c.want != "-" {
			t.Errorf("%v %+v outline of %s: got %s, want %s", c.o, c.r, c.pkg, got, c.want)
		}
	}
}

// An outline isn't whole if the Finder finds modules that it leaves out, behind links that lead out
// of the package or around.
func TestOutlineWithLinks(t *testing.T) {
	for _, c := range []struct {
		link, to, module string
		want             string
	}{
		{"p/six.py", "../six.py", "p.six", "part"},
		{"p/lnk", "../other", "p.lnk.x", "part"},
		{"p/sub/deep", "../../other", "p.sub.deep.x", "part"},
		{"p/sub/up", "..", "p.sub.up.a", "part"},
		{"p/six.py", "a.py", "p.six", "whole"},
		{"p/lnk", "sub", "p.lnk.b", "whole"},
		{"p/gone.py", "../gone.py", "p.a", "whole"},
	} {
		dir := t.TempDir()
		writeTree(t, dir, map[string]string{"p/__init__.py": "", "p/a.py": "", "p/sub/b.py": "",
			"six.py": "", "other/x.py": "", c.link: "-> " + c.to})
		f := New([]Entry{{FS: os.DirFS(dir)}}, none, Options{})
		if m := f.Find(c.module); m.Letter != Plain {
			t.Errorf("%s -> %s: %s isn't found: %s", c.link, c.to, c.module, m.Reason)
		}
		data, err := f.Outline(given{sent: "p"}, "p")
		if lines, _ := outlined(t, data, err); lines[0] != c.want {
			t.Errorf("%s -> %s: got %q, %v, want that it is %s", c.link, c.to, lines, err, c.want)
		}
	}
}

// Of the user's own, an outline has what a listing has, in all depths; links out, loops of links,
// devices and pipes aren't in it.
func TestOwnOutline(t *testing.T) {
	f := ownHome(t, true, false)
	for _, c := range []struct {
		r    given
		want string
	}{
		{given{sent: "app app.main", reads: true},
			"__init__.py inner.html main.py templates templates/a.html"},
		{given{sent: "app app.sub", reads: true}, "__init__.py inner.html sub sub/__init__.py " +
			"sub/deep sub/deep/y.txt sub/x.txt templates templates/a.html"},
		{given{sent: "app", reads: true, quotes: "tls.key"},
			"__init__.py inner.html plain.key.html templates templates/a.html tls.key"},
		{given{sent: "app"}, "-"}, {given{sent: "other", reads: true}, "-"},
	} {
		data, err := f.Outline(c.r, "app")
		lines, _ := outlined(t, data, err)
		var got []string
		for _, line := range lines[min(2, len(lines)):] {
			_, inside, _ := strings.Cut(line, "/app/")
			name, _, _ := strings.Cut(inside, " ")
			got = append(got, name)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); err == nil && (text != c.want || lines[0] != "part") ||
			err != nil && c.want != "-" {
			t.Errorf("%+v: got %s, %v, want %s", c.r, lines, err, c.want)
		}
	}
}

// What is no plain file, or leads around, ends no walk.
func TestOutlineOfOddities(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"p/__init__.py": "", "p/in": "-> sub", "p/sub/up": "-> ..",
		"p/sub/self": "-> self", "p/sub/a.txt": "a", "p/out": "-> ../other", "other/x": "x",
		"p/null": "-> /dev/null", "p/__pycache__/m.pyc": "x", "p/.hidden": "x", "p/b": "-> sub/a.txt"})
	if err := syscall.Mkfifo(filepath.Join(dir, "p/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := New([]Entry{{FS: os.DirFS(dir)}}, none, Options{})
	data, err := f.Outline(given{sent: "p"}, "p")
	lines, _ := outlined(t, data, err)
	text := strings.ReplaceAll(strings.Join(lines, "\n"), Root+dir+"/", "")
	for _, want := range []string{"p/__init__.py 0", "p/b 1", "p/sub/a.txt 1", "p/in/a.txt 1"} {
		if !slices.Contains(strings.Split(text, "\n"), want) {
			t.Errorf("no %s in the outline:\n%s", want, text)
		}
	}
	for _, never := range []string{"out", "null", "pipe", "pycache", "hidden", "up", "self"} {
		if strings.Contains(text, never) {
			t.Errorf("%s is in the outline:\n%s", never, text)
		}
	}
}

// A package with too many files has no outline, rather than a part of one; a file that is too large
// is listed with its size, and refused by it.
func TestOutlineBounds(t *testing.T) {
	fsys := fstest.MapFS{"p/__init__.py": {}, "q/__init__.py": {}}
	for i := range maxOutlined {
		fsys[fmt.Sprintf("p/%d", i)] = &fstest.MapFile{}
	}
	f := New([]Entry{{FS: fsys}}, none, Options{})
	if _, err := f.Outline(all{}, "p"); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v, want %v", err, ErrTooMany)
	}
	if _, err := f.Outline(all{}, "q"); err != nil {
		t.Errorf("another package: %v", err)
	}
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"p/__init__.py": "", "p/huge": ""})
	if err := os.Truncate(filepath.Join(dir, "p/huge"), 2<<30); err != nil {
		t.Fatal(err)
	}
	f = New([]Entry{{FS: os.DirFS(dir)}}, none, Options{})
	data, err := f.Outline(all{}, "p")
	lines, _ := outlined(t, data, err)
	if want := Root + dir + "/p/huge 2147483648"; !slices.Contains(lines, want) {
		t.Errorf("outline: got %q, %v, want one with %s", lines, err, want)
	}
	if _, _, err := f.File(all{}, "p", "huge"); err == nil ||
		!strings.Contains(err.Error(), "larger") {
		t.Errorf("a file of 2 GiB: got %v, want that it is too large", err)
	}
}

// Files beside a script are given by their names in the code.
func TestBeside(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"script.py": "", "data.json": "json", "conf/app.ini": "ini",
		"conf/other.ini": "no", "id_rsa": "RSA", "pkg/__init__.py": "", "pkg/data.json": "in pkg",
		"served/all.txt": "all", "link.txt": "-> data.json", ".env": "ENV", "up.txt": "-> ../x",
		"helper.py": "x = 1", "part.py": "part", "served/m.py": "m", "served/m.pyc": "c",
		"plugins/__init__.py": "", "plugins/one.py": "one", "plugins/t.txt": "text", "part.pyc": "c"})
	var p Path
	defer p.Close()
	if err := p.Add(dir, true); err != nil {
		t.Fatal(err)
	}
	f := New(p.Entries, none, Options{Serve: []string{"served", "plugins"}})
	const names = "data.json conf app.ini link.txt .env helper pkg up.txt part.py part.pyc"
	for _, c := range []struct {
		r          given
		name, want string
	}{
		{given{reads: true, quotes: names}, "data.json", "json"},
		{given{reads: true, quotes: names}, "conf/app.ini", "ini"},
		{given{reads: true, quotes: "conf/app.ini"}, "conf/app.ini", "ini"},
		{given{reads: true}, "served/all.txt", "all"}, {given{reads: true}, "served/m.py", "m"},
		{given{reads: true}, "plugins/one.py", "one"}, {given{reads: true}, "plugins/t.txt", "text"},
		{given{reads: true, quotes: "id_rsa"}, "id_rsa", "RSA"},
		{given{reads: true, quotes: names}, "part.py", "part"},

		{given{reads: true, quotes: names}, "conf/other.ini", ""},
		{given{reads: true, quotes: names}, "id_rsa", ""},
		{given{quotes: names}, "data.json", ""}, {given{quotes: names}, "served/all.txt", ""},
		{given{reads: true}, "data.json", ""},
		{given{reads: true, quotes: names}, "link.txt", ""},
		{given{reads: true, quotes: names}, "up.txt", ""},
		{given{reads: true, quotes: names}, ".env", ""},
		{given{reads: true, quotes: names}, "helper.py", ""}, {given{quotes: names}, "part.py", ""},
		{given{reads: true, quotes: names}, "part.pyc", ""}, {given{reads: true}, "served/m.pyc", ""},
		{given{reads: true, quotes: names}, "pkg/data.json", ""},
		{given{reads: true, quotes: names}, "../data.json", ""},
		{given{reads: true, quotes: names}, "conf", ""}, {given{reads: true}, "", ""},
		{given{reads: true}, ".", ""}, {given{reads: true}, "/etc/passwd", ""},
	} {
		rest, size, err := f.File(c.r, "", c.name)
		if text, err := inflated(t, rest, size, err); text != c.want ||
			(err != nil) != (c.want == "") {
			t.Errorf("%+v asks for %s: got %q, %v, want %q", c.r, c.name, text, err, c.want)
		}
	}
	data, err := f.Outline(given{reads: true, quotes: names}, "")
	lines, _ := outlined(t, data, err)
	got := strings.ReplaceAll(strings.Join(lines, "|"), Root+dir, "")
	const want = "part| lacks|/data.json 4|/part.py 4|/conf lacks|/conf/app.ini 3|/pkg lacks|" +
		"/plugins|/plugins/__init__.py 0|/plugins/one.py 3|/plugins/t.txt 4|" +
		"/served|/served/all.txt 3|/served/m.py 1"
	if got != want {
		t.Errorf("outline: got %s, %v, want %s", got, err, want)
	}
	// Where a context has all there is, nothing lacks: the program itself, and modules.
	if err := os.RemoveAll(filepath.Join(dir, "served")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"conf", "id_rsa", "up.txt", "link.txt", "part.pyc", "plugins"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		r    given
		want string
	}{
		{given{reads: true, quotes: names, sent: "pkg helper", runs: "x = y"}, "part||/data.json"},
		{given{reads: true, quotes: names, sent: "pkg helper", runs: "x = z"}, "part| lacks|/data.json"},
		{given{reads: true, quotes: names, sent: "pkg", runs: "x = y"}, "part| lacks|/data.json"},
		{given{reads: true, quotes: names, sent: "helper", runs: "x = y"}, "part||/data.json"},
	} {
		writeTree(t, dir, map[string]string{"script.py": "x = y"})
		data, err := f.Outline(c.r, "")
		lines, _ := outlined(t, data, err)
		got := strings.ReplaceAll(strings.Join(lines, "|"), Root+dir, "")
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("outline for %+v: got %s, %v, want %s", c.r, got, err, c.want)
		}
	}
	if _, err := f.Outline(given{quotes: names}, ""); err == nil {
		t.Error("an outline was given though no code reads files")
	}
}

// Of the user's own packages an outline says where modules are missing.
func TestOutlineLacksModules(t *testing.T) {
	f := New([]Entry{{FS: fstest.MapFS{"p/__init__.py": {}, "p/a.txt": {}, "p/m.py": {},
		"p/sub/__init__.py": {}, "p/data/x.txt": {}, "q/__init__.py": {}, "q/m.py": {}}, Own: true}},
		none, Options{})
	for _, c := range []struct {
		pkg, sent, want string
	}{
		{"p", "p", "part|/p modules|/p/__init__.py 0|/p/a.txt 0|/p/data|/p/data/x.txt 0"},
		{"p", "p p.m", "part|/p modules"}, {"p", "p p.sub", "part|/p modules"},
		{"p", "p p.m p.sub", "part|/p|"}, {"q", "q q.m", "part|/q|"}, {"q", "q", "part|/q modules|"},
	} {
		data, err := f.Outline(given{reads: true, sent: c.sent}, c.pkg)
		lines, _ := outlined(t, data, err)
		got := strings.ReplaceAll(strings.Join(lines, "|"), Root+unplaced, "")
		if !strings.HasPrefix(got+"|", c.want) {
			t.Errorf("outline of %s for who has %s: got %s, %v, want %s", c.pkg, c.sent, got, err, c.want)
		}
	}
}

// The metadata of a distribution that code looks for may be had.
func TestDistributionsWanted(t *testing.T) {
	const points = "[console_scripts]\np = p:m\n[ host.plugins ]\na = p\n"
	plugin := fstest.MapFS{"p/__init__.py": {},
		"p_x-1.dist-info/METADATA":         {Data: []byte("Name: P-x\n")},
		"p_x-1.dist-info/top_level.txt":    {Data: []byte("p\n")},
		"p_x-1.dist-info/entry_points.txt": {Data: []byte(points)}}
	for _, c := range []struct {
		what string
		r    given
		o    Options
		own  bool
		want bool
	}{
		{"another package", given{sent: "q"}, Options{}, false, false},
		{"its package", given{sent: "p"}, Options{}, false, true},
		{"its name", given{sent: "q", quotes: "P-x"}, Options{}, false, true},
		{"its group", given{sent: "q", says: "host.plugins"}, Options{}, false, true},
		{"scripts", given{sent: "q", says: "console_scripts"}, Options{}, false, false},
		{"denied", given{sent: "q", says: "host.plugins"}, Options{Deny: []string{"p"}}, false, false},
		{"own", given{sent: "q", says: "host.plugins", quotes: "P-x"}, Options{}, true, false},
		{"nothing given", given{says: "host.plugins"}, Options{}, false, false},
	} {
		f := New([]Entry{{FS: plugin, Own: c.own}}, none, c.o)
		data, tops := f.Distributions(c.r)
		lines, _ := outlined(t, data, nil)
		if got := len(lines) > 1; got != c.want || got != slices.Contains(tops, "p") {
			t.Errorf("%s: got %q, %q, want any: %v", c.what, lines, tops, c.want)
		}
	}
}

func TestMentions(t *testing.T) {
	for source, want := range map[string]bool{
		"open(__file__)": true, "os.listdir(p.__path__[0])": true, "for p in m.__path__:": true,
		"inspect.getfile(f)": true, "spec.origin": true, "x.f_code.co_filename": true,
		"iter_modules(__path__)": true,
		"__path__ = []":          false, "__path__ = extend_path(__path__, __name__)": false,
		"hasattr(m, '__path__')": false, "x = 1": false, "__path__ += ['x']": false,
	} {
		if got := Mentions([]byte(source)); got != want {
			t.Errorf("%s: got %v, want %v", source, got, want)
		}
	}
}

// The metadata of all distributions are one answer.
func TestDistributions(t *testing.T) {
	const a, b = Root + unplaced + "/A_x.y-1.dist-info", Root + unplaced + "/b-2.egg-info"
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{want: []string{a, b}}, {o: Options{Deny: []string{"a"}}, want: []string{b}},
		{o: Options{Allow: []string{"b"}}, want: []string{b}},
	} {
		data, _ := fileFinder(c.o).Distributions(all{})
		lines, texts := outlined(t, data, nil)
		var dirs []string
		for _, line := range lines {
			if strings.HasSuffix(line, "-info") {
				dirs = append(dirs, line)
			}
		}
		if !slices.Equal(dirs, c.want) || slices.Contains(dirs, a) && texts[a+"/METADATA"] != "m" {
			t.Errorf("%v: got %q, %q, want %q", c.o, dirs, texts, c.want)
		}
	}
	many := fstest.MapFS{}
	for i := range 440 {
		name := fmt.Sprintf("d%d", i)
		many[name+"/__init__.py"] = &fstest.MapFile{}
		many[name+"-1.dist-info/METADATA"] = &fstest.MapFile{
			Data: []byte("Name: " + name + "\nVersion: 1\n\n" + strings.Repeat("long text ", 1000))}
		many[name+"-1.dist-info/RECORD"] = &fstest.MapFile{Data: []byte(name + "/__init__.py,,\n")}
	}
	f := New([]Entry{{FS: many}}, none, Options{})
	data, tops := f.Distributions(all{})
	lines, texts := outlined(t, data, nil)
	if at := Root + unplaced + "/d7-1.dist-info/METADATA"; texts[at] != "Name: d7\nVersion: 1\n\n" ||
		len(lines) != 1+3*440 || len(tops) != 440 {
		t.Errorf("%d lines, %d packages; fields of one: %q", len(lines), len(tops), texts[at])
	}
	data, err := f.OfDistributions(all{}, "RECORD")
	_, texts = outlined(t, data, err)
	if at := Root + unplaced + "/d439-1.dist-info/RECORD"; len(texts) != 440 ||
		texts[at] != "d439/__init__.py,,\n" {
		t.Errorf("%d lists of files, one of them: %q", len(texts), texts[at])
	}
	for _, name := range []string{"", ".", "..", "../x", ".x", "/etc/passwd"} {
		if _, err := f.OfDistributions(all{}, name); err == nil {
			t.Errorf("%q of all distributions was given", name)
		}
	}
}

// What a distribution on the list requires belongs to it, and what that requires; what requires it
// doesn't.
func TestRequiredDistributions(t *testing.T) {
	fsys := fstest.MapFS{}
	for name, needs := range map[string]string{"app": "Lib.One (>=1) ; extra == 'x'",
		"lib_one": "deep[y]>2",
		"deep":    "app", "plugin": "app", "other": "", "denied": ""} {
		fsys[name+"/__init__.py"] = &fstest.MapFile{}
		text := "Name: " + name + "\nRequires-Dist: " + needs +
			"\nRequires-Dist: denied\n\nRequires-Dist: other\n"
		fsys[name+"-1.dist-info/METADATA"] = &fstest.MapFile{Data: []byte(text)}
	}
	f := New([]Entry{{FS: fsys}}, none, Options{Deny: []string{"denied"}})
	data, _ := f.Distributions(given{sent: "app"})
	lines, _ := outlined(t, data, nil)
	var got []string
	for _, line := range lines {
		if name, ok := strings.CutSuffix(line, "-1.dist-info"); ok {
			got = append(got, filepath.Base(name))
		}
	}
	if want := []string{"app", "deep", "lib_one"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for dir, want := range map[string]bool{"deep-1.dist-info": true, "plugin-1.dist-info": false,
		"other-1.dist-info": false, "denied-1.dist-info": false} {
		if _, _, err := f.Metadata(given{sent: "app"}, dir, "METADATA"); (err == nil) != want {
			t.Errorf("metadata of %s: got %v, want given: %v", dir, err, want)
		}
	}
}

// Many who ask for the same package at once cost one walk.
func TestOutlineIsKept(t *testing.T) {
	c := &counting{FS: fstest.MapFS{"p/__init__.py": {}, "p/data/x": {}}}
	f := New([]Entry{{FS: c}}, none, Options{})
	first, err := f.Outline(given{sent: "p"}, "p")
	if err != nil {
		t.Fatal(err)
	}
	opened := c.opened.Load()
	for range 1000 {
		if again, err := f.Outline(given{sent: "p"}, "p"); err != nil || &again[0] != &first[0] {
			t.Fatalf("the second time: %v, and another outline", err)
		}
	}
	if n := c.opened.Load() - opened; n > 1000 { // where the package is
		t.Errorf("%d files and directories were opened for 1,000 questions", n)
	}
}
