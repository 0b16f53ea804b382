package sshnative

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/process"
)

// A dialer makes one connection, jumps included.
type dialer struct {
	opt     Options
	args    arguments
	closers []io.Closer // the last is closed first
}

// A dialFunc makes a TCP connection.
type dialFunc func(ctx context.Context, host string, port int) (net.Conn, error)

func (d *dialer) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i].Close()
	}
}

// start connects and starts the command.
func (d *dialer) start(ctx context.Context) (*Process, error) {
	var err error
	if d.args, err = parseArguments(d.opt.Argv); err != nil {
		return nil, err
	}
	c, err := configFor(ctx, append(slices.Clone(d.opt.Argv), someCommand))
	if err != nil {
		return nil, err
	}
	if d.opt.Dial != nil { // as the ProxyCommand that ssh would be given
		c.values = maps.Clone(c.values) // which other calls have too
		delete(c.values, "proxyjump")
		delete(c.values, "proxycommand")
	}
	client, err := d.client(ctx, c, d.opt.Dial, 0)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { client.Close() }) // a cut may be silent
	defer stop()
	p, err := d.command(c, client)
	if err != nil {
		return nil, loggedIn{err}
	}
	return p, nil
}

// ErrLoggedIn marks an error after the server has accepted the login.
var ErrLoggedIn = errors.New("logged in")

type loggedIn struct{ error }

func (e loggedIn) Is(target error) bool { return target == ErrLoggedIn }
func (e loggedIn) Unwrap() error        { return e.error }

// command starts the command.
func (d *dialer) command(c *config, client *ssh.Client) (*Process, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, says("Connection closed: %w", reason(client, err))
	}
	p := &Process{client: client, session: session, line: d.opt.Line, done: make(chan struct{})}
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
	if err := setEnv(session, append(c.environment(os.Environ()), d.opt.Env...)); err != nil {
		return nil, says("Connection closed: %w", reason(client, err))
	}
	d.opt.Env = nil // nor kept, by what may be asked again about the connection
	if err := session.Start(d.opt.Command); err != nil {
		return nil, says("Connection closed: %w", reason(client, err))
	}
	p.closers = d.closers
	go p.wait()
	return p, nil
}

// setEnv asks the server for variables, each "NAME=value". It may ignore them.
func setEnv(session *ssh.Session, env []string) error {
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		request := struct{ Name, Value string }{name, value}
		if _, err := session.SendRequest("env", false, ssh.Marshal(&request)); err != nil {
			return err
		}
	}
	return nil
}

// environment returns the variables of SendEnv and SetEnv.
func (c *config) environment(own []string) (env []string) {
	for _, variable := range own {
		name, _, _ := strings.Cut(variable, "=")
		for _, pattern := range c.values["sendenv"] {
			if matchPattern(pattern, name) {
				env = append(env, variable)
				break
			}
		}
	}
	return append(env, c.values["setenv"]...)
}

// maxJumps limits how many hosts may be on the way.
const maxJumps = 8

// client logs in on the host that c describes, by way of its jumps. depth counts from the last host
// backwards: only that one is told secrets.
func (d *dialer) client(ctx context.Context, c *config, dial dialFunc, depth int) (*ssh.Client,
	error) {
	if err := c.supported(); err != nil {
		return nil, err
	}
	if depth > maxJumps {
		return nil, unsupported("more than %d jumps", maxJumps)
	}
	if jumps := c.get("proxyjump"); jumps != "" && jumps != "none" {
		before, err := d.jump(ctx, jumps, depth)
		if err != nil {
			return nil, err
		}
		dial = before
	}
	if dial == nil {
		dial = c.dial
	}
	began := time.Now()
	conn, err := dial(ctx, c.get("hostname"), c.port())
	if err != nil {
		return nil, dialError(c.get("hostname"), c.port(), err)
	}
	d.closers = append(d.closers, conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	a := &login{c: c, conn: &sniffer{Conn: conn}, interactive: d.opt.Interactive}
	if seconds := c.number("connecttimeout", 0); seconds > 0 {
		a.conn.limit(began.Add(time.Duration(seconds) * time.Second))
	}
	if depth == 0 {
		a.password = d.opt.SSH.Password
		if !c.yes("batchmode") {
			a.passphrase = d.opt.SSH.Passphrase
		}
	}
	client, err := a.client()
	if err != nil {
		if err = a.withBanner(a.failure(ctx, err)); a.given {
			err = passwordGiven{err}
		}
		return nil, err
	}
	if depth == 0 { // jumps come first, and leave them
		d.opt.SSH = connect.SSHOptions{}
	}
	*a = login{} // which the library keeps: with it the secrets and the configuration
	d.closers = append(d.closers, client)
	return client, nil
}

// client logs in over the connection.
func (a *login) client() (*ssh.Client, error) {
	defer a.closeAgent()
	defer a.conn.forget()
	check, err := newHostCheck(a.c)
	if err != nil {
		return nil, err
	}
	o := &ssh.ClientConfig{User: a.c.get("user"), HostKeyCallback: (&pin{first: check.check}).check,
		AuthCallback: a.next, ClientVersion: "SSH-2.0-mitogen", BannerCallback: a.hearBanner}
	if o.Config, err = a.c.algorithms(); err != nil {
		return nil, err
	}
	if o.HostKeyAlgorithms, err = a.c.hostKeyAlgorithms(check.lines); err != nil {
		return nil, err
	}
	cc, chans, reqs, err := ssh.NewClientConn(a.conn, check.name, o)
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(cc, chans, reqs), nil
}

// dial makes a connection from here. A name that isn't found is left to ssh, which may know more
// ways to look it up.
func (c *config) dial(ctx context.Context, host string, port int) (net.Conn, error) {
	network := map[string]string{"inet": "tcp4", "inet6": "tcp6"}[c.get("addressfamily")]
	if network == "" {
		network = "tcp"
	}
	dialer := net.Dialer{FallbackDelay: -1,
		Timeout: time.Duration(c.number("connecttimeout", 0)) * time.Second}
	conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
	var dns *net.DNSError
	var address *net.AddrError
	if errors.As(err, &dns) && ctx.Err() == nil || errors.As(err, &address) {
		return nil, unsupported("%v", err)
	}
	if c, ok := conn.(*net.TCPConn); err == nil && ok {
		if err := process.KeepFile(c); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, err
}

// jump logs in on the hosts of ProxyJump and returns what dials from the last. As with ssh, the
// hosts before the last stand in for the last one's own ProxyJump or ProxyCommand.
func (d *dialer) jump(ctx context.Context, jumps string, depth int) (dialFunc, error) {
	before, last := "", jumps
	if i := strings.LastIndexByte(jumps, ','); i >= 0 {
		before, last = jumps[:i], jumps[i+1:]
	}
	argv, err := d.args.jump(d.opt.Argv[0], before, last)
	if err != nil {
		return nil, err
	}
	c, err := configFor(ctx, argv)
	if err != nil {
		return nil, err
	}
	client, err := d.client(ctx, c, nil, depth+1)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, host string, port int) (net.Conn, error) {
		return client.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	}, nil
}

// says makes an error in the words of ssh, which package connect knows.
func says(format string, args ...any) error { return fmt.Errorf(format, args...) }

// dialError has ssh's words.
func dialError(host string, port int, err error) error {
	if errors.Is(err, ErrUnsupported) {
		return err
	}
	if methods.Shortage(err) != nil {
		return fmt.Errorf("ssh: connect to host %s port %d: %w", host, port, err)
	}
	text := err.Error()
	for _, known := range []struct {
		err  error
		text string
	}{{syscall.ECONNREFUSED, "Connection refused"}, {syscall.EHOSTUNREACH, "No route to host"},
		{syscall.ENETUNREACH, "Network is unreachable"},
		{syscall.ETIMEDOUT, "Connection timed out"}, {context.DeadlineExceeded, "Connection timed out"},
		{os.ErrDeadlineExceeded, "Connection timed out"}} {
		if errors.Is(err, known.err) {
			text = known.text
		}
	}
	return &saidError{fmt.Sprintf("ssh: connect to host %s port %d: %s", host, port, text), err}
}

// saidError is an error in the words of ssh.
type saidError struct {
	text string
	err  error
}

func (e *saidError) Error() string { return e.text }
func (e *saidError) Unwrap() error { return e.err }

// hearBanner keeps what the server says before the login.
func (a *login) hearBanner(text string) error {
	a.banner += text
	a.banner = strings.Clone(a.banner[max(0, len(a.banner)-methods.TextLimit):])
	return nil
}

// withBanner puts what the server has said before the words of err, as ssh prints it.
func (a *login) withBanner(err error) error {
	text := a.banner
	if a.stages > 0 {
		text += "\nAuthenticated with partial success."
	}
	if text == "" || errors.Is(err, ErrUnsupported) {
		return err
	}
	return &saidError{strings.TrimRight(text, "\r\n") + "\n" + err.Error(), err}
}

// failure makes the error of a login. What has failed for another reason than the server's will or
// the connection's end is left to ssh, unless a password has been sent.
func (a *login) failure(ctx context.Context, err error) error {
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case methods.Shortage(cmp.Or(a.lacks, err)) != nil:
		return says("log in on %s: %w", a.c.get("hostname"), cmp.Or(a.lacks, err))
	case ctx.Err() != nil, errors.Is(a.conn.err(), os.ErrDeadlineExceeded):
		return says("Connection timed out during banner exchange")
	case errors.Is(err, errDenied), a.given && errors.Is(err, ErrUnsupported):
		return a.denied()
	case errors.Is(err, ErrUnsupported):
		return err
	case errors.As(err, &negotiation):
		return unsupported("%v", err)
	case a.conn.err() != nil || strings.Contains(err.Error(), "ssh: disconnect"):
		words := "Connection closed by %s port %d: %w"
		if !a.began {
			words = "kex_exchange_identification: " + words
		}
		return says(words, a.c.get("hostname"), a.c.port(), err)
	case a.given:
		return a.denied()
	}
	return unsupported("%v", err)
}
