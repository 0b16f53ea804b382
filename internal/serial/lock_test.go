package serial

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLockFiles: a lock file of a process that runs counts; what another user may have put in its
// place is neither waited for nor read at length.
func TestLockFiles(t *testing.T) {
	dirs := lockDirs
	t.Cleanup(func() { lockDirs = dirs })
	running := fmt.Sprintf("%10d program user\n", os.Getppid())
	write := func(text string) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	for _, c := range []struct {
		name string
		make func(path string) error
		busy bool
	}{
		{"a process that runs", write(running), true},
		{"no number", write("nothing\n"), false},
		{"an empty file", write(""), false},
		{"a pipe", func(path string) error { return unix.Mkfifo(path, 0o600) }, false},
		{"a link to a file", func(path string) error {
			target := filepath.Join(filepath.Dir(path), "other")
			return errors.Join(os.WriteFile(target, []byte(running), 0o600), os.Symlink(target, path))
		}, false},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }, false},
		{"a file of 1 TiB", func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40))
		}, false},
	} {
		lockDirs = []string{t.TempDir()}
		if err := c.make(filepath.Join(lockDirs[0], "LCK..ttyX9")); err != nil {
			t.Fatal(err)
		}
		if err := lockFile("/dev/ttyX9"); errors.Is(err, ErrBusy) != c.busy {
			t.Errorf("%s: got error %v, want busy: %v", c.name, err, c.busy)
		}
	}
}
