package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// DefaultSocket is the user's own: in $XDG_RUNTIME_DIR, or in a directory of /tmp that is named after the user's number.
func DefaultSocket() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "mitogen", "daemon.sock")
	}
	return filepath.Join(os.TempDir(), "mitogen-"+strconv.Itoa(os.Getuid()), "daemon.sock")
}

// ownDirectory sees to it that a socket's directory is ours, and nobody else's to enter.
func ownDirectory(socket string) error {
	dir := filepath.Dir(socket)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case ok && int(owner.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user", dir)
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others: chmod 700 it", dir)
	}
	return nil
}

// ErrRunning says that another daemon has the socket.
var ErrRunning = errors.New("a daemon is running")

// listen takes the socket, for as long as the lock is open. What a killed daemon has left is removed.
func listen(socket string) (l *net.UnixListener, lock *os.File, err error) {
	if err := ownDirectory(socket); err != nil {
		return nil, nil, err
	}
	lock, err = os.OpenFile(socket+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, nil, ErrRunning
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		lock.Close()
		return nil, nil, err
	}
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		lock.Close()
		return nil, nil, err
	}
	return l, lock, nil
}
