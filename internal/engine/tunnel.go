package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Tunnel is a process beside a context whose stdin and stdout are here, or a connection that the
// context has made. Read and Write may each be used by one goroutine at a time; Close by any.
type Tunnel struct {
	c      *Context
	p      *Pending
	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	once   sync.Once
	rest   []byte // read, and not yet taken
	text   string // end of what it wrote to stderr; set when Read returns io.EOF
	fork   bool   // it is a context to be
	to     wire.Handle
	shut   bool // CloseWrite was called: the runtime drops what follows; protected by Engine.mu

	// Of sessions, whose windows grow; the first is Read's, the second Write's.
	up, down *pace
}

// tunnels opens two-way bytes to what a context starts or connects to.
type tunnels struct {
	c *Context

	// busyTimeout is more than the engine's if other engines have something started here, which allow
	// more. Protected by Engine.mu.
	busyTimeout time.Duration
}

// Fork starts a copy of c's interpreter, or a new one with python (as in boot.Command) where c has
// been called before, and doesn't wait for it: what is written waits with it, until c is up.
func (ts *tunnels) Fork(ctx context.Context, python []string) (*Tunnel, error) {
	return ts.ForkFor(ctx, python, 0)
}

// ForkFor is Fork for another engine, whose Options.Heartbeat is given. If that is longer than what
// this engine allows, c and its stream may be silent for so long, too, from now on.
func (ts *tunnels) ForkFor(ctx context.Context, python []string, heartbeat time.Duration) (*Tunnel,
	error) {
	c := ts.c
	spec := map[string]any{"argv": boot.Command(python, boot.Pipe), "fork": true}
	if heartbeat < 0 {
		heartbeat = forever
	}
	c.e.mu.Lock()
	if heartbeat > c.e.opt.busyTimeout && c.e.opt.busyTimeout > 0 {
		spec["heartbeat"] = wholeSeconds(heartbeat)
		c.root.Tunnels.busyTimeout = max(c.root.Tunnels.busyTimeout, heartbeat)
	}
	c.e.mu.Unlock()
	t, err := ts.tunnel(ctx, spec)
	if err == nil {
		t.fork = true
	}
	return t, err
}

// forever is in the place of a timeout that there isn't.
const forever = 10 * 365 * 24 * time.Hour

// Forward has c connect to a port of a host, as c's machine knows it, and doesn't wait for it. Read
// says why there is no connection.
func (ts *tunnels) Forward(ctx context.Context, host string, port int,
	timeout time.Duration) (*Tunnel, error) {
	spec := map[string]any{"host": host, "port": port}
	if timeout > 0 {
		spec["timeout"] = timeout.Seconds()
	}
	return ts.tunnel(ctx, spec)
}

// Serve opens what a service does: a module of the runtime that is called _mitogen_ and its name.
// Items are the bytes that Read returns, of at most wire.MaxPayload each; Next keeps them apart.
func (ts *tunnels) Serve(ctx context.Context, service string,
	spec map[string]any) (*Tunnel, error) {
	spec["service"] = service
	return ts.tunnel(ctx, spec, "_mitogen_"+service)
}

// Load gives c data that its services find in MODULES by name, unless it has it already. data is
// compressed by zlib, and less than wire.MaxPayload.
func (s *supply) Load(ctx context.Context, name string, data []byte) error {
	if err := s.pushing.take(ctx, s.c, nil); err != nil {
		return err
	}
	defer s.pushing.leave()
	return s.load(ctx, modules.Ready(name, data))
}

// Has notes that c gets data by that name otherwise than by Load, or drops it.
func (s *supply) Has(name string, has bool) {
	c := s.c
	c.e.mu.Lock()
	s.modules[name] = has
	c.e.mu.Unlock()
}

// tunnel sends OPEN.
func (ts *tunnels) tunnel(ctx context.Context, what map[string]any, needs ...string) (*Tunnel,
	error) {
	c := ts.c
	if err := c.e.audit.service(ctx, c, what); err != nil {
		return nil, err
	}
	if err := c.Supply.pushing.take(ctx, c, nil); err != nil {
		return nil, err
	}
	defer c.Supply.pushing.leave()
	if what["fork"] == true {
		needs = append(needs, forkModule)
	}
	for _, name := range append([]string{spawnModule, tunnelModule}, needs...) {
		if err := c.Supply.push(ctx, name); err != nil {
			return nil, err
		}
	}
	t := ts.newTunnel("tunnel", wire.Open)
	t.p.public = what["host"] != nil
	return t, t.begin(ctx, what)
}

// newTunnel returns a Tunnel whose frames go to a handle. target is for messages.
func (ts *tunnels) newTunnel(target string, to wire.Handle) *Tunnel {
	c := ts.c
	t := &Tunnel{c: c, to: to}
	t.ctx, t.cancel = context.WithCancel(c.e.work.base)
	t.p = newPending(c, target)
	t.p.answer.stream, t.p.answer.more = true, make(chan struct{}, 1)
	return t
}

// begin sends the first frame. After an error t isn't used.
func (t *Tunnel) begin(ctx context.Context, what map[string]any) error {
	t.c.e.mu.Lock()
	mode := t.c.hello.mode
	t.c.e.mu.Unlock()
	spec, err := pickle.Encoder{Mode: mode, Limit: t.c.e.opt.MaxMessage}.Append(nil, what)
	if err == nil {
		err = t.c.Calls.request(ctx, t.p, t.to, spec)
	} else {
		err = fmt.Errorf("open in %s: %w", t.c.name, err)
	}
	if err != nil {
		t.cancel()
	}
	return err
}

// Read returns what the process has written to stdout; io.EOF at its end, else why there is none.
func (t *Tunnel) Read(b []byte) (int, error) {
	if len(t.rest) == 0 {
		value, err := t.next()
		if err != nil {
			return 0, err
		}
		t.rest = value
	}
	n := copy(b, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// Next returns what has come at once, as it was sent; io.EOF at the end. It isn't to be mixed with
// Read.
func (t *Tunnel) Next() ([]byte, error) { return t.next() }

func (t *Tunnel) next() ([]byte, error) {
	p := t.p
	for {
		if it, ok := p.answer.pop(); ok {
			t.up.moved(t, len(it.payload))
			return it.payload, nil
		}
		select {
		case <-p.done:
			if it, ok := p.answer.pop(); ok {
				return it.payload, nil
			}
			if err := p.failure(); err != nil {
				return nil, t.notStarted(err)
			}
			t.text = p.answer.text()
			return nil, io.EOF
		default:
		}
		select {
		case <-p.answer.more:
		case <-p.done:
		case <-t.ctx.Done():
			return nil, io.ErrClosedPipe
		}
	}
}

// notStarted returns the error of a connect, where c couldn't start the fork. err is why it has
// ended.
func (t *Tunnel) notStarted(err error) error {
	raised := (*report.CallError)(nil)
	if !t.fork || !errors.As(err, &raised) {
		return err
	}
	failed := methods.Classify("local", methods.Failure{What: methods.WhatExec, Text: raised.Text})
	failed.Hop = t.c.name
	return failed
}

// Text is the end of what the process wrote to stderr, at most 4 KiB, once Read has returned
// io.EOF. It is hostile.
func (t *Tunnel) Text() string { return t.text }

// Write sends b to the process's stdin, waiting for its window.
func (t *Tunnel) Write(b []byte) (int, error) { return t.write(t.ctx, b) }

// write is Write, which waits no longer than until the end of ctx.
func (t *Tunnel) write(ctx context.Context, b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		piece := b[sent:min(len(b), sent+wire.MaxPayload)]
		switch err := t.c.Calls.window(ctx, t.p, t.p.handle, len(piece)); {
		case err == errEnded:
			return sent, io.ErrClosedPipe
		case err != nil:
			return sent, err
		}
		t.room(ctx)
		if err := t.put(&wire.Frame{Kind: wire.Item, Payload: piece}); err != nil {
			return sent, err
		}
		sent += len(piece)
		t.down.moved(t, len(piece))
	}
	return len(b), nil
}

// room waits until the stream's queue has room: what many tunnels write must not look as if the
// context didn't read. If ctx ends, what has its window is sent all the same.
func (t *Tunnel) room(ctx context.Context) {
	for {
		full := t.c.root.stream.Full()
		if full == nil {
			return
		}
		select {
		case <-full:
		case <-ctx.Done():
			return
		}
	}
}

// CloseWrite ends the process's stdin. A Write that hasn't sent all by then fails, and so do later
// ones.
func (t *Tunnel) CloseWrite() error {
	t.c.e.mu.Lock()
	t.shut = true
	t.c.e.mu.Unlock()
	return t.put(&wire.Frame{})
}

func (t *Tunnel) put(f *wire.Frame) error {
	e := t.c.e
	f.Dst, f.Handle, f.Reply = t.c.id, t.to, t.p.handle
	e.mu.Lock()
	switch {
	case t.c.err != nil:
		defer e.mu.Unlock()
		return t.c.lostAs()
	case !t.p.open, t.shut && f.Kind == wire.Item:
		e.mu.Unlock()
		return io.ErrClosedPipe
	}
	e.traffic.putLocked(t.c, f)
	e.flush(t.c)
	return nil
}

// Close ends the process; it doesn't wait for that.
func (t *Tunnel) Close() error {
	t.once.Do(func() {
		t.cancel()
		if err := t.put(&wire.Frame{Kind: wire.Error}); err == nil {
			t.p.forget()
			t.p.answer.finish(wire.Dead, nil, errors.New("closed"))
		}
		t.p.answer.dropItems()
		if t.p.finished() && t.p.failure() == nil {
			t.p.answer.text() // a session's end may still be asked for
		}
	})
	return nil
}

// text takes the result of p, a text, which it keeps.
func (a *answer) text() string {
	a.mu.Lock()
	if a.payload != nil {
		a.said = string(a.payload)
	}
	said := a.said
	a.mu.Unlock()
	a.discard()
	return said
}

// forwarded is a Tunnel as a net.Conn. It has no deadlines: a caller that gives up closes it.
type forwarded struct {
	*Tunnel
	where string
}

// forward is Forward for ssh.
func (ts *tunnels) forward(ctx context.Context, host string, port int,
	timeout time.Duration) (*forwarded, error) {
	t, err := ts.Forward(ctx, host, port, timeout)
	if err != nil {
		return nil, err
	}
	return &forwarded{t, fmt.Sprintf("%s port %d", host, port)}, nil
}

// forwardError says why there is no connection, as ssh would.
type forwardError struct{ where, why string }

func (e *forwardError) Error() string { return "ssh: connect to host " + e.where + ": " + e.why }

func (f *forwarded) Read(b []byte) (int, error) {
	n, err := f.Tunnel.Read(b)
	if failed := (*report.CallError)(nil); errors.As(err, &failed) {
		err = &forwardError{f.where, oneLine(failed.Text)}
	}
	return n, err
}

func (*forwarded) LocalAddr() net.Addr              { return here{} }
func (*forwarded) RemoteAddr() net.Addr             { return here{} }
func (*forwarded) SetDeadline(time.Time) error      { return nil }
func (*forwarded) SetReadDeadline(time.Time) error  { return nil }
func (*forwarded) SetWriteDeadline(time.Time) error { return nil }

// here is an address that says nothing.
type here struct{}

func (here) Network() string { return "mitogen" }
func (here) String() string  { return "0.0.0.0:0" }
