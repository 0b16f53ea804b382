package stream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// widen gives a pipe room for size bytes. It returns false for what is none, and if the account has
// its share.
func widen(file syscall.Conn, size int) bool {
	c, err := file.SyscallConn()
	if err != nil {
		return false
	}
	failed := error(nil)
	err = c.Control(func(fd uintptr) { _, failed = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) })
	return err == nil && failed == nil
}
