package daemonclient

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// DefaultSocket returns the path of the user's own daemon.
func DefaultSocket() string { return filepath.Join(peer.Directory(), "daemon.sock") }

// Locked tells whether a daemon has the socket, or is about to.
func Locked(socket string) bool {
	f, err := os.Open(socket + ".lock")
	if err != nil {
		return false
	}
	defer f.Close()
	return Flock(f, syscall.LOCK_SH) == syscall.EWOULDBLOCK
}

// Flock locks a file if that is possible at once.
func Flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != syscall.EINTR {
			return err
		}
	}
}
