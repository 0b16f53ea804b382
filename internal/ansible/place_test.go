package ansible_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/ansible"
	"github.com/mitogen-go/mitogen/internal/peer"
)

// placed are the clients in Python, each with the text of plugin/place.py in it.
func placed(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	connection, callback, err := ansible.Unpack(dir, "/nowhere/mitogen")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"connection": filepath.Join(connection, "mitogen.py"),
		"callback": filepath.Join(callback, "mitogen.py"),
		"example":  "../../examples/mitogen_place.py"}
}

// Every client in Python follows the one rule, which is one text.
func TestPlaceIsOneText(t *testing.T) {
	want, err := os.ReadFile("plugin/place.py")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range placed(t) {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(got), string(want)) != 1 {
			t.Errorf("%s: plugin/place.py is not in it", name)
		}
		if n := strings.Count(string(got), "AF_UNIX"); n != 1 {
			t.Errorf("%s: makes %d sockets, want the one of dial", name, n)
		}
	}
}

// Go and Python choose the same directory, and refuse the same ones.
func TestPlaceAsInGo(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "home")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	long, open, linked := filepath.Join(short, strings.Repeat("long", 20)), filepath.Join(short,
		"open"), filepath.Join(short, "linked")
	foreign := filepath.Join(short, "foreign")
	if err := errors.Join(os.Mkdir(long, 0o700), os.Mkdir(open, 0o700), os.Chmod(open, 0o777),
		os.Symlink(short, linked), os.Mkdir(foreign, 0o700)); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(foreign, 65533, -1); err != nil {
			t.Fatal(err)
		}
	}
	const program = `
import sys
exec(open(sys.argv[1]).read())
print(socket_directory())
for d in sys.argv[2:]:
    try:
        check_directory(d)
        print('fine')
    except PlaceError:
        print('refused')
    except OSError:
        print('missing')
`
	dirs := []string{short, long, open, linked, foreign, foreign + "/x", short + "/none", "/tmp",
		"/dev/null", "/root", "/"}
	for _, c := range []struct{ runtime, home, temp string }{
		{"/srv/run", short, ""}, {"/srv/run/", short, ""}, {"relative", short, ""}, {"", short, ""},
		{"", long, ""}, {"", open, ""}, {"", linked, ""}, {"", foreign, ""}, {"", "/no/such/home", ""},
		{"", "relative", ""}, {"", "", ""},
		{"", "", short}, {"", long, short}, {"", open, "/var/tmp"}, {"", short, short},
		{"", open, "relative"},
		{"/srv/run", short, "/var/tmp"},
	} {
		t.Setenv("XDG_RUNTIME_DIR", c.runtime)
		t.Setenv("HOME", c.home)
		t.Setenv("TMPDIR", c.temp) // which must change nothing
		want := []string{peer.Directory()}
		for _, d := range dirs {
			var place *peer.PlaceError
			switch err := peer.CheckDirectory(d); {
			case err == nil:
				want = append(want, "fine")
			case errors.As(err, &place):
				want = append(want, "refused")
			default:
				want = append(want, "missing")
			}
		}
		out, err := exec.Command("/usr/bin/python3",
			append([]string{"-c", program, "plugin/place.py"}, dirs...)...).Output()
		if got := strings.Fields(string(out)); err != nil ||
			strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("XDG_RUNTIME_DIR=%q HOME=%q TMPDIR=%q: Python got %q, %v; Go %q",
				c.runtime, c.home, c.temp, got, err, want)
		}
	}
}
