package mitogen

import (
	"context"
	"errors"
)

var errThin = errors.New("mitogen: not there yet")

// What can go wrong with a connection, for errors.Is on a *ConnectError.
var (
	ErrNoPython         = errors.New("no Python interpreter found")
	ErrAuth             = errors.New("permission denied")
	ErrSudoPassword     = errors.New("sudo: wrong password")
	ErrPasswordRequired = errors.New("password required")
	ErrNotInSudoers     = errors.New("not in sudoers")
	ErrHostKey          = errors.New("host key unknown")
	ErrHostKeyChanged   = errors.New("host key has changed")
	ErrRefused          = errors.New("connection refused")
	ErrTimeout          = errors.New("timed out")
	ErrUnknownHost      = errors.New("unknown host")
	ErrTTYRequired      = errors.New("a terminal is required")
	ErrDied             = errors.New("ended before it was up")
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

// ConnectError says at which hop and in which phase a connection failed.
type ConnectError struct {
	Hop   string // the hop, as typed
	Phase string // "start", "login", "boot"
	Kind  error  // one of the errors above, or another
	Text  string // the last lines that ssh, sudo or the interpreter printed, cleaned, at most 4 KiB
}

func (e *ConnectError) Error() string { return e.Hop + ": " + e.Kind.Error() }

// Unwrap returns Kind.
func (e *ConnectError) Unwrap() error { return e.Kind }

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
