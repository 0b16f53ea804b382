package hostile_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	library "github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/hostile"
)

// A directory of another user's, exchanged for a link at any moment, leads no file of root's
// elsewhere, neither on the way to the destination nor below it.
func TestCopyRace(t *testing.T) {
	ctx := t.Context()
	e, err := library.New(library.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.Connect(ctx, "local", library.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file := &fstest.MapFile{Data: []byte("led astray"), Mode: 0o666}
	from := t.TempDir()
	if err := os.CopyFS(from, fstest.MapFS{"inner/shadow": file, "shadow": file}); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"sub/inner/deep/file": file, "sub/shadow": file}
	for name, tt := range map[string]struct {
		dest, source string
		puts, times  int
	}{
		"below":      {"", "sub", hostile.Rounds(3, 100), 500},
		"on the way": {"sub/inner", "sub/shadow", hostile.Rounds(20, 2000), 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t)
			before := g.state()
			s := hostile.Swap(t, filepath.Join(g.theirs, "sub"), filepath.Join(g.theirs, "link"))
			told := map[string]int{}
			done := 0
			o := library.CopyOptions{Preserve: true}
			o.Failed = func(e *library.FileError) { told[e.Err.Error()]++ }
			dest, src := filepath.Join(g.theirs, tt.dest), slices.Repeat([]string{tt.source}, tt.times)
			both := func() bool { return done > 0 && (len(told) > 0 || tt.times == 1) }
			for i := 0; i < tt.puts || i < 20*tt.puts && !both(); i++ { // the attacker may be quicker
				totals, _ := c.PutFS(ctx, dest, o, files, src...)
				done += max(0, max(totals.Dirs, totals.Files)-totals.Failed)
				if tt.times == 1 {
					sync := library.SyncOptions{Delete: true, Failed: o.Failed}
					c.SyncPut(ctx, filepath.Join(g.theirs, "sub"), from+"/", sync)
				}
			}
			s.Close(t)
			g.untouched(before, strings.Join(slices.Sorted(maps.Keys(told)), "\n"))
			if !both() {
				t.Errorf("got %d done, failures %v, want some of both", done, told)
			}
		})
	}
}
