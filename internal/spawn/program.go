package spawn

import (
	"os"
	"syscall"
)

// StartProgram starts a program that is no plan's: a Go context uses it for its sessions. The
// program has a process group of its own, and signals at their defaults. On Linux the kernel kills
// it when this process is gone, unless the program is setuid. attr.Sys may ask for more.
func StartProgram(path string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	if attr.Sys == nil {
		attr.Sys = &syscall.SysProcAttr{Setpgid: true}
	}
	dieWithUs(attr.Sys)
	return fork(path, argv, attr)
}

// AwaitExit returns when a child has ended, and leaves it to be reaped: so no other process gets
// its number, nor the number of its process group.
func AwaitExit(pid int) { awaitExit(pid) }

// OpenTerminal returns both ends of a new terminal that echoes. The child takes the slave. A read
// of the master fails once no process has the slave open.
func OpenTerminal() (master, slave *os.File, err error) {
	t, err := openTerminal(true)
	if err != nil {
		return nil, nil, err
	}
	return t.master, t.slave, nil
}
