package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// tiers are contexts of this machine, each in a directory of its own: a hop, some behind it, one of
// these a hop too, and some behind that.
func tiers(t *testing.T, e *mitogen.Engine, each int) (all []*mitogen.Context, dirs []string) {
	t.Helper()
	hop := connected(t, e, mitogen.ConnectOptions{})
	all = append(all, hop)
	for range each {
		all = append(all, connected(t, e, mitogen.ConnectOptions{Via: hop}))
	}
	for range each {
		all = append(all, connected(t, e, mitogen.ConnectOptions{Via: all[1]}))
	}
	top := t.TempDir()
	for i, c := range all {
		dir := filepath.Join(top, fmt.Sprint(i))
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			_, err = mitogen.Call[any](limited(t), c, "os:chdir", dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	return all, dirs
}

// noiseFile is a file of so many bytes that don't compress.
func noiseFile(t *testing.T, size int) (name string, data []byte) {
	t.Helper()
	data = make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	name = filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name, data
}

// results collects what comes of a copy to several contexts.
func results(
	t *testing.T,
	ctx context.Context,
	all []*mitogen.Context,
	o mitogen.CopyOptions,
	dest string,
	src ...string,
) map[*mitogen.Context]mitogen.Result[mitogen.CopyTotals] {
	t.Helper()
	got := map[*mitogen.Context]mitogen.Result[mitogen.CopyTotals]{}
	for c, r := range mitogen.PutEach(ctx, all, dest, o, src...) {
		if _, twice := got[c]; twice {
			t.Errorf("%s has two results", c.Name())
		}
		got[c] = r
	}
	if len(got) != len(all) {
		t.Errorf("got results of %d contexts, want %d", len(got), len(all))
	}
	return got
}

// A file passes each link once, whatever is behind it, and arrives whole everywhere.
func TestPutEach(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	all, dirs := tiers(t, e, 4)
	name, data := noiseFile(t, 5<<20+12345)
	small := filepath.Join(t.TempDir(), "small")
	write(t, filepath.Dir(small), map[string]string{"small": "x"})
	before := all[0].Stats()
	for c, r := range results(t, limited(t), all, mitogen.CopyOptions{}, ".", name, small) {
		if r.Err != nil || r.Value.Files != 2 || r.Value.Bytes != int64(len(data)+1) {
			t.Errorf("%s: got %+v, %v, want two files", c.Name(), r.Value, r.Err)
		}
	}
	for _, dir := range dirs {
		got, err := os.ReadFile(filepath.Join(dir, "noise"))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: got %d bytes, %v, want those of the source", dir, len(got), err)
		}
	}
	// What the runtime needs at each context, which is little beside the file, comes on top.
	after := all[0].Stats()
	moved := after.BytesDown - before.BytesDown + after.BytesUp - before.BytesUp
	if most := int64(len(data)) * 105 / 100; moved > most+int64(len(all))*20<<10 {
		t.Errorf("got %d bytes on the first link, want at most %d", moved, most)
	}
	t.Logf("%d bytes of file, %d down, %d up", len(data),
		after.BytesDown-before.BytesDown, after.BytesUp-before.BytesUp)
}

// What fails at one context is that one's, and the rest get all.
func TestPutEachFailures(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	all, dirs := tiers(t, e, 3)
	name, data := noiseFile(t, 3<<20)
	for i, dir := range dirs {
		if i != 2 { // which has no such directory
			write(t, dir, map[string]string{"sub/": ""})
		}
	}
	write(t, dirs[4], map[string]string{"sub/noise/": ""})
	told := map[*mitogen.Context]error{}
	o := mitogen.CopyOptions{Failed: func(e *mitogen.FileError) { told[e.Context] = e.Err }}
	all[5].Close()
	got := results(t, limited(t), all, o, "sub/noise", name)
	for i, c := range all {
		err := got[c].Err
		switch i {
		case 2:
			if !errors.Is(err, mitogen.ErrIncomplete) || !errors.Is(told[c], fs.ErrNotExist) {
				t.Errorf("no directory: got %v and %v, want that it doesn't exist", err, told[c])
			}
		case 5:
			if !errors.Is(err, mitogen.ErrClosed) {
				t.Errorf("closed: got %v, want %v", err, mitogen.ErrClosed)
			}
		default:
			file := filepath.Join(dirs[i], "sub/noise")
			if i == 4 {
				file += "/noise"
			}
			b, read := os.ReadFile(file)
			if err != nil || read != nil || !bytes.Equal(b, data) {
				t.Errorf("context %d: got %v, %d bytes, %v, want the file", i, err, len(b), read)
			}
		}
	}
	if len(told) != 1 {
		t.Errorf("got failures of %d contexts, want 1", len(told))
	}
}

// A context whose result is there is told of no more, though the copies to the rest go on.
func TestPutEachTellsInTime(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	all, _ := tiers(t, e, 2)
	name, _ := noiseFile(t, 3<<20)
	missing := filepath.Join(t.TempDir(), "missing")
	lost, others := all[len(all)-1], 0
	ended := make(chan struct{})
	ctx := limited(t)
	o := mitogen.CopyOptions{
		Progress: func(mitogen.CopyTotals) {
			lost.Close()
			select {
			case <-ended:
			case <-ctx.Done():
			}
		},
		Failed: func(e *mitogen.FileError) {
			if others++; e.Context == lost {
				t.Errorf("got %v of a context whose result is there", e)
			}
		},
	}
	for c, r := range mitogen.PutEach(ctx, all, ".", o, name, missing) {
		switch {
		case c == lost:
			if !errors.Is(r.Err, mitogen.ErrClosed) {
				t.Errorf("closed: got %v, want %v", r.Err, mitogen.ErrClosed)
			}
			close(ended)
		case !errors.Is(r.Err, mitogen.ErrIncomplete):
			t.Errorf("%s: got %v, want %v", c.Name(), r.Err, mitogen.ErrIncomplete)
		}
	}
	if want := len(all) - 1; others != want {
		t.Errorf("got %d failures, want %d", others, want)
	}
}

// Puts that are given up, however early, hold up none that come after them.
func TestPutEachGivenUp(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	all, _ := tiers(t, e, 2)
	name, _ := noiseFile(t, 1<<20)
	o := mitogen.CopyOptions{}
	for i := range 12 {
		ctx, cancel := context.WithCancel(limited(t))
		switch {
		case i == 0:
			cancel()
		default:
			time.AfterFunc(time.Duration(i)*500*time.Microsecond, cancel)
		}
		results(t, ctx, all, o, ".", name)
		cancel()
		for c, r := range results(t, limited(t), all, o, ".", name) {
			if r.Err != nil {
				t.Fatalf("round %d, %s: got %v", i, c.Name(), r.Err)
			}
		}
	}
}
