package spawn

import "golang.org/x/sys/unix"

// echoOff makes a terminal not repeat what is typed. get and set are the platform's ioctls.
func echoOff(fd int, get, set uint) error {
	t, err := unix.IoctlGetTermios(fd, get)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO | unix.ECHONL
	return unix.IoctlSetTermios(fd, set, t)
}

// readNow reads a non-blocking fd.
func readNow(fd int, b []byte) int {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n
		}
	}
}
