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

// auditConnect tells that c is about to be started by plan. The end of ctx is an error.
func (e *Engine) auditConnect(ctx context.Context, c *Context, plan methods.Plan,
	ssh connect.SSHOptions) error {
	ev := c.event(report.EventConnect)
	ev.Method, ev.Host, ev.User = c.hop.Method, c.hop.Host, c.hop.User
	if ev.User == "" {
		ev.User = ssh.User
	}
	if c.hop.Port != 0 {
		ev.Host = fmt.Sprintf("%s:%d", ev.Host, c.hop.Port)
	}
	if err := e.auditFirst(ctx, ev, "connect "+c.name); err != nil || !hasSecrets(plan) {
		return err
	}
	return e.auditProvided(ctx, c.event(report.EventPrompt))
}

// auditFirst has ev told before what it tells of is done. It blocks no longer than until the end of
// ctx, or of the engine. The error names what could not be done.
func (e *Engine) auditFirst(ctx context.Context, ev report.Event, what string) error {
	if e.auditor == nil {
		return nil
	}
	within, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(e.base, stop)()
	err := e.auditor.before(within, ev)
	switch {
	case err == nil || errors.Is(err, ErrAudit):
		return err
	case ctx.Err() != nil && ctx != e.base:
		return givenUp(ctx, what)
	case e.base.Err() != nil:
		return fmt.Errorf("%s: %w", what, ErrClosed)
	}
	return err
}

// auditProvided tells that a secret goes along with a start, for questions that are answered where
// it is carried out.
func (e *Engine) auditProvided(ctx context.Context, ev report.Event) error {
	ev.Kind, ev.Name, ev.Outcome = report.EventPrompt, connect.PromptPassword.String(), "provided"
	return e.auditFirst(ctx, ev, "connect "+ev.Context)
}

// auditUpLocked tells what c has said about itself.
func (c *Context) auditUpLocked() {
	ev := c.event(report.EventUp)
	ev.Host, ev.User = c.info.Hostname, fmt.Sprint(c.info.UID)
	c.e.auditor.add(ev)
}

// auditGoneLocked tells why c is gone.
func (c *Context) auditGoneLocked() {
	ev := c.event(report.EventGone)
	switch {
	case errors.Is(c.err, ErrClosed):
		ev.Outcome = "closed"
	case c.up:
		ev.Outcome, ev.Reason = "lost", c.err.Error()
	default:
		ev.Outcome, ev.Reason = "failed", c.err.Error()
	}
	c.e.auditor.add(ev)
}

// auditRefusedLocked tells what c has sent that was refused, the nth time.
func (c *Context) auditRefusedLocked(what string, attrs []slog.Attr, n int) {
	if c.e.auditor == nil {
		return
	}
	ev := c.event(report.EventRefused)
	ev.Name, ev.Count = what, n
	for _, a := range attrs {
		ev.Reason += a.String() + " "
	}
	ev.Reason = strings.TrimSuffix(ev.Reason, " ")
	c.e.auditor.add(ev)
}

// auditBegin tells of a call, run or exec. end is to be called once that is over.
func (c *Context) auditBegin(
	ctx context.Context,
	kind report.EventKind,
	name string,
) (end func(status int, err error), err error) {
	a := c.e.auditor
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
	if err = c.e.auditFirst(ctx, ev, string(kind)+" "+name+" in "+c.name); err != nil &&
		!errors.Is(err, ErrAudit) {
		end(0, err)
	}
	return end, err
}

// auditExec tells that a command is about to be run at a hop, without a context. told is to be
// called once it is over.
func (e *Engine) auditExec(
	ctx context.Context,
	h methods.Hop,
	plan methods.Plan,
	ssh connect.SSHOptions,
	cmd Command,
) (told func(status int, err error), err error) {
	c := &Context{e: e, name: plan.Name}
	c.hop = h
	if err := e.auditConnect(ctx, c, plan, ssh); err != nil {
		return nil, err
	}
	return c.auditBegin(ctx, report.EventExec, cmd.Args[0])
}

// auditReason is err without what a target says of it: of an exception its class.
func auditReason(err error) string {
	var raised *report.CallError
	if errors.As(err, &raised) {
		return "exception " + raised.Module + "." + raised.Type
	}
	return err.Error()
}

// auditService tells what c is about to fork, connect to or serve.
func (c *Context) auditService(ctx context.Context, what map[string]any) error {
	if c.e.auditor == nil {
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
	return c.e.auditFirst(ctx, ev, "open in "+c.name)
}

// auditAnswers has the answers of f told, before they are given. name is the context's or the
// hop's.
func (e *Engine) auditAnswers(name string, f connect.PromptFunc) connect.PromptFunc {
	if e.auditor == nil || f == nil {
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
		if failed := e.auditFirst(ctx, ev, "answer"); failed != nil {
			return "", failed
		}
		return answer, err
	}
}

// auditFailed ends all contexts: what they do could not be told.
func (e *Engine) auditFailed(err error) {
	e.mu.Lock()
	defer e.unlock()
	for _, c := range sortedContexts(e.contexts) {
		e.loseLocked(c, err, true)
	}
}
