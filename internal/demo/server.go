package demo

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Host is the server's name in its Config.
const Host = "demo"

// Server is an SSH server on the loopback interface. It lets in who has the key, or the password,
// that were made for it, and runs their commands as the user whose process this is.
type Server struct {
	Dir    string // keys and configurations; removed by Close
	Config string // file for ssh -F, in which Host is this server
	Port   int

	config   *ssh.ServerConfig // static
	listener net.Listener
	jobs     sync.WaitGroup

	mu     sync.Mutex // protects following
	conns  map[net.Conn]struct{}
	closed bool
}

// ServerOptions are settings of a Server. The zero value is usable.
type ServerOptions struct {
	Password string // lets in too; "": none does
}

// Serve starts a server with new keys on a free port.
func Serve(o ServerOptions) (*Server, error) {
	s := &Server{config: &ssh.ServerConfig{}, conns: map[net.Conn]struct{}{}}
	var err error
	if s.Dir, err = os.MkdirTemp("", "mitogen-demo-"); err != nil {
		return nil, fmt.Errorf("start SSH server: %w", err)
	}
	if err := s.setUp(o); err != nil {
		os.RemoveAll(s.Dir)
		return nil, fmt.Errorf("start SSH server: %w", err)
	}
	s.jobs.Go(s.accept)
	return s, nil
}

func (s *Server) setUp(o ServerOptions) error {
	_, hostKey, err := newKey()
	if err != nil {
		return err
	}
	userPEM, userKey, err := newKey()
	if err != nil {
		return err
	}
	s.config.AddHostKey(hostKey)
	s.config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions,
		error) {
		if subtle.ConstantTimeCompare(key.Marshal(), userKey.PublicKey().Marshal()) != 1 {
			return nil, errNotAllowed
		}
		return nil, nil
	}
	if o.Password != "" {
		s.config.PasswordCallback = func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if subtle.ConstantTimeCompare(password, []byte(o.Password)) != 1 {
				return nil, errNotAllowed
			}
			return nil, nil
		}
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	s.Port = s.listener.Addr().(*net.TCPAddr).Port
	if err := s.writeFiles(hostKey.PublicKey(), userPEM); err != nil {
		s.listener.Close()
		return err
	}
	return nil
}

var errNotAllowed = errors.New("not allowed")

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

const configText = `Host %s
	HostName 127.0.0.1
	Port %d
	User demo
	IdentityFile %s
	IdentitiesOnly yes
	IdentityAgent none
	UserKnownHostsFile %s
	GlobalKnownHostsFile /dev/null
	UpdateHostKeys no
`

// writeFiles writes what ssh needs to get in, and to know the server.
func (s *Server) writeFiles(host ssh.PublicKey, user []byte) error {
	key, known := filepath.Join(s.Dir, "key"), filepath.Join(s.Dir, "known_hosts")
	s.Config = filepath.Join(s.Dir, "config")
	line := fmt.Sprintf("[127.0.0.1]:%d %s", s.Port, ssh.MarshalAuthorizedKey(host))
	for name, content := range map[string][]byte{
		key:      user,
		known:    []byte(line),
		s.Config: fmt.Appendf(nil, configText, Host, s.Port, key, known),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			c.Close()
		} else {
			s.conns[c] = struct{}{}
			s.jobs.Go(func() { s.serve(c) })
		}
		s.mu.Unlock()
	}
}

// Close ends all connections, waits until no process of theirs is left, and removes the files.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.listener.Close()
	s.jobs.Wait()
	return os.RemoveAll(s.Dir)
}

// serve is one connection.
func (s *Server) serve(c net.Conn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for n := range channels {
		if n.ChannelType() != "session" {
			n.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { serveSession(channel, requests) })
	}
}
