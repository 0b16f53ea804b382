package mitogen

import (
	"context"
	"errors"

	"github.com/mitogen-go/mitogen/internal/connect"
)

var errThin = errors.New("mitogen: not there yet")

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
	ErrTTYRequired      = connect.ErrTTYRequired
	ErrUnknownUser      = connect.ErrUnknownUser
	ErrSetup            = connect.ErrSetup
	ErrForeign          = connect.ErrForeign
	ErrDied             = connect.ErrDied
)

// States of contexts and calls, for errors.Is.
var (
	ErrCancelled = errors.New("call cancelled")                // with the ctx error
	ErrKilled    = errors.New("context killed")                // it did not end when it was asked to
	ErrClosed    = errors.New("context closed")                // by Close
	ErrNoStdin   = errors.New("context has no standard input") // ConnectOptions.Stdin was not set
)

// CallError is a Python exception that ended a call.
type CallError struct {
	Context   string // name of the context
	Module    string // of the exception's class
	Type      string // name of the exception's class
	Text      string // str() of the exception
	Traceback string // as Python prints it, with source lines
	Args      []any  // the exception's args where they are plain values, else nil
}

// Error returns type and text in one line, without the traceback.
func (e *CallError) Error() string { return e.Type + ": " + e.Text }

// ConnectError is a connection that failed: Hop as typed, Phase ("start", "log in", "python"), Kind (for errors.Is), Status
// of the program that ended, Text (its last words, cleaned, at most 4 KiB). Its Hint method says what to do about it.
type ConnectError = connect.Error

// LostError says that a context is gone, or one on the way to it.
type LostError struct {
	Context string // that the call was made in
	Hop     string // that was lost: the context itself, or one before it
	Why     string // as its parent saw it
	Text    string // the last lines that ssh, sudo or the interpreter printed, cleaned, at most 4 KiB
}

func (e *LostError) Error() string { return e.Context + ": lost " + e.Hop + ": " + e.Why }

// Prompt is a question asked while connecting.
type Prompt struct {
	Hop  string // that asks
	Text string // what it printed, cleaned
}

// PromptFunc answers a Prompt.
type PromptFunc = func(ctx context.Context, p Prompt) (string, error)
