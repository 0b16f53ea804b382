package serial

import "golang.org/x/sys/unix"

// The ioctls that get and set a terminal's mode.
const ioctlGet, ioctlSet = unix.TIOCGETA, unix.TIOCSETA

func setBaud(t *unix.Termios, baud int) { t.Ispeed, t.Ospeed = uint32(baud), uint32(baud) }
