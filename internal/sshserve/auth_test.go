package sshserve

import (
	"context"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

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
