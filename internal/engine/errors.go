package engine

import (
	"errors"
	"strings"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/pickle"
)

// Errors of calls.
var (
	ErrCancelled = errors.New("call cancelled")
	ErrKilled    = errors.New("context killed, as the call did not end")
)

// LostError is documented at mitogen.LostError.
type LostError struct {
	Context string // that was used
	Hop     string // that was lost: the context itself, or one before it
	Why     string // as its parent saw it
	Text    string // its connection's last lines, cleaned, at most 4 KiB
	// Code is the rule that it has broken, if the engine ended it for that: docs/protocol.md, section 7. It is CodeSilent if
	// nothing was heard of it for a time; else "".
	Code string
}

// Error is one line.
func (e *LostError) Error() string {
	s := e.Hop + " lost: " + e.Why
	if e.Context != e.Hop {
		s = e.Context + ": " + s
	}
	if line := lastLine(e.Text); line != "" {
		s += ": " + line
	}
	return connect.CleanLine(s)
}

// CallError is documented at mitogen.CallError.
type CallError struct {
	Context   string // name of the context
	Module    string // of the exception's class
	Type      string // name of the exception's class
	Text      string // str() of the exception
	Traceback string // as Python prints it, with source lines, safe for a terminal
	Args      []any  // the exception's args where they are plain values, else nil
}

// Error is type and text, on one line and safe for a terminal.
func (e *CallError) Error() string {
	return connect.CleanLine((&pickle.Error{Module: e.Module, Type: e.Type, Text: e.Text}).Error())
}

// cancelError is what a call ends with that was given up.
type cancelError struct {
	cause  error // the ctx's
	call   error // what came of the call meanwhile; nil: nothing
	killed bool
}

func (e *cancelError) Error() string {
	s := ErrCancelled.Error()
	if e.killed {
		s += ", " + ErrKilled.Error()
	}
	return s + ": " + e.cause.Error()
}

// Unwrap makes errors.Is find all of it.
func (e *cancelError) Unwrap() []error {
	errs := []error{ErrCancelled, e.cause}
	if e.killed {
		errs = append(errs, ErrKilled)
	}
	if e.call != nil {
		errs = append(errs, e.call)
	}
	return errs
}

// lastLine is the last line with something in it, shortened.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return bounded(strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:]))
}
