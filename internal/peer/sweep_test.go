package peer

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What killed processes leave is removed, and nothing else.
func TestSweep(t *testing.T) {
	temp, err := os.MkdirTemp("/tmp", "sweep") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	old := time.Now().Add(-2 * sweepAge)
	place := func(name string, mode os.FileMode, listens bool, when time.Time) string {
		dir := filepath.Join(temp, name)
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if listens {
			t.Cleanup(func() { l.Close() })
		} else {
			l.Close()
		}
		if err := os.Chtimes(dir, when, when); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	gone := place("mitogen-1", 0o700, false, old)
	stay := []string{
		place("mitogen-2", 0o700, true, old),
		place("mitogen-3", 0o700, false, time.Now()),
		place("mitogen-4", 0o755, false, old),
		place("mitogen-x", 0o700, false, old),
		place("other-1", 0o700, false, old),
	}
	empty := filepath.Join(temp, "mitogen-5")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(empty, old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(stay[0], filepath.Join(temp, "mitogen-6")); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o777, 0o770} { // other users could have put anything there
		if err := os.Chmod(temp, mode); err != nil {
			t.Fatal(err)
		}
		sweep(temp)
		if _, err := os.Lstat(gone); err != nil {
			t.Errorf("mode of %s %o: %v", temp, mode, err)
		}
	}
	if err := os.Chmod(temp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	sweep(temp)
	if _, err := os.Lstat(gone); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", gone, err)
	}
	for _, dir := range append(stay, empty) {
		if _, err := os.Lstat(dir); err != nil {
			t.Errorf("%s after the sweep: got %v, want it still there", dir, err)
		}
	}
	// A server does that when it starts.
	t.Setenv("TMPDIR", temp)
	gone = place("mitogen-7", 0o700, false, old)
	s := &Server{}
	if _, err := s.Start(func(*net.UnixConn) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(gone); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", gone, err)
	}
}
