package sshserve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/mitogen-go/mitogen/internal/portforward"
	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// fake is a backend whose programs repeat their input, in capitals. The command "wait" ends when it
// is told to.
type fake struct {
	mu     sync.Mutex // protects following
	told   []string   // what programs were started with, and were told
	ended  int        // programs whose context has ended
	listen net.Listener
	check  func() // called by Check, if not nil; set before it is used
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, fmt.Sprintf(format, args...))
}

func (f *fake) notes() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.told, "\n")
}

func (f *fake) Check(_ context.Context, target, user string) error {
	if f.check != nil {
		f.check()
	}
	if user != target && user != "account" {
		return fmt.Errorf("the account of %s is account, not %s", target, user)
	}
	return nil
}

func (f *fake) Knows(subsystem string) error {
	if subsystem != "sftp" {
		return errors.New("no such subsystem")
	}
	return nil
}

type fakeProcess struct {
	f    *fake
	done chan End
}

func (p *fakeProcess) Signal(name string) {
	p.f.note("signal %s", name)
	p.done <- End{Signal: name}
}

func (p *fakeProcess) Resize(s Size)      { p.f.note("resize %d %d", s.Cols, s.Rows) }
func (p *fakeProcess) Wait() (End, error) { return <-p.done, nil }

func (f *fake) Start(ctx context.Context, p *Program) (Process, error) {
	size := 0
	for _, pair := range p.Env {
		size += len(pair)
	}
	f.note("start %s %q subsystem %v env %d terminal %v", p.Target, p.Command, p.Subsystem, size,
		p.Terminal != nil)
	switch p.Command {
	case "refuse":
		return nil, errors.New("refused\x1b[31m")
	case "agent":
		return f.useAgent(p)
	case "touch agent": // which says nothing to it, and ends by a signal
		_, err := net.Dial("unix", p.Agent)
		return &fakeProcess{f, make(chan End, 1)}, err
	}
	one := &fakeProcess{f, make(chan End, 3)}
	go func() {
		<-ctx.Done()
		f.mu.Lock()
		f.ended++
		f.mu.Unlock()
		one.done <- End{Signal: "TERM"}
	}()
	go func() {
		for p.Command == "endless" {
			if _, err := io.WriteString(p.Stdout, "y"); errors.Is(err, io.ErrClosedPipe) {
				one.done <- End{Signal: "PIPE"}
				return
			}
		}
		b, _ := io.ReadAll(p.Stdin)
		if p.Command == "wait" {
			return
		}
		io.WriteString(p.Stdout, strings.ToUpper(string(b)))
		io.WriteString(p.Stderr, "err")
		one.done <- End{Status: len(b)}
	}()
	return one, nil
}

// useAgent says how many keys the agent has.
func (f *fake) useAgent(p *Program) (Process, error) {
	n := -1
	if c, err := net.Dial("unix", p.Agent); err == nil {
		if keys, err := agent.NewClient(c).List(); err == nil {
			n = len(keys)
		}
		c.Close()
	}
	one := &fakeProcess{f, make(chan End, 1)}
	one.done <- End{Status: n + 1}
	return one, nil
}

func (f *fake) Dial(_ context.Context, target, network, address string) (net.Conn, error) {
	f.note("dial %s %s %s", target, network, address)
	if strings.HasSuffix(address, ":1") {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	go func() {
		io.WriteString(far, "hello")
		far.Close()
	}()
	return near, nil
}

func (f *fake) Listen(
	ctx context.Context,
	target, network, address string,
	open Opener,
	ended func(),
) (int, func(), error) {
	f.note("listen %s %s %s", target, network, address)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	server := &portforward.Server{Spec: portforward.Spec{Kind: portforward.Remote}, Open: open}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(ctx, l)
		if ctx.Err() == nil {
			ended()
		}
	}()
	f.mu.Lock()
	f.listen = l
	f.mu.Unlock()
	return l.Addr().(*net.TCPAddr).Port, func() {
		cancel()
		<-served
	}, nil
}

// served is a server that listens, with a key for target web.
type served struct {
	*fake
	s       *Server
	address string
	key     ssh.Signer
	stop    func() // waits
}

// serve serves by a listener that first fails with errs.
func serve(t *testing.T, agents bool, errs ...error) *served {
	t.Helper()
	f := &fake{}
	s, err := New(f, agents)
	if err != nil {
		t.Fatal(err)
	}
	private, err := s.NewClientKey("web")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, &short{l, errs}) }()
	v := &served{f, s, l.Addr().String(), key, sync.OnceFunc(func() {
		cancel()
		if err := soon(t, done); err != nil {
			t.Errorf("serve: got %v, want no error", err)
		}
	})}
	t.Cleanup(v.stop)
	return v
}

// soon waits for a value, not for ever.
func soon[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatal("waited in vain")
		panic(nil)
	}
}

// short is a listener that first fails with errors.
type short struct {
	net.Listener
	errs []error // owned by Accept's caller
}

func (s *short) Accept() (net.Conn, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	return s.Listener.Accept()
}

func (v *served) dial(user string, key ssh.Signer) (*ssh.Client, error) {
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(v.s.HostKey()))
	if err != nil {
		return nil, err
	}
	return ssh.Dial("tcp", v.address, &ssh.ClientConfig{User: user,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(host),
		Timeout: time.Minute})
}

func (v *served) client(t *testing.T) *ssh.Client {
	t.Helper()
	c, err := v.dial("web", v.key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newSession(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func status(err error) (int, string) {
	exit := (*ssh.ExitError)(nil)
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &exit):
		return exit.ExitStatus(), exit.Signal()
	}
	return -1, err.Error()
}

// noConn is a connection of user web that goes nowhere.
type noConn struct{ ssh.Conn }

func (noConn) User() string { return "web" }
