package pyvalue

import "strings"

// Exception is an exception of Python as a value; mitogen.Error in Python. Its text is as it came:
// not made safe for a terminal.
type Exception struct {
	Module    string // of the exception's type
	Type      string // the exception's type
	Text      string // str() of it
	Traceback string
	Args      Tuple // nil: they aren't plain values
}

// Error returns type and text.
func (e *Exception) Error() string {
	name := e.Type
	if e.Module != "" && e.Module != "builtins" && e.Module != "exceptions" {
		name = e.Module + "." + e.Type
	}
	if e.Text == "" {
		return name
	}
	return name + ": " + e.Text
}

// Error says that a Go value has no counterpart in Python and can't be sent, or that a value of
// Python doesn't fit the Go type that it is decoded to.
type Error struct {
	Path   string // where in the value: "args[1].port", "kwargs.hosts[3]"; "": the value itself
	Reason string
	Err    error // what errors.Is finds; nil: nothing
}

// shownPath limits the part of a path that an error shows, in bytes. A value that refers to itself
// has a long path.
const shownPath = 240

// Error returns path and reason, on one line.
func (e *Error) Error() string {
	switch n := len(e.Path); {
	case n == 0:
		return e.Reason
	case n > shownPath:
		return strings.ToValidUTF8(e.Path[:shownPath], "") + "…: " + e.Reason
	}
	return e.Path + ": " + e.Reason
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }
