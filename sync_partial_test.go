package mitogen_test

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// Of a large file whose sync is interrupted, the next one sends what hasn't come. The old file, if
// there is one, stays until then, and without Partial nothing is kept.
func TestSyncPartial(t *testing.T) {
	data := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{3}).Read(data)
	for _, keep := range []bool{true, false} {
		for _, old := range []string{"", "old"}[:map[bool]int{true: 2, false: 1}[keep]] {
			// An interrupted context may end: each has its own.
			c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
			for way, do := range syncWays(c) {
				src, dest := t.TempDir(), t.TempDir()
				write(t, src, map[string]string{"d/large": string(data), "d/more": "more"})
				if write(t, dest, map[string]string{"d/": ""}); old != "" {
					write(t, dest, map[string]string{"d/large": old})
				}
				ctx, cancel := context.WithCancel(limited(t))
				o := mitogen.SyncOptions{Partial: keep, Delete: true}
				o.Progress = func(got mitogen.CopyTotals) {
					if got.Bytes > 12<<20 {
						cancel()
					}
				}
				if _, err := do(ctx, dest, src+"/", o); err == nil {
					t.Errorf("%s: got no error, want an interruption", way)
				}
				cancel()
				part := filepath.Join(dest, "d/.mitogen-partial-large")
				kept := left(t, filepath.Join(dest, "d"), part)
				if (kept > 1<<20) != keep {
					t.Errorf("%s: got %d bytes kept, want some: %v", way, kept, keep)
				}
				if got, _ := os.ReadFile(filepath.Join(dest, "d/large")); string(got) != old {
					t.Errorf("%s: got a file of %d bytes, want the old one", way, len(got))
				}
				o.Progress = nil
				totals, err := do(limited(t), dest, src+"/", o)
				if err != nil {
					t.Fatal(err)
				}
				if most := int64(len(data)) - kept + 100_000; totals.Bytes > most {
					t.Errorf("%s: got %d bytes sent, want at most %d", way, totals.Bytes, most)
				}
				if got, want := tree(t, dest, true), tree(t, src, true); got != want {
					t.Errorf("%s: got\n%swant\n%s", way, got, want)
				}
			}
		}
	}
}

// A sync that ends early leaves an earlier part that has more of the file, as much as before.
func TestSyncPartialKeepsMore(t *testing.T) {
	data := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{3}).Read(data)
	for _, way := range []string{"put", "get"} {
		parts := map[string][]byte{"more": data[8<<20:], "less": data[len(data)-100_000:]}
		for name, part := range parts {
			c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
			src, dest := t.TempDir(), t.TempDir()
			write(t, src, map[string]string{"large": string(data)})
			write(t, dest, map[string]string{".mitogen-partial-large": string(part)})
			ctx, cancel := context.WithCancel(limited(t))
			o := mitogen.SyncOptions{Partial: true}
			o.Progress = func(got mitogen.CopyTotals) {
				if got.Bytes > 5<<20 {
					cancel()
				}
			}
			if _, err := syncWays(c)[way](ctx, dest, src+"/", o); err == nil {
				t.Errorf("%s: got no error, want an interruption", way)
			}
			cancel()
			file := filepath.Join(dest, ".mitogen-partial-large")
			kept := left(t, dest, file)
			now, err := os.ReadFile(file)
			same := bytes.Equal(now, part)
			if err != nil || same != (name == "more") || kept < int64(len(part)) {
				t.Errorf("%s, %s: got %d bytes kept, the old ones: %v, %v", way, name, kept, same, err)
			}
		}
	}
}

// A deletion spares a part of a file that the source has, and a file of the source's that only has
// a part's name.
func TestSyncPartialNames(t *testing.T) {
	const part = ".mitogen-partial-"
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	for way, do := range syncWays(c) {
		for keep, want := range map[bool][]string{
			true:  {part + "a", part + "b", "b", "d/" + part + "a"},
			false: {part + "a", "b", "d/" + part + "a"},
		} {
			src, dest := t.TempDir(), t.TempDir()
			write(t, src, map[string]string{part + "a": "a", "b": "b", "d/" + part + "a": "a"})
			write(t, dest, map[string]string{part + "b": "b", part + "c": "c", "d/" + part + "b": "b",
				"e/" + part + "b": "b", "b": "b"})
			old := time.Unix(1e9, 0)
			for _, dir := range []string{src, dest} {
				if err := os.Chtimes(filepath.Join(dir, "b"), old, old); err != nil {
					t.Fatal(err)
				}
			}
			o := mitogen.SyncOptions{Partial: keep, Delete: true}
			synced(t, do, dest, src+"/", o)
			if got := synced(t, do, dest, src+"/", o); len(got) > 0 {
				t.Errorf("%s, Partial %v: got %q changed by a second sync, want nothing", way, keep, got)
			}
			var got []string
			err := filepath.WalkDir(dest, func(p string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					p, err = filepath.Rel(dest, p)
					got = append(got, p)
				}
				return err
			})
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, Partial %v: got %q, %v, want %q", way, keep, got, err, want)
			}
		}
	}
}

// left waits until a sync that was interrupted has ended in dir, and returns the size of part.
func left(t *testing.T, dir, part string) int64 {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		names, err := filepath.Glob(filepath.Join(dir, ".mitogen-*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 || len(names) == 1 && strings.HasPrefix(names[0], part) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	st, err := os.Stat(part)
	if err != nil {
		return 0
	}
	return st.Size()
}
