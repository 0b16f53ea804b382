package methods

import (
	"fmt"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/connect"
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

// KindOf returns the kind whose text is given, ErrDied for a text that none has.
func KindOf(text string) error {
	for kind := range kinds {
		if kind.Error() == text {
			return kind
		}
	}
	return connect.ErrDied
}

// Explain sets e's fields for people by what it has besides, and returns e.
func Explain(e *connect.Error) *connect.Error {
	e.Summary, e.Quote, e.Hint, e.Passing = summary(e), lastWords(e), hint(e), mayPass(e)
	return e
}

// summary is the kind, and how far the connect had come.
func summary(e *connect.Error) string {
	m, known := methods[e.Method]
	switch {
	case e.Kind == connect.ErrDied && known && !m.direct && !e.Started:
		return "ended before an interpreter was there" + exitStatus(e)
	case e.Kind == connect.ErrDied:
		return e.Kind.Error() + exitStatus(e)
	case e.Kind == connect.ErrTimeout && e.Started:
		return e.Kind.Error() + " after the interpreter had started"
	case e.Kind == connect.ErrTimeout && e.LoggedIn:
		return e.Kind.Error() + " after the login, before an interpreter was there"
	}
	return e.Kind.Error()
}

// exitStatus returns the exit status in brackets; "": it isn't known.
func exitStatus(e *connect.Error) string {
	if e.NoStatus {
		return ""
	}
	return " (" + statusText(e.Status) + ")"
}

// lastWords returns the most telling lines of Text, shortened.
func lastWords(e *connect.Error) string {
	const limit = 300
	n := 1
	// a server may say why in several
	if e.Kind == connect.ErrDisconnected || e.Kind == connect.ErrNotPermitted {
		n = 3
	}
	line := telling(e.Text, methods[e.Method].symptomsOf(e.Kind), n)
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit], "") + "…"
	}
	return line
}

// hint returns a sentence on what to do about e, or nothing.
func hint(e *connect.Error) string {
	a := methods[e.Method].advice(e.Kind)
	lower := strings.ToLower(e.Text)
	for _, s := range methods[e.Method].symptomsOf(e.Kind) {
		if s.hint != "" && s.in(lower) {
			return s.hint
		}
	}
	asks := strings.Contains(e.Text, "password") || strings.Contains(e.Text, "keyboard-interactive")
	switch {
	case e.Kind == connect.ErrAuth && !e.Given && e.Method == "ssh" && asks:
		return "give a password, or " + a.hint
	case e.Started && a.started != "":
		return a.started
	case e.LoggedIn && a.after != "":
		return a.after
	}
	return a.hint
}

// mayPass tells whether the same plan may work a moment later. That is so if the network, or a
// server that has much to do, was in the way, and no setting of a person.
func mayPass(e *connect.Error) bool {
	if !methods[e.Method].remote || !passing[e.Kind] || e.LoggedIn && e.Kind == connect.ErrTimeout {
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
func Classify(name string, f Failure) *connect.Error {
	m := methods[name]
	started := f.Started
	loggedIn := started || f.LoggedIn && m.late != nil
	kind, cause := kindOf(m, f, started, loggedIn), f.Err
	// what a target says is no error of the system
	if kind == connect.ErrExhausted && Shortage(cause) == nil && !started {
		cause = shortageIn(f.Text)
	}
	text := tail(printable.Text(tail(PlainWords(f.Text), TextLimit)), TextLimit)
	phase := m.advice(kind).phase
	if loggedIn && kind == connect.ErrTimeout {
		phase = connect.PhasePython
	}
	return Explain(&connect.Error{Method: name, Phase: phase, Kind: kind, Status: f.Status, Text: text,
		LoggedIn: loggedIn, Started: started, NoStatus: f.NoStatus, Given: f.Given, Err: cause})
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
		return connect.ErrTTYRequired // ENOSPC: there are as many terminals as there may be
	case lacks != nil:
		return connect.ErrExhausted
	}
	switch f.What {
	case WhatExec:
		if strings.Contains(text, "no such file") || strings.Contains(text, "not found") {
			return connect.ErrNoCommand
		}
		return connect.ErrStart
	case WhatUnanswered:
		if strings.Contains(text, yesNo) || strings.Contains(text, "host key verification failed") {
			return connect.ErrHostKey
		}
		return connect.ErrPasswordRequired
	case WhatRepeated:
		return or(m.wrong, connect.ErrAuth)
	}
	if started {
		if shortageIn(text) != nil { // the interpreter's words
			return connect.ErrExhausted
		}
		return or(first(pythonSymptoms, text), connect.ErrDied)
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
		return connect.ErrNoPython // said by the shell, not by a server before the login
	case notStarted:
		for _, all := range [][]symptom{shellSymptoms, pythonSymptoms} {
			if kind := first(all, text); kind != nil && kind != connect.ErrDied {
				return kind
			}
		}
		return connect.ErrNoPython
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
	case refusedCommand(text) && m.near && status == 0:
		return connect.ErrDied // it prints its arguments, which is all it was to do
	case refusedCommand(text):
		return connect.ErrNotPermitted
	case refusedCode(text):
		return connect.ErrNoPython
	}
	return connect.ErrDied
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
	WhatTimeout:   connect.ErrTimeout,
	WhatForeign:   connect.ErrForeign,
	WhatHidden:    connect.ErrHidden,
	WhatCancelled: connect.ErrCancelled,
	WhatNoProgram: connect.ErrNoProgram,
}
