package ownfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// TestCreate checks that --stats follows links of root and the user, and refuses another user's.
func TestCreate(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to give a link away")
	}
	const stranger = 65533
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	need := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	need(os.MkdirAll(at("own/below"), 0o700))
	need(os.Mkdir(at("theirs"), 0o755))
	need(os.WriteFile(at("own/kept"), []byte("kept"), 0o600))
	for name, to := range map[string]string{"link": "own", "absolute": at("own/below"),
		"file": "own/written", "round": "round",
		"theirs/out": at("own"), "theirs/file": at("own/kept"), "theirs/mine": at("own")} {
		need(os.Symlink(to, at(name)))
	}
	need(os.Link(at("own/kept"), at("theirs/second")))
	for _, name := range []string{"theirs", "theirs/out", "theirs/file"} {
		need(os.Lchown(at(name), stranger, stranger))
	}
	for name, want := range map[string]string{
		"own/new": "", "link/a": "", "link/below/../b": "", "absolute/c": "", "file": "",
		"theirs/mine/d": "", "theirs/e": "", "own//./f": "",
		"theirs/out/x": "link of user 65533", "theirs/file": "link of user 65533",
		"theirs/out/below/x": "link of user 65533",
		"theirs/second":      "second name", "round": "too many levels", "none/x": "no such file",
		"own/kept/x": "not a directory",
		"own":        "is a directory", "own/": "is a directory",
	} {
		f, err := Create(dir+"/"+name, 0o666)
		if err == nil {
			_, err = f.WriteString("new")
			f.Close()
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: got %v, want no error", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want an error with %q", name, err, want)
		}
	}
	for name, want := range map[string]string{"own/kept": "kept", "own/a": "new", "own/b": "new",
		"own/below/c": "new", "own/written": "new", "own/d": "new"} {
		if b, err := os.ReadFile(at(name)); err != nil || string(b) != want {
			t.Errorf("%s: got %q, %v, want %q", name, b, err, want)
		}
	}
	need(os.WriteFile(at("own/long"), []byte("longer than before"), 0o600))
	f, err := Create(at("own/long"), 0o666)
	need(err)
	f.Close()
	if st, err := os.Stat(at("own/long")); err != nil || st.Size() != 0 {
		t.Errorf("a file that was there: got %d bytes, want 0", st.Size())
	}
	if f, err := Create("/dev/stderr", 0o666); err != nil {
		t.Errorf("/dev/stderr: got %v", err)
	} else {
		f.Close()
	}
}

// What is appended to is reached in the same way, and is no link itself.
func TestAppend(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to give a link away")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(at("log"), []byte("before"), 0o600), os.Symlink("log", at("link")),
		os.Mkdir(at("theirs"), 0o755), os.Mkdir(at("private"), 0o700),
		os.Symlink(at("private"), at("theirs/out")), os.Lchown(at("theirs/out"), 65533, 65533),
		os.Chown(at("theirs"), 65533, 65533),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"log": "", "link": "too many levels",
		"theirs/out/log": "link of user 65533"} {
		f, err := Append(at(name), 0o600)
		if err == nil {
			_, err = f.WriteString(", after")
			f.Close()
		}
		if want == "" && err != nil ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if b, err := os.ReadFile(at("log")); err != nil || string(b) != "before, after" {
		t.Errorf("got %q, %v", b, err)
	}
}

// Another user's pipe is neither waited for nor written to.
func TestPipes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to give a pipe away")
	}
	theirs := filepath.Join(t.TempDir(), "pipe")
	if err := errors.Join(syscall.Mkfifo(theirs, 0o666), os.Chown(theirs, 65533, 65533)); err != nil {
		t.Fatal(err)
	}
	if f, err := Create(theirs, 0o600); err == nil { // without a reader
		f.Close()
		t.Error("got no error, want one")
	}
	own := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(own, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Append(own, 0o600); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("a pipe without a reader: got %v, want ENXIO", err)
	}
	reader, err := os.OpenFile(theirs, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if f, err := Create(theirs, 0o600); err == nil ||
		!strings.Contains(err.Error(), "pipe of user 65533") {
		f.Close()
		t.Errorf("got %v, want that it is another user's pipe", err)
	}
}
