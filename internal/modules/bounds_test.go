package modules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// Questions about directories that aren't there leave no more than a bounded memory of them, in
// whatever order they come.
func TestMissingDirectoriesAreForgotten(t *testing.T) {
	finder := New([]Entry{{FS: fstest.MapFS{"pkg/__init__.py": {}, "pkg/x.txt": {}}}},
		func(string) ([]byte, bool) { return nil, false }, Options{})
	tree := finder.trees[0]
	for i := range 3 * maxMissing {
		finder.File(all{}, "pkg", fmt.Sprintf("n%d/%s/x", i, strings.Repeat("a/", 20)))
		finder.File(all{}, "pkg", fmt.Sprintf("%d%s/x", i, strings.Repeat("b", maxMissingName)))
	}
	if n := len(tree.dirs); n > maxMissing+10 {
		t.Errorf("%d directories are remembered, want at most %d", n, maxMissing)
	}
	for dir := range tree.dirs {
		if len(dir) > maxMissingName {
			t.Errorf("a name of %d bytes is remembered", len(dir))
		}
	}
	if _, _, err := finder.File(all{}, "pkg", "x.txt"); err != nil {
		t.Error(err)
	}
}

// What links right in a directory lead to can be read by many at once, whichever is the first to
// ask for which link.
func TestLinksAtOnce(t *testing.T) {
	top := t.TempDir()
	const n = 30
	for i := range n {
		dir := filepath.Join(top, fmt.Sprintf("to%d", i))
		os.MkdirAll(dir, 0o755)
		os.MkdirAll(filepath.Join(top, "site"), 0o755)
		if err := os.WriteFile(filepath.Join(dir, "__init__.py"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir, filepath.Join(top, "site", fmt.Sprintf("p%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		var path Path
		if err := path.Add(filepath.Join(top, "site"), false); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				f, err := path.Entries[0].FS.Open(fmt.Sprintf("p%d/__init__.py", i))
				if err != nil {
					t.Error(err)
					return
				}
				f.Close()
			})
		}
		wg.Wait()
		path.Close()
	}
}
