package peer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A path that is listened at is for this user alone from its first moment, and removed when that is
// over.
func TestListenPath(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	dir = filepath.Join(dir, strings.Repeat("d", max(1, 107-len(dir)-len("//s")))) // as long as can be
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := ListenPath(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got %v, %v, want a socket of mode 600", st.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("got %v, want the socket alone", files)
	}
	if _, err := ListenPath(path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("in use: got %v, want %v", err, syscall.EADDRINUSE)
	}
	l.(*pathListener).UnixListener.Close() // as after SIGKILL
	if l, err = ListenPath(path); err != nil {
		t.Fatalf("in the place of a socket that is left: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("it is left")
	}
	if mode := worstMode(path, func() {
		for range 2000 {
			l, err := ListenPath(path)
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
	}); mode&0o177 != 0 {
		t.Errorf("got mode %o at some moment, want 600", mode)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenPath(path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("in the place of a file: got %v, want %v", err, syscall.EADDRINUSE)
	}
}

// worstMode returns all bits of the modes that path has had while f ran.
func worstMode(path string, f func()) (mode os.FileMode) {
	seen := make(chan os.FileMode)
	go func() {
		for mode := os.FileMode(0); ; {
			select {
			case seen <- mode:
				return
			default:
			}
			if st, err := os.Lstat(path); err == nil {
				mode |= st.Mode().Perm()
			}
		}
	}()
	f()
	return <-seen
}
