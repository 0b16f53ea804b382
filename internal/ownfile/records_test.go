package ownfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// record makes one as a peer may, however wrong.
func record(kind byte, parts ...[]byte) []byte {
	b := bytes.Join(parts, nil)
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(b))), b...)
}

func attr(mode uint16) []byte {
	return attributes{mode: mode, mtime: time.Unix(1234567890, 123456789)}.append(nil)
}

func named(name string) []byte { return appendPair(nil, name) }

func digest(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func small(name, data string) []byte {
	return record(kindSmall, attr(0o644), digest([]byte(data)), named(name), []byte(data))
}

func zeros(n uint64) []byte { return record(kindZeros, u64(n)) }

func dir(path string) []byte { return record(kindDir, attr(0o755), []byte(path)) }

func large(name string, size int) []byte {
	return record(kindLarge, attr(0o644), u64(uint64(size)), []byte(name))
}

// receive has what a peer sends be made below the directory dest of root.
func receive(t *testing.T, r Receiver, root string, records ...[]byte) ([]string, error) {
	t.Helper()
	dest, err := os.OpenRoot(filepath.Join(root, "dest"))
	if err != nil {
		t.Fatal(err)
	}
	defer dest.Close()
	var told []string
	r.Root = dest
	r.Failed = func(path string, err error) { told = append(told, path+": "+err.Error()) }
	if r.Wanted == nil {
		r.Wanted = func(name string) bool { return name == "top" || name == "file" }
	}
	return told, r.Receive(bytes.NewReader(bytes.Join(records, nil)))
}

// ground is a directory with a destination, which has links out of it, and things beside it.
func ground(t *testing.T) string {
	root := t.TempDir()
	for _, d := range []string{"dest/top/kept", "out"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{"dest/top/up": "../../out", "dest/top/in": "kept",
		"dest/top/abs": filepath.Join(root, "out")}
	for link, to := range links {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "out/secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

// listing is all that is in a tree: modes, contents and links.
func listing(t *testing.T, root string) string {
	var b strings.Builder
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, p)
		fmt.Fprintf(&b, "%q %v", name, st.Mode())
		switch {
		case st.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(data))
		case d.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(p)
			fmt.Fprintf(&b, " %q", to)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var done = record(kindDone)

// What a hostile peer sends changes nothing outside of the destination, and is an error, or that
// file's.
func TestHostileRecords(t *testing.T) {
	long := strings.Repeat("n", maxName+1)
	link := func(name, to string) []byte {
		return record(kindLink, attr(0o777), named(name), []byte(to))
	}
	bad := record(kindPiece, []byte("bad"))
	asked := record(kindDir, attr(unchanged))
	many, drop := zeros(piece+1), record(kindDrop)
	wrong := record(kindSmall, attr(0o644), digest(nil), named("x"), []byte("bad"))
	short := record(kindLink, attr(0o777), []byte{0xff, 0xff, 'x'})
	negative := record(kindLarge, attr(0o644), u64(1<<63), []byte("x"))
	late := record(kindDir, attributes{mtime: time.Unix(1<<60, 0)}.append(nil))
	end := record(kindEnd, digest([]byte("bad")))
	for name, tt := range map[string]struct {
		records [][]byte
		ends    bool // the conversation
	}{
		"a name with a slash":         {[][]byte{dir("top"), small("../x", "bad")}, true},
		"an absolute name":            {[][]byte{dir("top"), small("/tmp/x", "bad")}, true},
		"parent":                      {[][]byte{dir("top"), small("..", "bad")}, true},
		"current":                     {[][]byte{dir("top"), small(".", "bad")}, true},
		"no name":                     {[][]byte{dir("top"), small("", "bad")}, true},
		"zero byte":                   {[][]byte{dir("top"), small("a\x00b", "bad")}, true},
		"a long name":                 {[][]byte{dir("top"), small(long, "bad")}, true},
		"a large file's name":         {[][]byte{dir("top"), large("../x", 3)}, true},
		"a link's name":               {[][]byte{dir("top"), link("../x", "y")}, true},
		"not asked for":               {[][]byte{asked, small(".bashrc", "bad")}, true},
		"a directory not asked for":   {[][]byte{dir("other")}, true},
		"a link not asked for":        {[][]byte{asked, link("other", "x")}, true},
		"a path with parents":         {[][]byte{dir("top/../../out")}, true},
		"an absolute path":            {[][]byte{dir("/top")}, true},
		"the destination itself":      {[][]byte{record(kindDir, attr(0o777))}, true},
		"an empty part":               {[][]byte{dir("top//x")}, true},
		"through a link up":           {[][]byte{dir("top/up"), small("x", "bad")}, false},
		"through an absolute link":    {[][]byte{dir("top/abs"), small("x", "bad")}, false},
		"through a link inside":       {[][]byte{dir("top/in"), small("x", "bad")}, false},
		"below a link":                {[][]byte{dir("top/up/new"), small("x", "bad")}, false},
		"a link out":                  {[][]byte{dir("top"), link("mine", "../../out")}, false},
		"an absolute link":            {[][]byte{dir("top"), link("mine", "/etc")}, false},
		"a link out by a link inside": {[][]byte{dir("top"), link("mine", "in/../../../out")}, false},
		"an empty link":               {[][]byte{dir("top"), link("mine", "")}, false},
		"a wrong digest":              {[][]byte{dir("top"), wrong}, false},
		"a short digest":              {[][]byte{dir("top"), large("x", 3), bad, record('e')}, true},
		"more than it said":           {[][]byte{dir("top"), large("x", 2), bad}, true},
		"less than it said":           {[][]byte{dir("top"), large("x", 9), bad, end}, false},
		"more zeros than it said":     {[][]byte{dir("top"), large("x", 2), zeros(1 << 60)}, true},
		"many zeros":                  {[][]byte{dir("top"), large("x", piece+1), many, drop}, true},
		"negative zeros":              {[][]byte{dir("top"), large("x", 2), zeros(1<<63 + 1)}, true},
		"a negative size":             {[][]byte{dir("top"), negative}, true},
		"a file in a file":            {[][]byte{dir("top"), large("x", 2), small("y", "bad")}, true},
		"a directory in a file":       {[][]byte{dir("top"), large("x", 2), dir("top/kept")}, true},
		"the end in a file":           {[][]byte{dir("top"), large("x", 2)}, true},
		"bytes of no file":            {[][]byte{dir("top"), bad}, true},
		"an unknown kind":             {[][]byte{record('?')}, true},
		"a large record":              {[][]byte{{kindDir, 0xff, 0xff, 0xff, 0xff}}, true},
		"short attributes":            {[][]byte{record(kindDir, []byte("x"))}, true},
		"a short pair":                {[][]byte{dir("top"), short}, true},
		"an odd time":                 {[][]byte{late}, true},
		"half a record":               {[][]byte{dir("top")[:9]}, true},
		"a file over a directory":     {[][]byte{dir("top"), small("kept", "bad")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := ground(t)
			before := listing(t, root)
			records := append(tt.records, done)
			if name == "half a record" {
				records = tt.records
			}
			told, err := receive(t, Receiver{Flags: Preserve}, root, records...)
			if (err != nil) != tt.ends || len(told) > 0 == tt.ends {
				t.Errorf("got %v, told %q, want that it ends: %v", err, told, tt.ends)
			}
			if after := listing(t, root); after != before {
				t.Errorf("got\n%swant, as before,\n%s", after, before)
			}
		})
	}
}

// If a file, or a directory by its name, was asked for, the peer can't change the directory that it
// goes into.
func TestDestinationItself(t *testing.T) {
	open := record(kindDir, attr(0o777))
	asked := record(kindAsked)
	for name, do := range map[string]func(root string) error{
		"a file to a file": func(root string) error {
			r := Receiver{Alias: "other", Flags: Preserve | Owners}
			_, err := receive(t, r, root, open, small("file", "x"), done)
			return err
		},
		"a file to a directory": func(root string) error {
			_, err := receive(t, Receiver{Flags: Preserve}, root, open, small("file", "x"), done)
			return err
		},
		"a directory of a sync that deletes": func(root string) error {
			_, err := syncGet(t, SyncReceiver{Delete: true}, root, open, asked, done)
			return err
		},
	} {
		root := ground(t)
		before := listing(t, root)
		if err := do(root); !errors.Is(err, errNotAsked) || !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want %v", name, err, errNotAsked)
		}
		if after := listing(t, root); after != before {
			t.Errorf("%s: got\n%swant, as before,\n%s", name, after, before)
		}
	}
}

// A peer's own link isn't followed either, wherever it leads.
func TestOwnLink(t *testing.T) {
	for _, to := range []string{"kept", "../../out", "/tmp"} {
		root := ground(t)
		link := record(kindLink, attr(0o777), named("mine"), []byte(to))
		told, err := receive(t, Receiver{AllLinks: true}, root, dir("top"), link, dir("top/mine"),
			small("file", "bad"), done)
		if err != nil || len(told) != 1 {
			t.Errorf("%s: got %v, told %q, want one failure", to, err, told)
		}
		if got, _ := os.Readlink(filepath.Join(root, "dest/top/mine")); got != to {
			t.Errorf("got a link to %q, want %q", got, to)
		}
		if strings.Contains(listing(t, root), "file\"") {
			t.Errorf("%s: a file was made through the link", to)
		}
	}
}

// A set-user-ID bit isn't taken over.
func TestModesAreHarmless(t *testing.T) {
	root := ground(t)
	_, err := receive(t, Receiver{Flags: Preserve}, root, dir("top"),
		record(kindSmall, attr(0o7755), digest(nil), named("x")),
		record(kindDir, attr(0o7755), []byte("top/new")), done)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "new"} {
		st, err := os.Stat(filepath.Join(root, "dest/top", name))
		if err != nil || st.Mode()&^fs.ModeDir != 0o755 {
			t.Errorf("%s: got %v, %v, want a mode of 755 alone", name, st.Mode(), err)
		}
	}
}

// What is remembered of directories has a bound.
func TestManyDirectories(t *testing.T) {
	root := ground(t)
	r := Receiver{Flags: Preserve, kept: maxKept - 100}
	if _, err := receive(t, r, root, dir("top"), done); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want %v", err, ErrFormat)
	}
	r.kept = maxKept - 127 - len("top/kept") // its path takes room, too
	if _, err := receive(t, r, root, dir("top/kept"), done); !errors.Is(err, ErrFormat) {
		t.Errorf("with its path: got %v, want %v", err, ErrFormat)
	}
}

// A failure's texts have bounds.
func TestLongFailures(t *testing.T) {
	told, err := receive(t, Receiver{}, ground(t),
		record(kindFailure, []byte{0, 0, 0, 13}, []byte("x\x00"+strings.Repeat("y", maxRecord-100))),
		record(kindFailure, []byte{0, 0, 0, 13}, []byte(strings.Repeat("x", maxRecord-100))), done)
	const most = maxPath + maxText + 10
	if err != nil || len(told) != 2 || len(told[0]) > maxText+10 || len(told[1]) > most {
		t.Errorf("got %v, %d texts, want 2 short ones", err, len(told))
	}
}

// A tree arrives as it was sent, whatever its names.
func TestTree(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	data := func(n int) []byte {
		b := make([]byte, n)
		random.Read(b)
		return b
	}
	ways := map[string]Flags{"contents": 0, "preserve": Preserve, "sparse": Preserve | Sparse}
	for name, opt := range ways {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			tree := filepath.Join(root, "top")
			mode := fs.FileMode(0o755)
			for _, d := range []string{"a/b/c", "empty", "new\nline", "not UTF-8 \xff"} {
				if err := os.MkdirAll(filepath.Join(tree, d), mode); err != nil {
					t.Fatal(err)
				}
			}
			for name, b := range map[string][]byte{
				"file": data(3), "empty file": nil, "a/" + strings.Repeat("n", 255): data(1),
				"a/b/c/piece": data(piece), "a/b/c/more": data(piece + 1),
				"new\nline/x": data(10), "not UTF-8 \xff/\xfe": data(100),
				"holes": slices.Concat(make([]byte, 3*piece), data(10), make([]byte, 5*piece)),
				"zeros": make([]byte, 4*piece),
			} {
				file := filepath.Join(tree, name)
				if err := os.WriteFile(file, b, 0o640); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(file, time.Time{}, time.Unix(1e9, 987654321)); err != nil {
					t.Fatal(err)
				}
			}
			os.Symlink("file", filepath.Join(tree, "link"))
			os.Symlink("../empty", filepath.Join(tree, "a/up"))
			var sent bytes.Buffer
			s := Sender{W: NewWriter(&sent), Failed: none(t)}
			src := []Source{{FS: Dir(root), Path: "top", Name: "top", Label: "top"}}
			if err := s.Send(t.Context(), src); err != nil {
				t.Fatal(err)
			}
			totals := s.Totals
			dest := t.TempDir()
			os.Mkdir(filepath.Join(dest, "dest"), 0o755)
			told, err := receive(t, Receiver{Flags: opt}, dest, sent.Bytes())
			if err != nil || told != nil {
				t.Fatal(err, told)
			}
			if got, want := listing(t, filepath.Join(dest, "dest/top")), listing(t, tree); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if totals.Files != 9 || totals.Dirs != 7 || totals.Links != 2 || totals.Failed != 0 {
				t.Errorf("got %+v, want 9 files, 7 directories, 2 links", totals)
			}
			st, err := os.Stat(filepath.Join(dest, "dest/top/file"))
			kept := st.ModTime().Equal(time.Unix(1e9, 987654321))
			if want := opt&Preserve != 0; err != nil || kept != want {
				t.Errorf("got %v, %v, want the time of the source: %v", st.ModTime(), err, want)
			}
		})
	}
}

// Files of package fs are sources, too.
func TestMapFS(t *testing.T) {
	fsys := fstest.MapFS{"top/a/x": {Data: []byte("x"), Mode: 0o600},
		"top/y": {Data: bytes.Repeat([]byte("y"), 2*piece), Mode: 0o644}}
	var sent bytes.Buffer
	s := Sender{W: NewWriter(&sent), Failed: none(t)}
	if err := s.Send(t.Context(), []Source{{FS: fsys, Path: "top", Name: "top"}}); err != nil {
		t.Fatal(err)
	}
	root := ground(t)
	if told, err := receive(t, Receiver{}, root, sent.Bytes()); err != nil || told != nil {
		t.Fatal(err, told)
	}
	if b, err := os.ReadFile(filepath.Join(root, "dest/top/y")); err != nil || len(b) != 2*piece {
		t.Errorf("got %d bytes, %v, want %d", len(b), err, 2*piece)
	}
}

// none fails a test at the first file that isn't sent.
func none(t *testing.T) func(string, error) {
	return func(path string, err error) { t.Errorf("%s: got %v, want it sent", path, err) }
}

// shrinking is a file that has fewer bytes than it said.
type shrinking struct{ fs.FS }

func (s shrinking) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return shrunk{f}, err
}

type shrunk struct{ fs.File }

func (shrunk) Read([]byte) (int, error) { return 0, io.EOF }

// A file that becomes shorter is left out, and all else is copied.
func TestShrinkingFile(t *testing.T) {
	for _, size := range []int{10, 3 * piece} {
		fsys := fstest.MapFS{"file": {Data: make([]byte, size), Mode: 0o644}}
		var sent bytes.Buffer
		var told []error
		s := Sender{W: NewWriter(&sent)}
		s.Failed = func(_ string, err error) { told = append(told, err) }
		src := []Source{{FS: shrinking{fsys}, Path: "file", Name: "file"},
			{FS: fsys, Path: "file", Name: "top"}}
		err := s.Send(context.Background(), src)
		if err != nil || len(told) != 1 || !errors.Is(told[0], errShorter) {
			t.Fatalf("got %v, told %v, want %v", err, told, errShorter)
		}
		root := t.TempDir()
		os.Mkdir(filepath.Join(root, "dest"), 0o755)
		if told, err := receive(t, Receiver{}, root, sent.Bytes()); err != nil || told != nil {
			t.Fatal(err, told)
		}
		got, _ := os.ReadDir(filepath.Join(root, "dest"))
		if len(got) != 1 || got[0].Name() != "top" {
			t.Errorf("got %v, want top alone", got)
		}
	}
}

// The document's bytes are those that are sent and taken.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/protocol/files.md")
	if err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	w := NewWriter(&sent)
	w.Put(Preserve|Into, "/srv")
	at := attributes{mode: 0o644, uid: 1000, gid: 1000, mtime: time.Unix(1700000000, 5)}
	w.record(kindSmall, at.append(nil), digest([]byte("hi\n")), named("x"), []byte("hi\n"))
	w.record(kindDone)
	w.Flush()
	found := strings.ReplaceAll(string(text), "\n    ", " ")
	found = strings.Join(strings.Fields(found), "")
	for rd := newReader(&sent); ; {
		kind, b, err := rd.next()
		if err != nil {
			break
		}
		if want := hex.EncodeToString(record(kind, b)); !strings.Contains(found, want) {
			t.Errorf("docs/protocol/files.md has no record %s", want)
		}
	}
}

// Nothing that a peer sends makes a Receiver panic, hang or leave its directory.
func FuzzReceive(f *testing.F) {
	abc := []byte("abc")
	f.Add(slices.Concat(dir("top"), small("x", "y"), large("z", 3), record(kindPiece, abc),
		record(kindEnd, digest(abc)), done))
	f.Add(slices.Concat(dir("top"), record(kindLink, attr(0o777), named("l"), abc),
		record(kindFailure, []byte{0, 0, 0, 1, 'x'}), done))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := ground(t)
		if len(b) > 4*piece {
			return
		}
		receive(t, Receiver{Flags: Preserve | Sparse}, root, b)
		left, err := os.ReadDir(root)
		if err != nil || len(left) != 2 {
			t.Errorf("got %v, %v beside the destination, want nothing new", left, err)
		}
		got, err := os.ReadFile(filepath.Join(root, "out/secret"))
		if err != nil || string(got) != "secret" {
			t.Errorf("got %q, %v in a file outside", got, err)
		}
	})
}
