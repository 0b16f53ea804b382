package process

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// DieWithUs has the kernel kill the child when we are gone, however that came. It doesn't hold for
// setuid programs.
func DieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// OpenTerminal returns both ends of a new terminal. The child takes the slave. A read of the master
// fails once no process has the slave open. The master works with the poller, unlike the masters
// that packages make.
func OpenTerminal(echo bool) (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	slave, err = openSlave(fd, echo)
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

func openSlave(master int, echo bool) (*os.File, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock: %w", err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("get number: %w", err)
	}
	name := "/dev/pts/" + strconv.Itoa(n)
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	if err := setEcho(fd, echo); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tty"), nil
}

// The ioctls that get and set a terminal's mode.
const ioctlGet, ioctlSet = unix.TCGETS, unix.TCSETS

// AwaitExit returns when a child has ended, and leaves it to be reaped: so no other process gets
// its number, nor the number of its process group. It waits through the poller, so that many
// children need no thread each.
func AwaitExit(pid int) {
	if fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err == nil {
		f := os.NewFile(uintptr(fd), "pidfd")
		defer f.Close()
		if c, err := f.SyscallConn(); err == nil {
			if c.Read(func(uintptr) bool { return waitid(pid, unix.WNOHANG) }) == nil {
				return
			}
		}
	}
	waitid(pid, 0)
}

// waitid tells whether the child has ended, or can't be waited for.
func waitid(pid, options int) bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|options, nil)
		if err != unix.EINTR {
			return err != nil || info.Signo != 0
		}
	}
}
