// Package confine takes rights from threads and processes that handle what other machines say.
//
// A Room is a thread that can read below some directories, and can do nothing else to the file
// system. The engine starts ssh, sudo and other programs, which would inherit the restrictions of a
// whole process. So only the thread is restricted that opens the files that targets ask for.
// Nothing restricts a whole process that starts no program.
//
// Linux has Landlock for files and seccomp for system calls. Where there is neither, a Room is no
// restriction, and Look says so.
package confine

import "errors"

// A State says which restrictions this system has.
type State struct {
	Landlock int    // the version of Landlock's interface; 0: the kernel has none
	Seccomp  bool   // system calls can be refused
	Missing  string // why one of the two is missing; "": none is
}

// ErrClosed is the error of a Room that was closed.
var ErrClosed = errors.New("room is closed")
