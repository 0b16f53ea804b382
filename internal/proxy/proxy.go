// Package proxy gives ssh processes that this program starts their connections: ssh executes this very program as its
// ProxyCommand (importing the package is enough, see client.go), which hands it a socket that leads back here and ends. What is at the
// other end of that is up to the Dial that was registered for this ssh.
package proxy

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/peer"
)

// envName holds "token:path of the socket" for the client.
const envName = "MITOGEN_PROXY"

// A Conn can be closed for writing alone.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// A Dial connects to a host. It is called once for each connection of the ssh that it was registered for.
type Dial func(host string, port int) (Conn, error)

// A Server connects the ssh processes of this program. The zero value is ready; it costs nothing before Register.
type Server struct {
	mu       sync.Mutex // protects following
	dir      string
	listener *net.UnixListener
	dials    map[string]Dial // by token
	conns    map[io.Closer]struct{}
	closed   bool
	jobs     sync.WaitGroup
}

var errClosed = errors.New("proxy server is closed")

// Register returns ssh's options, and what to add to its environment. release ends that; call it when the process has ended.
func (s *Server) Register(dial Dial) (args, env []string, release func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("register proxy: %w", err)
	}
	if _, err := os.Stat(program); err != nil { // replaced meanwhile
		program = fmt.Sprintf("/proc/%d/exe", os.Getpid())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.startLocked(); err != nil {
		return nil, nil, nil, fmt.Errorf("register proxy: %w", err)
	}
	token := rand.Text()
	s.dials[token] = dial
	release = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.dials, token)
	}
	command := "'" + strings.ReplaceAll(strings.ReplaceAll(program, "%", "%%"), "'", `'\''`) + "' %h %p"
	args = []string{"-o", "ProxyCommand=" + command, "-o", "ProxyUseFdpass=yes"}
	// bash would take ssh's socket for a login by network, read its user's start-up file, and print what that prints.
	return args, []string{"SHELL=/bin/sh", envName + "=" + token + ":" + filepath.Join(s.dir, "s")}, release, nil
}

func (s *Server) startLocked() error {
	if s.closed {
		return errClosed
	}
	if s.listener != nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "mitogen-") // mode 0700
	if err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		os.Remove(dir)
		return err
	}
	s.dir, s.listener = dir, l
	s.dials, s.conns = map[string]Dial{}, map[io.Closer]struct{}{}
	s.jobs.Go(func() { s.accept(l) })
	return nil
}

// Close ends all connections and removes the socket.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed && s.listener != nil
	s.closed = true
	if first {
		s.listener.Close()
		for c := range s.conns {
			c.Close()
		}
	}
	s.mu.Unlock()
	s.jobs.Wait()
	if first {
		return os.RemoveAll(s.dir)
	}
	return nil
}

func (s *Server) accept(l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		if s.keep(c) {
			s.jobs.Go(func() {
				defer s.forget(c)
				s.handle(c)
			})
		}
	}
}

// keep notes what Close is to close.
func (s *Server) keep(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) forget(c io.Closer) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// firstPatience is how long a client may take to say what it wants.
const firstPatience = 10 * time.Second

// handle serves one connection: a line of token, host and port, then ssh's bytes.
func (s *Server) handle(c *net.UnixConn) {
	if !peer.Own(c) {
		return
	}
	c.SetReadDeadline(time.Now().Add(firstPatience))
	r := bufio.NewReaderSize(c, 4096)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return
	}
	c.SetReadDeadline(time.Time{})
	words := strings.Fields(string(line))
	if len(words) != 3 {
		return
	}
	port, err := strconv.Atoi(words[2])
	s.mu.Lock()
	dial := s.dials[words[0]]
	s.mu.Unlock()
	if dial == nil || err != nil {
		return
	}
	far, err := dial(words[1], port)
	if err != nil || !s.keep(far) {
		return
	}
	defer s.forget(far)
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(c, far)
		c.Close() // there is nothing more to say to ssh
	}()
	io.Copy(far, r)
	far.Close()
	<-done
}
