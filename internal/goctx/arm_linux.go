package goctx

import (
	"os"

	"golang.org/x/sys/unix"
)

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// arm has the kernel kill this process group when the other end of fd closes: also a process that
// is stopped, or whose threads do not come to their turn.
func arm(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFSOCK {
		return nil // a pipe tells nothing while it has unread bytes
	}
	for _, step := range []struct{ op, value int }{
		{unix.F_SETSIG, int(unix.SIGKILL)}, {unix.F_SETOWN, -unix.Getpgrp()},
	} {
		if _, err := unix.FcntlInt(uintptr(fd), step.op, step.value); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_ASYNC)
	}
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	p := []unix.PollFd{{Fd: int32(fd)}}
	if n, _ := unix.Poll(p, 0); n > 0 && p[0].Revents&unix.POLLHUP != 0 {
		die() // it had closed before
	}
	return nil
}
