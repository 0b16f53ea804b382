package stream

import "golang.org/x/sys/unix"

func setPipeSize(fd, n int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, n)
	return err == nil
}
