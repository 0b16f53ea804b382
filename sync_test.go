package mitogen_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

type syncWay func(context.Context, string, string, mitogen.SyncOptions) (mitogen.CopyTotals, error)

func syncWays(c *mitogen.Context) map[string]syncWay {
	return map[string]syncWay{"put": c.SyncPut, "get": c.SyncGet}
}

// synced syncs, and returns what was changed.
func synced(t *testing.T, do syncWay, dest, src string, o mitogen.SyncOptions) []string {
	t.Helper()
	changes := []string{}
	o.Changed = func(c mitogen.SyncChange) {
		if c.Deleted {
			c.Path = "-" + c.Path
		}
		changes = append(changes, c.Path)
	}
	if o.Failed == nil {
		o.Failed = func(e *mitogen.FileError) { t.Errorf("got %v, want it synced", e) }
	}
	if _, err := do(limited(t), dest, src, o); err != nil {
		t.Errorf("got %v, want a sync", err)
	}
	slices.Sort(changes)
	return changes
}

// A sync makes a tree as the source is, as a dry run has said, and a second one changes nothing.
func TestSync(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for way, do := range syncWays(c) {
		for _, slash := range []string{"", "/"} {
			src, dest := odd(t), filepath.Join(t.TempDir(), "dest")
			o := mitogen.SyncOptions{Delete: true}
			o.Sparse = slash == ""
			would := o
			would.DryRun = true
			planned := synced(t, do, dest, src+slash, would)
			if _, err := os.Lstat(dest); err == nil {
				t.Errorf("%s: a dry run made the destination", way)
			}
			if got := synced(t, do, dest, src+slash, o); !slices.Equal(got, planned) || len(got) < 15 {
				t.Errorf("%s: got changes %q, want those of the dry run, %q", way, got, planned)
			}
			at := dest
			if slash == "" {
				at = filepath.Join(dest, "top")
			}
			if got, want := tree(t, at, true), tree(t, src, true); got != want {
				t.Errorf("%s: got\n%swant\n%s", way, got, want)
			}
			for _, checksum := range []bool{false, true} {
				o.Checksum = checksum
				if got := synced(t, do, dest, src+slash, o); len(got) > 0 {
					t.Errorf("%s, checksum %v: got %q changed by a second sync, want nothing", way, checksum, got)
				}
			}
		}
	}
}

// What has changed is copied, and nothing else.
func TestSyncChanges(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for way, do := range syncWays(c) {
		src, dest := t.TempDir(), t.TempDir()
		write(t, src, map[string]string{"same": "same", "size": "size", "time": "time",
			"mode": "mode", "b/deep": "deep", "quiet": "quiet", "link -> same": "",
			"file to dir/x": "x", "dir to file": "f", "kept -> same": ""})
		old := time.Unix(1e9, 5)
		for _, name := range []string{"same", "mode", "quiet"} {
			os.Chtimes(filepath.Join(src, name), old, old)
		}
		write(t, dest, map[string]string{"same": "same", "size": "another size", "time": "emit",
			"mode": "mode", "quiet": "loud!", "link -> other": "", "file to dir": "file",
			"extra": "x", "gone/a/b": "x", "gone/c": "x", "kept -> same": ""})
		for _, name := range []string{"same", "mode", "quiet"} {
			os.Chtimes(filepath.Join(dest, name), old, old)
		}
		os.Chmod(filepath.Join(dest, "mode"), 0o600)
		want := []string{"b/deep", "dir to file", "file to dir/x", "link", "mode", "size", "time"}
		if got := synced(t, do, dest, src+"/", mitogen.SyncOptions{}); !slices.Equal(got, want) {
			t.Errorf("%s: got changes %q, want %q", way, got, want)
		}
		want = []string{"-extra", "-gone", "-gone/a", "-gone/a/b", "-gone/c", "quiet"}
		for _, still := range []bool{true, false} {
			o := mitogen.SyncOptions{Checksum: true, Delete: true, DryRun: still}
			if got := synced(t, do, dest, src+"/", o); !slices.Equal(got, want) {
				t.Errorf("%s: got changes %q, want %q", way, got, want)
			}
		}
		if got, want := tree(t, dest, true), tree(t, src, true); got != want {
			t.Errorf("%s: got\n%swant\n%s", way, got, want)
		}
	}
}

// What is excluded is neither copied nor removed, as with rsync.
func TestSyncExclude(t *testing.T) {
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("there is no rsync")
	}
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for i, patterns := range [][]string{
		{"*.o"}, {"/a"}, {"b/"}, {"a/b"}, {"/a/*.o"}, {"**/deep"}, {"[xy]"}, {"*"}, {"?", "/b/a/"},
		{"a/**/x"}, {".hidden"}, {"[!x]"},
	} {
		for way, do := range syncWays(c) {
			src := t.TempDir()
			write(t, src, map[string]string{"a/b/x": "", "a/b/deep/y.o": "", "a/x.o": "",
				"b/a/b/x": "", "b/y": "", "x": "", ".hidden/x": "", "deep": ""})
			dests := []string{t.TempDir(), t.TempDir()}
			for _, dest := range dests {
				write(t, dest, map[string]string{"extra/x": "", "extra/y.o": "",
					"extra/b/x": "", "a/more": "", "a/b/z": ""})
			}
			argv := []string{"-a", "--delete", src + "/", dests[0] + "/"}
			for _, p := range patterns {
				argv = append(argv, "--exclude="+p)
			}
			if out, err := exec.Command("rsync", argv...).CombinedOutput(); err != nil {
				t.Fatalf("rsync: got %v\n%s", err, out)
			}
			synced(t, do, dests[1], src+"/", mitogen.SyncOptions{Delete: true, Exclude: patterns})
			if got, want := tree(t, dests[1], false), tree(t, dests[0], false); got != want {
				t.Errorf("%d, %q, %s: got\n%swant, as by rsync,\n%s", i, patterns, way, got, want)
			}
		}
	}
}

// Nothing is removed if part of the source couldn't be read.
func TestSyncKeepsWhatIsUnknown(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for way, do := range syncWays(c) {
		file := filepath.Join(t.TempDir(), "file")
		write(t, filepath.Dir(file), map[string]string{"file": "1"})
		for name, src := range map[string]string{"missing": file + "-no/", "a file": file} {
			dest := t.TempDir()
			write(t, dest, map[string]string{"kept": "kept"})
			failed := 0
			o := mitogen.SyncOptions{Delete: true, Failed: func(*mitogen.FileError) { failed++ }}
			_, err := do(limited(t), dest, src, o)
			got := tree(t, dest, false)
			if failed == 0 && err == nil || !strings.Contains(got, "kept") {
				t.Errorf("%s, %s: got %d failures, %v\n%swant some, and the old file",
					way, name, failed, err, got)
			}
		}
	}
}

// Of a large file that has changed, only that is sent, and a file that can't be read there is sent
// whole.
func TestSyncDelta(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	old := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{1}).Read(old)
	changed := slices.Concat([]byte("begin"), old[:1<<20], []byte("inserted"), old[2<<20:])
	for way, do := range syncWays(c) {
		src, dest := t.TempDir(), t.TempDir()
		before := map[string]string{"large": string(old), "small": "old", "zeros": string(old)}
		after := map[string]string{"large": string(changed), "small": "new!",
			"zeros":  string(make([]byte, 1<<20)) + string(old[:1<<20]),
			"new":    string(old[:100_000]),
			"zeros2": string(old[:1<<20]) + string(make([]byte, 1<<20)) + "end"}
		for i := range 40 { // more than are asked for at once
			name := fmt.Sprint("many", i)
			before[name] = string(old[i*100_000:][:100_000])
			after[name] = before[name][i*1000:] + "new"
		}
		before["zeros2"] = before["large"]
		write(t, dest, before)
		write(t, src, after)
		os.Chmod(dest+"/large", 0o600)
		o := mitogen.SyncOptions{Sparse: true,
			Failed: func(e *mitogen.FileError) { t.Errorf("%s: got %v", way, e) }}
		totals, err := do(limited(t), dest, src+"/", o)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tree(t, dest, true), tree(t, src, true); got != want {
			t.Errorf("%s: got\n%swant\n%s", way, got, want)
		}
		for name, want := range after {
			if got, _ := os.ReadFile(filepath.Join(dest, name)); string(got) != want {
				t.Errorf("%s: %s: got other contents than those of the source", way, name)
			}
		}
		if most := int64(2<<20 + 700_000); totals.Bytes > most { // zeros are literal
			t.Errorf("%s: got %d bytes sent, want at most %d", way, totals.Bytes, most)
		}
	}
}

// A file with further names is replaced, not changed: these names may be elsewhere.
func TestSyncFurtherNames(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for way, do := range syncWays(c) {
		src, dest, elsewhere := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "file")
		write(t, src, map[string]string{"file": "same"})
		write(t, dest, map[string]string{"file": "same"})
		old := time.Unix(1e9, 0)
		for _, dir := range []string{src, dest} {
			os.Chtimes(dir+"/file", old, old)
		}
		os.Chmod(dest+"/file", 0o600)
		if err := os.Link(dest+"/file", elsewhere); err != nil {
			t.Fatal(err)
		}
		if got := synced(t, do, dest, src+"/", mitogen.SyncOptions{}); len(got) != 1 {
			t.Errorf("%s: got changes %q, want the file", way, got)
		}
		if got, want := tree(t, dest, true), tree(t, src, true); got != want {
			t.Errorf("%s: got\n%swant\n%s", way, got, want)
		}
		if st, err := os.Stat(elsewhere); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v of the further name, want it unchanged", way, st, err)
		}
	}
}

// A file of the same size and time, which another account may have written, doesn't get a
// set-user-ID bit: the source's is sent.
func TestSyncSetUserID(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for _, bit := range []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid} {
		src, dest := t.TempDir(), t.TempDir()
		old := time.Unix(1e9, 0)
		for dir, data := range map[string]string{src: "good", dest: "evil"} {
			write(t, dir, map[string]string{"file": data})
			os.Chtimes(dir+"/file", old, old)
		}
		os.Chmod(src+"/file", 0o755|bit)
		for _, want := range []int{1, 0} {
			if got := synced(t, c.SyncPut, dest, src+"/", mitogen.SyncOptions{}); len(got) != want {
				t.Errorf("%v: got changes %q, want %d", bit, got, want)
			}
		}
		if got, want := tree(t, dest, true), tree(t, src, true); got != want {
			t.Errorf("%v: got\n%swant\n%s", bit, got, want)
		}
	}
}

// A destination that a sync makes has the mode that mkdir gives it.
func TestSyncNewDestination(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for way, do := range syncWays(c) {
		src, dest := t.TempDir()+"/top", t.TempDir()
		write(t, src, map[string]string{"file": "x"})
		if err := os.Mkdir(dest+"/other", 0o777); err != nil {
			t.Fatal(err)
		}
		synced(t, do, dest+"/new", src, mitogen.SyncOptions{})
		got, err := os.Stat(dest + "/new")
		if err != nil {
			t.Fatal(err)
		}
		if want, err := os.Stat(dest + "/other"); err != nil || got.Mode() != want.Mode() {
			t.Errorf("%s: got %v, %v, want a mode of %v", way, got.Mode(), err, want.Mode())
		}
	}
}

// A target that can't begin says why, however much there is to be sent.
func TestSyncEndsEarly(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	src, missing := t.TempDir(), filepath.Join(t.TempDir(), "no/such/dest")
	long := strings.Repeat("n", 200)
	for i := range 3000 {
		if err := os.WriteFile(fmt.Sprintf("%s/%s%d", src, long, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dest := range []string{missing, missing + "/", src + "/" + long + "0/x"} {
		var told []string
		o := mitogen.SyncOptions{Failed: func(e *mitogen.FileError) { told = append(told, e.Path) }}
		totals, err := c.SyncPut(limited(t), dest, src+"/", o)
		if !errors.Is(err, mitogen.ErrIncomplete) || len(told) != 1 || totals.Failed != 1 {
			t.Errorf("%s: got %v, failures of %q, want one", dest, err, told)
		}
	}
}
