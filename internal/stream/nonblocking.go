package stream

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// nonblocking returns a function that writes to w what goes without waiting, or nil where that
// can't be told. It returns false when the pipe has failed.
func nonblocking(w io.Writer) func([]byte) (int, bool) {
	sc, ok := w.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	async := false
	if err := rc.Control(func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		async = err == nil && flags&unix.O_NONBLOCK != 0
	}); err != nil || !async {
		return nil
	}
	return func(b []byte) (n int, ok bool) {
		err := rc.Write(func(fd uintptr) bool {
			n, ok = write(int(fd), b)
			return true
		})
		return n, ok && err == nil
	}
}

func write(fd int, b []byte) (int, bool) {
	for {
		n, err := unix.Write(fd, b)
		switch err {
		case nil:
			return n, true
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, true
		default:
			return 0, false
		}
	}
}
