package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/lab"
)

// busyboxTree returns a directory tree that has busybox and nothing else: no devices either.
func busyboxTree(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil || os.Getuid() != 0 {
		t.Skip("takes busybox and root")
	}
	root := t.TempDir()
	files := []string{busybox}
	if out, err := exec.Command("ldd", busybox).Output(); err == nil { // it isn't static
		files = append(files, regexp.MustCompile(`/\S+`).FindAllString(string(out), -1)...)
	}
	for _, file := range files {
		to := root + file
		if file == busybox {
			to = root + "/bin/busybox"
		}
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(root+"/tmp", 0o1777)
	out, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		os.Symlink("busybox", root+"/bin/"+name) // one of them is busybox
	}
	return root
}

// withoutPython copies a file to a target without Python and back, and looks at what exec says.
func withoutPython(t *testing.T, target, dir string, o mitogen.ConnectOptions) {
	t.Helper()
	e := engine(t, mitogen.Options{})
	data := bytes.Repeat([]byte("some bytes\n"), 50_000)
	src, dest := filepath.Join(t.TempDir(), "it's \n"), dir+"/-x y"
	if err := os.WriteFile(src, data, 0o751); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Connect(t.Context(), target, o); !errors.Is(err, connect.ErrNoPython) {
		t.Fatalf("connect: got %v, want %v", err, connect.ErrNoPython)
	}
	opt := mitogen.CopyOptions{Failed: func(e *mitogen.FileError) { t.Error(e) }}
	for range 2 { // over the old file, too
		if _, err := e.PutFile(t.Context(), target, o, dest, opt, src); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.GetFile(t.Context(), target, o, src+"back", opt, dest); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(src + "back"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes back, %v, want %d", len(got), err, len(data))
	}
	var out bytes.Buffer
	status, err := e.Exec(t.Context(), target, o, mitogen.Command{
		Args: []string{"sh", "-c", `ls -A "$1"; exit 5`, "sh", dir}, Stdout: &out})
	if got, want := out.String(), "-x y\n"; status != 5 || err != nil || got != want {
		t.Errorf("exec: got status %d, %v, %q, want 5 and %q", status, err, got, want)
	}
}

// A tree with busybox alone takes files, as any does over ssh.
func TestWithoutPythonInTree(t *testing.T) {
	root := busyboxTree(t)
	withoutPython(t, "chroot:"+root, "/tmp", mitogen.ConnectOptions{})
}

// The same over ssh, where --python names none that is there.
func TestWithoutPythonBySSH(t *testing.T) {
	l := lab.Need(t)
	dir, err := os.MkdirTemp("", "nopython-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o777)
	withoutPython(t, lab.Free, dir, mitogen.ConnectOptions{Options: connect.Options{Python: []string{
		"no-such-python"},
		SSH: connect.SSHOptions{ConfigFile: l.Config}}})
}
