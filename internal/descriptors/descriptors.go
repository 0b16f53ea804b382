// Package descriptors shares out what files a process may have open (RLIMIT_NOFILE). What starts
// processes and connections leaves a reserve, so that a full process still reads modules, takes its
// clients' connections and says what is wrong.
package descriptors

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The reserve is this part of the limit.
const (
	part       = 8
	maxReserve = 16
)

// limit returns how many files this process may have open.
func limit() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 1 << 30
	}
	return int(l.Cur)
}

// usable returns the first descriptor of the reserve. The system gives the lowest that is free, so one
// that isn't lower says that all before it are in use.
func usable() int {
	n := limit()
	return n - min(n/part, maxReserve)
}

// Room returns how many more files may be opened without the reserve, at least 0. It counts those that
// are open.
func Room() int {
	open, err := os.ReadDir("/dev/fd")
	used := len(open) - 1 // without that of the directory
	if err != nil {
		used = lowest()
	}
	return max(0, usable()-used)
}

// lowest returns the lowest descriptor that is free, or the limit.
func lowest() int {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return limit()
	}
	unix.Close(fd)
	return fd
}

// Keep returns an error, with syscall.EMFILE in its chain, if an open file or connection takes of the
// reserve. The caller closes it then.
func Keep(c syscall.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	taken := false
	if err := raw.Control(func(fd uintptr) { taken = int(fd) >= usable() }); err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%w (limit %d)", syscall.EMFILE, limit())
	}
	return nil
}

// Check returns an error, with syscall.EMFILE in its chain, unless n files can be opened now, the
// reserve included. It opens files without Go's poller, which ends a program that can't have its own.
func Check(n int) error {
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for range n {
		fd, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %d files: %w (limit %d)", n, err, limit())
		}
		open = append(open, fd)
	}
	return nil
}

// Accept waits for acceptPause before it looks for descriptors or memory again.
const acceptPause = 50 * time.Millisecond

// Accept returns the listener's next connection. It waits while this machine lacks what a connection
// needs, and for the next connection if one has ended already. An error is that of a closed listener.
func Accept(l *net.UnixListener) (*net.UnixConn, error) {
	for {
		c, err := l.AcceptUnix()
		if err == nil || !passes(err) {
			return c, err
		}
		time.Sleep(acceptPause)
	}
}

// passes tells whether an error of accept is no reason to take no more connections.
func passes(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
