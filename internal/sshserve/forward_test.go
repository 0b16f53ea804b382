package sshserve

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

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
