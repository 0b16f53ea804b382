package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

// problem is an error as people and --json are told it.
type problem struct {
	Kind      string `json:"kind"`
	Message   string `json:"message"`
	Hop       string `json:"hop,omitempty"`
	Phase     string `json:"phase,omitempty"`
	Traceback string `json:"traceback,omitempty"`
	Text      string `json:"text,omitempty"` // last words of the program that made the connection
	Code      string `json:"code,omitempty"` // of lost: the budget that the context has exceeded

	hint   string
	status int   // exit status
	cause  error // may be nil
}

// connectKinds name the kinds of failed connects in JSON.
var connectKinds = []struct {
	err  error
	name string
}{
	{connect.ErrNoProgram, "no-program"}, // which is no-python, too
	{connect.ErrNoPython, "no-python"},
	{connect.ErrNoCommand, "no-command"},
	{connect.ErrUnknownHost, "unknown-host"},
	{connect.ErrRefused, "refused"},
	{connect.ErrUnreachable, "unreachable"},
	{connect.ErrTimeout, "timeout"},
	{connect.ErrDisconnected, "disconnected"},
	{connect.ErrHostKey, "host-key"},
	{connect.ErrHostKeyChanged, "host-key-changed"},
	{connect.ErrAuth, "auth"},
	{connect.ErrPasswordRequired, "password-required"},
	{connect.ErrSudoPassword, "sudo-password"},
	{connect.ErrNotInSudoers, "not-in-sudoers"},
	{connect.ErrNotPermitted, "not-permitted"},
	{connect.ErrNotFound, "not-found"},
	{connect.ErrNotRunning, "not-running"},
	{connect.ErrNoShell, "no-shell"},
	{connect.ErrHidden, "processes-hidden"},
	{connect.ErrBusy, "console-in-use"},
	{connect.ErrNoLogin, "no-login"},
	{connect.ErrTTYRequired, "tty-required"},
	{connect.ErrUnknownUser, "unknown-user"},
	{connect.ErrSetup, "setup"},
	{connect.ErrDaemon, "daemon"},
	{connect.ErrForeign, "foreign"},
	{connect.ErrDied, "died"},
	{connect.ErrStart, "start"},
	{connect.ErrExhausted, "exhausted"},
	{connect.ErrCancelled, "cancelled"},
}

// describe says what err is. up tells whether the context had been connected.
func describe(err error, up bool) *problem {
	p := classify(err, up)
	p.cause = err
	return p
}

func classify(err error, up bool) *problem {
	var late *timeoutError
	var call *report.CallError
	var conn *connect.Error
	var lost *report.LostError
	var stream *report.StreamError
	var way *wayError
	switch {
	case errors.Is(err, mitogen.ErrAudit):
		return &problem{Kind: "audit", Message: printable.Line(err.Error()), status: exitFailed}
	case errors.As(err, &way):
		return &problem{Kind: "inventory", Message: printable.Line(way.Error()), status: exitConnection}
	case errors.As(err, &late):
		return describeTimeout(late, err, up)
	case errors.As(err, &conn):
		return describeConnect(conn)
	case errors.As(err, &lost):
		return &problem{Kind: "lost", Message: lost.Error(), Hop: lost.Hop, Text: lost.Text,
			Code: lost.Code, status: exitConnection,
			hint: "it had begun there, and may have done a part: look there before you run it again"}
	case errors.As(err, &stream):
		return describeStream(stream, err)
	case errors.As(err, &call):
		return describeCall(call)
	case errors.Is(err, mitogen.ErrCancelled), errors.Is(err, context.Canceled),
		errors.Is(err, mitogen.ErrClosed):
		return &problem{Kind: "cancelled", Message: printable.Line(err.Error()), status: exitFailed}
	}
	return &problem{Kind: "error", Message: printable.Line(err.Error()), status: exitFailed}
}

func describeStream(e *report.StreamError, err error) *problem {
	p := &problem{Kind: "stream", Message: printable.Line(fmt.Sprintf("%s: %v", e.Op, unnamed(e.Err))),
		status: exitFailed}
	if errors.Is(err, mitogen.ErrKilled) {
		p.Message += "; the process there did not end and was killed"
	}
	return p
}

func describeTimeout(late *timeoutError, err error, up bool) *problem {
	p := &problem{Kind: "timeout", Message: late.Error(), Phase: "run", status: exitFailed,
		hint: "allow more time with --timeout"}
	if errors.Is(err, mitogen.ErrKilled) {
		p.Message += "; the process there did not end and was killed"
	}
	if !up {
		p.Phase, p.status = "connect", exitConnection
		p.Message += " while connecting"
	}
	return p
}

func describeConnect(e *connect.Error) *problem {
	p := &problem{Kind: "connect", Message: e.Error(), Hop: e.Hop, Phase: e.Phase, Text: e.Text,
		hint: e.Hint, status: exitConnection}
	for _, k := range connectKinds {
		if errors.Is(e.Kind, k.err) {
			p.Kind = k.name
		}
	}
	if errors.Is(e.Kind, mitogen.ErrCancelled) {
		p.status = exitFailed
	}
	if errors.Is(e.Kind, connect.ErrPasswordRequired) && !(methods.Hop{Method: e.Method}).IsConsole() {
		p.hint = "--ask-pass asks for ssh's password, --become-password for sudo's"
		if e.Method == "sudo" || e.Method == "su" || e.Method == "doas" {
			p.hint = "--become-password asks for it"
		}
	}
	return p
}

// What is shown of an exception, in bytes: its text may hold a whole file.
const (
	shownMessage   = 8 << 10
	shownTraceback = 64 << 10
)

// describeCall is for an exception. A traceback through nothing but the runtime, as of a name that
// isn't there, says nothing.
func describeCall(e *report.CallError) *problem {
	p := &problem{Kind: "exception", Message: printable.Line(ends(e.Error(), shownMessage)),
		Hop:    e.Context,
		status: exitFailed}
	if namesFile(e.Traceback) {
		p.Traceback = ends(e.Traceback, shownTraceback)
	}
	return p
}

// namesFile tells whether a traceback has a place in a file, be it in a group of exceptions, whose
// lines begin with a margin.
func namesFile(traceback string) bool {
	for line := range strings.Lines(traceback) {
		if strings.HasPrefix(strings.TrimLeft(line, " |"), `File "`) {
			return true
		}
	}
	return false
}

// ends returns s, or about most bytes of it from both ends, and how many are left out between them.
func ends(s string, most int) string {
	if len(s) <= most {
		return s
	}
	begin, end := most/2, len(s)-most/2
	for begin > 0 && !utf8.RuneStart(s[begin]) {
		begin--
	}
	for end < len(s) && !utf8.RuneStart(s[end]) {
		end++
	}
	return fmt.Sprintf("%s … %d bytes left out … %s", s[:begin], end-begin, s[end:])
}

// tell prints a problem; target is empty where there is only one.
func (u *ui) tell(target string, p *problem) {
	u.told(p.cause)
	pg := u.page(u.err)
	if p.Traceback != "" {
		pg.quote(target, p.Traceback)
	}
	pg.red("error:").add(" ")
	if target != "" {
		pg.add("%s: ", printable.Name(target))
	}
	pg.add("%s", p.Message).end()
	if p.hint != "" {
		pg.bold("hint:").add(" %s", p.hint).end()
	}
	pg.print()
}

// report prints the error that a command ended with and returns the exit status.
func (s *state) report(err error) int {
	p := verdict(err)
	if p.Message != "" {
		s.ui.tell("", p)
	}
	return p.status
}

// verdict turns a command's error into a message and an exit status. If the message is empty,
// nothing is left to print.
func verdict(err error) *problem {
	var exit exitError
	var usage *usageError
	switch {
	case err == nil:
		return &problem{}
	case errors.Is(err, errInterrupted):
		if s := (signalled{}); errors.As(err, &s) {
			return &problem{Message: s.Error(), status: s.status()}
		}
		return &problem{Message: errInterrupted.Error(), status: exitInterrupted}
	case errors.As(err, &exit):
		return &problem{status: int(exit)}
	case errors.As(err, &usage):
		hint := usage.hint
		if hint == "" {
			hint = fmt.Sprintf("see %s --help", usage.command)
		}
		return &problem{Message: usage.Error(), hint: hint, status: exitUsage}
	}
	return describe(err, true)
}
