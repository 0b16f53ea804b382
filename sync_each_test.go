package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// syncedEach syncs to several contexts, and returns the results, and the changes told of each.
func syncedEach(
	t *testing.T,
	ctx context.Context,
	all []*mitogen.Context,
	o mitogen.SyncOptions,
	dest, src string,
) (map[*mitogen.Context]mitogen.Result[mitogen.CopyTotals], map[*mitogen.Context][]string) {
	t.Helper()
	got := map[*mitogen.Context]mitogen.Result[mitogen.CopyTotals]{}
	changes := map[*mitogen.Context][]string{}
	o.Changed = func(c mitogen.SyncChange) {
		path := c.Path
		if c.Deleted {
			path = "-" + path
		}
		changes[c.Context] = append(changes[c.Context], path)
	}
	for c, r := range mitogen.SyncPutEach(ctx, all, dest, src, o) {
		if _, twice := got[c]; twice {
			t.Errorf("%s has two results", c.Name())
		}
		got[c] = r
	}
	for _, of := range changes {
		slices.Sort(of)
	}
	if len(got) != len(all) {
		t.Errorf("got results of %d contexts, want %d", len(got), len(all))
	}
	return got, changes
}

// moved returns the bytes that have passed a context's link.
func moved(c *mitogen.Context) int64 {
	s := c.Stats()
	return s.BytesDown + s.BytesUp
}

// What several contexts want alike passes each link once: new files, and differences to the same
// old one. What they have is made as it is here, whatever that was.
func TestSyncPutEach(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	all, dirs := tiers(t, e, 4)
	name, data := noiseFile(t, 4<<20)
	src := t.TempDir()
	write(t, src, map[string]string{"sub/small": "text", "sub/link -> small": "", "empty/": "",
		"same": "same"})
	old := time.Now().Add(-time.Hour)
	err := errors.Join(os.Rename(name, src+"/noise"), os.Chtimes(src+"/same", old, old))
	if err != nil {
		t.Fatal(err)
	}
	slack := int64(len(all)) * 30 << 10 // what the runtime needs, and answers
	check := func(what string, sent int64, want map[int][]string, o mitogen.SyncOptions) {
		t.Helper()
		before := moved(all[0])
		got, changes := syncedEach(t, limited(t), all, o, ".", src+"/")
		for i, c := range all {
			if err := got[c].Err; err != nil {
				t.Errorf("%s, context %d: got %v", what, i, err)
			}
			if got, want := tree(t, dirs[i], false), tree(t, src, false); got != want {
				t.Errorf("%s, context %d: got\n%swant\n%s", what, i, got, want)
			}
			expected, special := want[i]
			if !special {
				expected = want[-1]
			}
			if !slices.Equal(changes[c], expected) {
				t.Errorf("%s, context %d: got changes %q, want %q", what, i, changes[c], expected)
			}
		}
		passed := moved(all[0]) - before
		t.Logf("%s: %d bytes to be sent, %d passed the first link", what, sent, passed)
		if most := sent*105/100 + slack; passed > most {
			t.Errorf("%s: got %d bytes on the first link, want at most %d", what, passed, most)
		}
	}
	for _, dir := range dirs[3:] { // which has an old one of the same size and time
		write(t, dir, map[string]string{"same": "same"})
		os.Chtimes(dir+"/same", old, old)
	}
	everything := []string{"noise", "same", "sub/link", "sub/small"}
	most := []string{"noise", "sub/link", "sub/small"}
	check("new", int64(len(data)), map[int][]string{-1: most, 0: everything, 1: everything,
		2: everything}, mitogen.SyncOptions{})
	check("again", 0, map[int][]string{}, mitogen.SyncOptions{})

	// The same old file everywhere, but for one context, which has another file.
	data = bytes.Clone(data)
	copy(data[1<<20:], "changed here")
	write(t, src, map[string]string{"noise": string(data)})
	if err := os.Truncate(dirs[2]+"/noise", 2<<20); err != nil {
		t.Fatal(err)
	}
	write(t, dirs[1], map[string]string{"more/x": "x"})
	check("changed", 2<<20, map[int][]string{-1: {"noise"},
		1: {"-more", "-more/x", "noise"}}, mitogen.SyncOptions{Delete: true})

	write(t, src, map[string]string{"noise": "short"})
	before := tree(t, dirs[0], false)
	got, changes := syncedEach(t, limited(t), all, mitogen.SyncOptions{DryRun: true}, ".", src+"/")
	for i, c := range all {
		if got[c].Err != nil || !slices.Equal(changes[c], []string{"noise"}) ||
			tree(t, dirs[i], false) != before {
			t.Errorf("dry run, context %d: got %v, %q, want nothing done", i, got[c].Err, changes[c])
		}
	}
}

// What fails at one context is that one's, and the rest get all.
func TestSyncPutEachFailures(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	all, dirs := tiers(t, e, 3)
	src := t.TempDir()
	write(t, src, map[string]string{"a": "a", "b": strings.Repeat("b", 100_000), "c": "c"})
	if err := syscall.Mkfifo(src+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for i, dir := range dirs {
		if i != 2 { // which has no such directory
			write(t, dir, map[string]string{"sub/": ""})
		}
	}
	write(t, dirs[4], map[string]string{"sub/to/b/full": "x"}) // a directory in its place
	told := map[*mitogen.Context][]string{}
	o := mitogen.SyncOptions{Failed: func(e *mitogen.FileError) {
		told[e.Context] = append(told[e.Context], filepath.Base(e.Path))
		if e.Context == all[2] && !errors.Is(e.Err, fs.ErrNotExist) && filepath.Base(e.Path) != "pipe" {
			t.Errorf("no directory: got %v, want that it doesn't exist", e)
		}
	}}
	all[5].Close()
	got, _ := syncedEach(t, limited(t), all, o, "sub/to", src+"/")
	for i, c := range all {
		want, files := []string{"pipe"}, "abc"
		switch i {
		case 2:
			want, files = []string{"pipe", "to"}, ""
		case 4:
			want, files = []string{"b", "pipe"}, "ac"
		case 5:
			if !errors.Is(got[c].Err, mitogen.ErrClosed) {
				t.Errorf("closed: got %v, want %v", got[c].Err, mitogen.ErrClosed)
			}
			continue
		}
		slices.Sort(told[c])
		if !errors.Is(got[c].Err, mitogen.ErrIncomplete) || !slices.Equal(told[c], want) {
			t.Errorf("context %d: got %v, failures %q, want %q", i, got[c].Err, told[c], want)
		}
		for _, name := range files {
			if _, err := os.Stat(dirs[i] + "/sub/to/" + string(name)); err != nil {
				t.Errorf("context %d: %v", i, err)
			}
		}
	}
}

// A sync to several that is given up ends, and leaves no part of a file.
func TestSyncPutEachGivenUp(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	all, dirs := tiers(t, e, 3)
	name, _ := noiseFile(t, 8<<20)
	ctx, cancel := context.WithCancel(limited(t))
	var once sync.Once
	o := mitogen.SyncOptions{Progress: func(t mitogen.CopyTotals) {
		if t.Bytes > 4<<20 {
			once.Do(cancel)
		}
	}}
	got, _ := syncedEach(t, ctx, all, o, ".", filepath.Dir(name))
	for c, r := range got {
		if !errors.Is(r.Err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", c.Name(), r.Err, context.Canceled)
		}
	}
	for _, dir := range dirs {
		for left := true; left; {
			left = strings.Contains(tree(t, dir, false), ".mitogen-")
			if left && limited(t).Err() != nil {
				t.Fatalf("%s: a part of a file is left", dir)
			}
		}
	}
	again, _ := syncedEach(t, limited(t), all, mitogen.SyncOptions{}, ".", filepath.Dir(name))
	for c, r := range again {
		if r.Err != nil {
			t.Errorf("again, %s: got %v", c.Name(), r.Err)
		}
	}
}
