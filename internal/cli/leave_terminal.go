package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// leaveTerminal gives up the terminal that controls this process. Otherwise a read of a client's
// terminal would stop this process in the background of a shell with job control. Keys that send
// signals still do, to the whole process group. lazy: a connect may have to ask there, so the
// terminal is kept.
func leaveTerminal(lazy bool) {
	leader, err := unix.Getsid(0)
	if lazy || err != nil || leader == os.Getpid() { // a leader's end of it would be its session's
		return
	}
	tty, err := openTTY()
	if err != nil {
		return
	}
	defer tty.Close()
	unix.IoctlSetInt(int(tty.Fd()), unix.TIOCNOTTY, 0)
}
