package ownfile

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// wideFS has directories d0, d1 and so on, with files of one byte.
type wideFS struct{ dirs, files int }

// entry is a file or a directory of a wideFS.
type entry struct {
	name string
	dir  bool
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.dir }
func (e entry) Type() fs.FileMode          { return e.Mode().Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return 1 }
func (e entry) ModTime() time.Time         { return time.Unix(1, 0) }
func (e entry) Sys() any                   { return nil }
func (e entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

func (w wideFS) Lstat(name string) (fs.FileInfo, error) { return w.Stat(name) }
func (w wideFS) ReadLink(name string) (string, error)   { return "", fs.ErrInvalid }
func (w wideFS) Stat(name string) (fs.FileInfo, error) {
	return entry{path.Base(name), !strings.Contains(name, "file")}, nil
}

func (w wideFS) Open(name string) (fs.File, error) {
	return fstest.MapFS{"x": {Data: []byte("x"), Mode: 0o644}}.Open("x")
}

func (w wideFS) ReadDir(name string) (all []fs.DirEntry, err error) {
	if name == "." {
		for i := range w.dirs {
			all = append(all, entry{fmt.Sprint("d", i), true})
		}
		return all, nil
	}
	for i := range w.files {
		all = append(all, entry{fmt.Sprint("file", i), false})
	}
	return all, nil
}

// wants plays the other side of a sync, which wants all files or none, and counts those that come.
func wants(from io.Reader, to io.Writer, all bool, sent *int) error {
	w := NewWriter(to)
	var questions uint32
	for r := newReader(from); ; {
		kind, _, err := r.next()
		switch {
		case err != nil:
			return err
		case kind == kindQuestion && all:
			err = w.record(kindNeed, binary.BigEndian.AppendUint32(nil, questions))
			questions++
		case kind == kindSmall:
			*sent++
		case kind == kindAsked || kind == kindDone:
			w.record(kind)
			err = w.Flush()
		}
		if err != nil || kind == kindDone {
			return err
		}
	}
}

// TestSyncOfMany holds the memory of a sync: so many bytes for each file, and a tree of a million
// with MITOGEN_SOAK.
func TestSyncOfMany(t *testing.T) {
	src := wideFS{200, 100}
	if os.Getenv("MITOGEN_SOAK") != "" {
		src.dirs = 10_000
	}
	files := src.dirs * src.files
	for _, all := range []bool{false, true} {
		there, here := io.Pipe()
		answers, said := io.Pipe()
		sent := 0
		ended := make(chan error, 1)
		go func() { ended <- wants(there, said, all, &sent) }()
		s := SyncSender{Changed: func(string, bool) {}}
		s.W = NewWriter(here)
		s.Failed = func(path string, err error) { t.Errorf("%s: %v, want it sent", path, err) }
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s.Sent = func(n Totals) {
			if n.Files == 1 { // all questions are asked
				runtime.GC()
				runtime.ReadMemStats(&after)
			}
		}
		began := time.Now()
		err := s.Sync(t.Context(), "dest", Source{FS: src, Path: ".", Label: "src"}, answers)
		if there := <-ended; err != nil || there != nil {
			t.Fatalf("got %v here, %v there, want no error", err, there)
		}
		if !all {
			runtime.GC()
			runtime.ReadMemStats(&after)
		}
		runtime.KeepAlive(&s)
		took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("%d files, wanted: %v: %d bytes of memory for each, %v", files, all,
			took/int64(files), time.Since(began))
		most := int64(64) // a name, and where it is
		if all {
			most += 96 // an answer
		}
		if took/int64(files) > most {
			t.Errorf("wanted %v: got %d bytes of memory for a file, want at most %d", all,
				took/int64(files), most)
		}
		if all && sent != files {
			t.Errorf("got %d files, want %d", sent, files)
		}
	}
}
