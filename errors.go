package mitogen

import (
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/pickle"
)

// What can go wrong with a connection, for errors.Is on a *ConnectError.
var (
	ErrNoPython         = connect.ErrNoPython
	ErrNoCommand        = connect.ErrNoCommand
	ErrUnknownHost      = connect.ErrUnknownHost
	ErrRefused          = connect.ErrRefused
	ErrUnreachable      = connect.ErrUnreachable
	ErrTimeout          = connect.ErrTimeout
	ErrDisconnected     = connect.ErrClosed
	ErrHostKey          = connect.ErrHostKey
	ErrHostKeyChanged   = connect.ErrHostKeyChanged
	ErrAuth             = connect.ErrAuth
	ErrPasswordRequired = connect.ErrPasswordRequired
	ErrSudoPassword     = connect.ErrSudoPassword
	ErrNotInSudoers     = connect.ErrNotInSudoers
	ErrHidden           = connect.ErrHidden
	ErrTTYRequired      = connect.ErrTTYRequired
	ErrUnknownUser      = connect.ErrUnknownUser
	ErrNotPermitted     = connect.ErrNotPermitted
	ErrNotFound         = connect.ErrNotFound
	ErrNotRunning       = connect.ErrNotRunning
	ErrNoShell          = connect.ErrNoShell
	ErrSetup            = connect.ErrSetup
	ErrDaemon           = connect.ErrDaemon
	ErrForeign          = connect.ErrForeign
	ErrDied             = connect.ErrDied
	ErrBusy             = connect.ErrBusy    // another program holds the console
	ErrNoLogin          = connect.ErrNoLogin // neither login nor shell on a console
	// with the cause, if it is this machine's or a hop's: syscall.EMFILE, EAGAIN, ENOMEM, ENOSPC, …
	ErrExhausted = connect.ErrExhausted
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

// ConnectError is a connection that failed: Hop as typed, Method of that hop, Phase ("start", "log
// in", "python"), Kind (for errors.Is), Status of the program that ended, Text (its last words,
// cleaned, at most 4 KiB), LoggedIn (the login was done) and Started (an interpreter was there),
// Err (the error behind it, also for errors.Is: of ctx, of a callback, of the system; nil if there
// is none here). Its Hint method says what to do about it, and its Passing method whether another
// try may help. If ctx has ended, it matches ErrCancelled; Target names the whole target, and Hop
// the first hop that wasn't up.
type ConnectError = connect.Error

// Prompt is a question asked while connecting: by which Hop, of what Kind (its String method names
// it: "password", "passphrase", "host key", …), in which words (Text, safe for a terminal).
type Prompt = askpass.Prompt
