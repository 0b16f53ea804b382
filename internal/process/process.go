// Package process is for what this process has of the system: it starts programs, waits for their
// ends and makes terminals for them, and shares out the files that may be open (RLIMIT_NOFILE).
// What starts processes and connections leaves a reserve of files, so that a full process still
// reads modules, takes its clients' connections and says what is wrong.
package process

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts a program that is no plan's: a Go context uses it for its sessions. The program has
// a process group of its own, and signals at their defaults. On Linux the kernel kills it when this
// process is gone, unless the program is setuid. attr.Sys may ask for more.
func Start(path string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	if attr.Sys == nil {
		attr.Sys = &syscall.SysProcAttr{Setpgid: true}
	}
	DieWithUs(attr.Sys)
	return Fork(path, argv, attr)
}

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

// Echoes tells whether a terminal repeats what is typed.
func Echoes(fd int) bool {
	t, err := unix.IoctlGetTermios(fd, ioctlGet)
	return err != nil || t.Lflag&unix.ECHO != 0
}
