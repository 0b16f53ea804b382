package daemon

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// DefaultSocket returns the path of the user's own daemon.
func DefaultSocket() string { return filepath.Join(peer.Directory(), "daemon.sock") }

// ErrRunning says that another daemon has the socket.
var ErrRunning = errors.New("a daemon is running")

// listen takes the socket, for as long as the lock is open. What a killed daemon has left is removed.
func listen(socket string) (l *net.UnixListener, lock *os.File, err error) {
	if err := peer.MakeDirectory(filepath.Dir(socket)); err != nil {
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
