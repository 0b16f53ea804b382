package process

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

// usable returns the first descriptor of the reserve. The system gives the lowest that is free, so
// a descriptor that isn't lower says that all before it are in use.
func usable() int {
	n := limit()
	return n - min(n/part, maxReserve)
}

// FileRoom returns how many more files may be opened without the reserve, at least 0. It counts the
// files that are open.
func FileRoom() int {
	open, err := os.ReadDir("/dev/fd")
	used := len(open) - 1 // without the directory's
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

// KeepFile returns an error, with syscall.EMFILE in its chain, if an open file or connection takes
// of the reserve. The caller closes it then.
func KeepFile(c syscall.Conn) error {
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

// CheckFiles returns an error, with syscall.EMFILE in its chain, unless n files can be opened now,
// the reserve included. It opens files without Go's poller, which ends a program that can't have
// its own.
func CheckFiles(n int) error {
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

// A Listener takes connections though this process may be full.
type Listener struct {
	l     *net.UnixListener
	away  func(*net.UnixConn)
	spare int // a descriptor that a client gets who is turned away; -1: there is none now
}

// Accept waits acceptPause before it looks for descriptors or memory again, and acceptPatience
// before it turns clients away.
const (
	acceptPause    = 50 * time.Millisecond
	acceptPatience = 2 * time.Second
)

// NewListener returns a Listener, which has a descriptor of its own until its Accept fails. away,
// if not nil, tells a client why it is turned away: Accept calls it with a connection that is
// closed when it returns, and takes no other client meanwhile.
func NewListener(l *net.UnixListener, away func(*net.UnixConn)) *Listener {
	n := &Listener{l: l, away: away, spare: -1}
	n.provide()
	return n
}

// provide opens the spare descriptor if there is none.
func (n *Listener) provide() {
	if n.spare >= 0 {
		return
	}
	if fd, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		n.spare = fd
	}
}

// give closes the spare descriptor.
func (n *Listener) give() {
	if n.spare >= 0 {
		unix.Close(n.spare)
		n.spare = -1
	}
}

// Accept returns the next connection. It waits while this machine lacks what a connection needs,
// and for the next connection if one has ended already. Clients for whom there is no descriptor
// within acceptPatience are turned away. It fails only if the listener is closed. One goroutine
// calls it.
func (n *Listener) Accept() (*net.UnixConn, error) {
	var short time.Time // since when there are no descriptors
	for {
		c, err := n.l.AcceptUnix()
		switch {
		case err == nil:
			n.provide()
			return c, nil
		case !Passes(err):
			n.give()
			return nil, err
		case !errors.Is(err, syscall.EMFILE):
			short = time.Time{}
		case short.IsZero():
			short = time.Now()
		case time.Since(short) > acceptPatience:
			n.turnAway()
		}
		time.Sleep(acceptPause)
	}
}

// turnAway takes the next client by the spare descriptor, if it is still there, and closes its
// connection.
func (n *Listener) turnAway() {
	n.give()
	defer n.provide()
	n.l.SetDeadline(time.Now().Add(acceptPause))
	c, err := n.l.AcceptUnix()
	n.l.SetDeadline(time.Time{})
	if err != nil {
		return
	}
	defer c.Close()
	if n.away != nil {
		n.away(c)
	}
}

// Passes tells whether an error of accept is no reason to take no more connections.
func Passes(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EPERM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
