//go:build darwin || freebsd

package process

import (
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// OpenTerminal returns both ends of a new terminal. The child takes the slave. A read of the master
// fails once no process has the slave open. The master blocks, whatever deadline is set.
func OpenTerminal(echo bool) (master, slave *os.File, err error) {
	master, slave, err = pty.Open()
	if err != nil {
		return nil, nil, err
	}
	if err = setEcho(int(slave.Fd()), echo); err != nil {
		master.Close()
		slave.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// The ioctls that get and set a terminal's mode.
const ioctlGet, ioctlSet = unix.TIOCGETA, unix.TIOCSETA

// AwaitExit returns when a child has ended, and leaves it to be reaped: so no other process gets
// its number, nor the number of its process group.
func AwaitExit(pid int) {
	kq, err := unix.Kqueue() // a child doesn't inherit it
	if err != nil {
		return // what can't be watched is ended
	}
	defer unix.Close(kq)
	var watch unix.Kevent_t
	unix.SetKevent(&watch, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	watch.Fflags = unix.NOTE_EXIT
	for {
		_, err := unix.Kevent(kq, []unix.Kevent_t{watch}, make([]unix.Kevent_t, 1), nil)
		if err != unix.EINTR { // ESRCH: it has ended already
			return
		}
	}
}
