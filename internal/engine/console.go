package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/serial"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// console returns the starter for a plan with a Line, which logs in on a console; nil: it has none.
func (s *starts) console(p methods.Plan, python []string) starter {
	if p.Line == nil {
		return nil
	}
	return func(ctx context.Context, plan methods.Plan, _ connect.SSHOptions) (process,
		io.WriteCloser, io.ReadCloser, error) {
		limited, cancel := ctx, context.CancelFunc(func() {})
		if plan.Timeout > 0 {
			limited, cancel = context.WithTimeout(ctx, plan.Timeout)
		}
		defer cancel()
		name := plan.Name
		p, err := serial.Start(limited, serial.Options{
			Line: plan.Line, Argv: plan.Argv, Python: python, Hidden: plan.Mask(),
			Password: s.consolePassword(ctx, plan),
			Phase:    s.consolePhase(ctx, name),
			Log:      s.news(ctx, name),
		})
		if err != nil {
			return nil, nil, nil, consoleFailed(plan, err)
		}
		if end, ok := limited.Deadline(); ok && plan.Timeout > 0 {
			p.Limit(time.Until(end))
		}
		return p, p.Stdin(), p.Stdout(), nil
	}
}

// consolePassword returns what finds the password of a console: the plan's, what has secrets, or a
// person, who is asked no longer than its context lasts.
func (s *starts) consolePassword(ctx context.Context,
	plan methods.Plan) func(context.Context) (secret.Secret, error) {
	if answer := plan.Prompts[0].Answer; answer != nil {
		return func(context.Context) (secret.Secret, error) { return secret.Secret(answer), nil }
	}
	a := s.e.dialogues.asker(ctx, plan)
	if a == nil {
		return func(context.Context) (secret.Secret, error) { return "", nil }
	}
	return func(ctx context.Context) (secret.Secret, error) {
		answer, err := a.askWithin(ctx)
		if err == nil {
			err = methods.CheckAnswer(answer)
		}
		return secret.Secret(answer), err
	}
}

// consolePhase notes how far the start of a console has come.
func (s *starts) consolePhase(ctx context.Context, name string) func(string, time.Duration) {
	e := s.e
	c, _ := ctx.Value(contextKey{}).(*Context)
	return func(phase string, took time.Duration) {
		e.log.Debug("console", slog.String("hop", name), slog.String("phase", phase),
			slog.Duration("after", took))
		if c == nil {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		c.figures.count.steps = append(c.figures.count.steps, report.Step{Name: phase, After: took})
	}
}

// consoleFailed is the error of a console's start.
func consoleFailed(plan methods.Plan, err error) error {
	failed := (*serial.Error)(nil)
	if !errors.As(err, &failed) {
		return err
	}
	e := &connect.Error{
		Hop: plan.Name, Method: plan.Method, Kind: failed.Kind(), Phase: connect.PhaseLogin,
		Text: strings.TrimSpace(failed.Text + "\n" + failed.Error()), Given: failed.Given,
		NoStatus: true, Err: failed.Err,
	}
	switch failed.Phase {
	case serial.PhaseOpen:
		e.Phase = connect.PhaseStart
	case serial.PhaseStage, serial.PhaseLink:
		e.Phase, e.LoggedIn = connect.PhasePython, true
	}
	return methods.Explain(e)
}
