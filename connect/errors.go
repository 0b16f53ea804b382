package connect

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mitogen-go/mitogen/internal/printable"
)

// What can go wrong with a connect, for errors.Is on an *Error.
var (
	ErrNoPython         = errors.New("no Python interpreter found")
	ErrNoCommand        = errors.New("command not found")
	ErrStart            = errors.New("can't start process")
	ErrUnknownHost      = errors.New("unknown host")
	ErrRefused          = errors.New("connection refused")
	ErrUnreachable      = errors.New("host unreachable")
	ErrTimeout          = errors.New("timed out")
	ErrDisconnected     = errors.New("connection closed by the other side")
	ErrHostKey          = errors.New("host key not known")
	ErrHostKeyChanged   = errors.New("host key has changed")
	ErrAuth             = errors.New("permission denied")
	ErrPasswordRequired = errors.New("password required")
	ErrSudoPassword     = errors.New("wrong sudo password")
	ErrNotInSudoers     = errors.New("not allowed by sudoers")
	ErrHidden           = errors.New("password not typed, as the process table doesn't show which " +
		"program asks")
	ErrTTYRequired  = errors.New("terminal required")
	ErrUnknownUser  = errors.New("unknown user")
	ErrNotPermitted = errors.New("not permitted")
	ErrNotFound     = errors.New("no such container, machine or directory")
	ErrNotRunning   = errors.New("container not running")
	ErrNoShell      = errors.New("no shell found")
	ErrSetup        = errors.New("wrong set-up")
	ErrDaemon       = errors.New("no daemon")
	ErrForeign      = errors.New("foreign bytes on the stream")
	ErrDied         = errors.New("interpreter died")
	ErrCancelled    = errors.New("cancelled")
	ErrBusy         = errors.New("console in use")
	ErrNoLogin      = errors.New("no login or shell on the console")

	// ErrNoProgram is of mitogen.ConnectOptions.GoFallback. The Error is ErrNoPython, too.
	ErrNoProgram = errors.New("no Python interpreter found, and this program can't be there")

	// ErrExhausted comes with a cause, if what lacks is this machine's or a hop's: syscall.EMFILE,
	// EAGAIN, ENOMEM, ENOSPC, …
	ErrExhausted = errors.New("resources exhausted")
)

// Error is a connect that failed. errors.Is finds its Kind and its Err.
type Error struct {
	Hop      string // as typed
	Target   string // that was to be reached when the connect was cancelled, else ""
	Method   string // of the hop; "": none in particular
	Phase    string // one of the Phase constants
	Kind     error  // one of the Err variables
	Status   int    // exit code of the program that ended, minus the signal, or 0
	NoStatus bool   // Status isn't known
	Text     string // last words of the program, at most 4 KiB, safe for a terminal
	LoggedIn bool   // the server of an ssh had accepted the login, or an interpreter was there
	Started  bool   // an interpreter was there
	Given    bool   // a password was given: to try again would be another attempt with it
	Err      error  // behind it, on this machine: of a ctx, a callback, the system; or nil

	// Of the fields above, for people.
	Summary string // the kind, and how far the connect had come; "": the kind alone
	Quote   string // the most telling lines of Text, shortened
	Hint    string // a sentence on what to do about it, or empty

	// Passing says that the same connect may work a moment later: the network, or a server that has
	// much to do, was in the way, and no setting of a person.
	Passing bool
}

// Error is one line: hop, kind, and the most telling of the last words.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Target != "":
		fmt.Fprintf(&b, "connect %s: at %s (%s): ", e.Target, e.Hop, e.Phase)
	case e.Hop != "":
		fmt.Fprintf(&b, "connect %s: ", e.Hop)
	}
	if e.Summary == "" {
		b.WriteString(e.Kind.Error())
	}
	b.WriteString(e.Summary)
	if e.Quote != "" {
		b.WriteString(": " + e.Quote)
	}
	return printable.Line(b.String())
}

// Unwrap makes errors.Is find the kind, and the error behind it.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Phases of a connect.
const (
	PhaseStart  = "start"  // of the program that makes the way in
	PhaseLogin  = "log in" // network, host key, authentication
	PhasePython = "python" // finding and starting the interpreter
)
