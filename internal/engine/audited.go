package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/report"
)

// What the engine tells its auditor of contexts, and of what they are asked.

// audits tells Options.Audit of contexts, and of what they are asked.
type audits struct {
	e       *Engine
	auditor *auditor // nil: nothing is told
}

// connect tells that c is about to be started by plan. The end of ctx is an error.
func (u *audits) connect(ctx context.Context, c *Context, plan methods.Plan,
	ssh connect.SSHOptions) error {
	ev := c.event(report.EventConnect)
	ev.Method, ev.Host, ev.User = c.launch.hop.Method, c.launch.hop.Host, c.launch.hop.User
	if ev.User == "" {
		ev.User = ssh.User
	}
	if c.launch.hop.Port != 0 {
		ev.Host = fmt.Sprintf("%s:%d", ev.Host, c.launch.hop.Port)
	}
	if err := u.first(ctx, ev, "connect "+c.name); err != nil || !hasSecrets(plan) {
		return err
	}
	return u.provided(ctx, c.event(report.EventPrompt))
}

// first has ev told before what it tells of is done. It blocks no longer than until the end of
// ctx, or of the engine. The error names what could not be done.
func (u *audits) first(ctx context.Context, ev report.Event, what string) error {
	e := u.e
	if u.auditor == nil {
		return nil
	}
	within, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(e.work.base, stop)()
	err := u.auditor.before(within, ev)
	switch {
	case err == nil || errors.Is(err, ErrAudit):
		return err
	case ctx.Err() != nil && ctx != e.work.base:
		return givenUp(ctx, what)
	case e.work.base.Err() != nil:
		return fmt.Errorf("%s: %w", what, ErrClosed)
	}
	return err
}

// provided tells that a secret goes along with a start, for questions that are answered where
// it is carried out.
func (u *audits) provided(ctx context.Context, ev report.Event) error {
	ev.Kind, ev.Name, ev.Outcome = report.EventPrompt, connect.PromptPassword.String(), "provided"
	return u.first(ctx, ev, "connect "+ev.Context)
}

// upLocked tells what c has said about itself.
func (u *audits) upLocked(c *Context) {
	ev := c.event(report.EventUp)
	ev.Host, ev.User = c.hello.info.Hostname, fmt.Sprint(c.hello.info.UID)
	u.auditor.add(ev)
}

// goneLocked tells why c is gone.
func (u *audits) goneLocked(c *Context) {
	ev := c.event(report.EventGone)
	switch {
	case errors.Is(c.err, ErrClosed):
		ev.Outcome = "closed"
	case c.hello.up:
		ev.Outcome, ev.Reason = "lost", c.err.Error()
	default:
		ev.Outcome, ev.Reason = "failed", c.err.Error()
	}
	u.auditor.add(ev)
}

// refusedLocked tells what c has sent that was refused, the nth time.
func (u *audits) refusedLocked(c *Context, what string, attrs []slog.Attr, n int) {
	if u.auditor == nil {
		return
	}
	ev := c.event(report.EventRefused)
	ev.Name, ev.Count = what, n
	for _, a := range attrs {
		ev.Reason += a.String() + " "
	}
	ev.Reason = strings.TrimSuffix(ev.Reason, " ")
	u.auditor.add(ev)
}

// begin tells of a call, run or exec. end is to be called once that is over.
func (u *audits) begin(
	ctx context.Context,
	c *Context,
	kind report.EventKind,
	name string,
) (end func(status int, err error), err error) {
	a := u.auditor
	if a == nil {
		return func(int, error) {}, nil
	}
	ev := c.event(kind)
	ev.Name, ev.Call = name, a.calls.Add(1)
	end = func(status int, err error) {
		ev := ev
		ev.Kind, ev.Status, ev.Outcome = report.EventEnd, status, "well"
		if err != nil {
			ev.Outcome, ev.Reason = "failed", auditReason(err)
		}
		a.add(ev)
	}
	if err = u.first(ctx, ev, string(kind)+" "+name+" in "+c.name); err != nil &&
		!errors.Is(err, ErrAudit) {
		end(0, err)
	}
	return end, err
}

// exec tells that a command is about to be run at a hop, without a context. told is to be
// called once it is over.
func (u *audits) exec(
	ctx context.Context,
	h methods.Hop,
	plan methods.Plan,
	ssh connect.SSHOptions,
	cmd Command,
) (told func(status int, err error), err error) {
	c := &Context{e: u.e, name: plan.Name}
	c.launch.hop = h
	if err := u.connect(ctx, c, plan, ssh); err != nil {
		return nil, err
	}
	return u.begin(ctx, c, report.EventExec, cmd.Args[0])
}

// auditReason is err without what a target says of it: of an exception its class.
func auditReason(err error) string {
	var raised *report.CallError
	if errors.As(err, &raised) {
		return "exception " + raised.Module + "." + raised.Type
	}
	return err.Error()
}

// service tells what c is about to fork, connect to or serve.
func (u *audits) service(ctx context.Context, c *Context, what map[string]any) error {
	if u.auditor == nil {
		return nil
	}
	ev := c.event(report.EventService)
	switch {
	case what["service"] != nil:
		ev.Name = fmt.Sprint(what["service"])
		for _, key := range []string{"op", "module", "path"} {
			if text, ok := what[key].(string); ok {
				ev.Name += " " + text
			}
		}
	case what["host"] != nil:
		ev.Name = fmt.Sprintf("connect %v:%v", what["host"], what["port"])
	case what["fork"] == true:
		ev.Name = "fork"
	default:
		ev.Name = "program"
		if argv, ok := what["argv"].([]string); ok && len(argv) > 0 {
			ev.Name += " " + argv[0]
		}
	}
	return u.first(ctx, ev, "open in "+c.name)
}

// answers has the answers of f told, before they are given. name is the context's or the
// hop's.
func (u *audits) answers(name string, f connect.PromptFunc) connect.PromptFunc {
	if u.auditor == nil || f == nil {
		return f
	}
	return func(ctx context.Context, p connect.Prompt) (string, error) {
		answer, err := f(ctx, p)
		if p.Kind == connect.PromptNotice {
			return answer, err
		}
		ev := report.Event{
			Kind:    report.EventPrompt,
			Context: name,
			Host:    p.Hop,
			Name:    p.Kind.String(),
			Outcome: "answered",
		}
		if err != nil {
			ev.Outcome, ev.Reason = "refused", err.Error()
		}
		if failed := u.first(ctx, ev, "answer"); failed != nil {
			return "", failed
		}
		return answer, err
	}
}

// failed ends all contexts: what they do could not be told.
func (u *audits) failed(err error) {
	e := u.e
	e.mu.Lock()
	defer e.unlock()
	for _, c := range sortedContexts(e.tree.contexts) {
		e.tree.loseLocked(c, err, true)
	}
}
