package ownfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is kept of a file takes the place of what another account has put there, and follows no
// link. A small file, or one without Partial, leaves nothing.
func TestKeptPart(t *testing.T) {
	begun := func(size int) [][]byte {
		return [][]byte{dir("top"), question("x", 200_000), record(kindAsked), dir("top"),
			large("x", 200_000), record(kindPiece, make([]byte, size)),
			record(kindPiece, []byte("more"))}
	}
	for name, tt := range map[string]struct {
		plant func(part string) error
		size  int
		flags Flags
		want  bool
	}{
		"nothing there": {func(string) error { return nil }, piece, Partial, true},
		"a link": {func(part string) error { return os.Symlink("../../out/secret", part) }, piece,
			Partial, true},
		"another file": {func(part string) error { return os.WriteFile(part, []byte("x"), 0o666) },
			piece, Partial, true},
		"a directory": {func(part string) error { return os.Mkdir(part, 0o700) }, piece,
			Partial, false},
		"too small":      {func(string) error { return nil }, 100, Partial, false},
		"it is unwanted": {func(string) error { return nil }, piece, 0, false},
	} {
		root := ground(t)
		part := filepath.Join(root, "dest/top/.mitogen-partial-x")
		if err := tt.plant(part); err != nil {
			t.Fatal(err)
		}
		r := SyncReceiver{}
		r.Flags = tt.flags
		if _, err := syncGet(t, r, root, begun(tt.size)...); err == nil {
			t.Errorf("%s: got no error, want one of the stream", name)
		}
		st, err := os.Lstat(part)
		kept := err == nil && st.Mode().IsRegular() && st.Size() == int64(tt.size)+4
		if kept != tt.want || kept && st.Mode() != 0o600 {
			t.Errorf("%s: got %v, %v, want a part kept: %v", name, st, err, tt.want)
		}
		secret, err := os.ReadFile(filepath.Join(root, "out/secret"))
		if err != nil || string(secret) != "secret" {
			t.Errorf("%s: got %q, %v in a file outside", name, secret, err)
		}
		left := strings.ReplaceAll(listing(t, root), ".mitogen-partial-", "")
		if strings.Contains(left, ".mitogen-") {
			t.Errorf("%s: a part under another name is left:\n%s", name, left)
		}
	}
}

// A part that another account has planted is used for what has the right sums, and no other file's
// bytes come into the new one.
func TestPlantedPart(t *testing.T) {
	for name, plant := range map[string]func(root, part string) error{
		"bytes": func(_, part string) error {
			return os.WriteFile(part, []byte(strings.Repeat("evil", 30_000)), 0o666)
		},
		"a link": func(root, part string) error {
			large := filepath.Join(root, "large")
			os.WriteFile(large, []byte(strings.Repeat("other", 30_000)), 0o600)
			return os.Symlink(large, part)
		},
		"nothing": func(string, string) error { return nil },
	} {
		root := t.TempDir()
		part := filepath.Join(root, ".mitogen-partial-x")
		data := []byte(strings.Repeat("good", 30_000))
		inPython(t, "syncput", "", root, func(got []string) {
			last := len(got) - 1
			if last < 1 || got[last] != ".:" || got[0][0] != kindNeed {
				t.Errorf("%s: got answers %.300q, want a need, and the end", name, got)
			}
			sums := len(got[0]) > 2+4
			if sums != (name == "bytes") {
				t.Errorf("%s: got sums of the part: %v", name, sums)
			}
			now, err := os.ReadFile(filepath.Join(root, "x"))
			if err != nil || string(now) != string(data) {
				t.Errorf("%s: got %.20q, %v, want the source's bytes", name, now, err)
			}
			if _, err := os.Lstat(part); err == nil {
				t.Errorf("%s: got a part left, want none", name)
			}
			os.Remove(filepath.Join(root, "x"))
			if err := plant(root, part); err != nil {
				t.Fatal(err)
			}
		}, planted(t, plant, root, part), question("x", uint64(len(data))), record(kindAsked),
			large("x", len(data)), record(kindPiece, data[:piece]), record(kindPiece, data[piece:]),
			record(kindEnd, digest([]byte(data))), done)
	}
}

// planted plants, and returns the first record.
func planted(t *testing.T, plant func(root, part string) error, root, part string) []byte {
	t.Helper()
	if err := plant(root, part); err != nil {
		t.Fatal(err)
	}
	return begun(kindSyncPut, Preserve|Partial, ".")
}

// An old file that became shorter than what is to be taken of it fails in words, and stays.
func TestOldFileIsShorter(t *testing.T) {
	root := t.TempDir()
	old := strings.Repeat("old", 40_000)
	if err := os.WriteFile(filepath.Join(root, "x"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	data := []byte(strings.Repeat("new", 50_000))
	inPython(t, "syncput", "", root, func(got []string) {
		if said := strings.Join(got, "\n"); !strings.Contains(said, "it became shorter") {
			t.Errorf("got answers %.300q, want that it became shorter", got)
		}
		now, err := os.ReadFile(filepath.Join(root, "x"))
		if err != nil || string(now) != old {
			t.Errorf("got %.20q, %v, want the old bytes", now, err)
		}
	}, begun(kindSyncPut, Preserve, "."), question("x", uint64(len(data))), record(kindAsked),
		large("x", len(data)), record(kindCopy, u64(100_000), u32(50_000)),
		record(kindEnd, digest(data)), done)
}
