package ownfile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// actAs has file systems take this goroutine for another user, until the end of the test.
func actAs(t *testing.T, uid int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("it takes root to act as another user")
	}
	runtime.LockOSThread()
	before, err := unix.SetfsuidRetUid(uid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.SetfsuidRetUid(before)
		runtime.UnlockOSThread()
	})
}

// The account need not be allowed to list the directories on the way, such as /home.
func TestServeThroughClosed(t *testing.T) {
	const user = 65533
	src, dir := content(t, 0o644), t.TempDir()
	home := dir + "/home/user"
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.MkdirAll(home+"/below", 0o755),
		os.Chmod(dir+"/home", 0o711), os.Chown(home, user, user),
		os.Chown(home+"/below", user, user)); err != nil {
		t.Fatal(err)
	}
	for dest, want := range map[string]string{"": "x", "/below/": "below/x", "/new": "new"} {
		t.Run(dest, func(t *testing.T) {
			actAs(t, user)
			if told := putFrom(t, src, home+dest, 0); len(told) > 0 {
				t.Errorf("got %q, want no failure", told)
			}
			if _, err := os.Lstat(home + "/" + want); err != nil {
				t.Error(err)
			}
		})
	}
}
