package serial

import "golang.org/x/sys/unix"

// The ioctls that get and set a terminal's mode, any speed included.
const ioctlGet, ioctlSet = unix.TCGETS2, unix.TCSETS2

func setBaud(t *unix.Termios, baud int) {
	t.Cflag = t.Cflag&^unix.CBAUD | unix.BOTHER
	t.Ispeed, t.Ospeed = uint32(baud), uint32(baud)
}
