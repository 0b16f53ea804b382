package modules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file that is several things at once is each of them, in whatever order they are asked for.
func TestFileOfSeveralUses(t *testing.T) {
	object := sharedObject(t)
	const file = "d/_x.abi3.so"
	m := installedWheel("cp38-abi3-manylinux_2_17_x86_64",
		map[string][]byte{"d/__init__.py": []byte("x = 1"), file: object})
	wants := map[string]byte{"d/_x.abi3.so": Data, "d._x": Native, "/" + file: Library,
		"d.__init__": Plain, "d": Package}
	for _, order := range []string{"d/_x.abi3.so d._x /d/_x.abi3.so",
		"d._x /d/_x.abi3.so d/_x.abi3.so",
		"/d/_x.abi3.so d/_x.abi3.so d._x", "d.__init__ d", "d d.__init__"} {
		f := New([]Entry{{FS: m}}, noBuiltin, Options{})
		p := f.Pass().For(python313)
		for _, name := range strings.Fields(order + " " + order) {
			if got := p.Find(name); got.Letter != wants[name] || got.Name != name {
				t.Errorf("%s: %s: got %c %s %s, want %c", order, name, got.Letter, got.Name, got.Reason,
					wants[name])
			}
		}
	}
}

// What depends on the wheels' lists of files is found out anew when these change.
func TestWheelsChange(t *testing.T) {
	object := sharedObject(t)
	files := installedWheel("cp38-abi3-manylinux_2_17_x86_64",
		map[string][]byte{"d/__init__.py": nil, "d/_x.abi3.so": object})
	const record = "d-1.dist-info/RECORD"
	right := files[record].Data
	for what, tt := range map[string]struct {
		before string // RECORD; "": there is none
		reason string
		touch  bool // another wheel comes along
	}{
		"while it is installed": {"", "no wheel has brought it", false},
		"with another file":     {"d/_x.abi3.so,sha256=x,1\n", "it is not the file that its wheel", true},
		"without a hash":        {"d/_x.abi3.so,,\n", "it is not the file that its wheel", true},
	} {
		dir := t.TempDir()
		write := func(name string, data []byte) {
			at := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		past := time.Now().Add(-2 * time.Hour)
		age := func() {
			for _, name := range []string{"d/_x.abi3.so", "d", "d-1.dist-info", "."} {
				if err := os.Chtimes(filepath.Join(dir, name), past, past); err != nil {
					t.Fatal(err)
				}
			}
		}
		for name, file := range files {
			if name != record {
				write(name, file.Data)
			}
		}
		if tt.before != "" {
			write(record, []byte(tt.before))
		}
		age()
		f := New([]Entry{{FS: os.DirFS(dir)}}, noBuiltin, Options{})
		for range 2 {
			got := f.Pass().For(python313).Find("d._x")
			if got.Letter != Missing || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("%s: got %c %q, want %q", what, got.Letter, got.Reason, tt.reason)
			}
		}
		write(record, right)
		if age(); tt.touch {
			if err := os.Chtimes(dir, past, past.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.Pass().For(python313).Find("d._x"); got.Letter != Native {
			t.Errorf("%s, then whole: got %c %q", what, got.Letter, got.Reason)
		}
	}
}
