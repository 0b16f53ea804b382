package peer

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// stranger is the number of a user that isn't ours.
const stranger = 65533

// A directory that another user could have made, or could replace, is refused by name.
func TestCheckDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to give a directory away")
	}
	for _, c := range []struct {
		name string
		make func(dir string) error
		want string // in the error; "": none
	}{
		{"own", func(dir string) error { return os.Mkdir(dir, 0o700) }, ""},
		{"foreign", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, stranger, -1))
		}, "belongs to user 65533"},
		{"open", func(dir string) error { return os.Mkdir(dir, 0o755) }, "mode 0755"},
		{"open to a group", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o730))
		}, "mode 0730"},
		{"a link", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"-real", 0o700), os.Symlink(dir+"-real", dir))
		}, "is no directory"},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is no directory"},
		{"a socket", func(dir string) error {
			_, err := net.Listen("unix", dir)
			return err
		}, "is no directory"},
		{"foreign parent", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chown(filepath.Dir(dir), stranger, -1))
		}, "belongs to user 65533"},
		{"open parent", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(filepath.Dir(dir), 0o777))
		}, "can be written by others"},
		{"sticky parent", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(filepath.Dir(dir), 0o777|os.ModeSticky))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent, err := os.MkdirTemp("/tmp", "place") // t.TempDir's paths are too long for a socket
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(parent)
			dir := filepath.Join(parent, "d")
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{"CheckDirectory": CheckDirectory(dir),
				"MakeDirectory": MakeDirectory(dir)} {
				var place *PlaceError
				switch {
				case c.want == "" && err != nil:
					t.Errorf("%s: got %v, want no error", what, err)
				case c.want != "" && (!errors.As(err, &place) || !strings.Contains(err.Error(), c.want)):
					t.Errorf("%s: got %v, want a PlaceError with %q", what, err, c.want)
				}
			}
		})
	}
}

// A socket that another user listens at is sent nothing, though its directory has been handed over.
func TestDialForeign(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to be two users")
	}
	const python = "/usr/bin/python3" // which other users can execute, too
	if _, err := os.Stat(python); err != nil {
		t.Skip(err)
	}
	parent, err := os.MkdirTemp("/tmp", "place")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "d")
	if err := errors.Join(os.Chmod(parent, 0o755), os.Mkdir(dir, 0o700),
		os.Chown(dir, stranger, -1)); err != nil {
		t.Fatal(err)
	}
	const program = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(1)
print('listening', flush=True)
c, _ = s.accept()
print(len(c.recv(100)), flush=True)
`
	cmd := exec.Command(python, "-c", program, filepath.Join(dir, "s"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger,
		Gid: stranger}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	said := bufio.NewScanner(out)
	if !said.Scan() {
		t.Fatalf("the other user's program ends: %v", said.Err())
	}
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	var place *PlaceError
	if c, err := Dial(filepath.Join(dir, "s")); !errors.As(err, &place) ||
		!strings.Contains(err.Error(), "served by another user") {
		t.Errorf("Dial: got %v, %v, want a PlaceError", c, err)
	}
	if !said.Scan() || said.Text() != "0" {
		t.Errorf("the other user was sent %q bytes, want 0", said.Text())
	}
}

// The user's own places come first, and a given place is never ignored.
func TestDirectory(t *testing.T) {
	uid := strconv.Itoa(os.Getuid())
	home := t.TempDir()
	run := "/run/user/" + uid
	if st, err := os.Lstat(run); err == nil && st.IsDir() && st.Mode().Perm() == 0o700 {
		t.Setenv("XDG_RUNTIME_DIR", "")
		if got := Directory(); got != run+"/mitogen" {
			t.Errorf("with %s: got %s", run, got)
		}
		return
	}
	long := filepath.Join(home, strings.Repeat("long", 20))
	open := filepath.Join(home, "open")
	if err := errors.Join(os.Mkdir(long, 0o700), os.Mkdir(open, 0o700),
		os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	short, err := os.MkdirTemp("/tmp", "home")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	for _, c := range []struct{ runtime, home, want string }{
		{"/srv/run", short, "/srv/run/mitogen"},
		{"/no/such/place", short, "/no/such/place/mitogen"},
		{"relative", short, short + "/.cache/mitogen"},
		{"", short, short + "/.cache/mitogen"},
		{"", long, "/tmp/mitogen-" + uid},
		{"", open, "/tmp/mitogen-" + uid},
		{"", "/no/such/home", "/tmp/mitogen-" + uid},
	} {
		t.Setenv("XDG_RUNTIME_DIR", c.runtime)
		t.Setenv("HOME", c.home)
		if got := Directory(); got != c.want {
			t.Errorf("XDG_RUNTIME_DIR=%q HOME=%q: got %s, want %s", c.runtime, c.home, got, c.want)
		}
	}
}
