package integration

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// recorder is an SSH server that notes what clients try to log in with. Its sessions are processes of this machine.
type recorder struct {
	password  string   // that it takes; "": none, by any method
	methods   []string // password, keyboard-interactive; nil: both
	question  string   // of keyboard-interactive; "": "Password: "
	key       bool     // any public key will do
	andMore   bool     // but something else is asked for then
	hangUp    bool     // after the first wrong password
	port      int
	publicKey ssh.PublicKey

	mu    sync.Mutex // protects following
	tries []string   // "METHOD ANSWER"
}

// serve starts r on a loopback port.
func (r *recorder) serve(t *testing.T) *recorder {
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
	r.port, r.publicKey = listener.Addr().(*net.TCPAddr).Port, signer.PublicKey()
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

func (r *recorder) note(method, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries = append(r.tries, method+" "+answer)
}

// seen returns what was tried since it was asked last.
func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	tries := r.tries
	r.tries = nil
	return tries
}

func (r *recorder) has(method string) bool {
	for _, m := range r.methods {
		if m == method {
			return true
		}
	}
	return r.methods == nil
}

func (r *recorder) config(conn net.Conn) *ssh.ServerConfig {
	wrong := errors.New("wrong")
	judge := func(answer string) (*ssh.Permissions, error) {
		if answer == r.password && answer != "" {
			return nil, nil
		}
		if r.hangUp {
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
		callbacks.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			question := r.question
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
		case r.andMore:
			return nil, &ssh.PartialSuccessError{Next: callbacks}
		case r.key:
			return nil, nil
		}
		return nil, wrong
	}
	if !r.andMore {
		c.PasswordCallback, c.KeyboardInteractiveCallback = callbacks.PasswordCallback, callbacks.KeyboardInteractiveCallback
	}
	return c
}

func (r *recorder) client(c net.Conn, signer ssh.Signer) {
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
		ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(cmd.ProcessState.ExitCode())))
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
