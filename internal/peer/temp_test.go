package peer

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A server finds a place for its socket whatever TMPDIR is. No other user can enter that place,
// whatever the umask is.
func TestServerInAnySurroundings(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "t")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	long := filepath.Join(short, strings.Repeat("x", 120))
	spaced := filepath.Join(short, "a b ü")
	for _, d := range []string{long, spaced} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for temp, want := range map[string]string{short: short, spaced: spaced, long: "/tmp", "": "/tmp",
		"relative": "/tmp", "/no/such": "/tmp", "/etc/passwd": "/tmp"} {
		for _, mask := range []int{0, 0o022, 0o077, 0o777} {
			t.Setenv("TMPDIR", temp)
			old := syscall.Umask(mask)
			s := &Server{}
			socket, err := s.Start(func(*net.UnixConn) {})
			syscall.Umask(old)
			if err != nil {
				t.Errorf("TMPDIR=%s, umask %03o: %v", temp, mask, err)
				continue
			}
			if got := filepath.Dir(filepath.Dir(socket)); got != want {
				t.Errorf("TMPDIR=%s: got a socket in %s, want %s", temp, got, want)
			}
			for name, want := range map[string]os.FileMode{filepath.Dir(socket): 0o700, socket: 0o600} {
				if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
					t.Errorf("TMPDIR=%s, umask %03o: %s: got %v, %v, want mode %o", temp, mask, name, info.Mode(),
						err, want)
				}
			}
			if c, err := net.Dial("unix", socket); err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What can't be made says why, for each place.
func TestMakeTempFails(t *testing.T) {
	_, err := makeTemp([]string{"/no/such", "/etc/passwd", "/no/other"})
	if err == nil || !strings.Contains(err.Error(), "/no/such") ||
		!strings.Contains(err.Error(), "/etc/passwd") || !strings.Contains(err.Error(), "/no/other") {
		t.Errorf("got %v, want an error with the three places", err)
	}
	if dir, err := makeTemp([]string{"/no/such", t.TempDir()}); err != nil ||
		filepath.Base(dir)[:len(dirPrefix)] != dirPrefix {
		t.Errorf("got %s, %v, want a directory in the second place", dir, err)
	}
}

// A private server's sockets are below Directory, unless that is too long, and end with it.
func TestPrivateServer(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "run")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	t.Setenv("TMPDIR", "")
	for _, tt := range []struct {
		runtime string
		below   bool
	}{{short, true}, {filepath.Join(short, strings.Repeat("x", 40)), true},
		{filepath.Join(short, strings.Repeat("x", 100)), false}} {
		t.Setenv("XDG_RUNTIME_DIR", tt.runtime)
		s := &Server{Private: true}
		first, err := s.Start(func(*net.UnixConn) {})
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Also("1", func(c *net.UnixConn) { c.Write([]byte("1")) })
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(first)
		if strings.HasPrefix(dir, Directory()+"/") != tt.below || filepath.Dir(second) != dir {
			t.Errorf("%s: got %s and %s, want below %v", tt.runtime, first, second, tt.below)
		}
		if got := Lasting(dir); got != tt.below {
			t.Errorf("%s: got lasting %v, want %v", dir, got, tt.below)
		}
		c, err := Dial(second)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 1 {
			t.Errorf("%s: got %d bytes, %v, want 1", second, n, err)
		}
		c.Close()
		s.Close()
		if _, err := s.Also("2", func(*net.UnixConn) {}); err == nil {
			t.Error("closed: got no error")
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: still there", dir)
		}
	}
	if Lasting("/tmp/mitogen-1") || Lasting("/tmp/mitogen-0/mitogen-1") {
		t.Error("directories of /tmp are said to last")
	}
}
