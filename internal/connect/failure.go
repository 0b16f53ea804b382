package connect

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// A Failure describes the end of a plan that made no context: section 6 of docs/protocol.
type Failure struct {
	What   string // one of the What constants
	Status int    // WhatExit: exit code, or minus the signal
	Text   string // end of what it said, at most 4 KiB; hostile
	Given  bool   // a password was given to it; never on the wire
	Err    error  // what is behind it on this machine; nil: nothing; never on the wire

	// LoggedIn says of an ssh that its server has accepted the login, Started that an interpreter
	// was there. Who carries out a plan knows both. Text doesn't tell: servers write into it.
	LoggedIn, Started bool

	NoStatus bool // Status isn't known, because the process is elsewhere; never on the wire
}

// What happened.
const (
	WhatExec       = "exec"       // argv couldn't be started
	WhatExit       = "exit"       // it ended first
	WhatTimeout    = "timeout"    // no context in time
	WhatRepeated   = "repeated"   // a prompt came again: the answer was wrong
	WhatUnanswered = "unanswered" // a prompt without an answer
	WhatHidden     = "hidden"     // a prompt, but the process table doesn't show whose
	WhatForeign    = "foreign"    // a broken frame
	WhatCancelled  = "cancelled"  // given up by us; never on the wire
	WhatNoProgram  = "noprogram"  // no interpreter, nor this program in its place; never on the wire
)

// Kinds of failure, for errors.Is.
var (
	ErrNoPython         = errors.New("no Python interpreter found")
	ErrNoProgram        = errors.New("no Python interpreter found, and this program can't be there")
	ErrNoCommand        = errors.New("command not found")
	ErrStart            = errors.New("can't start process")
	ErrUnknownHost      = errors.New("unknown host")
	ErrRefused          = errors.New("connection refused")
	ErrUnreachable      = errors.New("host unreachable")
	ErrTimeout          = errors.New("timed out")
	ErrClosed           = errors.New("connection closed by the other side")
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
	ErrExhausted    = errors.New("resources exhausted")
	ErrBusy         = errors.New("console in use")
	ErrNoLogin      = errors.New("no login or shell on the console")
)

// KindOf returns the kind whose text is given, ErrDied for a text that none has.
func KindOf(text string) error {
	for kind := range kinds {
		if kind.Error() == text {
			return kind
		}
	}
	return ErrDied
}

// An Error is a connect that failed. errors.Is finds its Kind and its Err.
type Error struct {
	Hop      string // as in Plan.Name; set by the caller of Classify
	Target   string // that was to be reached when it was cancelled, else ""
	Method   string // of the hop, for Hint; "": none in particular
	Phase    string // one of the Phase constants
	Kind     error  // one of the Err variables
	Status   int    // exit code, minus the signal, or 0
	Text     string // last words, at most 4 KiB, safe for a terminal
	LoggedIn bool   // the server of an ssh had accepted the login, or an interpreter was there
	Started  bool   // an interpreter was there
	NoStatus bool   // Status isn't known
	Given    bool   // a password was given: to try again would be another attempt with it
	Err      error  // behind it, on this machine: of a ctx, a callback, the system; or nil
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
	b.WriteString(e.what())
	if line := e.line(); line != "" {
		b.WriteString(": " + line)
	}
	return printable.Line(b.String())
}

// what is the kind, and how far the connect had come.
func (e *Error) what() string {
	m, known := methods[e.Method]
	switch {
	case e.Kind == ErrDied && known && !m.direct && !e.Started:
		return "ended before an interpreter was there" + e.status()
	case e.Kind == ErrDied:
		return e.Kind.Error() + e.status()
	case e.Kind == ErrTimeout && e.Started:
		return e.Kind.Error() + " after the interpreter had started"
	case e.Kind == ErrTimeout && e.LoggedIn:
		return e.Kind.Error() + " after the login, before an interpreter was there"
	}
	return e.Kind.Error()
}

// status returns the exit status in brackets; "": it isn't known.
func (e *Error) status() string {
	if e.NoStatus {
		return ""
	}
	return " (" + statusText(e.Status) + ")"
}

// line is the most telling line of Text, shortened.
func (e *Error) line() string {
	const limit = 300
	n := 1
	if e.Kind == ErrClosed || e.Kind == ErrNotPermitted { // a server may say why in several
		n = 3
	}
	line := telling(e.Text, methods[e.Method].symptomsOf(e.Kind), n)
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit], "") + "…"
	}
	return line
}

// Unwrap makes errors.Is find the kind, and the error behind it.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Hint is a sentence on what to do about it, or empty.
func (e *Error) Hint() string {
	a := methods[e.Method].advice(e.Kind)
	lower := strings.ToLower(e.Text)
	for _, s := range methods[e.Method].symptomsOf(e.Kind) {
		if s.hint != "" && s.in(lower) {
			return s.hint
		}
	}
	asks := strings.Contains(e.Text, "password") || strings.Contains(e.Text, "keyboard-interactive")
	switch {
	case e.Kind == ErrAuth && !e.Given && e.Method == "ssh" && asks:
		return "give a password, or " + a.hint
	case e.Started && a.started != "":
		return a.started
	case e.LoggedIn && a.after != "":
		return a.after
	}
	return a.hint
}

// Passing tells whether the same plan may work a moment later. That is so if the network, or a
// server that has much to do, was in the way, and no setting of a person.
func (e *Error) Passing() bool {
	if !methods[e.Method].remote || !passing[e.Kind] || e.LoggedIn && e.Kind == ErrTimeout {
		return false
	}
	lower := strings.ToLower(e.Text)
	for _, s := range methods[e.Method].symptomsOf(e.Kind) {
		if !s.refines && s.in(lower) {
			return !s.lasting
		}
	}
	return true
}

func statusText(status int) string {
	if status < 0 {
		return fmt.Sprintf("signal %d", -status)
	}
	return fmt.Sprintf("status %d", status)
}

// Classify finds the kind of a failure. The caller sets the result's Hop.
func Classify(name string, f Failure) *Error {
	m := methods[name]
	started := f.Started
	loggedIn := started || f.LoggedIn && m.late != nil
	kind, cause := kindOf(m, f, started, loggedIn), f.Err
	// what a target says is no error of the system
	if kind == ErrExhausted && Shortage(cause) == nil && !started {
		cause = shortageIn(f.Text)
	}
	text := tail(printable.Text(tail(PlainWords(f.Text), TextLimit)), TextLimit)
	phase := m.advice(kind).phase
	if loggedIn && kind == ErrTimeout {
		phase = PhasePython
	}
	return &Error{Method: name, Phase: phase, Kind: kind, Status: f.Status, Text: text,
		LoggedIn: loggedIn, Started: started, NoStatus: f.NoStatus, Given: f.Given, Err: cause}
}

// NoTerminal begins the text of WhatExec where no terminal can be opened. Hops write it, too.
const NoTerminal = "open terminal: "

// TextLimit limits the output of a child that is kept for errors, in bytes.
const TextLimit = 4096

// tail is the end of s, at most n bytes, not starting inside a character.
func tail(s string, n int) string {
	s = s[max(0, len(s)-n):]
	for i := range min(len(s), utf8.UTFMax) {
		if utf8.RuneStart(s[i]) {
			return s[i:]
		}
	}
	return s
}

func kindOf(m method, f Failure, started, loggedIn bool) error {
	if kind, ok := certain[f.What]; ok {
		return kind
	}
	text := strings.ToLower(f.Text)
	lacks := Shortage(f.Err)
	if f.What == WhatExec && lacks == nil {
		lacks = shortageIn(text)
	}
	switch {
	case f.What == WhatExec && strings.Contains(text, NoTerminal) &&
		(lacks == nil || lacks == syscall.ENOSPC):
		return ErrTTYRequired // ENOSPC: there are as many terminals as there may be
	case lacks != nil:
		return ErrExhausted
	}
	switch f.What {
	case WhatExec:
		if strings.Contains(text, "no such file") || strings.Contains(text, "not found") {
			return ErrNoCommand
		}
		return ErrStart
	case WhatUnanswered:
		if strings.Contains(text, yesNo) || strings.Contains(text, "host key verification failed") {
			return ErrHostKey
		}
		return ErrPasswordRequired
	case WhatRepeated:
		return or(m.wrong, ErrAuth)
	}
	if started {
		if shortageIn(text) != nil { // the interpreter's words
			return ErrExhausted
		}
		return or(first(pythonSymptoms, text), ErrDied)
	}
	return exitKind(m, f.Status, text, loggedIn)
}

// exitKind is the kind of a program that ended before there was an interpreter. text is in lower
// case.
func exitKind(m method, status int, text string, loggedIn bool) error {
	notStarted := status == 127 || status == 126
	switch {
	case strings.Contains(text, strings.ToLower(boot.NoPython)) &&
		(m.status == 0 || m.status != status):
		return ErrNoPython // said by the shell, not by a server before the login
	case notStarted:
		for _, all := range [][]symptom{shellSymptoms, pythonSymptoms} {
			if kind := first(all, text); kind != nil && kind != ErrDied {
				return kind
			}
		}
		return ErrNoPython
	}
	if m.status == 0 || m.status == status {
		all := m.symptoms
		if loggedIn {
			all = m.late
		}
		if kind := first(all, text); kind != nil {
			return kind
		}
		if m.silent != nil {
			return m.silentKind(text, loggedIn)
		}
	}
	for _, all := range [][]symptom{m.session, shellSymptoms, pythonSymptoms} {
		if kind := first(all, text); kind != nil {
			return kind
		}
	}
	switch {
	case refusedCommand(text):
		return ErrNotPermitted
	case refusedCode(text):
		return ErrNoPython
	}
	return ErrDied
}

// first returns the kind of the first symptom in text; nil: there is none.
func first(all []symptom, text string) error {
	for _, s := range all {
		if !s.refines && s.in(text) {
			return s.kind
		}
	}
	return nil
}

// certain kinds need no look at the text.
var certain = map[string]error{
	WhatTimeout:   ErrTimeout,
	WhatForeign:   ErrForeign,
	WhatHidden:    ErrHidden,
	WhatCancelled: ErrCancelled,
	WhatNoProgram: ErrNoProgram,
}
