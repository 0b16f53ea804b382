package ownfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// u32 is a number in a record.
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// sumsRecord answers with the sums of a file.
func sumsRecord(n uint32, data []byte, block int) []byte {
	return record(kindSumsOf, u32(n), attr(0o644), u64(uint64(len(data))), digest(data),
		sumsOf(data, block))
}

// Of a file that was changed the parts come that the old one hasn't. A hostile peer gets nothing
// else made, and a file that isn't what it should be is asked for whole, and stays until that
// comes.
func TestDifferences(t *testing.T) {
	old := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{2}).Read(old)
	changed := slices.Concat([]byte("begin"), old)
	const block = 4096
	v, w, e := sumsRecord(0, changed, block), record(kindParted, u32(0)), record(kindEnd)
	first := record(kindPiece, changed[:block])
	last := record(kindPiece, changed[len(changed)/block*block:])
	given := record(kindSumsOf, u32(0)) // up
	wrong := record(kindPiece, make([]byte, block))
	whole := slices.Concat(dir("top"), large("x", len(changed)), record(kindPiece, changed[:piece]),
		record(kindPiece, changed[piece:]), record(kindEnd, digest(changed)))
	long := record(kindSumsOf, u32(0), attr(0o644), u64(1<<40), digest(changed),
		sumsOf(changed, block))
	for name, tt := range map[string]struct {
		records [][]byte
		ends    bool   // the conversation
		want    []byte // of the file
	}{
		"parts":                 {[][]byte{v, w, first, last, e, done}, false, changed},
		"whole, no sums":        {[][]byte{given, whole, done}, false, changed},
		"whole, parts given up": {[][]byte{v, w, first, given, whole, done}, false, changed},
		"whole, a wrong digest": {[][]byte{v, w, wrong, last, e, whole, done}, false, changed},
		"a wrong digest":        {[][]byte{v, w, wrong, last, e, done}, false, old},
		"sums of another":       {[][]byte{sumsRecord(1, changed, block)}, true, old},
		"sums twice":            {[][]byte{v, v}, true, old},
		"sums after the end":    {[][]byte{v, w, first, last, e, v}, true, changed},
		"sums inside of parts":  {[][]byte{v, w, v}, true, old},
		"other blocks":          {[][]byte{sumsRecord(0, changed, 2*block)}, true, old},
		"too few sums":          {[][]byte{long}, true, old},
		"short sums":            {[][]byte{v[:len(v)-8]}, true, old},
		"no sums":               {[][]byte{record(kindSumsOf, u32(0), attr(0o644))}, true, old},
		"parts before sums":     {[][]byte{w}, true, old},
		"parts of another":      {[][]byte{v, record(kindParted, u32(1))}, true, old},
		"parts twice":           {[][]byte{v, w, w}, true, old},
		"too large a part":      {[][]byte{v, w, first, last, last}, true, old},
		"a part across another": {[][]byte{v, w, record(kindPiece, changed[:2*block])}, true, old},
		"many zeros":            {[][]byte{v, w, zeros(piece + 1)}, true, old},
		"an early end of parts": {[][]byte{v, w, first, e}, true, old},
		"an early end of all":   {[][]byte{v, done}, true, old},
		"no answer":             {[][]byte{done}, true, old},
		"a file inside":         {[][]byte{v, w, small("x", "bad")}, true, old},
		"a directory inside":    {[][]byte{v, w, dir("top")}, true, old},
		"a whole one, not asked": {[][]byte{whole}, true,
			old},
	} {
		root := ground(t)
		file := filepath.Join(root, "dest/top/x")
		os.WriteFile(file, old, 0o644)
		os.Chtimes(file, time.Unix(1e9, 0), time.Unix(1e9, 0))
		records := slices.Concat([][]byte{dir("top"), question("x", uint64(len(changed))),
			record(kindAsked)}, tt.records)
		told, err := syncGet(t, SyncReceiver{}, root, records...)
		if (err != nil) != tt.ends || len(told) > 0 {
			t.Errorf("%s: got %v, told %q, want that it ends: %v", name, err, told, tt.ends)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(tt.want))
		}
		if left := listing(t, root); strings.Contains(left, ".mitogen-") {
			t.Errorf("%s: a part of a file is left:\n%s", name, left)
		}
	}
}

// The difference of a file is asked for if the old one can have much of it, and isn't far larger.
func TestByDelta(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old")
	for _, tt := range []struct {
		old, size int64
		want      bool
	}{
		{100_000, 100_000, true}, {100_000, piece, false}, {piece, 100_000, false},
		{1600_000, 100_000, true}, {1700_000, 100_000, false}, {100_000, 1 << 30, true},
		{100_000, 10 << 30, false}, {1 << 18, 10 << 30, true}, {1 << 25, 1 << 40, true},
		{1<<24 - 1, 1 << 40, false}, {100_000, 1 << 42, false}, {100_000, -1, false},
	} {
		err := os.WriteFile(file, nil, 0o600)
		if err == nil {
			err = os.Truncate(file, tt.old)
		}
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Lstat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := byDelta(st, tt.size); got != tt.want {
			t.Errorf("%d bytes, %d before: got %v, want %v", tt.size, tt.old, got, tt.want)
		}
	}
}

// Zeros of an old file stay holes, if they are to be.
func TestSparseDifference(t *testing.T) {
	random := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{2}).Read(random)
	old := slices.Concat(random, make([]byte, 4<<20))
	for _, end := range [][]byte{nil, random[:100]} {
		changed := slices.Concat([]byte("begin"), old, end)
		block := int(blockSize(int64(len(changed))))
		root := ground(t)
		file := filepath.Join(root, "dest/top/x")
		if err := os.WriteFile(file, old, 0o600); err != nil {
			t.Fatal(err)
		}
		f := getDelta{size: int64(len(changed)), block: int64(block), have: map[uint64]int64{}}
		f.sums = sumsOf(changed, block)[4:]
		s, err := parseSums(sumsOf(changed, block))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.scan(bytes.NewReader(old), &foundBlocks{f: &f}); err != nil {
			t.Fatal(err)
		}
		records := [][]byte{dir("top"), question("x", uint64(len(changed))), record(kindAsked),
			sumsRecord(0, changed, block), record(kindParted, u32(0))}
		for parts := f.parts()[4:]; len(parts) > 0; parts = parts[12:] {
			at, n := binary.BigEndian.Uint64(parts), binary.BigEndian.Uint32(parts[8:])
			records = append(records, record(kindPiece, changed[at:][:n]))
		}
		r := SyncReceiver{}
		r.Flags = Sparse
		told, err := syncGet(t, r, root, append(records, record(kindEnd), done)...)
		if err != nil || len(told) > 0 {
			t.Fatalf("got %v, told %q, want the file", err, told)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, changed) {
			t.Errorf("got %d bytes, %v, want the %d of the source", len(got), err, len(changed))
		}
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Sys().(*syscall.Stat_t).Blocks * 512; got > 1<<20 {
			t.Errorf("got %d bytes on the disk, want zeros to take none", got)
		}
	}
}

// A piece of a part takes no memory of its own.
func TestPartAllocates(t *testing.T) {
	f := &getDelta{size: 1 << 20, block: 1 << 20, gap: 1}
	r := SyncReceiver{}
	if got := testing.AllocsPerRun(10, func() { r.fill(f) }); got > 0 {
		t.Errorf("inside of a part: got %v allocations, want none", got)
	}
}

// A hostile peer can't give up one file inside of another, whose end would come without a check.
func TestGivenUpInside(t *testing.T) {
	old := make([]byte, 2*piece)
	rand.NewChaCha8([32]byte{2}).Read(old)
	changed := slices.Concat([]byte("begin"), old)
	bad := slices.Concat([]byte("wrong"), old)
	for _, inside := range [][]byte{record(kindSumsOf, u32(1)), sumsRecord(1, changed, 4096)} {
		root := ground(t)
		for _, name := range []string{"x", "y"} {
			file := filepath.Join(root, "dest/top", name)
			if err := os.WriteFile(file, old, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := listing(t, root)
		size := uint64(len(changed))
		_, err := syncGet(t, SyncReceiver{}, root, dir("top"), question("x", size),
			question("y", size), record(kindAsked), sumsRecord(0, changed, 4096),
			record(kindParted, u32(0)), inside, record(kindPiece, bad[:piece]),
			record(kindPiece, bad[piece:2*piece]), record(kindPiece, bad[2*piece:]),
			record(kindEnd, digest(bad)))
		if !errors.Is(err, ErrFormat) {
			t.Errorf("got %v, want %v", err, ErrFormat)
		}
		if after := listing(t, root); after != before {
			t.Errorf("got\n%swant, as before,\n%s", after, before)
		}
	}
}

// cancels is a reader whose records come with the end of a context.
type cancels struct {
	io.Reader
	cancel context.CancelFunc
}

func (c cancels) Read(b []byte) (int, error) {
	c.cancel()
	return c.Reader.Read(b)
}

// However much of a file is already here, or is to be compared, it isn't read to its end once the
// context is done.
func TestCancelledReading(t *testing.T) {
	old := make([]byte, 2*piece)
	rand.NewChaCha8([32]byte{2}).Read(old)
	root := ground(t)
	file := filepath.Join(root, "dest/top/x")
	if err := os.WriteFile(file, old, 0o600); err != nil {
		t.Fatal(err)
	}
	before := listing(t, root)
	dest, err := os.OpenRoot(filepath.Join(root, "dest"))
	if err != nil {
		t.Fatal(err)
	}
	defer dest.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := SyncReceiver{W: NewWriter(io.Discard), Changed: func(string, bool) {}}
	r.Root, r.Flags = dest, Partial // with which a part would be kept
	r.Failed = func(path string, err error) { t.Errorf("%s: got %v", path, err) }
	r.Wanted = func(string) bool { return true }
	err = r.Sync(ctx, "top", io.MultiReader(
		bytes.NewReader(slices.Concat(dir("top"), question("x", uint64(len(old))), record(kindAsked),
			sumsRecord(0, old, 4096))),
		cancels{bytes.NewReader(slices.Concat(record(kindParted, u32(0)), record(kindEnd), done)),
			cancel}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a sync: got %v, want %v", err, context.Canceled)
	}
	if after := listing(t, root); after != before {
		t.Errorf("a sync: got\n%swant, as before,\n%s", after, before)
	}
	st, err := dest.Lstat("top/x")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSums(sumsOf(old, 4096))
	if err != nil {
		t.Fatal(err)
	}
	f := getDelta{at: "top/x", base: "x", known: st, have: map[uint64]int64{}}
	f.sums = sumsOf(old, 4096)[4:]
	if err := r.search(&f, s); !errors.Is(err, context.Canceled) || len(f.have) > 0 {
		t.Errorf("a search: got %v, %d blocks, want %v", err, len(f.have), context.Canceled)
	}
	f.block, f.size, f.have[f.sum(0)] = 4096, int64(len(old)), 0
	if err := r.fill(&f); !errors.Is(err, context.Canceled) || f.pos > 0 {
		t.Errorf("a copy of blocks: got %v, %d bytes, want %v", err, f.pos, context.Canceled)
	}
	if sameContent(ctx, dest, "top/x", st, digest(old)) {
		t.Error("a comparison: got the end of the file, want none")
	}
	it := item{fs: Dir(root), at: "dest/top/x"}
	if _, err := it.digest(ctx, st); !errors.Is(err, context.Canceled) {
		t.Errorf("a digest: got %v, want %v", err, context.Canceled)
	}
}

// No more than the differences of maxDeltas files are asked for at once, and those that wait for it
// take part in the bound of all names.
func TestManyDifferences(t *testing.T) {
	root := ground(t)
	records := [][]byte{dir("top")}
	for i := range 2 * maxDeltas {
		name := string(rune('a' + i))
		os.WriteFile(filepath.Join(root, "dest/top", name), make([]byte, 2*piece), 0o644)
		records = append(records, question(name, 100_000))
	}
	r := SyncReceiver{size: 4*maxKept - 100*maxDeltas}
	if _, err := syncGet(t, r, root, records...); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want %v", err, ErrFormat)
	}
	late := record(kindSumsOf, u32(maxDeltas))
	records = append(records, record(kindAsked), late)
	if _, err := syncGet(t, SyncReceiver{}, root, records...); !errors.Is(err, ErrFormat) {
		t.Errorf("sums that were not asked for yet: got %v, want %v", err, ErrFormat)
	}
}

// A context that can't tell of a difference says so, and sends the file whole.
func TestNoDifference(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "x"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, preamble := range map[string]string{
		"no SHA-256": "import sys\nsys.modules['hashlib'] = None",
		"shorter": `import os
read = os.read
def short(fd, n):
    data = read(fd, n)
    if n == 8192: data = data[:0]
    return data
os.read = short`,
		"gone": `import os
opened, fail = os.open, []
def once(name, *more):
    if name == 'x'.encode() and not fail: fail.append(1); raise OSError(2, 'gone')
    return opened(name, *more)
os.open = once`,
	} {
		inPython(t, "syncget", preamble, root, func(got []string) {
			kinds := ""
			for _, answer := range got {
				kinds += answer[:1]
			}
			if !strings.HasSuffix(kinds, "qEvdfzbe.") {
				t.Errorf("%s: got answers of kinds %q, want no sums, and the whole file", name, kinds)
			}
		}, begun(kindSyncGet, Preserve, "."), record(kindSums, u32(0), u32(8192)),
			record(kindNeed, u32(0)), done)
	}
}
