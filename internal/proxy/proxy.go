// Package proxy gives ssh processes that this program starts their connections: ssh executes this
// very program as its ProxyCommand (importing the package is enough, see client.go), which hands it
// a socket that leads back here and ends. What is at the other end of that is up to the Dial that
// was registered for this ssh.
package proxy

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// A Dial connects to a host. It is called once for each connection of the ssh that it was
// registered for.
type Dial func(host string, port int) (Conn, error)

// A Server connects the ssh processes of this program. The zero value is ready; it costs nothing
// before Register and Control.
type Server struct {
	peers    peer.Server
	controls atomic.Uint64 // paths that were given

	mu    sync.Mutex      // protects following
	dials map[string]Dial // by token
}

// Register returns ssh's options, and what to add to its environment. release ends that; call it
// when the process has ended.
func (s *Server) Register(dial Dial) (args, env []string, release func(), err error) {
	socket, err := s.peers.Start(s.handle)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("register proxy: %w", err)
	}
	program, err := s.peers.Program()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("register proxy: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dials == nil {
		s.dials = map[string]Dial{}
	}
	token := rand.Text()
	s.dials[token] = dial
	release = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.dials, token)
	}
	command := "'" + strings.ReplaceAll(strings.ReplaceAll(program, "%", "%%"), "'", `'\''`) +
		"' %h %p"
	args = []string{"-o", "ProxyCommand=" + command, "-o", "ProxyUseFdpass=yes"}
	// bash would take ssh's socket for a login by network, read its user's start-up file, and print
	// what that prints.
	return args, []string{"SHELL=/bin/sh", envName + "=" + token + ":" + socket}, release, nil
}

// maxPath is the largest length of a path that fits into a socket's address on all systems, in
// bytes. It leaves room for the 17 bytes that ssh adds while it makes its own socket.
const maxPath = 80

// Control returns a path for the control socket of an ssh, as ssh's option takes it and as it is,
// in a directory that no other user can enter. Close removes that.
func (s *Server) Control() (option, path string, err error) {
	socket, err := s.peers.Start(s.handle)
	if err != nil {
		return "", "", fmt.Errorf("path of a control socket: %w", err)
	}
	path = filepath.Join(filepath.Dir(socket), "m"+strconv.FormatUint(s.controls.Add(1), 36))
	if len(path) > maxPath || strings.Contains(path, "$") {
		return "", "", fmt.Errorf("path of a control socket: %s isn't usable", path)
	}
	return strings.ReplaceAll(path, "%", "%%"), path, nil
}

// Close ends all connections and removes the socket.
func (s *Server) Close() error { return s.peers.Close() }

// firstPatience limits the time in which a client must send its first line.
const firstPatience = 10 * time.Second

// handle serves one connection: a line of token, host and port, then ssh's bytes.
func (s *Server) handle(c *net.UnixConn) {
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
	if err != nil || !s.peers.Keep(far) {
		return
	}
	defer s.peers.Forget(far)
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
