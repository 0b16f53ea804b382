//go:build darwin || freebsd

package spawn

import (
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openTerminal makes a master that blocks, whatever deadline is set: its reader ends with the last
// slave's close.
func openTerminal(echo bool) (*terminal, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	if err := setEcho(int(slave.Fd()), echo); err != nil {
		master.Close()
		slave.Close()
		return nil, err
	}
	return &terminal{master: master, slave: slave}, nil
}

// The ioctls that get and set a terminal's mode.
const ioctlGet, ioctlSet = unix.TIOCGETA, unix.TIOCSETA

// beforeHangUp interrupts the program that asks on the terminal. Closing the master would wait for
// its reader to return.
func beforeHangUp(master *os.File) { master.Write([]byte{3}) }

// awaitExit returns when the child has ended, and leaves it to be reaped.
func awaitExit(pid int) {
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

func stopped(pid int) bool {
	state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
