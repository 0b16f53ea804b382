package peer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/mitogen-go/mitogen/internal/process"
)

// A Server takes connections of this user's processes, which this program has started. Its socket
// is in a directory that no other user can enter. The zero value is ready; it costs nothing before
// Start.
type Server struct {
	// Private has the directory be below Directory, if that isn't too long: see Lasting.
	Private bool

	mu       sync.Mutex // protects following
	dir      string
	listener *net.UnixListener
	more     []*net.UnixListener    // of Also
	open     map[io.Closer]struct{} // what Close closes
	closed   bool
	jobs     sync.WaitGroup
}

const socketName = "s"

var errClosed = errors.New("server is closed")

// Start returns the socket's path. The first call makes it: handle is called with each connection
// then, in a goroutine of its own, and the connection is closed when it returns. Connections of
// users other than this user and root are closed at once.
func (s *Server) Start(handle func(*net.UnixConn)) (socket string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", errClosed
	}
	if s.listener != nil {
		return s.path(), nil
	}
	dir, err := s.makeDirectory()
	if err != nil {
		return "", err
	}
	s.jobs.Go(func() { sweep(filepath.Dir(dir)) })
	s.dir = dir
	err = CheckLength(s.path())
	var l *net.UnixListener
	if err == nil {
		l, err = Listen(s.path())
	}
	if err != nil {
		os.Remove(dir)
		return "", err
	}
	s.listener, s.open = l, map[io.Closer]struct{}{}
	s.jobs.Go(func() { s.accept(l, handle) })
	return s.path(), nil
}

// makeDirectory makes a directory that no other user can enter.
func (s *Server) makeDirectory() (string, error) {
	at := Directory()
	if !s.Private || len(at) > longestPrivate {
		return makeTemp(temps())
	}
	if err := MakeDirectory(at); err != nil {
		return "", err
	}
	return makeTemp([]string{at})
}

// longestPrivate bounds the path of a directory in which private servers have theirs. The longest
// name of a socket in one of these is a number.
const longestPrivate = 103 - len("/"+dirPrefix+"0123456789/12345")

// Also makes another socket in the directory of Start, which was called before. name is its file's.
func (s *Server) Also(name string, handle func(*net.UnixConn)) (socket string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.listener == nil {
		return "", errClosed
	}
	socket = filepath.Join(s.dir, name)
	if err := CheckLength(socket); err != nil {
		return "", err
	}
	l, err := Listen(socket)
	if err != nil {
		return "", err
	}
	s.more = append(s.more, l)
	s.jobs.Go(func() { s.accept(l, handle) })
	return socket, nil
}

func (s *Server) path() string { return filepath.Join(s.dir, socketName) }

// Close closes all connections, removes the socket, and waits for the handlers.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed && s.listener != nil
	s.closed = true
	if first {
		s.listener.Close()
		for _, l := range s.more {
			l.Close()
		}
		for c := range s.open {
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

func (s *Server) accept(l *net.UnixListener, handle func(*net.UnixConn)) {
	next := process.NewListener(l, nil)
	for {
		c, err := next.Accept()
		if err != nil {
			return
		}
		if !s.Keep(c) {
			continue
		}
		s.jobs.Go(func() {
			defer s.Forget(c)
			if Own(c) {
				handle(c)
			}
		})
	}
}

// Keep has Close close c too. False: s is closed, and c is now.
func (s *Server) Keep(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.open[c] = struct{}{}
	return true
}

// Forget closes c, of which Close needs to know no more.
func (s *Server) Forget(c io.Closer) {
	c.Close()
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

// Program returns the path of this program, for other processes to execute. If the program's file
// has been replaced, that is a copy beside the socket, which Start has made: other processes can't
// execute /proc/PID/exe of a process that has closed its memory to them.
func (s *Server) Program() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil || s.closed {
		return "", errClosed
	}
	path = filepath.Join(s.dir, "mitogen")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := copyFile("/proc/self/exe", path); err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(to)
	}
	return err
}
