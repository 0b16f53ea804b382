package spawn

import "golang.org/x/sys/unix"

// setEcho makes a terminal repeat what is typed, or not. Of newlines it repeats none either way.
func setEcho(fd int, echo bool) error {
	t, err := unix.IoctlGetTermios(fd, ioctlGet)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO | unix.ECHONL
	if echo {
		t.Lflag |= unix.ECHO
	}
	return unix.IoctlSetTermios(fd, ioctlSet, t)
}

// echoes tells whether a terminal repeats what is typed.
func echoes(fd int) bool {
	t, err := unix.IoctlGetTermios(fd, ioctlGet)
	return err != nil || t.Lflag&unix.ECHO != 0
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
