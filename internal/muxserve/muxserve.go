// Package muxserve is the server's side of the protocol by which OpenSSH's ssh has a ControlMaster
// carry its sessions (PROTOCOL.mux, version 4). There is no SSH in it: a client hands over its own
// files, and a Backend runs what it asks for. So an unmodified ssh, and what starts one, runs
// programs wherever the Backend can.
package muxserve

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Request describes a session that a client asks for.
type Request struct {
	// what the client's hello has named; "" from OpenSSH's ssh, which says neither host nor user
	Target    string
	Command   string // "": a login shell
	Subsystem bool   // Command is the name of one
	TTY       bool
	Agent     bool
	// AgentSocket is the path of the agent that is meant; "" from OpenSSH's ssh, which doesn't say.
	AgentSocket string
	Term        string
	Env         []string // NAME=VALUE
	Escape      uint32   // the escape character of a terminal; NoEscape: none

	// Ready has Check wait until the target is connected.
	Ready bool

	// The client's files, which are closed when the request has ended. A terminal among them is
	// shared with the client: its flags are not to be changed.
	Stdin, Stdout, Stderr *os.File
}

// NoEscape is the Escape of a request that has no escape character.
const NoEscape = 0xffffffff

// Backend runs what clients ask for. Its methods may be called from any goroutine.
type Backend interface {
	// Check returns why the request is refused, before anything is started; nil: it isn't. ctx ends
	// with the client. Without files, only the target is meant.
	Check(ctx context.Context, r *Request) error
	// Run runs a program until its end, or until ctx ends, and returns its exit status.
	Run(ctx context.Context, r *Request) int
	// Dial connects to HOST:PORT, or to a path, as the target knows it.
	Dial(ctx context.Context, target, address string) (Conn, error)
}

// A Conn can be closed for writing alone.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// session is the number of the one session that a connection has.
const session = 1

// Serve carries out what the client at the other end of c asks for, and returns when that is over.
// The caller has checked whose process the client is, and closes c.
func Serve(ctx context.Context, c *net.UnixConn, b Backend) error {
	s := &server{c: c, b: b, outer: ctx, lost: make(chan error, 1)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer s.clientLeft()
	if _, err := c.Write(message(uint32(msgHello), uint32(version))); err != nil {
		return err
	}
	for {
		m, err := readMessage(c)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		over, err := s.step(ctx, cancel, m)
		if over || err != nil {
			return err
		}
	}
}

// server is one connection.
type server struct {
	c      *net.UnixConn
	b      Backend
	outer  context.Context // ends with the server
	target string
	stops  []func()   // of forwardings
	ends   bool       // the forwardings do, with the client
	lost   chan error // holds one: a forwarding has ended by itself
}

// step handles one message. over: the connection has done what it is for.
func (s *server) step(ctx context.Context, cancel func(), m []byte) (over bool, err error) {
	f := &fields{rest: m}
	kind := f.number()
	if kind == msgHello {
		return false, s.hello(f)
	}
	id := f.number()
	if f.err != nil {
		return true, f.err
	}
	switch kind {
	case msgAlive:
		return false, s.reply(uint32(replyAlive), id, uint32(os.Getpid()))
	case msgTerminate, msgStop:
		return false, s.reply(uint32(replyOK), id) // the contexts are not the client's to end
	case msgCheck:
		if err := s.check(ctx, cancel, &Request{Target: s.target}, nil); err != nil {
			return true, s.reply(uint32(replyDenied), id, err.Error())
		}
		return true, s.reply(uint32(replyOK), id)
	case msgReady:
		if err := s.ready(ctx); err != nil {
			return true, s.reply(uint32(replyDenied), id, err.Error())
		}
		return false, s.reply(uint32(replyOK), id)
	case msgSession:
		s.ends = true
		return true, s.session(ctx, cancel, id, f)
	case msgHold:
		s.ends = true
		return true, s.hold(ctx, cancel, id)
	case msgStdio:
		return true, s.stdio(ctx, cancel, id, f)
	case msgOpenForward, msgCloseForward:
		return false, s.forward(ctx, id, kind, f)
	}
	return false, s.reply(uint32(replyFailed), id, fmt.Sprintf("unknown request %#x", kind))
}

func (s *server) reply(fields ...any) error {
	_, err := s.c.Write(message(fields...))
	return err
}

func (s *server) hello(f *fields) error {
	if v := f.number(); f.err != nil || v != version {
		return fmt.Errorf("read hello: got version %d, want %d", v, version)
	}
	for len(f.rest) > 0 && f.err == nil {
		if name, value := f.text(), f.text(); name == targetExtension {
			s.target = value
		}
	}
	return f.err
}

// session runs a program.
func (s *server) session(ctx context.Context, cancel func(), id uint32, f *fields) error {
	r := &Request{Target: s.target}
	r.AgentSocket = f.text()
	r.TTY = f.number() != 0
	f.number() // x11
	r.Agent = f.number() != 0
	r.Subsystem = f.number() != 0
	r.Escape = f.number()
	r.Term, r.Command = f.text(), f.text()
	for len(f.rest) > 0 && f.err == nil {
		r.Env = append(r.Env, f.text())
	}
	if f.err != nil {
		return f.err
	}
	files, err := s.files(3)
	defer closeAll(files)
	if err != nil {
		return err
	}
	r.Stdin, r.Stdout, r.Stderr = files[0], files[1], files[2]
	if err := s.check(ctx, cancel, r, files); err != nil {
		return s.reply(uint32(replyDenied), id, err.Error())
	}
	if err := s.reply(uint32(replyOpened), id, uint32(session)); err != nil {
		return err
	}
	status := s.b.Run(ctx, r)
	return s.reply(uint32(replyExit), uint32(session), uint32(status))
}

// stdio connects the client's stdin and stdout with a port.
func (s *server) stdio(ctx context.Context, cancel func(), id uint32, f *fields) error {
	keyboard := f.text() == typed
	host, port := f.text(), f.number()
	if f.err != nil {
		return f.err
	}
	files, err := s.files(2)
	defer closeAll(files)
	if err != nil {
		return err
	}
	if err := s.check(ctx, cancel, &Request{Target: s.target}, files); err != nil {
		return s.reply(uint32(replyDenied), id, err.Error())
	}
	to, err := endpoint(host, port, 1)
	if err != nil {
		return s.reply(uint32(replyFailed), id, err.Error())
	}
	conn, err := s.b.Dial(ctx, s.target, to)
	if err != nil {
		return s.reply(uint32(replyFailed), id, err.Error())
	}
	defer conn.Close()
	if err := s.reply(uint32(replyOpened), id, uint32(session)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if st, err := files[0].Stat(); err == nil {
		keyboard = keyboard || st.Mode()&os.ModeCharDevice != 0
	}
	err = join(ctx, conn, files[0], files[1], keyboard)
	if err != nil && ctx.Err() == nil && s.target != "" { // OpenSSH's ssh takes nothing more
		return s.reply(uint32(replyFailed), id, err.Error())
	}
	return nil
}

// typed is in the place of what is reserved, if stdin is a terminal.
const typed = "typed"

// join copies both ways until both have ended. A keyboard need not end: it ends with the peer.
func join(ctx context.Context, conn Conn, stdin, stdout *os.File, keyboard bool) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stdin)
		conn.CloseWrite()
		sent <- err
	}()
	_, err := io.Copy(stdout, conn)
	stdout.Close() // its reader may wait for that before it ends stdin
	if err != nil || keyboard {
		return err
	}
	select {
	case err = <-sent:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check asks the backend, and whether the files can be used. From then on the client's end ends
// ctx: for a client that has gone meanwhile nothing is started.
func (s *server) check(ctx context.Context, cancel func(), r *Request, files []*os.File) error {
	go s.untilEnd(cancel)
	for i, f := range files {
		if err := usable(f); err != nil {
			return fmt.Errorf("%s: %w", [...]string{"stdin", "stdout", "stderr"}[i], err)
		}
	}
	if err := s.b.Check(ctx, r); err != nil {
		return err
	}
	return ctx.Err()
}

// ready waits until the target is connected, no longer than the client is there.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.watch(cancel)()
	return s.b.Check(ctx, &Request{Target: s.target, Ready: true})
}

// watch calls cancel if the client ends before it sends anything more, until stop. It takes nothing
// of what the client sends.
func (s *server) watch(cancel func()) (stop func()) {
	c, err := s.c.SyscallConn()
	if err != nil {
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Read(func(fd uintptr) bool {
			var b [1]byte
			n, err := 0, error(syscall.EINTR)
			for err == syscall.EINTR {
				n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			}
			if err == syscall.EAGAIN {
				return false
			}
			if n <= 0 {
				cancel()
			}
			return true
		})
	}()
	return func() {
		s.c.SetReadDeadline(time.Unix(1, 0)) // ends the Read
		<-ended
		s.c.SetReadDeadline(time.Time{})
	}
}

// untilEnd waits for the client's end, and then calls cancel.
func (s *server) untilEnd(cancel func()) {
	var b [1]byte
	s.c.Read(b[:])
	cancel()
}

// files receives n files, each of which comes with one byte.
func (s *server) files(n int) (files []*os.File, err error) {
	for range n {
		f, err := s.file()
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

func (s *server) file() (*os.File, error) {
	b, oob := make([]byte, 1), make([]byte, syscall.CmsgSpace(4*16)) // should it be more than one
	n, size, _, _, err := s.c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:size])
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		if more, err := syscall.ParseUnixRights(&m); err == nil {
			fds = append(fds, more...)
		}
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	if n != 1 || len(fds) != 1 {
		for _, fd := range fds {
			syscall.Close(fd)
		}
		return nil, fmt.Errorf("receive file: got %d with %d bytes, want 1 with 1", len(fds), n)
	}
	return os.NewFile(uintptr(fds[0]), "client"), nil
}

// usable refuses files that can't be read or written as a program's stdin, stdout or stderr.
func usable(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		return syscall.EISDIR
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
