package spawn

import "golang.org/x/sys/unix"

// readNow reads a non-blocking fd.
func readNow(fd int, b []byte) int {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n
		}
	}
}
