package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// Errors of calls.
var (
	ErrCancelled = connect.ErrCancelled
	ErrKilled    = errors.New("context killed, as the call did not end")
)

// LostError is documented at mitogen.LostError.
type LostError struct {
	Context string // that was used
	Hop     string // that was lost: the context itself, or one before it
	Why     string // as its parent saw it
	Text    string // its connection's last lines, cleaned, at most 4 KiB
	// Code is the rule that it has broken, if the engine ended it for that: docs/protocol/wire.md,
	// section 7. It is CodeSilent if nothing was heard of it for a time; else "".
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
	return printable.Line(s)
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
	if e.Module == goctx.Module {
		return printable.Line(e.Context + ": " + e.Text)
	}
	return printable.Line((&pyvalue.Exception{Module: e.Module, Type: e.Type, Text: e.Text}).Error())
}

// cancelError is the error of an operation that was given up: because its ctx ended, or by Cancel.
type cancelError struct {
	what   string // the operation, and where
	ended  error  // ctx.Err()
	cause  error  // context.Cause(ctx)
	call   error  // what came of the call meanwhile; nil: nothing
	killed bool
}

// givenUp is the error of an operation whose ctx has ended. No other function makes one.
func givenUp(ctx context.Context, what string) *cancelError {
	return &cancelError{what: what, ended: ctx.Err(), cause: context.Cause(ctx)}
}

func (e *cancelError) Error() string {
	s := e.what + ": " + ErrCancelled.Error()
	if e.killed {
		s += ", " + ErrKilled.Error()
	}
	return printable.Line(s + ": " + e.reason())
}

// reason returns the text of ctx's error, and of its cause if that is another.
func (e *cancelError) reason() string {
	if e.cause == e.ended {
		return e.ended.Error()
	}
	return e.ended.Error() + ": " + e.cause.Error()
}

// Unwrap makes errors.Is find all of it.
func (e *cancelError) Unwrap() []error {
	errs := []error{ErrCancelled, e.ended, e.cause}
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
