package connect

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unicode/utf8"
)

// A Failure is what came of a plan that didn't make a context: section 6 of docs/protocol.md.
type Failure struct {
	What   string // one of the What constants
	Status int    // WhatExit: exit code, or minus the signal
	Text   string // end of what it said, at most 4 KiB; hostile
	Given  bool   // a password was given to it; never on the wire
	Err    error  // what is behind it on this machine; nil: nothing; never on the wire
}

// What happened.
const (
	WhatExec       = "exec"       // argv couldn't be started
	WhatExit       = "exit"       // it ended first
	WhatTimeout    = "timeout"    // no context in time
	WhatRepeated   = "repeated"   // a prompt came again: the answer was wrong
	WhatUnanswered = "unanswered" // a prompt that nobody has an answer to
	WhatHidden     = "hidden"     // a prompt, but the process table doesn't show whose
	WhatForeign    = "foreign"    // a broken frame
	WhatCancelled  = "cancelled"  // given up by us; never on the wire
)

// Kinds of failure, for errors.Is.
var (
	ErrNoPython         = errors.New("no Python interpreter found")
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
	ErrHidden           = errors.New("password not typed, as the process table doesn't show which program asks")
	ErrTTYRequired      = errors.New("terminal required")
	ErrUnknownUser      = errors.New("unknown user")
	ErrNotPermitted     = errors.New("not permitted")
	ErrNotFound         = errors.New("no such container, machine or directory")
	ErrNotRunning       = errors.New("container not running")
	ErrNoShell          = errors.New("no shell found")
	ErrSetup            = errors.New("wrong set-up")
	ErrDaemon           = errors.New("no daemon")
	ErrForeign          = errors.New("foreign bytes on the stream")
	ErrDied             = errors.New("interpreter died")
	ErrCancelled        = errors.New("cancelled")
	ErrExhausted        = errors.New("resources exhausted")
)

// Phases of a connect.
const (
	PhaseStart  = "start"  // of the program that makes the way in
	PhaseLogin  = "log in" // network, host key, authentication
	PhasePython = "python" // finding and starting the interpreter
)

// advice goes with a kind: where it happens, and what a person can do.
type advice struct{ phase, hint string }

var kinds = map[error]advice{
	ErrNoPython:         {PhasePython, "install Python there (any from 2.4 to 3.14), or say with --python where it is"},
	ErrNoCommand:        {PhaseStart, "install the program there, or give its path"},
	ErrStart:            {PhaseStart, "check permissions and limits on the machine that starts it"},
	ErrUnknownHost:      {PhaseLogin, "check the host's name, and ~/.ssh/config"},
	ErrRefused:          {PhaseLogin, "check that sshd runs there, and its port"},
	ErrUnreachable:      {PhaseLogin, "check the network and the host's address"},
	ErrTimeout:          {PhaseLogin, "check address and firewall, or allow more time with --timeout"},
	ErrClosed:           {PhaseLogin, "try again; sshd's log says why (MaxStartups, access rules)"},
	ErrHostKey:          {PhaseLogin, "log in once with ssh to check the key, or accept new hosts' keys"},
	ErrHostKeyChanged:   {PhaseLogin, "find out why; then remove the old key with ssh-keygen -R"},
	ErrAuth:             {PhaseLogin, "check user, key and password with plain ssh"},
	ErrPasswordRequired: {PhaseLogin, "give the password or passphrase"},
	ErrSudoPassword:     {PhaseLogin, "give the right password of the user who calls sudo"},
	ErrNotInSudoers:     {PhaseLogin, "allow it in sudoers there"},
	ErrHidden:           {PhaseLogin, "let the account see others' processes (mount /proc without hidepid), or let the program ask nothing"},
	ErrTTYRequired:      {PhaseLogin, "there is no terminal: check /dev/ptmx, the limit of pseudo-terminals and sudo's requiretty"},
	ErrUnknownUser:      {PhaseLogin, "check the user's name"},
	ErrNotPermitted:     {PhaseLogin, "allow it there, or take a user who may"},
	ErrNotFound:         {PhaseLogin, "check the name on the machine that enters it"},
	ErrNotRunning:       {PhaseLogin, "start it first"},
	ErrNoShell:          {PhasePython, "there is no sh in it: name an interpreter with exec:"},
	ErrSetup:            {PhaseStart, "correct the program's configuration on the machine that starts it"},
	ErrDaemon:           {PhaseStart, "see what mitogen daemon says, or go without --daemon"},
	ErrForeign:          {PhasePython, "something else writes on the connection: look at the bytes shown"},
	ErrDied:             {PhasePython, "run the same command by hand to see why"},
	ErrCancelled:        {PhaseStart, ""},
	ErrExhausted:        {PhaseStart, "allow more on the machine that starts it (ulimit -n, -u, -v), or take fewer targets at once (-f)"},
}

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
	Hop    string // as in Plan.Name; set by the caller of Classify
	Target string // that was to be reached when it was cancelled, else ""
	Phase  string // one of the Phase constants
	Kind   error  // one of the Err variables
	Status int    // exit code, minus the signal, or 0
	Text   string // last words, at most 4 KiB, safe for a terminal
	Given  bool   // a password was given: to try again would be another attempt with it
	Err    error  // behind it, on this machine: of a ctx, a callback, the system; or nil
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
	b.WriteString(e.Kind.Error())
	if e.Kind == ErrDied {
		b.WriteString(" (" + statusText(e.Status) + ")")
	}
	if line := lastLine(e.Text); line != "" {
		b.WriteString(": " + line)
	}
	return CleanLine(b.String())
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
	if e.Kind == ErrAuth && !e.Given && (strings.Contains(e.Text, "password") || strings.Contains(e.Text, "keyboard-interactive")) {
		return "give a password, or " + kinds[ErrAuth].hint
	}
	return kinds[e.Kind].hint
}

func statusText(status int) string {
	if status < 0 {
		return fmt.Sprintf("signal %d", -status)
	}
	return fmt.Sprintf("status %d", status)
}

// lastLine is the last line with something in it, shortened.
func lastLine(text string) string {
	const limit = 300
	text = strings.TrimSpace(text)
	line := strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit], "") + "…"
	}
	return line
}

// noPython is what the boot command says when it finds no interpreter.
const noPython = "MITO-NOPY"

// A symptom is a piece of text, in lower case, that tells a kind.
type symptom struct {
	text string
	kind error
}

// Classify finds the kind of a failure. The caller sets the result's Hop.
func Classify(name string, f Failure) *Error {
	kind, cause := kindOf(methods[name], f), f.Err
	if kind == ErrExhausted && Shortage(cause) == nil {
		cause = shortageIn(f.Text)
	}
	text := tail(Clean(tail(ours.Replace(f.Text), TextLimit)), TextLimit)
	return &Error{Phase: kinds[kind].phase, Kind: kind, Status: f.Status, Text: text,
		Given: f.Given, Err: cause}
}

// NoTerminal begins the text of WhatExec where no terminal can be opened. Hops write it, too.
const NoTerminal = "open terminal: "

// ours is what people need not see.
var ours = strings.NewReplacer(noPython, "", sudoPrompt, "")

// TextLimit is how much of what a child says is kept for errors, in bytes.
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

func kindOf(m method, f Failure) error {
	if kind, ok := certain[f.What]; ok {
		return kind
	}
	text := strings.ToLower(f.Text)
	lacks := Shortage(f.Err)
	if f.What == WhatExec && lacks == nil {
		lacks = shortageIn(text)
	}
	switch {
	case f.What == WhatExec && strings.Contains(text, NoTerminal) && (lacks == nil || lacks == syscall.ENOSPC):
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
	if f.Status == 127 || f.Status == 126 || strings.Contains(f.Text, noPython) {
		for _, s := range noShell {
			if strings.Contains(text, s) {
				return ErrNoShell
			}
		}
		return ErrNoPython
	}
	if m.status != 0 && m.status != f.Status {
		return ErrDied
	}
	for _, s := range m.symptoms {
		if strings.Contains(text, s.text) {
			return s.kind
		}
	}
	return or(m.silent, ErrDied)
}

// noShell is what programs say that can't start sh in what they enter, besides its status.
var noShell = []string{"executable file not found", "failed to run command", "no command 'sh'"}

// certain kinds need no look at the text.
var certain = map[string]error{
	WhatTimeout:   ErrTimeout,
	WhatForeign:   ErrForeign,
	WhatHidden:    ErrHidden,
	WhatCancelled: ErrCancelled,
}

// Denied tells whether text, of an ssh, says that the server has accepted nothing that it was given.
func Denied(text string) bool {
	return kindOf(sshMethod, Failure{What: WhatExit, Status: sshMethod.status, Text: text}) == ErrAuth
}

// Texts are lower-case; the first that occurs decides, so the more telling stand first.
var sshSymptoms = []symptom{
	{"remote host identification has changed", ErrHostKeyChanged},
	{"has changed and you have requested strict checking", ErrHostKeyChanged},
	{"host key verification failed", ErrHostKey},
	{yesNo, ErrHostKey},
	{"could not resolve hostname", ErrUnknownHost},
	{"name or service not known", ErrUnknownHost},
	{"nodename nor servname", ErrUnknownHost},
	{"connection refused", ErrRefused},
	{"timed out", ErrTimeout},
	{"i/o timeout", ErrTimeout},
	{"no route to host", ErrUnreachable},
	{"is unreachable", ErrUnreachable},
	{"host is down", ErrUnreachable},
	{"permission denied (", ErrAuth}, // before the bare one, which local files cause too
	{"too many authentication failures", ErrAuth},
	{"no supported authentication methods", ErrAuth},
	{"password change required", ErrAuth},
	{"bad configuration option", ErrSetup},
	{"unsupported option", ErrSetup},
	{"bad owner or permissions", ErrSetup},
	{"connection closed", ErrClosed},
	{"connection reset", ErrClosed},
	{"closed by remote host", ErrClosed},
	{"closed by unknown port", ErrClosed},
	{"broken pipe", ErrClosed},
	{"kex_exchange_identification", ErrClosed},
	{"too many open files", ErrExhausted},
	{"cannot allocate memory", ErrExhausted},
}

var sudoSymptoms = []symptom{
	{"not in the sudoers file", ErrNotInSudoers},
	{"may not run sudo", ErrNotInSudoers},
	{"is not allowed to", ErrNotInSudoers},
	{"i'm afraid i can't do that", ErrNotInSudoers}, // sudo-rs
	{"must have a tty", ErrTTYRequired},
	{"no tty present", ErrTTYRequired},
	{"a terminal is required", ErrTTYRequired},
	{"tty is required", ErrTTYRequired}, // sudo-rs
	{"unable to allocate pty", ErrTTYRequired},
	{"incorrect password attempt", ErrSudoPassword},
	{"incorrect authentication attempt", ErrSudoPassword}, // sudo-rs
	{"sorry, try again", ErrSudoPassword},
	{"authentication failed, try again", ErrSudoPassword}, // sudo-rs
	{"a password is required", ErrPasswordRequired},
	{"no password was provided", ErrPasswordRequired},
	{"unknown user", ErrUnknownUser},
	{"user not found", ErrUnknownUser},
	{"' not found", ErrUnknownUser}, // sudo-rs: user 'name' not found
	{"command not found", ErrNoCommand},
	{"account validation failure", ErrAuth},
	{"account expired", ErrAuth},
	{"password expired", ErrAuth},
	{"must be setuid root", ErrSetup},
	{"have the setuid bit set", ErrSetup},
	{"effective uid is not 0", ErrSetup},
	{"no new privileges", ErrSetup},
	{"syntax error", ErrSetup},
	{"no valid sudoers", ErrSetup},
}
