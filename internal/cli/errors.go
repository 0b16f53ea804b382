package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/printable"
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

// connectKinds name the kinds of failed connects in JSON, and say what to do where the command has a flag for it.
var connectKinds = []struct {
	err        error
	name, hint string
}{
	{mitogen.ErrNoPython, "no-python", ""},
	{mitogen.ErrNoCommand, "no-command", ""},
	{mitogen.ErrUnknownHost, "unknown-host", ""},
	{mitogen.ErrRefused, "refused", ""},
	{mitogen.ErrUnreachable, "unreachable", ""},
	{mitogen.ErrTimeout, "timeout", "check address and firewall, or allow more time with --connect-timeout"},
	{mitogen.ErrDisconnected, "disconnected", ""},
	{mitogen.ErrHostKey, "host-key", "log in once with ssh to check the key, or add --host-keys accept-new"},
	{mitogen.ErrHostKeyChanged, "host-key-changed", ""},
	{mitogen.ErrAuth, "auth", ""},
	{mitogen.ErrPasswordRequired, "password-required", ""},
	{mitogen.ErrSudoPassword, "sudo-password", ""},
	{mitogen.ErrNotInSudoers, "not-in-sudoers", ""},
	{mitogen.ErrNotPermitted, "not-permitted", ""},
	{mitogen.ErrNotFound, "not-found", ""},
	{mitogen.ErrNotRunning, "not-running", ""},
	{mitogen.ErrNoShell, "no-shell", ""},
	{mitogen.ErrHidden, "processes-hidden", ""},
	{mitogen.ErrTTYRequired, "tty-required", ""},
	{mitogen.ErrUnknownUser, "unknown-user", ""},
	{mitogen.ErrSetup, "setup", ""},
	{mitogen.ErrDaemon, "daemon", ""},
	{mitogen.ErrForeign, "foreign", ""},
	{mitogen.ErrDied, "died", ""},
	{connect.ErrStart, "start", ""},
	{mitogen.ErrExhausted, "exhausted", ""},
	{connect.ErrCancelled, "cancelled", ""},
}

// describe says what err is. up tells whether the context had been connected.
func describe(err error, up bool) *problem {
	p := classify(err, up)
	p.cause = err
	return p
}

func classify(err error, up bool) *problem {
	var late *timeoutError
	var call *mitogen.CallError
	var conn *mitogen.ConnectError
	var lost *mitogen.LostError
	var stream *mitogen.StreamError
	switch {
	case errors.Is(err, mitogen.ErrAudit):
		return &problem{Kind: "audit", Message: printable.Line(err.Error()), status: exitFailed}
	case errors.As(err, &late):
		return describeTimeout(late, err, up)
	case errors.As(err, &conn):
		return describeConnect(conn)
	case errors.As(err, &lost):
		return &problem{Kind: "lost", Message: lost.Error(), Hop: lost.Hop, Text: lost.Text, Code: lost.Code, status: exitConnection}
	case errors.As(err, &stream):
		return describeStream(stream, err)
	case errors.As(err, &call):
		return describeCall(call)
	case errors.Is(err, mitogen.ErrCancelled), errors.Is(err, context.Canceled), errors.Is(err, mitogen.ErrClosed):
		return &problem{Kind: "cancelled", Message: printable.Line(err.Error()), status: exitFailed}
	}
	return &problem{Kind: "error", Message: printable.Line(err.Error()), status: exitFailed}
}

func describeStream(e *mitogen.StreamError, err error) *problem {
	p := &problem{Kind: "stream", Message: printable.Line(fmt.Sprintf("%s: %v", e.Op, unnamed(e.Err))), status: exitFailed}
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

func describeConnect(e *mitogen.ConnectError) *problem {
	p := &problem{Kind: "connect", Message: e.Error(), Hop: e.Hop, Phase: e.Phase, Text: e.Text,
		hint: e.Hint(), status: exitConnection}
	for _, k := range connectKinds {
		if !errors.Is(e.Kind, k.err) {
			continue
		}
		p.Kind = k.name
		if k.hint != "" {
			p.hint = k.hint
		}
	}
	if errors.Is(e.Kind, mitogen.ErrCancelled) {
		p.status = exitFailed
	}
	if errors.Is(e.Kind, mitogen.ErrPasswordRequired) {
		p.hint = "--ask-pass asks for ssh's password, --become-password for sudo's"
		if isSudo(e.Hop) {
			p.hint = "--become-password asks for it"
		}
	}
	return p
}

// isSudo says whether the last hop of a target is sudo.
func isSudo(target string) bool {
	hops, err := connect.ParseTarget(target)
	return err == nil && hops[len(hops)-1].Method == "sudo"
}

// describeCall is for an exception. A traceback through nothing but the runtime, as of a name that isn't there, says
// nothing.
func describeCall(e *mitogen.CallError) *problem {
	p := &problem{Kind: "exception", Message: printable.Line(e.Error()), Hop: e.Context, Traceback: e.Traceback,
		status: exitFailed}
	if !strings.Contains(e.Traceback, "\n  File ") {
		p.Traceback = ""
	}
	return p
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

// verdict is what a command's error comes to. Without a message all has been said.
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
