package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
)

// noPython is a target of one hop that has none.
var noPython = mitogen.ConnectOptions{Options: connect.Options{Python: []string{"no-such-python"}}}

// One file goes to a target without Python and back; it is whole, or the old one stays.
func TestCopyWithoutPython(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20} {
		name, data := noiseFile(t, size)
		when := time.Unix(1234567890, 0)
		os.Chtimes(name, when, when)
		dir := t.TempDir()
		o := mitogen.CopyOptions{Preserve: true, Failed: func(e *mitogen.FileError) { t.Error(e) }}
		put, err := e.PutFile(limited(t), "local", noPython, dir, o, name)
		if err != nil || put.Files != 1 || put.Bytes != int64(size) {
			t.Errorf("put %d bytes: got %+v, %v", size, put, err)
		}
		there := filepath.Join(dir, "noise")
		got, err := e.GetFile(limited(t), "local", noPython, dir+"/back", o, there)
		if err != nil || got.Files != 1 || got.Bytes != int64(size) {
			t.Errorf("get %d bytes: got %+v, %v", size, got, err)
		}
		for _, file := range []string{there, dir + "/back"} {
			b, err := os.ReadFile(file)
			st, _ := os.Stat(file)
			if err != nil || !bytes.Equal(b, data) || !st.ModTime().Equal(when) {
				t.Errorf("%s: got %d bytes of %d, %v", file, len(b), size, err)
			}
		}
	}
}

// Failures are those of files, and what is no file is another error.
func TestCopyWithoutPythonFails(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": "data", "dir/file/": ""})
	told, incomplete := error(nil), mitogen.ErrIncomplete
	o := mitogen.CopyOptions{Failed: func(e *mitogen.FileError) { told = e }}
	type do func(
		context.Context, string, mitogen.ConnectOptions, string, mitogen.CopyOptions, string,
	) (mitogen.CopyTotals, error)
	for name, tt := range map[string]struct {
		do        do
		dest, src string
		err, told error
	}{
		"put to nowhere":     {e.PutFile, dir + "/none/x", dir + "/file", incomplete, fs.ErrNotExist},
		"put of nothing":     {e.PutFile, dir + "/x", dir + "/none", incomplete, fs.ErrNotExist},
		"put of a directory": {e.PutFile, dir + "/x", dir + "/dir", mitogen.ErrOneFile, nil},
		"get of nothing":     {e.GetFile, dir + "/x", dir + "/none", incomplete, fs.ErrNotExist},
		"get of ..":          {e.GetFile, dir + "/x", dir + "/dir/..", mitogen.ErrOneFile, nil},
	} {
		told = nil
		_, err := tt.do(limited(t), "local", noPython, tt.dest, o, tt.src)
		if !errors.Is(err, tt.err) || !errors.Is(told, tt.told) {
			t.Errorf("%s: got %v and %v, want %v and %v", name, err, told, tt.err, tt.told)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("got %v, want nothing new", entries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.PutFile(ctx, "local", noPython, dir+"/x", o, dir+"/file"); err == nil {
		t.Error("with ctx ended: got no error")
	}
}

// A copy whose context is lost at any moment says why it was.
func TestCopiesSayWhyThereIsNoPython(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	name, _ := noiseFile(t, 10)
	for range 40 {
		c, err := e.Start("local", noPython)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Get(limited(t), t.TempDir(), mitogen.CopyOptions{}, name)
		if !errors.Is(err, connect.ErrNoPython) {
			t.Fatalf("get: got %v, want %v", err, connect.ErrNoPython)
		}
		if c, err = e.Start("local", noPython); err != nil {
			t.Fatal(err)
		}
		_, err = c.Put(limited(t), t.TempDir(), mitogen.CopyOptions{}, name)
		if !errors.Is(err, connect.ErrNoPython) {
			t.Fatalf("put: got %v, want %v", err, connect.ErrNoPython)
		}
	}
}

// What is no file stays, where there is no Python either.
func TestCopyWithoutPythonSparesSpecial(t *testing.T) {
	e := newEngine(t, mitogen.Options{})
	name, _ := noiseFile(t, 100)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := e.PutFile(limited(t), "local", noPython, pipe, mitogen.CopyOptions{}, name)
	if st, _ := os.Lstat(pipe); err == nil || st == nil || st.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("got %v, %v, want an error, and the pipe", st, err)
	}
}
