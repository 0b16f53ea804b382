package report

import (
	"fmt"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// GoModule is the Module of a CallError that is the error of a Go function, or of a Go context.
const GoModule = "go"

// GoNoPython is the Type of a CallError, of Module GoModule, that says that a Go context was asked
// for what takes Python.
const GoNoPython = "NoPython"

// CallError is an exception that ended a call in a context. Error and Traceback are safe for a
// terminal. Module, Type, Text and Args are as they came.
type CallError struct {
	Context   string // name of the context
	Module    string // of the exception's class; GoModule: it is no exception, but a Go error
	Type      string // name of the exception's class
	Text      string // str() of the exception
	Traceback string // as Python prints it, with source lines
	Args      []any  // the exception's args where they are plain values, else nil
}

// Error returns type and text, on one line and safe for a terminal.
func (e *CallError) Error() string {
	if e.Module == GoModule {
		return printable.Line(e.Context + ": " + e.Text)
	}
	return printable.Line((&pyvalue.Exception{Module: e.Module, Type: e.Type, Text: e.Text}).Error())
}

// Unwrap makes errors.Is find connect.ErrNoPython in the error of what a Go context can't do.
func (e *CallError) Unwrap() error {
	if e.Module == GoModule && e.Type == GoNoPython {
		return connect.ErrNoPython
	}
	return nil
}

// LostError says that a context is gone which was there.
type LostError struct {
	Context string // that was used
	Hop     string // that was lost: the context itself, or one before it
	Reason  string // as its parent saw it
	Text    string // last lines of ssh, sudo or the interpreter, cleaned, at most 4 KiB

	// Code is the rule that the context has broken, if the engine ended it for that:
	// docs/protocol/wire.md, section 7, and the constants below. "": it has broken none.
	Code string
}

// Codes of LostError besides the rules of docs/protocol/wire.md, section 7: why the engine has
// ended a context.
const (
	CodeOffences = "offences" // it sent too many frames that were refused
	CodeUnread   = "unread"   // it doesn't read the answers to what it asks
	CodeFlood    = "flood"    // it sent another context more than that reads
	CodeSilent   = "silent"   // nothing was heard of it for a time
)

// Error returns one line, safe for a terminal.
func (e *LostError) Error() string {
	s := e.Hop + " lost: " + e.Reason
	if e.Context != e.Hop {
		s = e.Context + ": " + s
	}
	if line := lastLine(e.Text); line != "" {
		s += ": " + line
	}
	return printable.Line(s)
}

// longestLine limits the line of Text that an error shows, in bytes.
const longestLine = 255

// lastLine returns the last line with something in it, shortened.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	line := strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
	if len(line) > longestLine {
		line = strings.ToValidUTF8(line[:longestLine], "")
	}
	return line
}

// StreamError is the error of a Reader or Writer that the caller gave. It ended what used the
// Reader or Writer. A Writer that wrote less than it was given has io.ErrShortWrite.
type StreamError struct {
	Context string // name of the context, or the target of Engine.Exec
	Op      string // one of the constants below
	Err     error  // the Reader's or Writer's, for errors.Is
}

// Operations of StreamErrors.
const (
	ReadStdin   = "read standard input"
	WriteStdout = "write standard output"
	WriteStderr = "write standard error"
)

// Error returns context, operation and error.
func (e *StreamError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Context, e.Op, e.Err) }

// Unwrap returns e.Err.
func (e *StreamError) Unwrap() error { return e.Err }
