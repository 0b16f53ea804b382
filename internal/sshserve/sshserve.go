// Package sshserve is an SSH server for clients that bring an SSH of their own. It runs nothing: a
// Backend does what clients ask for. The host key and the keys of clients are made for the server.
// The key of a client says which target it is for.
package sshserve

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/internal/process"
)

// Size is the size of a terminal, in characters and in pixels (0: unknown).
type Size struct{ Cols, Rows, Width, Height uint32 }

// Terminal describes a terminal that a client asks for.
type Terminal struct {
	Term string
	Size Size
}

// Program describes what a client wants to have run.
type Program struct {
	Target    string
	Command   string // "": a login shell
	Subsystem bool   // Command is the name of one
	Env       []string
	Terminal  *Terminal // nil: none
	Agent     string    // path of the socket of the client's agent; "": none
	// The client's ends. Stdin can be closed while it is read.
	Stdin          net.Conn
	Stdout, Stderr io.Writer
}

// End is the end of a program: a status, or the name of a signal without SIG.
type End struct {
	Status int
	Signal string
}

// A Process is a program that runs.
type Process interface {
	// Signal and Resize don't block.
	Signal(name string)
	Resize(Size)
	// Wait waits for the end, and until all output has been written. It is called once. An error says
	// why the end isn't known.
	Wait() (End, error)
}

// Opener connects to the client that a forwarding is for, on behalf of a connection that was made
// to where the forwarding listens.
type Opener func(ctx context.Context, from net.Conn) (net.Conn, error)

// Backend does what clients ask for. Its methods may be called by any goroutine.
type Backend interface {
	// Check returns why the user of a client can't be at the target; nil: it can.
	Check(ctx context.Context, target, user string) error
	// Knows returns why there is no such subsystem; nil: there is.
	Knows(subsystem string) error
	// Start starts a program, which ends with ctx.
	Start(ctx context.Context, p *Program) (Process, error)
	// Dial connects to an address that the target reaches.
	Dial(ctx context.Context, target, network, address string) (net.Conn, error)
	// Listen has the target listen until stop, or until ctx ends, and forward connections to what open
	// returns. port is 0 for a path. If the target stops listening by itself, ended is called, by any
	// goroutine. stop is called all the same, and not by ended.
	Listen(ctx context.Context, target, network, address string, open Opener, ended func()) (
		port int, stop func(), err error)
}

// Limits. What is beyond them is refused.
const (
	maxHandshakes = 64   // connections that aren't authenticated
	maxChannels   = 1000 // of a connection
	maxForwards   = 256  // of a connection
	maxEnv        = 256 << 10
	maxTerm       = 256
)

// handshakeTimeout bounds a client's authentication.
const handshakeTimeout = 30 * time.Second

// acceptPause is between two tries to accept, after a shortage.
const acceptPause = 50 * time.Millisecond

// Server is an SSH server. Its methods may be called by any goroutine.
type Server struct {
	backend Backend
	agents  bool // clients may forward theirs
	host    ssh.Signer

	mu      sync.Mutex          // protects following
	targets map[string]string   // by public key
	pending map[int64]io.Closer // connections that aren't authenticated, by their number
	last    int64               // number of a connection
}

// New makes a server with a new host key. agents: clients may forward their ssh-agent.
func New(b Backend, agents bool) (*Server, error) {
	_, host, err := newKey()
	if err != nil {
		return nil, err
	}
	return &Server{backend: b, agents: agents, host: host, targets: map[string]string{},
		pending: map[int64]io.Closer{}}, nil
}

// newKey makes a key pair.
func newKey() (private []byte, signer ssh.Signer, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	signer, err = ssh.NewSignerFromKey(key)
	return pem.EncodeToMemory(block), signer, err
}

// HostKey returns the public key of the server as it stands in known_hosts, with a newline.
func (s *Server) HostKey() string { return string(ssh.MarshalAuthorizedKey(s.host.PublicKey())) }

// NewClientKey returns a new private key, whose owner is let in to target.
func (s *Server) NewClientKey(target string) (private []byte, err error) {
	private, signer, err := newKey()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[string(signer.PublicKey().Marshal())] = target
	return private, nil
}

// Serve serves the connections of l until ctx ends, or l fails. It closes l and all connections,
// and returns when nothing of them is left.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case process.Passes(err):
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		case err != nil:
			return err
		default:
			done := s.begin(c) // here, so that connections are numbered as they came
			all.Go(func() { s.serveConn(ctx, c, done) })
		}
	}
}

var errNotAllowed = errors.New("not allowed")

// targetKey is the name of the permission that holds a client's target.
const targetKey = "target@mitogen"

// serverVersion begins so that OpenSSH's ssh says when nothing reads its output any more (eow).
const serverVersion = "SSH-2.0-OpenSSH_9.2_mitogen"

// config returns the rules of authentication: a key that was made for a target, and nothing else.
func (s *Server) config() *ssh.ServerConfig {
	c := &ssh.ServerConfig{ServerVersion: serverVersion}
	c.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		target, ok := s.targets[string(key.Marshal())]
		if !ok {
			return nil, errNotAllowed
		}
		return &ssh.Permissions{Extensions: map[string]string{targetKey: target}}, nil
	}
	c.AddHostKey(s.host)
	return c
}

// ServeConn serves one connection, which it closes, until the client ends it or ctx ends.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) { s.serveConn(ctx, nc, s.begin(nc)) }

// serveConn calls done, which is begin's, when the client is authenticated.
func (s *Server) serveConn(ctx context.Context, nc net.Conn, done func()) {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	defer done()
	nc.SetDeadline(time.Now().Add(handshakeTimeout))
	sc, channels, requests, err := ssh.NewServerConn(nc, s.config())
	done()
	if err != nil {
		return
	}
	defer sc.Close()
	nc.SetDeadline(time.Time{})
	c := &conn{server: s, ssh: sc, target: sc.Permissions.Extensions[targetKey]}
	c.serve(ctx, channels, requests)
}

// begin notes a connection that isn't authenticated until done, which may be called twice. Of too
// many, the oldest is closed: those of other users keep no client out for long.
func (s *Server) begin(c io.Closer) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id := s.last
	if len(s.pending) >= maxHandshakes {
		oldest := id
		for other := range s.pending {
			oldest = min(oldest, other)
		}
		s.pending[oldest].Close()
		delete(s.pending, oldest)
	}
	s.pending[id] = c
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pending, id)
	}
}
