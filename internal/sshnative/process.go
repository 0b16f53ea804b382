package sshnative

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/connect"
)

// Options say what to start, and how to get there.
type Options struct {
	Argv    []string // the ssh program's, up to the host, for ssh -G
	Command string
	Env     []string           // "NAME=value", for the command; the server may ignore it
	SSH     connect.SSHOptions // passwords
	// Ask is asked what is needed and isn't in SSH. Nil: nobody can be.
	Ask func(ctx context.Context, kind askpass.Kind, text string) (string, error)
	// Dial makes the connection; nil: from here.
	Dial func(ctx context.Context, host string, port int) (net.Conn, error)
	Line func(string) // is given lines of stderr once Connected has been called
}

// Process is a command that runs elsewhere.
type Process struct {
	Stdin  io.WriteCloser
	Stdout io.ReadCloser

	closers []io.Closer // the last first
	session *ssh.Session
	line    func(string)
	done    chan struct{}
	once    sync.Once

	mu        sync.Mutex // protects following
	tail      string
	status    int
	failure   *connect.Failure
	connected bool
	limit     *time.Timer
}

// A dialer makes one connection, jumps included.
type dialer struct {
	opt     Options
	closers []io.Closer
}

// maxJumps is how many hosts may be on the way.
const maxJumps = 8

// Start connects and starts the command. ErrUnsupported: the ssh program has to do it. Any other error's text is what ssh would have
// printed.
func Start(ctx context.Context, o Options) (*Process, error) {
	d := &dialer{opt: o}
	p, err := d.start(ctx)
	if err != nil {
		d.close()
		return nil, err
	}
	return p, nil
}

func (d *dialer) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i].Close()
	}
}

func (d *dialer) start(ctx context.Context) (*Process, error) {
	c, err := configFor(ctx, d.opt.Argv)
	if err != nil {
		return nil, err
	}
	client, err := d.client(ctx, c, d.opt.Dial, 0)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { client.Close() }) // a cut may be silent
	defer stop()
	session, err := client.NewSession()
	if err != nil {
		return nil, says("Connection closed: %w", err)
	}
	p := &Process{session: session, line: d.opt.Line, done: make(chan struct{})}
	stdout, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.Stdin = &stdin{in, p}
	session.Stderr = (*stderr)(p)
	p.Stdout = io.NopCloser(stdout)
	for _, env := range d.opt.Env {
		name, value, _ := strings.Cut(env, "=")
		request := struct{ Name, Value string }{name, value}
		if _, err := session.SendRequest("env", false, ssh.Marshal(&request)); err != nil {
			return nil, says("Connection closed: %w", err)
		}
	}
	d.opt.Env = nil // nor kept, by what may be asked again about the connection
	if err := session.Start(d.opt.Command); err != nil {
		return nil, says("Connection closed: %w", err)
	}
	p.closers = d.closers
	go p.wait()
	return p, nil
}

// client connects to the host that c describes, by way of its jumps.
func (d *dialer) client(ctx context.Context, c *config, dial func(context.Context, string, int) (net.Conn, error), depth int) (*ssh.Client, error) {
	if err := c.supported(); err != nil {
		return nil, err
	}
	if depth > maxJumps {
		return nil, fmt.Errorf("%w: more than %d jumps", ErrUnsupported, maxJumps)
	}
	host, port := c.get("hostname"), c.port()
	if jumps := c.get("proxyjump"); jumps != "" && jumps != "none" && d.opt.Dial == nil {
		before, err := d.jump(ctx, jumps, depth)
		if err != nil {
			return nil, err
		}
		dial = before
	}
	if dial == nil {
		dial = func(ctx context.Context, host string, port int) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		}
	}
	conn, err := dial(ctx, host, port)
	if err != nil {
		return nil, dialError(host, port, err)
	}
	d.closers = append(d.closers, conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	check, algorithms, err := d.hostKeys(ctx, c)
	if err != nil {
		return nil, err
	}
	methods, done := d.auth(ctx, c)
	defer done()
	name := net.JoinHostPort(host, strconv.Itoa(port))
	cc, chans, reqs, err := ssh.NewClientConn(conn, name, &ssh.ClientConfig{User: c.get("user"), Auth: methods, HostKeyCallback: check,
		HostKeyAlgorithms: algorithms, ClientVersion: "SSH-2.0-mitogen"})
	if err != nil {
		return nil, handshakeError(ctx, c, err)
	}
	client := ssh.NewClient(cc, chans, reqs)
	d.closers = append(d.closers, client)
	return client, nil
}

// jump connects to what stands in ProxyJump and returns what dials from there.
func (d *dialer) jump(ctx context.Context, jumps string, depth int) (func(context.Context, string, int) (net.Conn, error), error) {
	var dial func(context.Context, string, int) (net.Conn, error)
	for _, j := range strings.Split(jumps, ",") {
		argv := jumpArgv(d.opt.Argv, strings.TrimPrefix(j, "ssh://"))
		c, err := configFor(ctx, argv)
		if err != nil {
			return nil, err
		}
		client, err := d.client(ctx, c, dial, depth+1)
		if err != nil {
			return nil, err
		}
		dial = func(ctx context.Context, host string, port int) (net.Conn, error) {
			return client.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		}
	}
	return dial, nil
}

// jumpArgv is the command line for a host on the way: of ours only the configuration file, as ssh does it.
func jumpArgv(argv []string, host string) []string {
	jump := []string{argv[0]}
	for i := 1; i+1 < len(argv); i++ {
		if argv[i] == "-F" {
			jump = append(jump, argv[i:i+2]...)
		}
	}
	user, rest, ok := strings.Cut(host, "@")
	if ok {
		jump, host = append(jump, "-l", user), rest
	}
	if name, port, err := net.SplitHostPort(host); err == nil {
		jump, host = append(jump, "-p", port), name
	}
	return append(jump, "--", host)
}

// says is an error in the words of ssh, which package connect knows.
func says(format string, args ...any) error { return fmt.Errorf(format, args...) }

// dialError has ssh's words.
func dialError(host string, port int, err error) error {
	var unknown *net.DNSError
	if errors.As(err, &unknown) && unknown.IsNotFound {
		return fmt.Errorf("ssh: Could not resolve hostname %s: Name or service not known", host)
	}
	text := err.Error()
	for _, known := range []struct {
		err  error
		text string
	}{{syscall.ECONNREFUSED, "Connection refused"}, {syscall.EHOSTUNREACH, "No route to host"}, {syscall.ENETUNREACH, "Network is unreachable"},
		{syscall.ETIMEDOUT, "Connection timed out"}, {context.DeadlineExceeded, "Connection timed out"}} {
		if errors.Is(err, known.err) {
			text = known.text
		}
	}
	return fmt.Errorf("ssh: connect to host %s port %d: %s", host, port, text)
}

func handshakeError(ctx context.Context, c *config, err error) error {
	who := c.get("user") + "@" + c.get("hostname")
	switch {
	case errors.Is(err, errChanged):
		return says("@ WARNING: %w! @\nHost key verification failed", errChanged)
	case errors.Is(err, errUnknown):
		return errUnknown
	case ctx.Err() != nil:
		return says("Connection timed out during banner exchange")
	case strings.Contains(err.Error(), "unable to authenticate"):
		return says("%s: Permission denied (publickey,password).", who)
	}
	return says("Connection closed by %s port %d: %w", c.get("hostname"), c.port(), err)
}

// stdin ends the connection when it is closed: its own end can't be sent while somebody writes.
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
	p.tail = p.tail[max(0, len(p.tail)-connect.TextLimit):]
	connected := p.connected
	p.mu.Unlock()
	if connected && p.line != nil {
		for l := range strings.Lines(string(b)) {
			p.line(connect.CleanLine(strings.TrimRight(l, "\r\n")))
		}
	}
	return len(b), nil
}

func (p *Process) wait() {
	err := p.session.Wait()
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

// Limit ends the process as having timed out, unless Connected is called in time. It is to be called once at most.
func (p *Process) Limit(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = time.AfterFunc(d, func() {
		p.mu.Lock()
		connected := p.connected
		p.mu.Unlock()
		if !connected {
			p.Fail(connect.WhatTimeout)
		}
	})
}

// Note adds to what is told of a failure.
func (p *Process) Note(noise []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail += string(noise)
	p.tail = p.tail[max(0, len(p.tail)-connect.TextLimit):]
}

// Text is the end of what was written to stderr.
func (p *Process) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tail
}

// Fail ends the connection because of what.
func (p *Process) Fail(what string) {
	p.mu.Lock()
	if p.failure == nil {
		p.failure = &connect.Failure{What: what}
	}
	p.mu.Unlock()
	p.Kill()
}

// Done is closed when the connection has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Failure says why there is no process any more.
func (p *Process) Failure() connect.Failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := connect.Failure{What: connect.WhatExit, Status: p.status}
	if p.failure != nil {
		f = *p.failure
	}
	f.Text = p.tail
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
