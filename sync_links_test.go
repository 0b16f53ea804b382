package mitogen_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// names lists the files below dir, those that are one file in a line of its own.
func names(t *testing.T, dir string) string {
	t.Helper()
	files := map[uint64][]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		id := st.Sys().(*syscall.Stat_t).Ino
		files[id] = append(files[id], name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, same := range files {
		lines = append(lines, strings.Join(same, " = "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// writeLinked is write for names of which those behind an equals sign are those of one file. All
// files have the same time.
func writeLinked(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	old := time.Unix(1e9, 0)
	for list, data := range files {
		all := strings.Split(list, " = ")
		write(t, dir, map[string]string{all[0]: data})
		for _, name := range all[1:] {
			file := filepath.Join(dir, name)
			os.MkdirAll(filepath.Dir(file), 0o755)
			if err := os.Link(filepath.Join(dir, all[0]), file); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(list, " -> ") {
			os.Chtimes(filepath.Join(dir, all[0]), old, old)
		}
	}
}

// Names of one file become names of one file, as with rsync -H, and a second sync changes nothing.
func TestSyncHardLinks(t *testing.T) {
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("there is no rsync")
	}
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	large := strings.Repeat("large", 100_000)
	pairs := map[string]string{"a = b/c": "one", "d = b/e = f": "two", "g": "three"}
	for _, tt := range []struct {
		name     string
		src, old map[string]string
		o        mitogen.SyncOptions
		argv     []string
		stricter bool // than rsync, which leaves apart files of the same size and time joined
	}{
		{name: "new", src: pairs},
		{name: "apart", src: pairs, old: map[string]string{"a": "one", "b/c": "one", "d": "two",
			"b/e": "old", "f": "two", "g": "three"}},
		{name: "joined to the wrong one", src: pairs,
			old: map[string]string{"a = d = g": "others", "b/c = b/e": "one"}},
		{name: "crosswise", src: map[string]string{"a = c": "same", "b = d": "same"},
			old: map[string]string{"a = b": "same", "c = d": "same"}, stricter: true},
		{name: "joined, apart at the source", src: map[string]string{"a": "same", "b": "same"},
			old: map[string]string{"a = b": "same"}, stricter: true},
		{name: "joined, and one has changed", src: map[string]string{"a": "same", "b": "other"},
			old: map[string]string{"a = b": "same"}},
		{name: "as it should be", src: pairs, old: pairs},
		{name: "changed", src: map[string]string{"a = b/c = d": large + "new"},
			old: map[string]string{"a = b/c = d": large}},
		{name: "a link in its place", src: pairs,
			old: map[string]string{"b/c -> ../g": "", "g": "three", "f -> /nowhere": ""}},
		{name: "excluded", src: pairs, o: mitogen.SyncOptions{Exclude: []string{"/a", "/d"}},
			argv: []string{"--exclude=/a", "--exclude=/d"}},
		{name: "delete and contents", src: pairs,
			o:    mitogen.SyncOptions{Delete: true, Checksum: true},
			old:  map[string]string{"a = x": "ONE", "b/c = y/z": "one", "d = b/e = f": "TWO"},
			argv: []string{"--delete", "-c"}},
	} {
		src := t.TempDir()
		writeLinked(t, src, tt.src)
		byRsync := t.TempDir()
		writeLinked(t, byRsync, tt.old)
		argv := append([]string{"-aH", src + "/", byRsync + "/"}, tt.argv...)
		if out, err := exec.Command("rsync", argv...).CombinedOutput(); err != nil {
			t.Fatalf("rsync: got %v\n%s", err, out)
		}
		for way, do := range syncWays(c) {
			dest := t.TempDir()
			writeLinked(t, dest, tt.old)
			o := tt.o
			o.HardLinks, o.DryRun = true, true
			planned := synced(t, do, dest, src+"/", o)
			o.DryRun = false
			if got := synced(t, do, dest, src+"/", o); !slices.Equal(got, planned) {
				t.Errorf("%s, %s: got changes %q, want those of the dry run, %q", tt.name, way, got, planned)
			}
			want := names(t, byRsync)
			if tt.stricter {
				want = names(t, src)
			}
			if got := names(t, dest); got != want {
				t.Errorf("%s, %s: got files\n%s\nwant, as by rsync,\n%s", tt.name, way, got, want)
			}
			if got, want := tree(t, dest, false), tree(t, byRsync, false); got != want {
				t.Errorf("%s, %s: got\n%swant, as by rsync,\n%s", tt.name, way, got, want)
			}
			if got := synced(t, do, dest, src+"/", o); len(got) > 0 {
				t.Errorf("%s, %s: got %q changed by a second sync, want nothing", tt.name, way, got)
			}
		}
	}
}

// A file with further names elsewhere loses none of these, and each name that couldn't be made is a
// failure of its own.
func TestSyncHardLinkFailures(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for way, do := range syncWays(c) {
		src, dest := t.TempDir(), t.TempDir()
		elsewhere := filepath.Join(t.TempDir(), "file")
		writeLinked(t, src, map[string]string{"a = b = x/c": "newer", "d = e": "newer"})
		writeLinked(t, dest, map[string]string{"a/full/": "", "b": "old", "d": "old", "e/full/": ""})
		if err := os.Link(dest+"/b", elsewhere); err != nil {
			t.Fatal(err)
		}
		var told []string
		o := mitogen.SyncOptions{HardLinks: true}
		o.Failed = func(e *mitogen.FileError) { told = append(told, filepath.Base(e.Path)) }
		if _, err := do(limited(t), dest, src+"/", o); err == nil {
			t.Errorf("%s: got no error, want that files were left out", way)
		}
		slices.Sort(told)
		if want := []string{"a", "b", "c", "e"}; !slices.Equal(told, want) {
			t.Errorf("%s: got failures %q, want %q", way, told, want)
		}
		kept := map[string]string{dest + "/b": "old", elsewhere: "old", dest + "/d": "newer"}
		for file, want := range kept {
			if got, err := os.ReadFile(file); err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v in %s, want %q", way, got, err, file, want)
			}
		}
		if left := tree(t, dest, false); strings.Contains(left, ".mitogen-") {
			t.Errorf("%s: a part of a file is left:\n%s", way, left)
		}
	}
}
