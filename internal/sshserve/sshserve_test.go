package sshserve

import (
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

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
