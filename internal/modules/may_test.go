package modules

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// given is a context that was given some modules.
type given struct {
	sent   string // names, blanks between them
	reads  bool
	quotes string
	runs   string // the text of a program
	says   string // literals of any code
}

func (g given) Any() bool               { return g.sent != "" }
func (g given) Plugged() bool           { return false }
func (g given) Names(name string) bool  { return g.Sent(name) }
func (g given) Sent(name string) bool   { return slices.Contains(strings.Fields(g.sent), name) }
func (g given) Reads() bool             { return g.reads }
func (g given) Quotes(text string) bool { return slices.Contains(strings.Fields(g.quotes), text) }
func (g given) Spells(text string) bool { return g.Quotes(text) }

func (g given) Says(text string) bool { return slices.Contains(strings.Fields(g.says), text) }

func (g given) Runs(_ int64, text func() []byte) bool {
	return g.runs != "" && g.runs == string(text())
}

// home is a directory that a command is run in: code, and other things.
var home = map[string]string{
	"app/__init__.py": "", "app/main.py": "", "app/settings.py": "KEY",
	"app/templates/a.html": "html", "app/templates/.env": "ENV",
	"app/.env": "ENV", "app/.git/config": "GIT", "app/tls.key": "TLS", "app/ca.PEM": "CA",
	"app/db.sqlite3": "DB", "app/secrets.json": "SECRETS",
	"app/id_rsa": "RSA", "app/id_rsa.pub": "RSA", "app/__pycache__/settings.cpython-313.pyc": "PYC",
	"app/sub/__init__.py": "", "app/sub/x.txt": "sub",
	"app/sub/deep/y.txt": "deep", "app/inner.html": "-> templates/a.html",
	"app/hidden.html": "-> .env", "app/out.html": "-> ../notes.txt",
	"app/etc": "-> /etc", "app/plain.key.html": "-> tls.key", "app/templates/up": "-> ..",
	"notes.txt": "notes", "Documents/taxes.txt": "taxes",
	"Documents/plan.py": "plan = 1", "project/.env": "ENV", "certs/tls.key": "TLS", "x": "-> /etc",
	"tools/used.py": "", "tools/data.txt": "data",
	"Thing-1.dist-info/METADATA": "meta", "Thing-1.dist-info/top_level.txt": "thing\n",
	"App-1.dist-info/METADATA":      "meta",
	"App-1.dist-info/top_level.txt": "app\n", "App-1.dist-info/.secret": "secret",
	"App-1.dist-info/out": "-> ../notes.txt",
}

// ownHome is a Finder over home, as a directory of the user's own or one of installed packages.
func ownHome(t *testing.T, own, library bool) *Finder {
	t.Helper()
	dir := t.TempDir()
	writeTree(t, dir, home)
	p := new(Path)
	if library {
		p.Entries = []Entry{{FS: os.DirFS(dir), Own: own}}
	} else if err := p.Add(dir, own); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return New(p.Entries, none, Options{Serve: []string{"served"}})
}

// What lies beside code of the user's own is not given, whatever is asked.
func TestOwnFiles(t *testing.T) {
	const app = "app app.main"
	for _, library := range []bool{false, true} {
		f := ownHome(t, true, library)
		for _, c := range []struct {
			r         given
			pkg, name string
			want      string // "": refused
		}{
			{r: given{sent: app, reads: true}, pkg: "app", name: "templates/a.html", want: "html"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "inner.html", want: "html"},
			{r: given{sent: app, reads: true, quotes: "tls.key"}, pkg: "app", name: "tls.key",
				want: "TLS"},
			{r: given{sent: app + " app.sub", reads: true}, pkg: "app.sub", name: "x.txt",
				want: "sub"},
			{r: given{sent: app + " app.sub", reads: true}, pkg: "app", name: "sub/deep/y.txt",
				want: "deep"},
			{r: given{sent: app + " app.settings", reads: true}, pkg: "app", name: "settings.py",
				want: "KEY"},

			{r: given{sent: app}, pkg: "app", name: "templates/a.html"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "templates/up/templates/a.html"},
			{r: given{sent: "other", reads: true}, pkg: "app", name: "templates/a.html"},
			{r: given{reads: true}, pkg: "app", name: "templates/a.html"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "settings.py"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "templates/up/settings.py"},
			{r: given{sent: app, reads: true}, pkg: "app",
				name: "__pycache__/settings.cpython-313.pyc"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "sub/x.txt"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "sub/deep/y.txt"},
			{r: given{sent: app, reads: true}, pkg: "app.sub", name: "x.txt"},
			{r: given{sent: app, reads: true}, pkg: "app", name: ".env"},
			{r: given{sent: app, reads: true}, pkg: "app", name: ".git/config"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "templates/.env"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "templates/up/.env"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "hidden.html"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "plain.key.html"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "out.html"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "etc/passwd"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "../notes.txt"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "tls.key"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "ca.PEM"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "db.sqlite3"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "secrets.json"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "id_rsa"},
			{r: given{sent: app, reads: true}, pkg: "app", name: "id_rsa.pub"},
			{r: given{sent: app + " tools tools.used", reads: true}, pkg: "tools",
				name: "data.txt"},
			{r: given{sent: app + " tools tools.used", reads: true}, pkg: "tools",
				name: "../notes.txt"},
			{r: given{sent: app + " Documents", reads: true}, pkg: "Documents", name: "taxes.txt"},
			{r: given{sent: app + " certs", reads: true}, pkg: "certs", name: "tls.key"},
			{r: given{sent: app + " x", reads: true}, pkg: "x", name: "passwd"},
		} {
			rest, size, err := f.File(c.r, c.pkg, c.name)
			text, err := inflated(t, rest, size, err)
			if text != c.want || (err != nil) != (c.want == "") {
				t.Errorf("os.DirFS %v, %+v asks for %s of %s: got %q, %v, want %q", library, c.r,
					c.name, c.pkg, text, err, c.want)
			}
		}
	}
}

func TestOwnLists(t *testing.T) {
	f := ownHome(t, true, false)
	for _, c := range []struct {
		r         given
		pkg, name string
		want      string
	}{
		{given{sent: "app app.main", reads: true}, "app", "",
			"__init__.py inner.html main.py templates/"},
		{given{sent: "app app.main app.sub app.settings", reads: true}, "app", "",
			"__init__.py inner.html main.py settings.py sub/ templates/"},
		{given{sent: "app", reads: true}, "app", "templates", "a.html"},
		{given{sent: "app", reads: true, quotes: "tls.key"}, "app", "",
			"__init__.py inner.html plain.key.html templates/ tls.key"},
		{given{sent: "app"}, "app", "", "-"},
		{given{sent: "app", reads: true}, "app", "sub", "-"},
		{given{sent: "app", reads: true}, "app", ".git", "-"},
		{given{sent: "app", reads: true}, "app", "__pycache__", "-"},
		{given{sent: "app", reads: true}, "app", "..", "-"},
		{given{sent: "app", reads: true}, "app", "etc", "-"},
		{given{sent: "app", reads: true}, "Documents", "", "-"},
		{given{sent: "app", reads: true}, "x", "", "-"},
		{given{sent: "tools tools.used", reads: true}, "tools", "", "used.py"},
	} {
		got, err := f.List(c.r, c.pkg, c.name)
		if text := strings.Join(got, " "); err == nil && text != c.want ||
			(err != nil) != (c.want == "-") {
			t.Errorf("%+v lists %q of %s: got %q, %v, want %q", c.r, c.name, c.pkg, text, err,
				c.want)
		}
	}
}

// Third-party packages go whole, but only those that were sent, and nothing beside them.
func TestForeignFiles(t *testing.T) {
	f := ownHome(t, false, false)
	for _, c := range []struct {
		sent, pkg, name, want string
	}{
		{"app", "app", "tls.key", "TLS"}, {"app", "app", "sub/x.txt", "sub"}, {"app", "app.sub",
			"x.txt", "sub"}, {"app", "app", "settings.py", "KEY"},
		{"app", "app", "inner.html", "html"}, {"other", "app", "tls.key", ""}, {"", "app",
			"tls.key", ""}, {"app.sub", "app", "tls.key", ""},
		{"app", "app", ".env", ""}, {"app", "app", ".git/config", ""}, {"app", "app", "hidden.html",
			""}, {"app", "app", "out.html", ""},
		{"app", "app", "etc/passwd", ""}, {"app", "Documents", "taxes.txt", ""}, {"app", "certs",
			"tls.key", ""}, {"app", "x", "passwd", ""},
	} {
		rest, size, err := f.File(given{sent: c.sent}, c.pkg, c.name)
		if text, err := inflated(t, rest, size, err); text != c.want ||
			(err != nil) != (c.want == "") {
			t.Errorf("who was sent %q asks for %s of %s: got %q, %v, want %q", c.sent, c.name,
				c.pkg, text, err, c.want)
		}
	}
}

func TestMetadataByList(t *testing.T) {
	for _, own := range []bool{false, true} {
		f := ownHome(t, own, false)
		r := given{sent: "app app.main", reads: true}
		data, _ := f.Distributions(r)
		lines, _ := outlined(t, data, nil)
		text := strings.Join(lines, "|")
		if !strings.Contains(text, "App-1.dist-info/METADATA 4") ||
			strings.Contains(text, "Thing") || strings.Contains(text, "secret") ||
			strings.Contains(text, "out") {
			t.Errorf("own %v: distributions %s, want that of app", own, text)
		}
		data, _ = f.Distributions(given{})
		if lines, _ := outlined(t, data, nil); len(lines) != 1 {
			t.Errorf("own %v: who was given nothing sees %q", own, lines)
		}
		for _, c := range []struct{ dir, name, want string }{
			{"App-1.dist-info", "METADATA", "meta"}, {"App-1.dist-info", ".secret",
				""}, {"App-1.dist-info", "out", ""}, {"Thing-1.dist-info", "METADATA", ""},
			{"App-1.dist-info", "../notes.txt", ""}, {"app", "main.py", ""}, {".dist-info", "x",
				""},
		} {
			rest, size, err := f.Metadata(r, c.dir, c.name)
			if text, err := inflated(t, rest, size, err); text != c.want ||
				(err != nil) != (c.want == "") {
				t.Errorf("own %v: %s of %s: got %q, %v, want %q", own, c.name, c.dir, text, err,
					c.want)
			}
		}
	}
}

// No element of a path can mean another one to some file system.
func TestPlain(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "a/b.txt": true, "grüß/ä b.txt": true, ".": true, "a/b-1_2+3.tar.gz": true,
		"": false, "..": false, "/a": false, "a//b": false, "a/../b": false, "a/./b": false,
		".a": false, "a/.b/c": false, "a\\b": false, "a\x00": false,
		"a/\u2024env": false, "\u200benv": false, "a\u200c.txt": false, "\uff0e\uff0e/x": false,
		"a.": false, "a ": false, "a/b./c": false, "a\n": false,
		"a\x1b[2J": false, "\xff": false, "\u202egnp.exe": false, strings.Repeat("x",
			256): false, strings.Repeat("x/", 2048) + "x": false,
	} {
		if got := plain(name); got != want {
			t.Errorf("%+q: got %v, want %v", name, got, want)
		}
	}
}

// A refusal looks at no file: the list decides first. A file that is asked for again is not
// compressed again.
func TestFilesOnce(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<12)
	fsys := fstest.MapFS{"a/__init__.py": py(""), "a/large": py(large), "b/__init__.py": py(""),
		"b/x": py("x")}
	c := &counting{FS: fsys}
	f := New([]Entry{{FS: c}}, none, Options{})
	r := given{sent: "a"}
	for _, name := range []string{"x", "y", "../x", "sub/x"} {
		if _, _, err := f.File(r, "b", name); err == nil {
			t.Errorf("%s of b, which wasn't sent, was given", name)
		}
	}
	if _, err := f.List(r, "b", ""); err == nil || c.opened.Load() > 0 {
		t.Errorf("list of b: %v; %d files or directories were opened", err, c.opened.Load())
	}
	first, _, err := f.File(r, "a", "large")
	if err != nil {
		t.Fatal(err)
	}
	opened := c.opened.Load()
	again, _, err := f.File(r, "a", "large")
	if err != nil || &first[0] != &again[0] || c.opened.Load() != opened {
		t.Errorf("the second time: %v, and not what the first one gave, or read again", err)
	}
	touched := *py(large)
	touched.ModTime = time.Now().Add(-time.Hour)
	fsys["a/large"] = &touched
	again, _, err = f.File(r, "a", "large")
	if err != nil || &first[0] != &again[0] {
		t.Errorf("touched: %v, and compressed again", err)
	}
	fsys["a/large"] = py("changed")
	rest, size, err := f.File(r, "a", "large")
	if text, err := inflated(t, rest, size, err); text != "changed" || err != nil {
		t.Errorf("after a change: %q, %v", text, err)
	}
}

// The kept bytes are bounded.
func TestPacksAreBounded(t *testing.T) {
	var p packs
	for i := range 100 {
		k := packKey{nil, filepath.Join("x", strings.Repeat("y", i))}
		p.settle(k, p.entry(k), maxPacked/10)
	}
	if p.bytes > maxPacked || len(p.entries) > 10 {
		t.Errorf("%d files of %d bytes are kept, want at most %d bytes", len(p.entries), p.bytes,
			maxPacked)
	}
}
