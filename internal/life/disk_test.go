package life

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/report"
)

// disk are scripts that leave a target no place to write, for want of permission or of room.
var disk = map[string]string{
	"read-only root": `mount -o remount,bind,ro /
for d in /tmp /var/tmp /run /dev/shm; do mount -t tmpfs -o ro none $d; done`,
	"full disk": `for d in /tmp /var/tmp /run /dev/shm $HOME; do
mount -t tmpfs -o size=4k none $d; echo >$d/.x
cat /dev/zero >$d/fill 2>/dev/null || :; done`,
}

// outside leaves a home directory that would be hidden for root's.
const outside = `case $HOME/ in /tmp/* | /var/tmp/* | /run/* | /dev/shm/*) export HOME=/root ;; esac
`

const diskModule = `
import errno, logging, os, tempfile

import helper

def places():
    "What an attempt to write says, by directory."
    r = {}
    for d in ('/tmp', '/var/tmp', '/run', '/dev/shm', os.path.expanduser('~')):
        try:
            fd = os.open(os.path.join(d, 'new'), os.O_WRONLY | os.O_CREAT)
            os.write(fd, ('x' * 10000).encode())
            r[d] = ''
        except OSError as e:
            r[d] = errno.errorcode[e.errno]
    return r

def numbers(n):
    for i in range(n):
        yield helper.double(i)
`

// A context, modules from RAM, a stream and a hop need no disk at all.
func TestNoDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a mount namespace needs root")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Fatal("install util-linux: ", err)
	}
	for name, mounts := range disk {
		t.Run(name, func(t *testing.T) {
			wrapper := filepath.Join(t.TempDir(), "python")
			script := "#!/bin/sh\nset -e\nmount --make-rprivate /\n" + outside + mounts +
				"\nexec python3 \"$@\"\n"
			if strings.HasPrefix(wrapper, "/tmp") { // it is open already when what holds it is hidden
				script = strings.Replace(script, "exec python3", "cd /\nexec python3", 1)
			}
			if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			noDisk(t, "unshare -m "+wrapper)
		})
	}
}

func noDisk(t *testing.T, python string) {
	ctx := context.Background()
	e, err := mitogen.New(mitogen.Options{Path: []fs.FS{fstest.MapFS{
		"nodisk.py": {Data: []byte(diskModule)},
		"helper.py": {Data: []byte("def double(n):\n    return 2 * n\n")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := e.Connect(ctx, "local", mitogen.ConnectOptions{Options: connect.Options{Python: []string{
		python}}})
	if err != nil {
		t.Fatal(err)
	}
	places, err := mitogen.Call[map[string]string](ctx, c, "nodisk:places")
	if err != nil {
		t.Fatal(err)
	}
	for dir, why := range places {
		if why != "EROFS" && why != "ENOSPC" {
			t.Errorf("%s could be written: %q; the test shows nothing", dir, why)
		}
	}
	var got []int
	for n, err := range mitogen.Stream[int](ctx, c, "nodisk:numbers", 3) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if !slices.Equal(got, []int{0, 2, 4}) {
		t.Errorf("got %v", got)
	}
	var raised *report.CallError
	if _, err := mitogen.Call[int](ctx, c, "helper:double"); !errors.As(err, &raised) ||
		raised.Type != "TypeError" {
		t.Errorf("got %v, want TypeError", err)
	}
}
