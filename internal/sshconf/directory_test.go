package sshconf

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// textAt returns what decides of an ssh without options whose user has that home directory.
func textAt(home string, args ...string) string {
	f := newFinder(Query{Argv: append([]string{"ssh"}, args...), Host: "h"})
	f.home, f.own = home, filepath.Join(home, ".ssh")
	f.start()
	return string(f.text)
}

// settle has both caches as they are some seconds after the last write.
func settle(t *testing.T) {
	t.Helper()
	for _, e := range contents.entries {
		e.settled = true
	}
	for _, e := range listings.entries {
		e.settled = true
	}
}

// What appears, goes or changes in ssh's own directory counts, although most of its files aren't
// looked for one by one.
func TestOwnDirectory(t *testing.T) {
	link := func(to string) func(string) error {
		return func(name string) error { return os.Symlink(to, name) }
	}
	write := func(name string) error { return os.WriteFile(name, []byte("Host changed\n"), 0o600) }
	for _, tt := range []struct {
		name   string
		before map[string]string // files below the home directory
		change string            // below the home directory
		do     func(name string) error
		want   bool
	}{
		{"a key appears", map[string]string{".ssh/known_hosts": ""}, ".ssh/id_ed25519", write, true},
		{"a certificate appears", map[string]string{".ssh/id_rsa": ""}, ".ssh/id_rsa-cert.pub", write,
			true},
		{"a configuration appears", map[string]string{".ssh/id_rsa": ""}, ".ssh/config", write, true},
		{"a configuration changes", map[string]string{".ssh/config": ""}, ".ssh/config", write, true},
		{"a configuration goes", map[string]string{".ssh/config": ""}, ".ssh/config", os.Remove, true},
		{"a key of a directory that isn't there", nil, ".ssh", func(dir string) error {
			put(t, filepath.Join(dir, "id_rsa"), "key")
			return nil
		}, true},
		{"the directory goes", map[string]string{".ssh/id_rsa": ""}, ".ssh", os.RemoveAll, true},
		{"the directory is replaced", map[string]string{"other/id_rsa": "k", ".ssh/x": ""}, ".ssh",
			func(dir string) error {
				os.Rename(dir, dir+".old")
				return os.Symlink("other", dir)
			}, true},
		{"a link's target appears", map[string]string{".ssh/x": ""}, "key", nil, true},
		{"a link appears", map[string]string{"other/id_rsa": "k", ".ssh/x": ""}, ".ssh/id_rsa",
			link("../other/id_rsa"), true},
		{"something else appears", map[string]string{".ssh/config": ""}, ".ssh/other", write, false},
		{"a file appears that a pattern includes", map[string]string{".ssh/config": "Include d/*.conf\n",
			".ssh/d/a.conf": ""}, ".ssh/d/b.conf", write, true},
		{"a file appears that no pattern includes", map[string]string{".ssh/config": "Include d/*.conf\n",
			".ssh/d/a.conf": ""}, ".ssh/d/b", write, false},
		{"a pattern's directory appears", map[string]string{".ssh/config": "Include d/*.conf\n"},
			".ssh/d",
			func(dir string) error {
				put(t, filepath.Join(dir, "a.conf"), "Port 1\n")
				return nil
			}, true},
		{"an included file without a pattern appears", map[string]string{".ssh/config": "Include more\n"},
			".ssh/more", write, true},
	} {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, settled %v", tt.name, old), func(t *testing.T) {
				home := files(t, tt.before)
				if tt.do == nil { // a dangling link is a name without a file
					if err := os.Symlink("../key", filepath.Join(home, ".ssh/id_rsa")); err != nil {
						t.Fatal(err)
					}
				}
				before := textAt(home)
				if old {
					settle(t)
				}
				if again := textAt(home); again != before {
					t.Fatalf("unchanged: got %s, want %s", again, before)
				}
				do := tt.do
				if do == nil {
					do = write
				}
				if err := do(filepath.Join(home, tt.change)); err != nil {
					t.Fatal(err)
				}
				if got := textAt(home) != before; got != tt.want {
					t.Errorf("%s: the place changes %v, want %v", tt.change, got, tt.want)
				}
			})
		}
	}
}

// What isn't known to be on a disk of this machine is read each time: its times are another
// clock's, or older than what it has.
func TestTimesOfOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config")
	put(t, name, "Host a\n")
	old := time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		what string
		here func(string) bool
		want int
	}{
		{"a disk", func(string) bool { return true }, 1},
		{"a network file system", func(string) bool { return false }, 3},
	} {
		reads := 0
		c := cache[string]{here: tt.here, read: func(string) (string, bool) { reads++; return "", true }}
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
		st := statusOf(name)
		st.mtime, st.ctime = old.UnixNano(), old.UnixNano()
		c.entries = map[string]*entry[string]{} // the time of its change can't be set
		for range 3 {
			c.getAs(name, st)
		}
		if reads != tt.want {
			t.Errorf("%s: got %d reads of what doesn't change, want %d", tt.what, reads, tt.want)
		}
	}
	for _, name := range []string{"/proc/self", "/dev/null/none", "/nowhere"} {
		if onDisk(name) {
			t.Errorf("%s: got a disk, want none", name)
		}
	}
}

// Where names of a directory don't say enough, its files are looked for.
func TestListing(t *testing.T) {
	many := map[string]string{}
	for i := range maxNames + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		file  string
		want  bool
	}{
		{"there", map[string]string{"id_rsa": ""}, "id_rsa", false},
		{"there in other letters", map[string]string{"ID_rsa": ""}, "id_RSA", false},
		{"not there", map[string]string{"id_rsa": ""}, "id_dsa", true},
		{"among names that aren't ASCII", map[string]string{"id_r\u017fa": ""}, "id_rsa", false},
		{"a name that isn't ASCII", map[string]string{"x": ""}, "\u212aey", false},
		{"among too many", many, "id_rsa", false},
		{"in an empty directory", nil, "id_rsa", true},
	} {
		if got := listings.get(files(t, tt.files)).lacks(tt.file); got != tt.want {
			t.Errorf("%s: got lacks %v, want %v", tt.name, got, tt.want)
		}
	}
	dir := files(t, map[string]string{"file": ""})
	if !listings.get(filepath.Join(dir, "none")).lacks("id_rsa") {
		t.Error("no directory: got lacks false, want true")
	}
	if listings.get(filepath.Join(dir, "file")).lacks("id_rsa") {
		t.Error("a file: got lacks true, want false")
	}
}

// A pattern has the names that filepath.Glob finds.
func TestGlob(t *testing.T) {
	dir := files(t, map[string]string{"a.conf": "", "b.conf": "", ".c.conf": "", "x/y.conf": "",
		"[": ""})
	for _, pattern := range []string{"*.conf", "?.conf", "[ab].conf", "a.conf", "none", "none*",
		"none/*", "x/*",
		"*/y.conf", "[", `\[`, "x/../*.conf", "a.conf/*", "[b"} {
		pattern = dir + "/" + pattern
		want, err := filepath.Glob(pattern)
		f := newFinder(Query{Argv: []string{"ssh"}, Host: "h"})
		got, ok := f.glob(pattern)
		if ok && (err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want)) {
			t.Errorf("%s: got %q, want %q, %v", pattern, got, want, err)
		}
	}
}

// What a request costs while nothing has changed.
func TestFewAllocations(t *testing.T) {
	home := files(t, map[string]string{".ssh/known_hosts": ""})
	textAt(home)
	settle(t)
	if n := testing.AllocsPerRun(100, func() { textAt(home) }); n > 100 {
		t.Errorf("allocations of a query without options: got %v, want at most 100", n)
	}
}

// A client that asks for variables' names doesn't read keys.
func TestVariablesReadNoKeys(t *testing.T) {
	dir := files(t, map[string]string{"key": "secret", "key.pub": ""})
	put(t, filepath.Join(dir, "config"),
		"IdentityFile "+dir+"/key\nIdentityFile ${KEYS}/id\nProxyCommand $TOOL\n")
	q := Query{Argv: []string{"ssh", "-F", filepath.Join(dir, "config"), "-i",
		filepath.Join(dir, "other")}, Host: "h"}
	if got, want := fmt.Sprint(Variables(q)), "[KEYS TOOL]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name := range contents.entries {
		if filepath.Dir(name) == dir && filepath.Base(name) != "config" {
			t.Errorf("read %s, want only the configuration", name)
		}
	}
}
