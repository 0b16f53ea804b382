package peer

import (
	"os"
	"syscall"
)

// Pair returns two connected sockets, which no program that is started inherits. They block, and
// are the caller's to close.
func Pair() ([2]int, error) {
	syscall.ForkLock.RLock() // not every system can make sockets close-on-exec
	defer syscall.ForkLock.RUnlock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return pair, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range pair {
		syscall.CloseOnExec(fd)
	}
	return pair, nil
}
