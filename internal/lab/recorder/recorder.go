// Package recorder is an SSH server for tests, which notes what clients try to log in with.
package recorder

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// A Server lets in by what its fields say, which are set before Serve. Its sessions are processes
// of this machine.
type Server struct {
	Password string   // that it takes; "": none, by any method
	Methods  []string // password, keyboard-interactive; nil: both
	Question string   // of keyboard-interactive; "": "Password: "
	Rounds   []Round  // of keyboard-interactive, instead of Question; every login fails then
	Key      bool     // any public key will do
	AndMore  bool     // any public key will do, but one of Methods is wanted then, too
	HangUp   bool     // after a wrong password
	Port     int      // set by Serve

	mu    sync.Mutex // protects following
	tries []string   // "METHOD ANSWER"
}

// A Round is one request of keyboard-interactive.
type Round struct {
	Name, Instruction string
	Questions         []string
	Echo              bool // of all of them
}

// Serve starts r on a loopback port, until the end of the test.
func (r *Server) Serve(t testing.TB) *Server {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.Port = listener.Addr().(*net.TCPAddr).Port
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.client(c, signer) })
		}
	})
	t.Cleanup(func() { listener.Close() })
	return r
}

func (r *Server) note(method, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries = append(r.tries, method+" "+answer)
}

// Seen returns what was tried since it was asked last.
func (r *Server) Seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	tries := r.tries
	r.tries = nil
	return tries
}

func (r *Server) has(method string) bool {
	return r.Methods == nil || slices.Contains(r.Methods, method)
}

func (r *Server) config(conn net.Conn) *ssh.ServerConfig {
	wrong := errors.New("wrong")
	judge := func(answer string) (*ssh.Permissions, error) {
		if answer == r.Password && answer != "" {
			return nil, nil
		}
		if r.HangUp {
			conn.Close()
		}
		return nil, wrong
	}
	c := &ssh.ServerConfig{MaxAuthTries: 20}
	var callbacks ssh.ServerAuthCallbacks
	if r.has("password") {
		callbacks.PasswordCallback = func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			r.note("password", string(p))
			return judge(string(p))
		}
	}
	if r.has("keyboard-interactive") {
		callbacks.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata,
			ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			if r.Rounds != nil {
				return nil, errors.Join(wrong, r.ask(ask))
			}
			question := r.Question
			if question == "" {
				question = "Password: "
			}
			answers, err := ask("", "", []string{question}, []bool{false})
			if err != nil {
				r.note("keyboard-interactive", "begun")
				return nil, err
			}
			r.note("keyboard-interactive", answers[0])
			return judge(answers[0])
		}
	}
	c.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		switch {
		case r.AndMore:
			return nil, &ssh.PartialSuccessError{Next: callbacks}
		case r.Key:
			return nil, nil
		}
		return nil, wrong
	}
	if !r.AndMore {
		c.PasswordCallback = callbacks.PasswordCallback
		c.KeyboardInteractiveCallback = callbacks.KeyboardInteractiveCallback
	}
	return c
}

// ask asks the Rounds.
func (r *Server) ask(ask ssh.KeyboardInteractiveChallenge) error {
	for _, round := range r.Rounds {
		answers, err := ask(round.Name, round.Instruction, round.Questions,
			slices.Repeat([]bool{round.Echo}, len(round.Questions)))
		if err != nil {
			return err
		}
		for _, a := range answers {
			r.note("keyboard-interactive", a)
		}
	}
	return nil
}

func (r *Server) client(c net.Conn, signer ssh.Signer) {
	defer c.Close()
	config := r.config(c)
	config.AddHostKey(signer)
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			go session(ch)
		case "direct-tcpip":
			go connection(ch)
		default:
			ch.Reject(ssh.UnknownChannelType, "")
		}
	}
}

// session executes one command.
func session(n ssh.NewChannel) {
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		if r.Type != "exec" {
			r.Reply(false, nil)
			continue
		}
		r.Reply(true, nil)
		cmd := exec.Command("sh", "-c", string(r.Payload[4:]))
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		cmd.Stdout, cmd.Stderr, cmd.Env = ch, ch.Stderr(), os.Environ()
		if err := cmd.Start(); err != nil {
			return
		}
		go func() {
			io.Copy(stdin, ch)
			stdin.Close()
		}()
		cmd.Wait()
		ch.SendRequest("exit-status", false,
			binary.BigEndian.AppendUint32(nil, uint32(cmd.ProcessState.ExitCode())))
		return
	}
}

// connection makes one for a client.
func connection(n ssh.NewChannel) {
	var where struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if ssh.Unmarshal(n.ExtraData(), &where) != nil {
		n.Reject(ssh.ConnectionFailed, "")
		return
	}
	c, err := net.Dial("tcp", net.JoinHostPort(where.Host, strconv.Itoa(int(where.Port))))
	if err != nil {
		n.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer c.Close()
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	go func() {
		io.Copy(c, ch)
		c.Close()
	}()
	io.Copy(ch, c)
	ch.Close()
}
