package engine

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/proxy"
)

// carried is a starter for an ssh of this machine whose connection another context makes.
func (s *starts) carried(carrier *Context) starter {
	return func(ctx context.Context, plan methods.Plan, ssh connect.SSHOptions) (process,
		io.WriteCloser, io.ReadCloser, error) {
		p, timeout := &carriedProcess{}, plan.Timeout
		args, env, release, err := s.proxy.Register(func(host string, port int) (proxy.Conn, error) {
			if conn := carrier.launch.byMaster(ctx, host, port); conn != nil {
				return conn, nil
			}
			f, err := carrier.Tunnels.forward(ctx, host, port, timeout)
			if err != nil {
				return nil, err
			}
			return &watched{f, p}, nil
		})
		if err != nil {
			return nil, nil, nil, err
		}
		plan.Argv = slices.Insert(slices.Clone(plan.Argv), 1, args...)
		plan.Env = append(slices.Clip(plan.Env), env...)
		proc, stdin, stdout, err := s.e.opt.start(ctx, plan, ssh)
		if err != nil {
			release()
			return nil, nil, nil, err
		}
		p.process, p.release = proc, release
		return p, stdin, stdout, nil
	}
}

// carriedProcess is an ssh that doesn't know what became of its connection.
type carriedProcess struct {
	process
	release func()

	mu  sync.Mutex // protects why
	why string     // the connection wasn't made, in ssh's own words
}

func (p *carriedProcess) Failure() methods.Failure {
	f := p.process.Failure()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != "" && f.What == methods.WhatExit {
		f.Text = p.why
	}
	return f
}

func (p *carriedProcess) Close() error {
	p.release()
	return p.process.Close()
}

// watched is a connection for ssh.
type watched struct {
	*forwarded
	p *carriedProcess
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.forwarded.Read(b)
	var failed *forwardError
	if errors.As(err, &failed) {
		w.p.mu.Lock()
		w.p.why = failed.Error()
		w.p.mu.Unlock()
	}
	return n, err
}
