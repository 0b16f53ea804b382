package ownfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// content returns a directory with one file, x.
func content(t *testing.T, mode fs.FileMode) Dir {
	t.Helper()
	src := t.TempDir()
	if err := os.WriteFile(src+"/x", []byte("hi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(src+"/x", mode); err != nil {
		t.Fatal(err)
	}
	return Dir(src)
}

// put has Serve make one file at dest, and returns what it says of failures.
func put(t *testing.T, dest string, flags Flags, mode fs.FileMode) (told []string) {
	t.Helper()
	return putFrom(t, content(t, mode), dest, flags)
}

// putFrom is put of a file of src.
func putFrom(t *testing.T, src Dir, dest string, flags Flags) (told []string) {
	t.Helper()
	var down, up bytes.Buffer
	w := NewWriter(&down)
	s := Sender{W: w, Failed: func(at string, err error) { t.Errorf("send %s: %v", at, err) }}
	if err := errors.Join(w.Put(flags, dest),
		s.Send(context.Background(), []Source{{src, "x", "x", "x"}})); err != nil {
		t.Fatal(err)
	}
	if err := Serve(context.Background(), &down, &up); err != nil {
		t.Fatal(err)
	}
	err := Refusals(&up, func(at string, err error) { told = append(told, at+": "+err.Error()) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// On the way to a destination links of root and of the account are followed, and no other.
func TestServeWay(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"a/b", "other", "to"} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"rel": "a/../a/b", "abs": dir + "/a/b", "up": "../" +
		filepath.Base(dir) + "/to", "loop": "loop", "dangling": "none", "theirs": "other"} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Lchown("theirs", 12345, -1); err != nil {
			t.Fatal(err)
		}
	}
	for dest, want := range map[string]string{"rel": "a/b/x", "abs": "a/b/x", "up": "to/x",
		"a/new":     "a/new",
		"./a//b/..": "a/x", "../" + filepath.Base(dir) + "/to": "to/x", dir + "/to/y": "to/y", ".": "x",
		dir + "/abs/../z": "a/z", "dangling": "dangling"} {
		os.Remove(want)
		if told := put(t, dest, 0, 0o644); len(told) > 0 {
			t.Errorf("%s: got %q, want no failure", dest, told)
		}
		if st, err := os.Lstat(want); err != nil || !st.Mode().IsRegular() {
			t.Errorf("%s: got %v, %v, want a file at %s", dest, st, err, want)
		}
		os.Remove(want)
	}
	refused := map[string]Flags{"loop/x": 0, "none/x": 0, "a/new": Into, "theirs/x": 0}
	if os.Getuid() != 0 {
		delete(refused, "theirs/x")
	}
	for dest, flags := range refused {
		if told := put(t, dest, flags, 0o644); len(told) != 1 {
			t.Errorf("%s: got %q, want one failure", dest, told)
		}
	}
	if all, _ := os.ReadDir("other"); len(all) > 0 {
		t.Errorf("got %v made through another account's link, want nothing", all)
	}
}

// An engine is trusted: with Preserve a file has the bits above its permissions.
func TestServeSpecial(t *testing.T) {
	dest := t.TempDir()
	for flags, want := range map[Flags]fs.FileMode{Preserve: 0o755 | fs.ModeSetuid, 0: 0o755} {
		if told := put(t, dest, flags, 0o755|fs.ModeSetuid); len(told) > 0 {
			t.Fatalf("got %q, want no failure", told)
		}
		st, err := os.Stat(dest + "/x")
		if err != nil || st.Mode() != want {
			t.Errorf("flags %d: got %v, %v, want %v", flags, st.Mode(), err, want)
		}
		os.Remove(dest + "/x")
	}
}

// A directory that becomes a link while it is read leads nowhere.
func TestServeExchanged(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, name := range []string{dir + "/d/inner", outside + "/inner"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755),
			os.WriteFile(name, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, to := range []string{outside, "e"} {
		tree := &treeFS{root: root}
		if err := errors.Join(os.RemoveAll(dir+"/e"), os.Rename(dir+"/d", dir+"/e"),
			os.Symlink(to, dir+"/d")); err != nil {
			t.Fatal(err)
		}
		if all, err := tree.ReadDir("d"); err == nil {
			t.Errorf("link to %s: got %v, want an error", to, all)
		}
		if f, err := tree.Open("d/inner"); err == nil {
			f.Close()
			t.Errorf("link to %s: got a file, want an error", to)
		}
		tree.leave()
		if err := errors.Join(os.Remove(dir+"/d"), os.Rename(dir+"/e", dir+"/d")); err != nil {
			t.Fatal(err)
		}
	}
	deep := &treeFS{root: root}
	if _, err := deep.ReadDir(strings.Repeat("d/", maxDepth) + "d"); err != syscall.ENAMETOOLONG {
		t.Errorf("got %v, want %v", err, syscall.ENAMETOOLONG)
	}
}

// What another user exchanges for a pipe is not waited for: nothing may ever write to it.
func TestInside(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(syscall.Mkfifo(dir+"/pipe", 0o600), os.Mkdir(dir+"/d", 0o700),
		os.Symlink("d", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"pipe", "d", "link"} {
		for way, open := range map[string]func() (*os.Root, error){
			"in a directory": func() (*os.Root, error) { return root.OpenRoot(inside(name)) },
			"by its path":    func() (*os.Root, error) { return os.OpenRoot(inside(dir + "/" + name)) },
		} {
			got, err := open()
			if err == nil {
				got.Close()
			}
			if (err == nil) != (name != "pipe") {
				t.Errorf("%s, %s: got %v", name, way, err)
			}
		}
	}
	if d, err := openDir(root, "link"); err == nil {
		d.Close()
		t.Error("a link was followed")
	}
}

// FuzzServe sends any bytes to a context's side, which may refuse them.
func FuzzServe(f *testing.F) {
	f.Add([]byte("P\x00\x00\x00\x05\x00\x00\x00\x05x.\x00\x00\x00\x00"))
	f.Add([]byte("G\x00\x00\x00\x07\x00\x00\x00\x01\x00\x01."))
	f.Add([]byte("G\x00\x00\x00\x06\x00\x00\x00\x01\x00\x09"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("..")) {
			return
		}
		b = bytes.ReplaceAll(b, []byte("/"), []byte("_")) // it stays in the directory of the test
		t.Chdir(t.TempDir())
		Serve(context.Background(), bytes.NewReader(b), io.Discard)
	})
}
