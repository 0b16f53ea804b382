package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
)

// Conn is a process at a target that another engine or a daemon has started, and that waits for a
// boot: its stdin and stdout.
type Conn interface {
	io.ReadWriteCloser
	Text() string // end of what it wrote to stderr, once Read has returned an error; hostile
}

// Dial asks a daemon, or whatever keeps a context at a target, to start a process there. It may
// return before the process is there. If the start fails then, Read returns a *connect.Error.
type Dial func(ctx context.Context, target string, o connect.Options) (Conn, error)

// dialer is a starter.
func dialer(dial Dial, target string, o connect.Options) starter {
	return func(ctx context.Context, plan methods.Plan, _ connect.SSHOptions) (process, io.WriteCloser,
		io.ReadCloser, error) {
		conn, err := dial(ctx, target, o)
		if err != nil {
			return nil, nil, nil, err
		}
		p := &dialed{conn: conn, done: make(chan struct{})}
		return p, conn, p, nil
	}
}

// dialed is a process that is elsewhere.
type dialed struct {
	conn Conn
	once sync.Once
	done chan struct{}

	mu      sync.Mutex // protects following
	failure *methods.Failure
	noise   string
	reason  error // what Read ended with
}

// Read is the process's stdout.
func (p *dialed) Read(b []byte) (int, error) {
	n, err := p.conn.Read(b)
	if err != nil {
		p.mu.Lock()
		p.reason = err
		p.mu.Unlock()
		p.Kill()
		err = io.EOF
	}
	return n, err
}

func (p *dialed) Connected() {}

func (p *dialed) Note(noise []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noise += string(noise)
	p.noise = p.noise[max(0, len(p.noise)-methods.TextLimit):]
}

func (p *dialed) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.noise + p.conn.Text()
}

// LoggedIn is false, as nothing is known here of how the process was started.
func (p *dialed) LoggedIn() bool { return false }

func (p *dialed) Fail(what string) {
	p.mu.Lock()
	if p.failure == nil {
		p.failure = &methods.Failure{What: what}
	}
	p.mu.Unlock()
	p.Kill()
}

func (p *dialed) Done() <-chan struct{} { return p.done }

func (p *dialed) Failure() methods.Failure {
	f := methods.Failure{What: methods.WhatExit, NoStatus: true}
	p.mu.Lock()
	if p.failure != nil {
		f = *p.failure
	}
	p.mu.Unlock()
	f.Text = p.Text()
	return f
}

// err returns the error that ended Read, if that says more than Failure. If the process ended by
// itself or was closed here, it is nil.
func (p *dialed) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var failed *connect.Error
	var lost *report.LostError
	switch err := p.reason; {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return nil
	case errors.As(err, &failed), errors.As(err, &lost):
		return err
	default:
		return &report.LostError{Reason: printable.Text(err.Error())}
	}
}

func (p *dialed) Stopped() bool { return false }

func (p *dialed) Kill() {
	p.once.Do(func() {
		p.conn.Close()
		close(p.done)
	})
}

func (p *dialed) Close() error {
	p.Kill()
	return nil
}
