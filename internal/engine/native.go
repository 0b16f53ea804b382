package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/sshnative"
	"github.com/mitogen-go/mitogen/report"
)

// native is a starter that speaks SSH itself, and leaves to other what it can't do. carrier makes
// the connection; nil: this machine.
func (s *starts) native(carrier *Context, other starter) starter {
	e := s.e
	return func(ctx context.Context, plan methods.Plan, ssh connect.SSHOptions) (process,
		io.WriteCloser, io.ReadCloser, error) {
		if foreign(plan) {
			return other(ctx, plan, ssh)
		}
		limited, cancel := ctx, context.CancelFunc(func() {})
		if plan.Timeout > 0 {
			limited, cancel = context.WithTimeout(ctx, plan.Timeout)
		}
		defer cancel()
		// and no more of the plan is kept
		last, name, timeout := len(plan.Argv)-1, plan.Name, plan.Timeout
		o := sshnative.Options{Argv: plan.Argv[:last], Command: plan.Argv[last], Env: plan.Env, SSH: ssh,
			Interactive: e.dialogues.prompt(ctx) != nil || secretsOf(ctx).source != nil,
			Line:        s.news(ctx, name)}
		if carrier != nil {
			o.Dial = func(_ context.Context, host string, port int) (net.Conn, error) {
				f, err := carrier.Tunnels.forward(ctx, host, port, timeout)
				if err != nil {
					return nil, err
				}
				return f, nil
			}
		}
		if ssh.Password != "" || ssh.Passphrase != "" {
			if err := e.audit.provided(e.work.base, report.Event{Context: name}); err != nil {
				return nil, nil, nil, err
			}
		}
		p, err := sshnative.Start(limited, o)
		switch {
		case err == nil:
			if end, ok := limited.Deadline(); ok && timeout > 0 {
				p.Limit(time.Until(end))
			}
			return p, p.Stdin, p.Stdout, nil
		case errors.Is(err, sshnative.ErrUnsupported):
			e.log.Debug("ssh is left to the program", slog.String("hop", plan.Name), slog.Any("why", err))
			if end, ok := limited.Deadline(); ok && timeout > 0 {
				plan.Timeout = max(time.Until(end), time.Millisecond) // what is left of it
			}
			return other(ctx, plan, ssh)
		}
		f := methods.Failure{What: methods.WhatExit, Status: 255, Text: err.Error(),
			Given:    errors.Is(err, sshnative.ErrPasswordGiven),
			LoggedIn: errors.Is(err, sshnative.ErrLoggedIn), Err: err}
		switch {
		case ofThisMachine(err):
			f.What = methods.WhatExec
		case ctx.Err() != nil:
			f.What = methods.WhatCancelled
		case limited.Err() != nil:
			f.What = methods.WhatTimeout
		}
		failed := methods.Classify(plan.Method, f)
		failed.Given = ssh.Password != "" &&
			(failed.Kind == connect.ErrAuth || failed.Kind == connect.ErrDisconnected)
		return nil, nil, nil, methods.Explain(failed)
	}
}

// ofThisMachine tells whether err is about what this machine lacks, and no word of a server.
func ofThisMachine(err error) bool {
	for _, lack := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EAGAIN,
		fs.ErrNotExist, fs.ErrPermission, exec.ErrNotFound,
	} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

// foreign tells whether a plan is for a process with another environment than this one, whose agent
// and configuration would be used.
func foreign(plan methods.Plan) bool {
	for _, entry := range plan.Origin {
		name, value, set := strings.Cut(entry, "=")
		if ours, has := os.LookupEnv(name); name != "PATH" && (has != set || ours != value) {
			return true
		}
	}
	return plan.Dir != ""
}
