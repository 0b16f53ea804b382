package sshserve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
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

type process struct {
	f    *fake
	done chan End
}

func (p *process) Signal(name string) {
	p.f.note("signal %s", name)
	p.done <- End{Signal: name}
}

func (p *process) Resize(s Size)      { p.f.note("resize %d %d", s.Cols, s.Rows) }
func (p *process) Wait() (End, error) { return <-p.done, nil }

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
		return &process{f, make(chan End, 1)}, err
	}
	one := &process{f, make(chan End, 3)}
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
	one := &process{f, make(chan End, 1)}
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

func TestSession(t *testing.T) {
	v := serve(t, false)
	for _, user := range []string{"web", "account"} {
		c, err := v.dial(user, v.key)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := newSession(t, c)
		var out, bad strings.Builder
		s.Stdin, s.Stdout, s.Stderr = strings.NewReader("abc"), &out, &bad
		n, signal := status(s.Run("echo"))
		if n != 3 || signal != "" || out.String() != "ABC" || bad.String() != "err" {
			t.Errorf("user %s: got status %d, signal %q, %q, %q; want 3, none, ABC, err",
				user, n, signal, out.String(), bad.String())
		}
	}
}

// A user that isn't the target's, and a program that can't be started, are told in words that act
// on no terminal.
func TestRefusals(t *testing.T) {
	v := serve(t, false)
	for _, tt := range []struct{ user, command, want string }{
		{"other", "echo", "mitogen: the account of web is account, not other\r\n"},
		{"web", "refuse", "mitogen: refused\\x1b[31m\r\n"},
	} {
		c, err := v.dial(tt.user, v.key)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := newSession(t, c)
		var bad strings.Builder
		s.Stderr = &bad
		if n, _ := status(s.Run(tt.command)); n != 255 || bad.String() != tt.want {
			t.Errorf("%s as %s: got status %d, %q, want 255, %q", tt.command, tt.user, n,
				bad.String(), tt.want)
		}
	}
	c := v.client(t)
	if err := newSession(t, c).RequestSubsystem("netconf"); err == nil {
		t.Error("subsystem netconf: got no error")
	}
	if _, _, err := c.OpenChannel("x11", nil); err == nil {
		t.Error("channel x11: got no error")
	}
	if conn, err := c.Dial("tcp", "there:1"); err == nil {
		conn.Close()
		t.Error("port 1: got no error, want the refusal")
	}
}

// No other key than those that were made is let in, and none for another way of authentication.
func TestOtherClients(t *testing.T) {
	v := serve(t, false)
	_, other, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.dial("web", other); err == nil {
		t.Error("another key: let in")
	}
	if _, err := v.dial("web", v.s.host); err == nil {
		t.Error("the host's key: let in")
	}
	// A signature of another key, in the place of one of a key that is let in.
	if _, err := v.dial("web", forged{v.key.PublicKey(), other}); err == nil {
		t.Error("a forged signature: let in")
	}
	for name, method := range map[string]ssh.AuthMethod{
		"password": ssh.Password(""),
		"keyboard": ssh.KeyboardInteractive(
			func(string, string, []string, []bool) ([]string, error) { return nil, nil }),
	} {
		_, err := ssh.Dial("tcp", v.address, &ssh.ClientConfig{User: "web",
			Auth: []ssh.AuthMethod{method}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		if err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	if v.notes() != "" {
		t.Errorf("got %q started, want nothing", v.notes())
	}
}

// forged claims a key, and signs with another.
type forged struct {
	claimed ssh.PublicKey
	ssh.Signer
}

func (f forged) PublicKey() ssh.PublicKey { return f.claimed }

// Connections that begin to authenticate, and no more, keep no client out, however many there are.
func TestHalfAuthenticated(t *testing.T) {
	v := serve(t, false)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for i := range 3 * maxHandshakes {
		c, err := net.Dial("tcp", v.address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		switch i % 3 {
		case 1:
			io.WriteString(c, "SSH-2.0-half\r\n")
		case 2:
			io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		}
	}
	v.client(t)
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if n := len(v.s.pending); n > maxHandshakes {
		t.Errorf("got %d connections that aren't authenticated, want at most %d", n, maxHandshakes)
	}
}

// acceptor has connections that came before it was asked.
type acceptor struct {
	conns []net.Conn
	none  chan struct{} // closed when all were accepted
	end   chan struct{}
}

func (a *acceptor) Accept() (net.Conn, error) {
	if len(a.conns) == 0 {
		close(a.none)
		<-a.end
		return nil, net.ErrClosed
	}
	c := a.conns[0]
	a.conns = a.conns[1:]
	return c, nil
}

func (a *acceptor) Close() error   { close(a.end); return nil }
func (a *acceptor) Addr() net.Addr { return nil }

// Connections are as old as the order says in which they came, whatever runs first: a client isn't
// closed in favour of those before it.
func TestOldestFirst(t *testing.T) {
	v := serve(t, false)
	a := &acceptor{none: make(chan struct{}), end: make(chan struct{})}
	for range 3 * maxHandshakes {
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		a.conns = append(a.conns, near)
	}
	newest := a.conns[2*maxHandshakes:]
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- v.s.Serve(ctx, a) }()
	<-a.none
	v.s.mu.Lock()
	open := slices.Collect(maps.Values(v.s.pending))
	for i, c := range newest {
		if !slices.Contains(open, io.Closer(c)) {
			t.Errorf("connection %d of the last %d is closed", i, len(newest))
		}
	}
	v.s.mu.Unlock()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// What is too much is refused, and the rest of the connection goes on.
func TestFloods(t *testing.T) {
	v := serve(t, false)
	c := v.client(t)
	s := newSession(t, c)
	for _, tt := range []struct {
		name, value string
		want        bool
	}{
		{"A", strings.Repeat("x", 100_000), true},
		{"B", strings.Repeat("x", 100_000), true},
		{"C", strings.Repeat("x", 100_000), false}, // together more than maxEnv
		{"D", "small", true},
		{"", "x", false}, {"A=B", "x", false}, {"A\x00", "x", false}, {"A", "\x00", false},
	} {
		if err := s.Setenv(tt.name, tt.value); (err == nil) != tt.want {
			t.Errorf("variable %.10q of %d bytes: got %v, want accepted %v", tt.name, len(tt.value),
				err, tt.want)
		}
	}
	for _, request := range []string{"env", "pty-req", "window-change", "signal", "exec", "nosuch"} {
		if ok, err := s.SendRequest(request, true, []byte{0, 0, 0, 200, 1}); ok || err != nil {
			t.Errorf("malformed %s: got %v, %v, want a refusal", request, ok, err)
		}
	}
	if err := s.RequestPty(strings.Repeat("x", maxTerm+1), 1, 1, nil); err == nil {
		t.Error("long TERM: got no error")
	}
	if n, _ := status(s.Run("echo")); n != 0 || !strings.Contains(v.notes(), "env 200011 ") {
		t.Errorf("got status %d, %q, want 0, and 200,011 bytes of environment", n, v.notes())
	}

	open, refused := 0, 0
	for range maxChannels + 100 {
		ch, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			refused++
			continue
		}
		go ssh.DiscardRequests(requests)
		open++
		defer ch.Close()
	}
	if open > maxChannels || open < maxChannels-1 {
		t.Errorf("got %d channels open, %d refused, want %d open", open, refused, maxChannels)
	}
	for _, request := range append(forwardTypes, "nosuch") {
		if ok, _, err := c.SendRequest(request, true, []byte{1}); ok || err != nil {
			t.Errorf("malformed %s: got %v, %v, want a refusal", request, ok, err)
		}
	}
	other := v.client(t)
	if n, _ := status(newSession(t, other).Run("echo")); n != 0 {
		t.Errorf("another connection meanwhile: got status %d, want 0", n)
	}
}

// A program is asked for once, and its terminal and environment before.
func TestOrder(t *testing.T) {
	v := serve(t, false)
	s := newSession(t, v.client(t))
	if err := s.Start("wait"); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{"exec", "shell", "subsystem"} {
		payload := ssh.Marshal(struct{ Text string }{"sftp"})
		if ok, err := s.SendRequest(request, true, payload); ok || err != nil {
			t.Errorf("a second %s: got %v, %v, want a refusal", request, ok, err)
		}
	}
	if s.Setenv("A", "b") == nil || s.RequestPty("xterm", 1, 1, nil) == nil {
		t.Error("environment or terminal of a running program: got no error")
	}
}

// end signals a program as soon as it has started. Its end may come before the answer.
func end(t *testing.T, s *ssh.Session) {
	t.Helper()
	payload := ssh.Marshal(struct{ Name string }{"USR1"})
	for ok := false; !ok; {
		var err error
		if ok, err = s.SendRequest("signal", true, payload); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSignalAndSize(t *testing.T) {
	v := serve(t, false)
	s := newSession(t, v.client(t))
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("wait"); err != nil {
		t.Fatal(err)
	}
	for range 3 { // at least one comes once it has started
		if err := s.WindowChange(30, 100); err != nil {
			t.Fatal(err)
		}
	}
	for !strings.Contains(v.notes(), "start") {
		time.Sleep(time.Millisecond)
	}
	end(t, s)
	if n, signal := status(s.Wait()); signal != "USR1" {
		t.Errorf("got status %d, signal %q, want USR1", n, signal)
	}
	if got := v.notes(); !strings.Contains(got, "resize 100 30") ||
		!strings.Contains(got, "terminal true") {
		t.Errorf("got %q, want a terminal, and a size of 100 30", got)
	}
}

// A program ends with its channel, with its connection, and with the server. Nothing is left.
func TestEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	v := serve(t, false)
	ended := func(want int) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			v.mu.Lock()
			n := v.ended
			v.mu.Unlock()
			if n == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("got %d programs ended, want %d", n, want)
			}
		}
	}
	c := v.client(t)
	start := func(c *ssh.Client) *ssh.Session {
		s := newSession(t, c)
		if err := s.Start("wait"); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start(c)
	start(c)
	other := v.client(t)
	start(other)
	for strings.Count(v.notes(), "start") < 3 {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	ended(1)
	c.Close()
	ended(2)
	v.stop()
	ended(3)
	other.Close()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+1; {
		if time.Now().After(end) {
			all := make([]byte, 1<<20)
			t.Fatalf("got %d goroutines, want %d:\n%s", runtime.NumGoroutine(), before,
				all[:runtime.Stack(all, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

// A program whose output nothing reads any more is told so when it writes more.
func TestUnread(t *testing.T) {
	v := serve(t, false)
	s := newSession(t, v.client(t))
	if err := s.Start("endless"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SendRequest("eow@openssh.com", false, nil); err != nil {
		t.Fatal(err)
	}
	if n, signal := status(s.Wait()); signal != "PIPE" {
		t.Errorf("got status %d, signal %q, want PIPE", n, signal)
	}
}

func TestDirect(t *testing.T) {
	v := serve(t, false)
	c := v.client(t)
	for _, at := range [][2]string{{"tcp", "there:80"}, {"unix", "/run/x"}} {
		conn, err := c.Dial(at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); string(b) != "hello" || err != nil {
			t.Errorf("%s: got %q, %v, want hello", at[1], b, err)
		}
		conn.Close()
	}
	for _, at := range [][2]string{{"tcp", "there:0"}, {"unix", "relative"}, {"unix", ""}} {
		if conn, err := c.Dial(at[0], at[1]); err == nil {
			conn.Close()
			t.Errorf("%s: got no error", at[1])
		}
	}
	want := "dial web tcp there:80\ndial web unix /run/x"
	if got := v.notes(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A forwarding whose target is lost can be asked for again.
func TestForwardAgain(t *testing.T) {
	v := serve(t, false)
	c := v.client(t)
	ask := func() bool {
		ok, _, err := c.SendRequest("tcpip-forward", true, ssh.Marshal(struct {
			Host string
			Port uint32
		}{"localhost", 8080}))
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !ask() || ask() {
		t.Fatal("got another answer than yes, and no to the second request")
	}
	v.mu.Lock()
	v.listen.Close() // its server ends, and says so
	v.mu.Unlock()
	limit := time.After(time.Minute)
	for !ask() {
		select {
		case <-limit:
			t.Fatal("waited in vain")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestForward(t *testing.T) {
	v := serve(t, false)
	c := v.client(t)
	l, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v.mu.Lock()
	address := v.listen.Addr().String()
	v.mu.Unlock()
	if l.Addr().String() != address {
		t.Errorf("got address %s, want %s", l.Addr(), address)
	}
	near, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := far.RemoteAddr().String(); got != near.LocalAddr().String() {
		t.Errorf("got a connection from %s, want %s", got, near.LocalAddr())
	}
	io.WriteString(far, "x")
	if n, err := near.Read(make([]byte, 1)); n != 1 {
		t.Errorf("got %d bytes, %v, want 1", n, err)
	}
	if ok, _, _ := c.SendRequest("tcpip-forward", true, ssh.Marshal(struct {
		Host string
		Port uint32
	}{"127.0.0.1", uint32(l.Addr().(*net.TCPAddr).Port)})); ok {
		t.Error("forwarded twice: got no refusal")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if again, err := net.Dial("tcp", address); err == nil {
		again.Close()
		t.Error("cancelled: it still listens")
	}
	// An empty host is loopback, and the rest ends with the connection.
	for i := range maxForwards + 1 {
		ok, _, err := c.SendRequest("tcpip-forward", true, ssh.Marshal(struct {
			Host string
			Port uint32
		}{"", uint32(1000 + i)}))
		if err != nil || ok != (i < maxForwards) {
			t.Fatalf("forwarding %d: got %v, %v", i, ok, err)
		}
	}
	if got := v.notes(); !strings.Contains(got, "listen web tcp localhost:1000") {
		t.Errorf("got %q, want localhost", got)
	}
	v.mu.Lock()
	address = v.listen.Addr().String()
	v.mu.Unlock()
	c.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		again, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		again.Close()
		if time.Now().After(end) {
			t.Fatal("after the client's end: it still listens")
		}
	}
}

// A client that answers no request for a channel, as it waits for an answer itself, can
// cancel its forwarding, and gets the end of its program.
func TestUnansweredChannels(t *testing.T) {
	v := serve(t, true)
	c := v.client(t)
	forwarded := c.HandleChannelOpen("forwarded-tcpip")
	agents := c.HandleChannelOpen("auth-agent@openssh.com")
	at := struct {
		Host string
		Port uint32
	}{"127.0.0.1", 1000}
	request := func(kind string) {
		t.Helper()
		answered := make(chan bool, 1)
		go func() {
			ok, _, err := c.SendRequest(kind, true, ssh.Marshal(at))
			answered <- ok && err == nil
		}()
		if !soon(t, answered) {
			t.Errorf("%s: got a refusal", kind)
		}
	}
	request("tcpip-forward")
	v.mu.Lock()
	address := v.listen.Addr().String()
	v.mu.Unlock()
	near, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	soon(t, forwarded)
	request("cancel-tcpip-forward")

	s := newSession(t, c)
	if err := agent.RequestAgentForwarding(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("touch agent"); err != nil {
		t.Fatal(err)
	}
	soon(t, agents)
	end(t, s)
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	if n, signal := status(soon(t, ended)); signal != "USR1" {
		t.Errorf("got status %d, signal %q, want USR1", n, signal)
	}
}

// An agent is refused unless the server may have one.
func TestAgent(t *testing.T) {
	for _, agents := range []bool{false, true} {
		v := serve(t, agents)
		c := v.client(t)
		ring := agent.NewKeyring()
		if err := agent.ForwardToAgent(c, ring); err != nil {
			t.Fatal(err)
		}
		s := newSession(t, c)
		if err := agent.RequestAgentForwarding(s); (err == nil) != agents {
			t.Errorf("agents %v: got %v", agents, err)
		}
		want := 0 // of an agent that isn't there
		if agents {
			want = 1
		}
		if n, _ := status(s.Run("agent")); n != want {
			t.Errorf("agents %v: got status %d, want %d", agents, n, want)
		}
	}
}

// A request for an agent that comes behind the program is refused, and takes the program nothing.
func TestLateAgent(t *testing.T) {
	v := serve(t, true)
	goOn := make(chan struct{})
	v.check = func() { <-goOn }
	c := v.client(t)
	if err := agent.ForwardToAgent(c, agent.NewKeyring()); err != nil {
		t.Fatal(err)
	}
	s := newSession(t, c)
	if err := agent.RequestAgentForwarding(s); err != nil {
		t.Fatal(err)
	}
	err := s.Start("agent")
	late := agent.RequestAgentForwarding(s)
	close(goOn)
	if err != nil || late == nil {
		t.Errorf("got %v and %v, want a program, and a refusal", err, late)
	}
	if n, _ := status(s.Wait()); n != 1 {
		t.Errorf("got status %d, want 1: an agent without keys", n)
	}
}

// A server goes on after shortages of the machine.
func TestShortages(t *testing.T) {
	v := serve(t, false, syscall.EMFILE, syscall.ENOMEM, syscall.EPERM, syscall.ECONNABORTED)
	if n, text := status(newSession(t, v.client(t)).Run("a")); n != 0 {
		t.Errorf("got status %d, %s, want 0", n, text)
	}
}

// Whatever a client's requests have in them, they are answered, and what is asked of the backend is
// in its bounds.
func FuzzRequests(f *testing.F) {
	text := func(s ...string) (b []byte) {
		for _, one := range s {
			b = append(b, ssh.Marshal(struct{ Text string }{one})...)
		}
		return b
	}
	for i, seed := range [][]byte{text("A", "b"), text("sftp"), text("xterm"), text("", "/run/x"),
		append(text("localhost"), 0, 0, 0, 80), {0, 0, 0, 80}, {255, 255, 255, 255}} {
		f.Add(uint8(i), seed)
	}
	inSession := []string{"env", "pty-req", "window-change", "signal", "exec", "subsystem", "shell",
		"auth-agent-req@openssh.com", "break"}
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		b := &fake{}
		c := &conn{server: &Server{backend: b}, target: "web", ssh: &ssh.ServerConn{Conn: noConn{}},
			forwards: map[string]*listening{}}
		s := &session{c: c}
		for _, request := range []string{inSession[int(kind)%len(inSession)], "env", "exec"} {
			p, ok := s.request(&ssh.Request{Type: request, Payload: payload})
			if p != nil && (!ok || p.Target != "web" || p.Subsystem && p.Command != "sftp") {
				t.Errorf("%s: got %+v, %v", request, p, ok)
			}
		}
		request := &ssh.Request{Type: forwardTypes[int(kind)%len(forwardTypes)], Payload: payload}
		c.request(t.Context(), request)
		for _, l := range c.forwards {
			l.stop()
		}
		for line := range strings.Lines(b.notes()) {
			words := strings.SplitN(strings.TrimSpace(line), " ", 4)
			if words[0] == "listen" && words[2] == "unix" && words[3][0] != '/' {
				t.Errorf("got %q, want a path that begins with /", line)
			}
		}
	})
}

// noConn is a connection of user web that goes nowhere.
type noConn struct{ ssh.Conn }

func (noConn) User() string { return "web" }
