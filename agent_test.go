package mitogen_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/mitogen-go/mitogen"
)

// agentWith serves an agent that has keys at a socket, whose path it returns.
func agentWith(t *testing.T, keys ...any) (agent.Agent, string) {
	t.Helper()
	a := agent.NewKeyring()
	for i, key := range keys {
		if err := a.Add(agent.AddedKey{PrivateKey: key, Comment: fmt.Sprint("key ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "agent")
	listen, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listen.Close() })
	go acceptAll(listen, func(c net.Conn) {
		agent.ServeAgent(a, c)
		c.Close()
	})
	return a, path
}

// holding starts a program that goes on until its stdin ends, and returns the path of its agent.
func holding(t *testing.T, c *mitogen.Context, path string) (socket string, end func() error) {
	t.Helper()
	cmd := c.Command("sh", "-c", "echo $SSH_AUTH_SOCK; cat")
	cmd.Agent = path
	keys, typed := io.Pipe()
	out, printed := io.Pipe()
	cmd.Stdin, cmd.Stdout = keys, printed
	if err := cmd.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		printed.Close()
		ended <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read path: %v, %v", err, <-ended)
	}
	return strings.TrimSpace(line), func() error {
		typed.Close()
		return <-ended
	}
}

// agentAt is a client of an agent.
func agentAt(t *testing.T, socket string) agent.ExtendedAgent {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return agent.NewClient(conn)
}

// A program's agent lists the keys and signs by each algorithm, and does nothing else, until the
// program's end.
func TestAgent(t *testing.T) {
	_, first, err := ed25519.GenerateKey(rand.Reader)
	second, err2 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	c := inContext(t) // whose check for goroutines comes after the end of the agent
	real, path := agentWith(t, &first, second)
	socket, end := holding(t, c, path)
	there := agentAt(t, socket)
	keys, err := there.List()
	if err != nil || len(keys) != 2 {
		t.Fatalf("list: got %v, %v, want both keys", keys, err)
	}
	for _, tt := range []struct {
		key   int
		flags agent.SignatureFlags
		want  string
	}{
		{0, 0, ssh.KeyAlgoED25519},
		{1, agent.SignatureFlagRsaSha256, ssh.KeyAlgoRSASHA256},
		{1, agent.SignatureFlagRsaSha512, ssh.KeyAlgoRSASHA512},
	} {
		data := bytes.Repeat([]byte(tt.want), 1000)
		got, err := there.SignWithFlags(keys[tt.key], data, tt.flags)
		if err != nil || got.Format != tt.want {
			t.Errorf("sign: got %v, %v, want %s", got, err, tt.want)
			continue
		}
		if err := keys[tt.key].Verify(data, got); err != nil {
			t.Errorf("verify a %s signature: got %v, want none", tt.want, err)
		}
	}
	for name, do := range map[string]func() error{
		"remove":     func() error { return there.Remove(keys[0]) },
		"remove all": func() error { return there.RemoveAll() },
		"add":        func() error { return there.Add(agent.AddedKey{PrivateKey: second}) },
		"add, constrained": func() error {
			return there.Add(agent.AddedKey{PrivateKey: second, LifetimeSecs: 1, ConfirmBeforeUse: true})
		},
		"lock":      func() error { return there.Lock([]byte("x")) },
		"unlock":    func() error { return there.Unlock([]byte("x")) },
		"extension": func() error { _, err := there.Extension("query", nil); return err },
	} {
		if err := do(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if left, err := real.List(); err != nil || len(left) != 2 {
		t.Errorf("the agent has %v, %v after all, want both keys", left, err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if keys, err := there.List(); err == nil {
		t.Errorf("after the end: got %v, want an error", keys)
	}
}

// Each program has an agent of its own, and its end ends no other's.
func TestManyAgents(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := inContext(t)
	var all sync.WaitGroup
	var ends []func() error
	var sockets []string
	for i := range 12 {
		_, path := agentWith(t, &key)
		if i%2 == 0 {
			_, path = agentWith(t)
		}
		socket, end := holding(t, c, path)
		ends, sockets = append(ends, end), append(sockets, socket)
		all.Go(func() {
			for range 5 {
				conn, err := net.Dial("unix", socket)
				if err != nil {
					t.Error(err)
					return
				}
				keys, err := agent.NewClient(conn).List()
				if conn.Close(); err != nil || len(keys) != i%2 {
					t.Errorf("agent %d: got %v, %v, want %d keys", i, keys, err, i%2)
				}
			}
		})
	}
	all.Wait()
	for _, end := range ends {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	behind(t, c)
	for _, socket := range sockets {
		if _, err := os.Lstat(filepath.Dir(socket)); !os.IsNotExist(err) {
			t.Errorf("got %v after the end, want that %s is gone", err, socket)
		}
	}
}

// A program that can't have its agent isn't started, and the error says why. If an agent has gone,
// it is like an agent that doesn't answer.
func TestNoAgent(t *testing.T) {
	c := inContext(t)
	socket, end := holding(t, c, filepath.Join(t.TempDir(), "none"))
	if keys, err := agentAt(t, socket).List(); err == nil {
		t.Errorf("got %v, want an error", keys)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	for { // until the context has as many connections and waits as it may
		l, err := c.Listen(limited(t), "tcp", "127.0.0.1:0")
		if err != nil {
			break
		}
		defer l.Close()
	}
	cmd := c.Command("echo", "started")
	var out bytes.Buffer
	cmd.Agent, cmd.Stdout = "/nonexistent", &out
	err := cmd.Run(limited(t))
	if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "forward agent") ||
		out.Len() > 0 {
		t.Errorf("got %v, and output %q, want that the agent can't be forwarded", err, out.String())
	}
}
