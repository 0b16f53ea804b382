package methods

import (
	"errors"
	"strings"
	"syscall"
)

// A shortage is an error of the system that says that a machine lacks something for a process or a
// connection, and not that anything is wrong with a target.
type shortage struct {
	errno syscall.Errno
	code  string // on the daemon's socket
	text  string // as programs print it, in lower case
}

// The first whose text occurs decides.
var shortages = []shortage{
	{syscall.ENFILE, "ENFILE", "too many open files in system"},
	{syscall.EMFILE, "EMFILE", "too many open files"},
	{syscall.EMFILE, "EMFILE", "no file descriptors available"}, // musl
	{syscall.ENOMEM, "ENOMEM", "cannot allocate memory"},
	{syscall.ENOMEM, "ENOMEM", "out of memory"}, // musl
	{syscall.EAGAIN, "EAGAIN", "resource temporarily unavailable"},
	{syscall.ENOSPC, "ENOSPC", "no space left on device"},
	{syscall.EDQUOT, "EDQUOT", "disk quota exceeded"},
	{syscall.ENOBUFS, "ENOBUFS", "no buffer space available"},
}

// Shortage returns the error of the system in err's chain that says which resource was lacking:
// EMFILE or ENFILE for descriptors, EAGAIN for processes, ENOMEM and ENOBUFS for memory, ENOSPC and
// EDQUOT for space. Nil: none was.
func Shortage(err error) error {
	for _, s := range shortages {
		if errors.Is(err, s.errno) {
			return s.errno
		}
	}
	return nil
}

// OutOfDescriptors tells whether err says that this process, or this machine, may open no more
// files.
func OutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// shortageIn is Shortage for what a program, or another machine, says.
func shortageIn(text string) error {
	text = strings.ToLower(text)
	for _, s := range shortages {
		if strings.Contains(text, s.text) {
			return s.errno
		}
	}
	return nil
}

// ShortageCode returns a name for the shortage in err, for another process; "": there is none.
func ShortageCode(err error) string {
	for _, s := range shortages {
		if errors.Is(err, s.errno) {
			return s.code
		}
	}
	return ""
}

// ShortageOf returns the error of a code of ShortageCode; nil: an unknown one.
func ShortageOf(code string) error {
	for _, s := range shortages {
		if s.code == code {
			return s.errno
		}
	}
	return nil
}
