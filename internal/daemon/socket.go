package daemon

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/peer"
)

// ErrRunning says that another daemon has the socket.
var ErrRunning = errors.New("a daemon is running")

// lockPatience limits the time that a starting daemon waits for a lock. Clients that check for a
// daemon hold the lock for a moment.
const lockPatience = 2 * time.Second

// take locks a file for a daemon. Who looks whether there is one has the lock for a moment, shared;
// a daemon has it alone.
func take(f *os.File) error {
	for end := time.Now().Add(lockPatience); ; {
		err := daemonclient.Flock(f, syscall.LOCK_EX)
		if err != syscall.EWOULDBLOCK {
			return err
		}
		if daemonclient.Flock(f, syscall.LOCK_SH) == syscall.EWOULDBLOCK || time.Now().After(end) {
			return ErrRunning
		}
		daemonclient.Flock(f, syscall.LOCK_UN)
		time.Sleep(time.Millisecond + rand.N(4*time.Millisecond)) // another one may do the same
	}
}

// listen takes the socket, for as long as the lock is open. What a killed daemon has left is
// removed.
func listen(socket string) (l *net.UnixListener, lock *os.File, err error) {
	if err := peer.CheckLength(socket); err != nil {
		return nil, nil, err
	}
	if err := peer.MakeDirectory(filepath.Dir(socket)); err != nil {
		return nil, nil, err
	}
	lock, err = os.OpenFile(socket+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := take(lock); err != nil {
		lock.Close()
		if err != ErrRunning {
			err = fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		return nil, nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		lock.Close()
		return nil, nil, err
	}
	l, err = peer.Listen(socket)
	if err != nil {
		lock.Close()
		return nil, nil, err
	}
	return l, lock, nil
}
