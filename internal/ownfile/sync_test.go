package ownfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// syncGet has what a peer tells be made below the directory dest of root. It returns failures.
func syncGet(t *testing.T, r SyncReceiver, root string, records ...[]byte) ([]string, error) {
	t.Helper()
	dest, err := os.OpenRoot(filepath.Join(root, "dest"))
	if err != nil {
		t.Fatal(err)
	}
	defer dest.Close()
	var told []string
	r.Root, r.W = dest, NewWriter(io.Discard)
	r.Failed = func(path string, err error) { told = append(told, path+": "+err.Error()) }
	r.Wanted = func(name string) bool { return name == "top" }
	r.Changed = func(string, bool) {}
	return told, r.Sync(t.Context(), "top", bytes.NewReader(bytes.Join(records, nil)))
}

func question(name string, size uint64) []byte {
	return record(kindQuestion, attr(0o644), u64(size), []byte(name))
}

// What a hostile peer tells changes nothing outside of the destination, nor what wasn't asked for.
func TestHostileSyncGet(t *testing.T) {
	asked := record(kindAsked)
	link := func(name, to string) []byte {
		return record(kindLink, attr(0o777), named(name), []byte(to))
	}
	wrong := record(kindSmall, attr(0o644), digest(nil), named("x"), []byte("bad"))
	file := record(kindDir, attr(unchanged))
	far := slices.Concat(dir("top"), question("x", 3), question("y", 3), asked)
	failed := record(kindFailure, make([]byte, 4), []byte("top\x00no attributes"))
	for name, tt := range map[string]struct {
		records [][]byte
		ends    bool // the conversation
	}{
		"a name with a slash":     {[][]byte{dir("top"), question("../x", 3)}, true},
		"parent":                  {[][]byte{dir("top"), question("..", 3)}, true},
		"no name":                 {[][]byte{dir("top"), question("", 3)}, true},
		"not asked for":           {[][]byte{dir("other"), question("x", 3)}, true},
		"a path with parents":     {[][]byte{dir("top/../../out")}, true},
		"an excluded path":        {[][]byte{dir("skip/../../out")}, true},
		"an excluded name":        {[][]byte{dir("top/skip"), question("a/b", 3)}, true},
		"a link's name":           {[][]byte{dir("top"), link("../x", "y")}, true},
		"a link out":              {[][]byte{dir("top"), link("x", "../../out"), asked, done}, false},
		"a file too early":        {[][]byte{dir("top"), question("x", 3), small("x", "bad")}, true},
		"the end too early":       {[][]byte{dir("top"), done}, true},
		"the end after a failure": {[][]byte{failed, done}, false},
		"after a failure inside":  {[][]byte{dir("top"), failed, done}, false},
		"a question too late":     {[][]byte{far, dir("top"), question("z", 3)}, true},
		"a link too late":         {[][]byte{far, dir("top"), link("z", "y")}, true},
		"a second end":            {[][]byte{far, asked}, true},
		"a file that isn't asked": {[][]byte{far, dir("top"), small("z", "bad")}, true},
		"in another directory":    {[][]byte{far, dir("top/kept"), small("x", "bad")}, true},
		"twice": {[][]byte{far, dir("top"), record(kindLarge, attr(0o644), u64(0), []byte("y")),
			record(kindDrop), small("x", "bad")}, true},
		"a short question":  {[][]byte{dir("top"), record(kindQuestion, attr(0o644), []byte("x"))}, true},
		"a short file":      {[][]byte{far, dir("top"), record(kindSmall, attr(0o644))}, true},
		"a short owner":     {[][]byte{record(kindUser, []byte("u"))}, true},
		"a long owner":      {[][]byte{record(kindGroup, bytes.Repeat([]byte("u"), 1000))}, true},
		"a wrong digest":    {[][]byte{far, dir("top"), wrong, done}, false},
		"the target's own":  {[][]byte{dir("top"), record(kindRemove, []byte("top/kept"))}, true},
		"a need":            {[][]byte{record(kindNeed, u64(1)[:4])}, true},
		"a file, no source": {[][]byte{file, question("x", 3), asked, done}, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := ground(t)
			before := listing(t, root)
			told, err := syncGet(t, SyncReceiver{Exclude: Exclude{"skip"}}, root, tt.records...)
			if (err != nil) != tt.ends || len(told) > 0 == tt.ends {
				t.Errorf("got %v, told %q, want that it ends: %v", err, told, tt.ends)
			}
			if after := listing(t, root); after != before {
				t.Errorf("got\n%swant, as before,\n%s", after, before)
			}
		})
	}
}

// linkedTo is a question about a file whose first question was that number.
func linkedTo(first uint32, name string, size uint64) []byte {
	b := question(name, size)[5:]
	return record(kindLinked, binary.BigEndian.AppendUint32(nil, first), b)
}

// Whatever a peer says are names of one file, only files that it was to copy get further names.
func TestHostileHardLinks(t *testing.T) {
	asked, far := record(kindAsked), 1<<20
	link := record(kindLink, attr(0o777), named("x"), []byte("kept"))
	for name, tt := range map[string]struct {
		records [][]byte
		ends    bool // the conversation
	}{
		"a file to come":      {[][]byte{dir("top"), linkedTo(1, "x", 3)}, true},
		"far ahead":           {[][]byte{dir("top"), linkedTo(1<<32-1, "x", 3)}, true},
		"no number":           {[][]byte{dir("top"), record(kindLinked, []byte("x"))}, true},
		"a short one":         {[][]byte{dir("top"), record(kindLinked, make([]byte, 20))}, true},
		"a name with a slash": {[][]byte{dir("top"), linkedTo(0, "../x", 3)}, true},
		"parent": {[][]byte{dir("top"), linkedTo(0, "x", 3), linkedTo(0, "..", 3)},
			true},
		"not asked for": {[][]byte{dir("out"), linkedTo(0, "secret", 6)}, true},
		"too late": {[][]byte{dir("top"), linkedTo(0, "x", 3), asked,
			linkedTo(0, "y", 3)}, true},
		"a file that doesn't come": {[][]byte{dir("top"), linkedTo(0, "x", 3), linkedTo(0, "y", 3),
			asked, done}, false},
		"a file with a wrong digest": {[][]byte{dir("top"), linkedTo(0, "x", 3),
			linkedTo(0, "y", 3), asked, record(kindSmall, attr(0o644), digest(nil), named("x"),
				[]byte("bad")), done}, false},
		"a directory's name": {[][]byte{dir("top"), linkedTo(0, "x", uint64(far)),
			dir("top/kept"), linkedTo(0, "z", uint64(far)), asked, done}, false},
		"a link's name": {[][]byte{dir("top"), linkedTo(0, "x", 3), linkedTo(0, "y", 3), link,
			asked, record(kindRemove, []byte("x"))}, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := ground(t)
			before := listing(t, root)
			r := SyncReceiver{}
			r.Flags = HardLinks
			told, err := syncGet(t, r, root, tt.records...)
			if (err != nil) != tt.ends || len(told) > 0 == tt.ends {
				t.Errorf("got %v, told %q, want that it ends: %v", err, told, tt.ends)
			}
			os.Remove(filepath.Join(root, "dest/top/x")) // the link, which it may make
			if after := listing(t, root); after != before {
				t.Errorf("got\n%swant, as before,\n%s", after, before)
			}
		})
	}
	r := SyncReceiver{}
	_, err := syncGet(t, r, ground(t), dir("top"), linkedTo(0, "x", 3))
	if !errors.Is(err, ErrFormat) {
		t.Errorf("without the flag: got %v, want %v", err, ErrFormat)
	}
	r = SyncReceiver{size: 4*maxKept - 10}
	r.Flags = HardLinks
	_, err = syncGet(t, r, ground(t), dir("top"), linkedTo(0, "x", 3))
	if !errors.Is(err, ErrFormat) {
		t.Errorf("beyond all bounds: got %v, want %v", err, ErrFormat)
	}
}

// A file that takes another one's place before it has got its further name gets none: a symbolic
// link that leads out, a file of another account's, none.
func TestExchangedForJoin(t *testing.T) {
	secret := func(root string) string { return filepath.Join(root, "out/secret") }
	for name, exchange := range map[string]func(root, file string) error{
		"a link": func(root, file string) error { return os.Symlink(secret(root), file) },
		"a file": func(root, file string) error { return os.Link(secret(root), file) },
		"none":   func(string, string) error { return nil },
	} {
		root := ground(t)
		file := filepath.Join(root, "dest/top/x")
		last := func(at string, _ bool) {
			if at != "top/y" {
				return
			}
			os.Remove(file)
			if err := exchange(root, file); err != nil {
				t.Fatal(err)
			}
		}
		dest, err := os.OpenRoot(filepath.Join(root, "dest"))
		if err != nil {
			t.Fatal(err)
		}
		defer dest.Close()
		var told []string
		r := SyncReceiver{W: NewWriter(io.Discard), Changed: last}
		r.Root, r.Flags = dest, HardLinks
		r.Failed = func(path string, err error) { told = append(told, path) }
		r.Wanted = func(string) bool { return true }
		err = r.Sync(t.Context(), "top", bytes.NewReader(slices.Concat(dir("top"), linkedTo(0, "x", 3),
			linkedTo(0, "y", 3), record(kindAsked), dir("top"), small("x", "new"), done)))
		if err != nil || !slices.Equal(told, []string{"top/y"}) {
			t.Errorf("%s: got %v, failures of %q, want one of top/y", name, err, told)
		}
		if _, err := dest.Lstat("top/y"); err == nil {
			t.Errorf("%s: got a further name, want none", name)
		}
		if left := listing(t, root); strings.Contains(left, ".mitogen-") {
			t.Errorf("%s: a name is left:\n%s", name, left)
		}
	}
}

// What is remembered of names has a bound.
func TestManyQuestions(t *testing.T) {
	r := SyncReceiver{size: 4*maxKept - 10}
	if _, err := syncGet(t, r, ground(t), dir("top"), question("x", 3)); !errors.Is(err, ErrFormat) {
		t.Errorf("files that are needed: got %v, want %v", err, ErrFormat)
	}
	r.Delete = true
	if _, err := syncGet(t, r, ground(t), dir("top")); !errors.Is(err, ErrFormat) {
		t.Errorf("names that are not to be deleted: got %v, want %v", err, ErrFormat)
	}
	r.Delete = false
	if told, err := syncGet(t, r, ground(t), dir("top"), record(kindAsked), done); err != nil {
		t.Errorf("names that nothing is kept of: got %v, %v, want no error", told, err)
	}
}

// Owners that are unknown here cost a search each.
func TestManyOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("owners are for root")
	}
	r := SyncReceiver{owners: maxOwners}
	r.Flags = Owners
	none := record(kindUser, u64(7)[4:], []byte("no-such-user"))
	if _, err := syncGet(t, r, ground(t), none); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want %v", err, ErrFormat)
	}
	r.owners--
	if _, err := syncGet(t, r, ground(t), none, record(kindAsked), done); err != nil {
		t.Errorf("the last that is looked for: got %v", err)
	}
}

// Where too much of what the other side has waits, files are sent whole.
func TestManyAnswers(t *testing.T) {
	sums := bytes.Repeat([]byte{1}, 1000)
	need := record(kindNeed, u64(7)[4:], sums)
	for size, want := range map[int]int{0: len(sums), maxAnswers/2 + 1: 0} {
		q := answers{more: make(chan struct{}, 1), size: size}
		q.read(bytes.NewReader(slices.Concat(need, done)))
		a, err := q.next(t.Context())
		if err != nil || a.n != 7 || len(a.sums) != want {
			t.Errorf("with %d bytes: got file %d, %d bytes of sums, %v, want 7 and %d",
				size, a.n, len(a.sums), err, want)
		}
	}
	q := answers{more: make(chan struct{}, 1), size: maxAnswers}
	q.read(bytes.NewReader(need))
	if _, err := q.next(t.Context()); !errors.Is(err, ErrFormat) {
		t.Errorf("beyond all bounds: got %v, want %v", err, ErrFormat)
	}
}

// A FIFO that has taken a file's place holds nothing up.
func TestExchangedForFIFO(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.WriteFile("x", []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	st, err := root.Lstat("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Remove("x"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root.Name(), "x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if sameContent(t.Context(), root, "x", st, make([]byte, digestSize)) {
		t.Error("a FIFO has a file's content")
	}
}

// With Delete nothing is removed outside of the destination, nor in directories that weren't told
// of.
func TestSyncGetDeletes(t *testing.T) {
	root := ground(t)
	must := os.WriteFile(filepath.Join(root, "dest/beside"), []byte("kept"), 0o644)
	if must != nil {
		t.Fatal(must)
	}
	told, err := syncGet(t, SyncReceiver{Delete: true}, root, dir("top"), record(kindAsked), done)
	if err != nil || told != nil {
		t.Fatal(err, told)
	}
	got := listing(t, root)
	kept := strings.Contains(got, "beside") && strings.Contains(got, "secret")
	if strings.Contains(got, "dest/top/") || !kept {
		t.Errorf("got\n%swant an empty top, and all else", got)
	}
}

// What a hostile peer answers gets it nothing that it wasn't asked about.
func TestHostileAnswers(t *testing.T) {
	n := func(n uint32) []byte { return record(kindNeed, binary.BigEndian.AppendUint32(nil, n)) }
	asked := record(kindAsked)
	for name, tt := range map[string]struct {
		answers [][]byte
		ends    bool
	}{
		"all":                 {[][]byte{n(0), n(1), asked, done}, false},
		"none":                {[][]byte{asked, done}, false},
		"no such file":        {[][]byte{n(2)}, true},
		"a negative one":      {[][]byte{n(1<<32 - 1)}, true},
		"twice":               {[][]byte{n(0), n(0)}, true},
		"a short need":        {[][]byte{record(kindNeed, []byte{1})}, true},
		"a change":            {[][]byte{record(kindChanged, []byte("top/x")), asked, done}, false},
		"a change up":         {[][]byte{record(kindChanged, []byte("top/../x"))}, true},
		"a change of nothing": {[][]byte{record(kindChanged)}, true},
		"a path up":           {[][]byte{record(kindExtra, []byte("f../x"))}, true},
		"no path":             {[][]byte{record(kindExtra, []byte("f"))}, true},
		"a long path":         {[][]byte{record(kindExtra, bytes.Repeat([]byte("f"), maxPath+1))}, true},
		"a file":              {[][]byte{small("x", "bad")}, true},
		"a long end":          {[][]byte{record(kindAsked, []byte("x"))}, true},
		"an end of nothing":   {[][]byte{}, true},
		"a removal":           {[][]byte{record(kindExtra, []byte("dtop/x")), asked, done}, false},
		"a short failure":     {[][]byte{record(kindFailure, []byte("x"))}, true},
		"a removal elsewhere": {[][]byte{record(kindExtra, []byte("f/etc/passwd"))}, true},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"src/x": {Data: []byte("x")}, "src/y": {Data: []byte("y")},
				"secret": {Data: []byte("secret")}}
			var sent bytes.Buffer
			s := SyncSender{Delete: true, Changed: func(string, bool) {}}
			s.W, s.Failed = NewWriter(&sent), none(t)
			err := s.Sync(t.Context(), "dest", Source{FS: fsys, Path: "src", Name: "top"},
				bytes.NewReader(bytes.Join(tt.answers, nil)))
			if (err != nil) != tt.ends {
				t.Errorf("got %v, want that it ends: %v", err, tt.ends)
			}
			if bytes.Contains(sent.Bytes(), []byte("secret")) {
				t.Error("got what isn't in the source, want that alone")
			}
		})
	}
}

// Patterns are rsync's.
func TestExclude(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		dir, want     bool
	}{
		{"*.o", "a/b.o", false, true}, {"*.o", "a.o/b", false, true}, {"*.o", "a.oo", false, false},
		{"/a", "a", false, true}, {"/a", "b/a", false, false}, {"a/b", "x/a/b", false, true},
		{"a/b", "xa/b", false, false}, {"b/", "b", false, false}, {"b/", "b", true, true},
		{"b/", "b/x", false, true}, {"**/x", "a/b/x", false, true}, {"a/**", "a/b/c", false, true},
		{"[!x]", "y", false, true}, {"[!x]", "x", false, false}, {"", "x", false, false},
		{"/", "x", true, false}, {"?", "é", false, true},
		{"/a/**/b/**/c", "a/b/x/b/y/c", false, true}, {"/a/**/b/c", "a/b/x/b/c", false, true},
		{"/a/**/b/c", "a/b/x/b/d", false, false}, {"/**/a", "a", false, true},
		{"a/**", "a", false, true}, {"**", "a/b", false, true}, {"/a/b/**", "a", true, false},
		{"b/c", "a/b/b/c", false, true}, {"b/**/c", "b/a/x", false, false},
	} {
		if got := (Exclude{tt.pattern}).Match(tt.path, tt.dir); got != tt.want {
			t.Errorf("%q for %q: got %v, want %v", tt.pattern, tt.path, got, tt.want)
		}
	}
}

// A hostile path isn't matched before it is known to be short, and then at once.
func TestHostilePaths(t *testing.T) {
	x := Exclude{"**/a/**/a/**/b", "a/a/a/b", "*a*a*a*a*b"}
	began := time.Now()
	long := bytes.Repeat([]byte("a/"), maxPath*8)[:maxPath*16-attrSize-1]
	for _, path := range [][]byte{long, bytes.Repeat([]byte("a/"), maxNames+1)[:2*maxNames+1]} {
		_, err := syncGet(t, SyncReceiver{Exclude: x}, ground(t), dir(string(path)))
		if !errors.Is(err, ErrFormat) {
			t.Errorf("a path of %d bytes: got %v, want %v", len(path), err, ErrFormat)
		}
	}
	name := strings.Repeat("a", maxName)
	path := strings.Repeat(name+"/", maxNames-1) + name
	if x.Match(path, true) {
		t.Errorf("got a match of a path of %d names, want none", maxNames)
	}
	// If each star were tried in each place, it would take years.
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v, want at once", took)
	}
}

// Directories that are too deep for a path are failures of their own.
func TestDeepSource(t *testing.T) {
	deep := "src" + strings.Repeat("/d", maxNames)
	fsys := fstest.MapFS{"src/x": {Data: []byte("x")}, deep + "/y": {Data: []byte("y")}}
	var sent bytes.Buffer
	var told []string
	s := SyncSender{Changed: func(string, bool) {}}
	s.W = NewWriter(&sent)
	s.Failed = func(path string, err error) { told = append(told, path+": "+err.Error()) }
	err := s.Sync(t.Context(), "dest", Source{FS: fsys, Path: "src", Name: "top"},
		bytes.NewReader(slices.Concat(record(kindAsked), done)))
	if err != nil || len(told) != 1 || !strings.Contains(told[0], errDeep.Error()) {
		t.Errorf("got %v, told %q, want one directory that is too deep", err, told)
	}
}

// FuzzSyncGet is FuzzReceive for a sync.
func FuzzSyncGet(f *testing.F) {
	f.Add(slices.Concat(dir("top"), question("x", 1), record(kindAsked), dir("top"),
		small("x", "y"), done))
	f.Add(slices.Concat(dir("top"), linkedTo(0, "x", 1), linkedTo(0, "z", 1), record(kindAsked),
		dir("top"), small("x", "y"), done))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := ground(t)
		if len(b) > 4*piece {
			return
		}
		r := SyncReceiver{Delete: true}
		r.Flags = HardLinks | Xattrs
		syncGet(t, r, root, b)
		got, err := os.ReadFile(filepath.Join(root, "out/secret"))
		if err != nil || string(got) != "secret" {
			t.Errorf("got %q, %v in a file outside", got, err)
		}
	})
}
