package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/sshnative"
)

// native is a starter that speaks SSH itself, and leaves to other what it can't do. carrier makes the connection; nil: this machine.
func (e *Engine) native(carrier *Context, other starter) starter {
	return func(ctx context.Context, plan connect.Plan, ssh connect.SSHOptions) (process, io.WriteCloser, io.ReadCloser, error) {
		limited, cancel := ctx, context.CancelFunc(func() {})
		if plan.Timeout > 0 {
			limited, cancel = context.WithTimeout(ctx, plan.Timeout)
		}
		defer cancel()
		last := len(plan.Argv) - 1
		o := sshnative.Options{Argv: plan.Argv[:last], Command: plan.Argv[last], SSH: ssh, Line: func(line string) {
			if e.wanted(plan.Name) {
				e.log.Warn(line, slog.String("hop", plan.Name))
			}
		}}
		if ask := e.opt.Prompt; ask != nil {
			o.Ask = func(ctx context.Context, kind askpass.Kind, text string) (string, error) {
				return ask(ctx, askpass.Prompt{Hop: plan.Name, Kind: kind, Text: connect.Clean(text)})
			}
		}
		if carrier != nil {
			o.Dial = func(_ context.Context, host string, port int) (net.Conn, error) {
				t, err := carrier.Forward(ctx, host, port, plan.Timeout)
				if err != nil {
					return nil, err
				}
				return &forwarded{t, fmt.Sprintf("ssh: connect to host %s port %d", host, port)}, nil
			}
		}
		p, err := sshnative.Start(limited, o)
		switch {
		case err == nil:
			return p, p.Stdin, p.Stdout, nil
		case errors.Is(err, sshnative.ErrUnsupported):
			e.log.Info("ssh is left to the program", slog.String("hop", plan.Name), slog.Any("why", err))
			return other(ctx, plan, ssh)
		}
		f := connect.Failure{What: connect.WhatExit, Status: 255, Text: err.Error()}
		switch {
		case ctx.Err() != nil:
			f.What = connect.WhatCancelled
		case limited.Err() != nil:
			f.What = connect.WhatTimeout
		}
		return nil, nil, nil, connect.Classify(plan.Method, f)
	}
}

// forwarded is a Tunnel as a net.Conn. It has no deadlines: whoever gives up closes it.
type forwarded struct {
	*Tunnel
	what string
}

func (f *forwarded) Read(b []byte) (int, error) {
	n, err := f.Tunnel.Read(b)
	if failed := (*CallError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%s: %s", f.what, failed.Text)
	}
	return n, err
}

func (*forwarded) LocalAddr() net.Addr              { return here{} }
func (*forwarded) RemoteAddr() net.Addr             { return here{} }
func (*forwarded) SetDeadline(time.Time) error      { return nil }
func (*forwarded) SetReadDeadline(time.Time) error  { return nil }
func (*forwarded) SetWriteDeadline(time.Time) error { return nil }

// here is an address that says nothing.
type here struct{}

func (here) Network() string { return "mitogen" }
func (here) String() string  { return "0.0.0.0:0" }
