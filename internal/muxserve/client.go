package muxserve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// DeniedError is the server's refusal of a request.
type DeniedError struct{ Why string }

func (e *DeniedError) Error() string { return e.Why }

// Client is a connection to a server, for one session.
type Client struct {
	c *net.UnixConn
	// Server is the server's process, which SIGWINCH has look at the size of terminals again.
	Server int
}

const request = 1

// Open greets the server at the other end of c, which the Client owns from then on, and says what
// target is meant.
func Open(c *net.UnixConn, target string) (*Client, error) {
	m := &Client{c: c}
	_, err := c.Write(message(uint32(msgHello), uint32(version), targetExtension, target))
	if err == nil {
		_, err = c.Write(message(uint32(msgAlive), uint32(request)))
	}
	for m.Server == 0 && err == nil {
		var b []byte
		if b, err = readMessage(c); err == nil {
			err = m.greeted(&fields{rest: b})
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

func (m *Client) greeted(f *fields) error {
	switch kind := f.number(); kind {
	case msgHello:
		if v := f.number(); v != version {
			return fmt.Errorf("read hello: got version %d, want %d", v, version)
		}
	case replyAlive:
		f.number()
		m.Server = int(int32(f.number()))
		if f.err == nil && m.Server <= 0 {
			return fmt.Errorf("read answer: got process %d", m.Server)
		}
	default:
		return fmt.Errorf("read answer: got %#x, want a hello", kind)
	}
	return f.err
}

// Start asks for a session. When it returns without an error, the program has been asked for.
func (m *Client) Start(r *Request) error {
	truth := map[bool]uint32{true: 1}
	all := []any{uint32(msgSession), uint32(request), r.AgentSocket, truth[r.TTY], uint32(0),
		truth[r.Agent], truth[r.Subsystem], r.Escape, r.Term, r.Command}
	for _, pair := range r.Env {
		all = append(all, pair)
	}
	return m.ask(message(all...), r.Stdin, r.Stdout, r.Stderr)
}

// Ready waits until the target is connected.
func (m *Client) Ready() error { return m.ask(message(uint32(msgReady), uint32(request))) }

// File returns a copy of the connection, which keeps what was asked for when this process ends. The
// caller closes it.
func (m *Client) File() (*os.File, error) { return m.c.File() }

// Check asks whether the target is there, and ends the connection.
func (m *Client) Check() error {
	defer m.c.Close()
	return m.ask(message(uint32(msgCheck), uint32(request)))
}

// Connect asks for a connection of stdin and stdout with a port, or with a path, if port is 0.
// keyboard: what comes from stdin is typed, and isn't waited for at the end.
func (m *Client) Connect(host string, port int, stdin, stdout *os.File, keyboard bool) error {
	number := uint32(port)
	if port == 0 {
		number = pathPort
	}
	reserved := ""
	if keyboard {
		reserved = typed
	}
	return m.ask(message(uint32(msgStdio), uint32(request), reserved, host, number), stdin, stdout)
}

// Connected waits for the end of what Connect or Hold has asked for, and returns what has gone
// wrong.
func (m *Client) Connected() error {
	defer m.c.Close()
	b, err := readMessage(m.c)
	if err != nil { // the end
		return nil
	}
	f := &fields{rest: b}
	if kind, _ := f.number(), f.number(); kind != replyFailed {
		return fmt.Errorf("read answer: got %#x, want the end", kind)
	}
	return &DeniedError{f.text()}
}

// ask sends a request and files, and reads the answer.
func (m *Client) ask(b []byte, files ...*os.File) error {
	_, err := m.askPort(b, files...)
	return err
}

// askPort is ask, and returns the port that the answer has; 0 if it has none.
func (m *Client) askPort(b []byte, files ...*os.File) (port uint32, err error) {
	if len(b)-4 > maxMessage {
		return 0, fmt.Errorf("send request: got %d bytes, want at most %d", len(b)-4, maxMessage)
	}
	if _, err := m.c.Write(b); err != nil {
		return 0, err
	}
	for _, f := range files {
		if _, _, err := m.c.WriteMsgUnix([]byte{0}, syscall.UnixRights(int(f.Fd())), nil); err != nil {
			return 0, err
		}
	}
	b, err = readMessage(m.c)
	if err != nil {
		return 0, err
	}
	f := &fields{rest: b}
	kind, _ := f.number(), f.number()
	switch kind {
	case replyPort:
		port = f.number()
		return port, f.err
	case replyOpened, replyOK:
		return 0, f.err
	case replyDenied, replyFailed:
		return 0, &DeniedError{f.text()}
	}
	return 0, fmt.Errorf("read answer: got %#x, want an opened session", kind)
}

// Wait waits for the end of the session and returns the exit status. A connection with a port has
// none: its end is 0.
func (m *Client) Wait() (int, error) {
	defer m.c.Close()
	for {
		b, err := readMessage(m.c)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		f := &fields{rest: b}
		kind, _ := f.number(), f.number()
		status := f.number()
		if kind == replyExit && f.err == nil {
			return int(status & 255), nil
		}
	}
}
