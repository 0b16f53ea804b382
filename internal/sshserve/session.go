package sshserve

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/portforward"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// failedStatus is the exit status of a program that couldn't be started, as ssh's.
const failedStatus = 255

// session is a channel for one program.
type session struct {
	c  *conn
	ch ssh.Channel

	// Before the program has been asked for; the goroutine of requests owns them.
	env     []string
	envSize int
	term    *Terminal
	agent   bool
	asked   bool

	unread atomic.Bool // the client reads no standard output any more

	mu      sync.Mutex // protects following
	process Process    // nil: not started
	size    *Size      // the last that the client has told since the program was asked for
}

// session serves a session until its end. The client's end of it ends the program.
func (c *conn) session(ctx context.Context, n ssh.NewChannel) {
	ch, requests, err := n.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	s := &session{c: c, ch: ch}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for r := range requests {
		p, ok := s.request(r)
		if r.WantReply {
			r.Reply(ok, nil)
		}
		if p != nil {
			running.Go(func() { s.run(ctx, p) })
		}
	}
}

// request carries out a request. p is the program that it asks for.
func (s *session) request(r *ssh.Request) (p *Program, ok bool) {
	switch r.Type {
	case "shell", "exec", "subsystem":
		if p = s.program(r); p == nil {
			return nil, false
		}
		s.asked = true
		return p, true
	case "env":
		return nil, s.setVariable(r.Payload)
	case "pty-req":
		return nil, s.setTerminal(r.Payload)
	case "window-change":
		return nil, s.resize(r.Payload)
	case "eow@openssh.com":
		s.unread.Store(true)
		return nil, true
	case "signal":
		return nil, s.signal(r.Payload)
	case "auth-agent-req@openssh.com":
		if s.asked || !s.c.server.agents {
			return nil, false
		}
		s.agent = true
		return nil, true
	}
	return nil, false
}

// program reads what is to be run; nil: that can't be.
func (s *session) program(r *ssh.Request) *Program {
	if s.asked {
		return nil
	}
	p := &Program{Target: s.c.target, Env: s.env, Terminal: s.term, Subsystem: r.Type == "subsystem"}
	if r.Type == "shell" {
		return p
	}
	var payload struct{ Text string }
	if unmarshal(r.Payload, &payload) != nil || payload.Text == "" {
		return nil
	}
	p.Command = payload.Text
	if p.Subsystem && s.c.server.backend.Knows(p.Command) != nil {
		return nil
	}
	return p
}

// setVariable adds a variable to the environment.
func (s *session) setVariable(payload []byte) bool {
	var v struct{ Name, Value string }
	if s.asked || unmarshal(payload, &v) != nil || v.Name == "" ||
		strings.ContainsAny(v.Name, "=\x00") || strings.Contains(v.Value, "\x00") {
		return false
	}
	pair := v.Name + "=" + v.Value
	const overhead = 16 // of a variable in memory
	if s.envSize += len(pair) + overhead; s.envSize > maxEnv {
		s.envSize -= len(pair) + overhead
		return false
	}
	s.env = append(s.env, pair)
	return true
}

// setTerminal notes a terminal. What it says of modes is left to the target.
func (s *session) setTerminal(payload []byte) bool {
	var t struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if s.asked || unmarshal(payload, &t) != nil || len(t.Term) > maxTerm ||
		strings.Contains(t.Term, "\x00") {
		return false
	}
	s.term = &Terminal{t.Term, Size{t.Cols, t.Rows, t.Width, t.Height}}
	return true
}

func (s *session) resize(payload []byte) bool {
	var size Size
	if s.term == nil || unmarshal(payload, &size) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = &size
	if s.process != nil {
		s.process.Resize(size)
	}
	return true
}

// signal signals the program. Before it has started, there is nothing to signal.
func (s *session) signal(payload []byte) bool {
	var signal struct{ Name string }
	if unmarshal(payload, &signal) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return false
	}
	s.process.Signal(signal.Name)
	return true
}

// run runs a program, says how it has ended, and closes the channel.
func (s *session) run(ctx context.Context, p *Program) {
	defer s.ch.Close()
	end, err := s.wait(ctx, p)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		fmt.Fprintf(s.ch.Stderr(), "mitogen: %s\r\n", printable.Line(err.Error()))
		end = End{Status: failedStatus}
	}
	s.ch.CloseWrite()
	if end.Signal != "" {
		s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name          string
			Core          bool
			Message, Lang string
		}{Name: end.Signal}))
		return
	}
	s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ N uint32 }{uint32(end.Status)}))
}

// wait starts a program and waits for its end.
func (s *session) wait(ctx context.Context, p *Program) (End, error) {
	if err := s.c.check(ctx); err != nil {
		return End{}, err
	}
	if s.agent {
		agents := &peer.Server{}
		defer agents.Close()
		agentCtx, cancel := context.WithCancel(ctx)
		defer cancel()
		serve := func(from *net.UnixConn) { s.c.agent(agentCtx, from) }
		var err error
		if p.Agent, err = agents.Start(serve); err != nil {
			return End{}, fmt.Errorf("forward the agent: %w", err)
		}
	}
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		io.Copy(far, s.ch)
		far.Close()
	}()
	p.Stdin, p.Stdout = near, output{s.ch, &s.unread}
	p.Stderr = output{s.ch.Stderr(), new(atomic.Bool)}
	process, err := s.c.server.backend.Start(ctx, p)
	if err != nil {
		return End{}, err
	}
	s.mu.Lock()
	s.process = process
	if s.size != nil {
		process.Resize(*s.size)
	}
	s.mu.Unlock()
	return process.Wait()
}

// output is a stream of a program. Without its client it is a pipe that nothing reads.
type output struct {
	io.Writer
	unread *atomic.Bool
}

func (o output) Write(b []byte) (int, error) {
	if o.unread.Load() {
		return 0, io.ErrClosedPipe
	}
	n, err := o.Writer.Write(b)
	if err != nil {
		err = io.ErrClosedPipe
	}
	return n, err
}

// agent connects a connection to a forwarded agent with the client's agent.
func (c *conn) agent(ctx context.Context, from *net.UnixConn) {
	if to, err := openChannel(ctx, c.ssh, "auth-agent@openssh.com", nil, from); err == nil {
		portforward.Join(from, to)
	}
}
