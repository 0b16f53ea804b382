package mitogen

import (
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/pickle"
)

// States of contexts and calls, for errors.Is.
var (
	ErrCancelled = engine.ErrCancelled // ctx ended, or Cancel; with its Err and Cause
	ErrKilled    = engine.ErrKilled    // and the call did not, so that its context was killed
	ErrClosed    = engine.ErrClosed    // by Close
	ErrAudit     = engine.ErrAudit     // Options.Audit returned an error

	// ErrStdinInUse says that a program has ended while a Read of its Stdin has not: see
	// Command.WaitDelay.
	ErrStdinInUse = engine.ErrStdinInUse
)

// Why a value can't be sent or decoded, for errors.Is. The error is a *pyvalue.Error too, which
// says where in the value that is.
var (
	ErrTooLarge    = pickle.ErrTooLarge    // larger than Options.MaxMessage
	ErrOtherEngine = engine.ErrOtherEngine // a Context or Sender of another engine, or of none
)
