package modules

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mitogen-go/mitogen/internal/confine"
)

// What a target asks for is opened below the search path alone, by what the kernel allows, even
// where nothing else checks a name.
func TestRoomed(t *testing.T) {
	if s := confine.Look(); s.Landlock == 0 {
		t.Skip(s.Missing)
	}
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	for _, name := range []string{"own/pkg/__init__.py", "out/secret", "site/a.py",
		"elsewhere/pkg/b.py", "elsewhere/c.py"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o755),
			os.WriteFile(at(name), []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"site/linked": "../elsewhere/pkg",
		"site/c.py": at("elsewhere/c.py"), "own/pkg/up": at("out")} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	var path Path
	defer path.Close()
	if err := errors.Join(path.Add(at("own"), true), path.Add(at("site"), false)); err != nil {
		t.Fatal(err)
	}
	read := func(i int, name string) (string, error) {
		f, err := path.Entries[i].FS.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		return string(b), err
	}
	for range 2 {
		for name, want := range map[string]string{"a.py": "site/a.py",
			"linked/b.py": "elsewhere/pkg/b.py", "c.py": "elsewhere/c.py"} {
			if got, err := read(1, name); err != nil || got != want {
				t.Errorf("site/%s: got %q, %v, want %q", name, got, err, want)
			}
		}
	}
	if got, err := read(0, "pkg/__init__.py"); err != nil || got != "own/pkg/__init__.py" {
		t.Errorf("own/pkg/__init__.py: got %q, %v", got, err)
	}
	if list, err := fs.ReadDir(path.Entries[0].FS, "pkg"); err != nil || len(list) != 2 {
		t.Errorf("own/pkg: got %v, %v, want two names", list, err)
	}
	if _, err := read(0, "pkg/none.py"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("own/pkg/none.py: got %v, want that it doesn't exist", err)
	}
	// As if no check had held.
	root, err := os.OpenRoot(at("out"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	other := &directory{dir: at("out"), root: root, links: map[string]*os.Root{}}
	entry := path.Entries[0].FS.(*roomed)
	own := entry.directory
	entry.directory = other
	if got, err := read(0, "secret"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("out/secret: got %q, %v, want it refused by the kernel", got, err)
	}
	entry.directory = own
}
