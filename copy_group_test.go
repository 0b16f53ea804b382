package mitogen

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// begun starts a local context in an engine of its own. ctx bounds what is done there.
func begun(t *testing.T) (ctx context.Context, c *Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if c, err = e.Start("local", ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	return ctx, c
}

// A hop that is gone before anything was sent is an error to what is behind it alone.
func TestPutGroupWithoutHop(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var all []*Context
	for _, via := range []int{-1, 0, 0, 1, 1} {
		o := ConnectOptions{}
		if via >= 0 {
			o.Via = all[via]
		}
		c, err := e.Start("local", o)
		if err == nil {
			_, err = c.Info(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	pid, err := Call[int](ctx, all[1], "os:getpid")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "to")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	g := putGroup{ctx: ctx, dest: to, sources: localSources([]string{source}),
		outcomes: make(chan copyOutcome, len(all))}
	cps := g.begin(all)
	if len(cps) != len(all) {
		t.Fatalf("got %d copies that begin, want %d", len(cps), len(all))
	}
	syscall.Kill(pid, syscall.SIGKILL)
	for _, i := range []int{1, 3, 4} {
		select {
		case <-all[i].Done():
		case <-ctx.Done():
			t.Fatalf("context %d: it lives on", i)
		}
	}
	g.together(cps)
	got := map[*Context]error{}
	for range all {
		r := <-g.outcomes
		got[r.c] = r.result.Err
	}
	for i, lives := range []bool{true, false, true, false, false} {
		if err := got[all[i]]; (err == nil) != lives {
			t.Errorf("context %d: got %v, want no error: %v", i, err, lives)
		}
	}
}

// A context that is cut off, and gets a copy of its own, is told of each failure once.
func TestPutGroupAgain(t *testing.T) {
	ctx, c := begun(t)
	dir := t.TempDir()
	sources := []string{filepath.Join(dir, "missing"), filepath.Join(dir, "later")}
	var told []string
	o := CopyOptions{Failed: func(e *FileError) { told = append(told, filepath.Base(e.Path)) }}
	g := putGroup{ctx: ctx, o: inTurn(o), dest: dir + "/", sources: localSources(sources),
		outcomes: make(chan copyOutcome, 1)}
	cps := g.begin([]*Context{c})
	if len(cps) != 1 {
		t.Fatalf("got %v, want a copy that begins", (<-g.outcomes).result.Err)
	}
	cps[0].failed(sources[0], syscall.ENOENT)
	g.again(cps[0])
	cps[0].failed(sources[1], syscall.ENOENT) // by what is sent to the rest still
	if want := []string{"missing", "later"}; !slices.Equal(told, want) {
		t.Errorf("got failures %q, want %q", told, want)
	}
	if r := (<-g.outcomes).result; r.Value.Failed != len(sources) {
		t.Errorf("got %+v, %v, want %d failures", r.Value, r.Err, len(sources))
	}
}

// A context that is cut off once it has made the destination gets the same tree by its own copy.
func TestPutGroupAgainGoesToTheSamePlace(t *testing.T) {
	ctx, c := begun(t)
	dir := t.TempDir()
	source, dest := filepath.Join(dir, "source"), filepath.Join(dir, "dest")
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source+"/file", bytes.Repeat([]byte("x"), 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(source, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Chmod(source, 0o700)
		os.Chmod(dest, 0o700)
	})
	g := putGroup{ctx: ctx, dest: dest, sources: localSources([]string{source}),
		outcomes: make(chan copyOutcome, 1)}
	cps := g.begin([]*Context{c})
	if len(cps) != 1 {
		t.Fatalf("got %v, want a copy that begins", (<-g.outcomes).result.Err)
	}
	g.o.Progress = func(sent CopyTotals) {
		if sent.Bytes < 1<<20 { // it may not be on its way
			return
		}
		for !cps[0].Session.Cut() && ctx.Err() == nil {
			if _, err := os.Stat(dest); err == nil && cps[0].again() != 0 {
				cps[0].Session.CutOff()
			}
		}
	}
	g.together(cps)
	if r := (<-g.outcomes).result; r.Err != nil {
		t.Fatalf("got %v, want a copy of its own", r.Err)
	}
	if _, err := os.Stat(dest + "/file"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dest + "/source"); err == nil {
		t.Error("got the source in the destination, want it as the destination")
	}
	if st, err := os.Stat(dest); err == nil && st.Mode().Perm() != 0o500 {
		t.Errorf("got a directory of mode %v, want the source's 0500", st.Mode().Perm())
	}
}

// A program that is killed has said nothing, and its error doesn't end as if it had.
func TestCopyKilled(t *testing.T) {
	ctx, c := begun(t)
	cp, err := c.copying(ctx, "put", &CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer cp.close()
	if err := cp.Session.Signal("KILL"); err != nil {
		t.Fatal(err)
	}
	err = cp.why(io.ErrUnexpectedEOF)
	if want := "put in local: it ended with status 137 before all was done"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// A context that is cut off when it has done all but end its program is synced again: whether all
// went well isn't known.
func TestSyncGroupCutOffAtItsEnd(t *testing.T) {
	ctx, c := begun(t)
	src, dest := t.TempDir(), t.TempDir()
	if err := os.WriteFile(src+"/file", []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := syncGroup{ctx: ctx, dest: dest, src: src + "/", outcomes: make(chan copyOutcome, 1)}
	cps := beginEach(ctx, []*Context{c}, "syncput", g.o.copying(), g.ends)
	if len(cps) != 1 {
		t.Fatalf("got %v, want a copy that begins", (<-g.outcomes).result.Err)
	}
	m := g.member(cps[0])
	m.CutOff()
	m.Done(ownfile.Totals{}, nil)
	if r := (<-g.outcomes).result; r.Err != nil || r.Value.Files != 1 {
		t.Errorf("got %+v, %v, want a sync of its own", r.Value, r.Err)
	}
}
