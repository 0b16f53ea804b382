// Package daemonclient reaches a daemon: see package daemon. A Client starts one if need be,
// and gets contexts of it. The messages between the two are here, too.
package daemonclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// Client reaches a daemon.
type Client struct {
	Socket  string // default: DefaultSocket
	Version string
	// Command starts a daemon on that socket, when there is none; nil: that is an error. It need not
	// wait for it.
	Command []string
	Prompt  connect.PromptFunc // nil: no user can be asked
	Secrets secret.Source      // nil: there are none but those of the options
	// Heartbeat is the engine's. 0: the default; negative: never.
	Heartbeat time.Duration
}

// startPatience limits the time in which a daemon must begin to listen.
const startPatience = 10 * time.Second

// restartPause is the time after which a client starts a second daemon if the first doesn't listen.
// It doubles with each further daemon.
const restartPause = 300 * time.Millisecond

// Dial is an engine.Dial: a fork of a context that the daemon has at target, or connects now.
func (c *Client) Dial(ctx context.Context, target string, o connect.Options) (engine.Conn, error) {
	from := here(target, o)
	o = Absolute(target, o, from.Dir)
	for try := 0; ; try++ {
		conn, err := c.connect(ctx)
		if err != nil {
			return nil, unreached(target, err)
		}
		ch := NewChannel(conn)
		first := &Message{Op: "open", Version: c.Version, Target: target, Options: OptionsOf(&o),
			Interactive: c.Prompt != nil, Secrets: c.Secrets != nil, Origin: from,
			Heartbeat: c.Heartbeat.Seconds()}
		if err := ch.Send(first); err != nil {
			conn.Close()
			if try < 2 { // it was on its way out
				continue
			}
			return nil, unreached(target, err)
		}
		return &fork{client: c, conn: conn, ch: ch, target: target, options: o, ctx: ctx}, nil
	}
}

// unreached is the error of a target whose daemon can't be reached.
func unreached(target string, err error) error {
	e := &connect.Error{Hop: target, Phase: connect.PhaseStart, Kind: connect.ErrDaemon,
		Text: err.Error(), Err: methods.Shortage(err)}
	if e.Err != nil {
		e.Kind = connect.ErrExhausted
	}
	return methods.Explain(e)
}

// connect returns a connection to a daemon, which it starts if need be.
func (c *Client) connect(ctx context.Context) (*net.UnixConn, error) {
	socket := c.Socket
	if socket == "" {
		socket = DefaultSocket()
	}
	conn, err := peer.Dial(socket)
	if err == nil || c.Command == nil || !peer.Missing(err) {
		return conn, err
	}
	if err := peer.MakeDirectory(filepath.Dir(socket)); err != nil {
		return nil, err // a daemon could report it nowhere
	}
	pause, end, failures := restartPause, time.Now().Add(startPatience), 0
	var next time.Time
	var d *starting
	defer func() { d.release() }()
	for {
		if time.Now().After(next) { // the first, or a new one: the last found another still ending
			d.release()
			if d, err = c.start(filepath.Dir(socket)); err != nil {
				return nil, err
			}
			next, pause = time.Now().Add(pause), 2*pause
		}
		ended := d.hasEnded()
		if conn, err = peer.Dial(socket); err == nil || !peer.Missing(err) || time.Now().After(end) {
			return conn, err
		}
		if ended && !Locked(socket) { // and no other is on its way
			if failures++; failures == maxFailures {
				return nil, d.failure(err)
			}
			next = time.Time{}
			continue
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// maxFailures limits the daemons in a row that end before they listen while no other daemon holds
// the lock.
const maxFailures = 2

// starting is a daemon that was started, and may not listen yet.
type starting struct {
	words *os.File // what it writes to stderr, without a name; nil: that isn't known
	done  chan struct{}
	state *os.ProcessState // once done is closed
}

// start starts a daemon that outlives us. What it says goes to a file in dir, which has no name: a
// pipe would end the daemon when it writes to it later.
func (c *Client) start(dir string) (*starting, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	d := &starting{done: make(chan struct{})}
	if f, err := os.CreateTemp(dir, ".words"); err == nil {
		os.Remove(f.Name())
		d.words, cmd.Stderr = f, f
	}
	if err := cmd.Start(); err != nil {
		d.release()
		return nil, fmt.Errorf("start a daemon: %w", err)
	}
	go func() {
		cmd.Wait()
		d.state = cmd.ProcessState
		close(d.done)
	}()
	return d, nil
}

// release lets go of what the daemon says.
func (d *starting) release() {
	if d != nil && d.words != nil {
		d.words.Close()
	}
}

func (d *starting) hasEnded() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// failure returns an error with the daemon's own words, or err if it has printed nothing.
func (d *starting) failure(err error) error {
	if d.words == nil {
		return err
	}
	b := make([]byte, methods.TextLimit)
	n, _ := d.words.ReadAt(b, 0)
	said := strings.TrimPrefix(strings.TrimSpace(printable.Text(string(b[:n]))), "error: ")
	if said == "" {
		return fmt.Errorf("the daemon ended (%v) before it listened: %w", d.state, err)
	}
	return errors.New("the daemon ended before it listened: " + strings.ReplaceAll(said, "\n", "; "))
}

// fork is a process that the daemon has started. The first error of the daemon may be that it is of
// another version; then all that was written is written again to a new one.
type fork struct {
	client  *Client
	target  string
	options connect.Options
	ctx     context.Context

	mu      sync.Mutex // protects following
	conn    *net.UnixConn
	ch      *Channel
	written []byte // until something has been read
	heard   bool
	closed  bool
	buf     []byte
	rest    []byte
	text    string
}

func (f *fork) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		piece := b[sent:min(len(b), sent+MaxData)]
		f.mu.Lock()
		if !f.heard {
			f.written = append(f.written, piece...)
		}
		ch := f.ch
		f.mu.Unlock()
		if err := ch.Send(&Message{Data: piece}); err != nil {
			f.mu.Lock()
			again := !f.heard && !f.closed
			f.mu.Unlock()
			if !again { // else the reader finds out, and writes it again
				return sent, err
			}
		}
		sent += len(piece)
	}
	return len(b), nil
}

func (f *fork) Read(b []byte) (int, error) {
	for len(f.rest) == 0 {
		m, err := f.ch.Receive(f.buf)
		var other *versionError
		if err == nil && m.End != nil && m.End.Error != nil && errors.As(m.End.Error.Err(), &other) {
			if err := f.again(); err != nil {
				return 0, err
			}
			continue
		}
		f.mu.Lock()
		f.heard, f.written = true, nil
		f.mu.Unlock()
		if err != nil {
			return 0, &report.LostError{Context: f.target, Hop: f.target, Reason: "the daemon has gone"}
		}
		if f.buf == nil {
			f.buf = make([]byte, 64<<10)
		}
		switch {
		case m.Prompt != nil:
			go f.answer(m.Prompt)
		case m.End != nil && m.End.Error != nil:
			return 0, m.End.Error.Err()
		case m.End != nil:
			f.text = m.End.Text
			return 0, io.EOF
		default:
			f.rest = m.Data
		}
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// again opens a fork at another daemon.
func (f *fork) again() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn.Close()
	if f.closed {
		return io.ErrClosedPipe
	}
	next, err := f.client.Dial(f.ctx, f.target, f.options)
	if err != nil {
		return err
	}
	n := next.(*fork)
	f.conn, f.ch = n.conn, n.ch
	if len(f.written) > 0 {
		return f.ch.Send(&Message{Data: f.written})
	}
	return nil
}

func (f *fork) answer(p *Question) {
	m := &Message{AnswerTo: p.ID}
	text, err := f.find(p)
	if err != nil {
		m.Refuse = err.Error()
	} else {
		m.Answer = &text
	}
	f.ch.Send(m)
}

// find returns the answer to a question.
func (f *fork) find(p *Question) (ClearText, error) {
	switch {
	case p.Place != nil && f.client.Secrets != nil:
		s, err := f.client.Secrets(f.ctx, secret.Place(*p.Place))
		return ClearText(s), err
	case p.Place == nil && f.client.Prompt != nil:
		text, err := f.client.Prompt(f.ctx, p.Prompt())
		return ClearText(text), err
	}
	return "", errors.New("nobody to ask")
}

func (f *fork) Text() string { return f.text }

func (f *fork) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.conn.Close()
}

// ask sends one request and returns the answer.
func (c *Client) ask(m *Message) (*Message, error) {
	conn, err := c.connect(context.Background())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(startPatience))
	ch := NewChannel(conn)
	m.Version = c.Version
	if err := ch.Send(m); err != nil {
		return nil, err
	}
	answer, err := ch.Receive(nil)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	if answer.End != nil && answer.End.Error != nil {
		return nil, answer.End.Error.Err()
	}
	return answer, nil
}

// List returns the daemon's process id and contexts.
func (c *Client) List() (pid int, all []Context, err error) {
	m, err := c.ask(&Message{Op: "list"})
	if err != nil {
		return 0, nil, err
	}
	return m.PID, m.Contexts, nil
}

// Disconnect closes the contexts of a target; "": all.
func (c *Client) Disconnect(target string) error {
	_, err := c.ask(&Message{Op: "disconnect", Target: target})
	return err
}

// Stop ends the daemon.
func (c *Client) Stop() error {
	_, err := c.ask(&Message{Op: "stop"})
	return err
}

// Running tells whether err is not that there is no daemon.
func Running(err error) bool { return !peer.Missing(err) }
