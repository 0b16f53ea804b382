package sshnative

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// Options say what to start, and how to get there.
type Options struct {
	Argv    []string // the ssh program's, up to the host, for ssh -G
	Command string
	Env     []string           // "NAME=value", for the command; the server may ignore it
	SSH     connect.SSHOptions // passwords
	// Interactive says that a user can be asked. What the user has to be asked for leaves the host
	// to the ssh program.
	Interactive bool
	// Dial makes the connection; nil: from here.
	Dial func(ctx context.Context, host string, port int) (net.Conn, error)
	Line func(string) // is given lines of stderr once Connected has been called
}

// Process is a command that runs elsewhere.
type Process struct {
	Stdin  io.WriteCloser
	Stdout io.ReadCloser

	closers []io.Closer // the last first
	client  *ssh.Client
	session *ssh.Session
	line    func(string)
	done    chan struct{}
	once    sync.Once

	mu        sync.Mutex // protects following
	tail      string
	status    int
	failure   *methods.Failure
	connected bool
	limit     *time.Timer
}

// Start connects and starts the command. ErrUnsupported: the ssh program has to do it. Any other
// error has the text that ssh would have printed.
func Start(ctx context.Context, o Options) (*Process, error) {
	d := &dialer{opt: o}
	p, err := d.start(ctx)
	if err != nil {
		d.close()
		return nil, err
	}
	return p, nil
}

// stdin ends the connection when it is closed: its own end can't be sent during a write.
type stdin struct {
	io.Writer
	p *Process
}

func (s *stdin) Close() error {
	s.p.end()
	return nil
}

// stderr takes what the command writes there.
type stderr Process

func (s *stderr) Write(b []byte) (int, error) {
	p := (*Process)(s)
	p.mu.Lock()
	p.tail += string(b)
	p.tail = p.tail[max(0, len(p.tail)-methods.TextLimit):]
	connected := p.connected
	p.mu.Unlock()
	if connected && p.line != nil {
		for l := range strings.Lines(string(b)) {
			p.line(printable.Line(strings.TrimRight(l, "\r\n")))
		}
	}
	return len(b), nil
}

// reasonPatience bounds the wait for the reason of a connection's end, which follows the end of its
// sessions.
const reasonPatience = 100 * time.Millisecond

// reason returns why the connection has ended; if it hasn't, or was closed here, err.
func reason(client *ssh.Client, err error) error {
	ended := make(chan error, 1)
	// until the connection is closed, which the caller does next
	go func() { ended <- client.Wait() }()
	select {
	case why := <-ended:
		switch {
		case errors.Is(why, io.EOF):
			return errors.New("the other side has closed the connection")
		case why != nil && !errors.Is(why, net.ErrClosed):
			return why
		}
	case <-time.After(reasonPatience):
	}
	return err
}

// stderrRoom is more than most commands write there at once.
const stderrRoom = 2 << 10

// ReadFrom takes all of stderr, in less room than the 32 KiB that io.Copy would have for each
// connection. Where the room ends within a line, the line's beginning waits for its rest.
func (s *stderr) ReadFrom(r io.Reader) (n int64, err error) {
	buf := make([]byte, stderrRoom)
	for held := 0; ; {
		got, err := r.Read(buf[held:])
		n += int64(got)
		taken := held + got
		if held = 0; taken == len(buf) && err == nil {
			held = len(buf) - 1 - bytes.LastIndexByte(buf, '\n')
			held %= len(buf) // a line of that length isn't kept together
		}
		if taken > held {
			s.Write(buf[:taken-held])
			copy(buf, buf[taken-held:taken])
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

func (p *Process) wait() {
	err := p.session.Wait()
	var missing *ssh.ExitMissingError
	if errors.As(err, &missing) {
		err = reason(p.client, err)
	}
	p.mu.Lock()
	var exit *ssh.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Signal() != "":
		p.status = 255
		p.tail += "\nended by signal " + exit.Signal()
	case errors.As(err, &exit):
		p.status = exit.ExitStatus()
	default:
		p.status = 255
		if !errors.As(err, &missing) {
			p.tail += "\nConnection broken: " + err.Error()
		}
	}
	p.mu.Unlock()
	p.end()
}

func (p *Process) end() {
	p.once.Do(func() {
		for i := len(p.closers) - 1; i >= 0; i-- {
			p.closers[i].Close()
		}
		p.mu.Lock()
		if p.limit != nil {
			p.limit.Stop()
		}
		p.mu.Unlock()
		close(p.done)
	})
}

// Connected says that lines of stderr are news from now on.
func (p *Process) Connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = true
	if p.limit != nil {
		p.limit.Stop()
	}
}

// Limit ends the process as having timed out, unless Connected is called in time. If it is called
// again, the time begins anew.
func (p *Process) Limit(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit != nil {
		p.limit.Stop()
	}
	p.limit = time.AfterFunc(d, func() {
		p.mu.Lock()
		connected := p.connected
		p.mu.Unlock()
		if !connected {
			p.Fail(methods.WhatTimeout)
		}
	})
}

// Note adds to what is told of a failure.
func (p *Process) Note(noise []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail += string(noise)
	p.tail = p.tail[max(0, len(p.tail)-methods.TextLimit):]
}

// Text is the end of what was written to stderr.
func (p *Process) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tail
}

// LoggedIn is true: there is a Process once the server has accepted the login.
func (p *Process) LoggedIn() bool { return true }

// Fail ends the connection because of what.
func (p *Process) Fail(what string) {
	p.mu.Lock()
	if p.failure == nil {
		p.failure = &methods.Failure{What: what}
	}
	p.mu.Unlock()
	p.Kill()
}

// Done is closed when the connection has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Failure says why there is no process any more.
func (p *Process) Failure() methods.Failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := methods.Failure{What: methods.WhatExit, Status: p.status}
	if p.failure != nil {
		f = *p.failure
	}
	f.Text, f.LoggedIn = p.tail, true
	return f
}

// Stopped is not to be told from here.
func (p *Process) Stopped() bool { return false }

// Kill ends the connection at once.
func (p *Process) Kill() { p.end() }

// Close ends the connection.
func (p *Process) Close() error {
	p.end()
	return nil
}
