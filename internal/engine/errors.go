package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/stdio"
	"github.com/mitogen-go/mitogen/report"
)

// Errors of calls.
var (
	ErrCancelled = connect.ErrCancelled
	ErrKilled    = errors.New("context killed, as the call did not end")
)

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

// ErrStdinInUse says that a program has ended while a Read of its Stdin has not.
var ErrStdinInUse = stdio.ErrInUse

// streamFailure returns the error of a run whose ctx a StreamError has ended, and which then ended
// with err. It is nil if ctx has not ended, or for another reason.
func streamFailure(ctx context.Context, err error) error {
	var failed *report.StreamError
	if !errors.As(context.Cause(ctx), &failed) {
		return nil
	}
	var lost *report.LostError
	switch {
	case errors.Is(err, ErrKilled):
		return joined(failed, ErrKilled)
	case errors.As(err, &lost):
		return joined(failed, lost)
	}
	return failed
}

// joined is err, and more if that isn't nil, on one line.
func joined(err, more error) error {
	if more == nil {
		return err
	}
	return fmt.Errorf("%w; %w", err, more)
}
