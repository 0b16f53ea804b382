package goctx

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// maxPipe bounds a read of a pipe: a pipe holds no more, unless it was enlarged.
const maxPipe = 64 << 10

// A capture sends what is written to fd 1 or 2.
type capture struct {
	s      *served
	handle wire.Handle
	r      *os.File
	conn   syscall.RawConn
	kept   *os.File // a write end, so that the pipe has no end whatever the program closes

	mu   sync.Mutex // protects following
	more sync.Cond  // left has become positive
	left int        // of the window
	buf  []byte
}

// captureOutput has fds 1 and 2 lead to the engine.
func (s *served) captureOutput() error {
	for fd, h := range map[int]wire.Handle{1: wire.Stdout, 2: wire.Stderr} {
		c, err := newCapture(s, fd, h)
		if err != nil {
			return err
		}
		s.output = append(s.output, c)
		go c.follow()
	}
	return nil
}

func newCapture(s *served, fd int, h wire.Handle) (*capture, error) {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return nil, os.NewSyscallError("pipe", err)
	}
	unix.CloseOnExec(p[0])
	unix.CloseOnExec(p[1])
	if err := dup2(p[1], fd); err != nil {
		return nil, os.NewSyscallError("dup2", err)
	}
	unix.SetNonblock(p[0], true)
	c := &capture{s: s, handle: h, r: os.NewFile(uintptr(p[0]), "captured"),
		kept: os.NewFile(uintptr(p[1]), "kept"), left: wire.Window, buf: make([]byte, maxPipe)}
	c.more.L = &c.mu
	var err error
	c.conn, err = c.r.SyscallConn()
	return c, err
}

// follow sends output as it comes.
func (c *capture) follow() {
	for {
		failed := c.conn.Read(func(fd uintptr) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.left <= 0 || c.suckLocked(int(fd))
		})
		if failed != nil {
			return
		}
		c.mu.Lock()
		for c.left <= 0 {
			c.more.Wait()
		}
		c.mu.Unlock()
	}
}

// suckLocked sends what the pipe has. It returns false if that is nothing.
func (c *capture) suckLocked(fd int) bool {
	n, err := unix.Read(fd, c.buf)
	if err != nil || n == 0 {
		return err != unix.EAGAIN && err != unix.EINTR
	}
	c.left -= n
	c.s.send(&wire.Frame{Handle: c.handle, Payload: c.buf[:n]})
	return true
}

// settle sends what was in the pipe when it was called, and waits for the window that this takes.
func (c *capture) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.Control(func(fd uintptr) {
		for c.left <= 0 {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(p, 0); err != nil || n == 0 {
				return // nothing is in it
			}
			c.more.Wait()
		}
		c.suckLocked(int(fd))
	})
}

// settle sends what the program has written so far.
func (s *served) settle() {
	for _, c := range s.output {
		c.settle()
	}
}

func (s *served) creditOutput(h wire.Handle, n int) {
	for _, c := range s.output {
		if c.handle == h {
			c.mu.Lock()
			c.left += n
			c.more.Broadcast()
			c.mu.Unlock()
		}
	}
}
