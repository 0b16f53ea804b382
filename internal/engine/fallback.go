package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/report"
)

// fallback starts a copy of this program as a Go context where the boot command has found no
// interpreter: docs/protocol/golang.md, "Without Python". One goroutine reads what the shell
// prints, another one writes. Frames wait until the program is there.
type fallback struct {
	c       *Context      // static, as the next three
	config  boot.Config   //
	way     boot.Way      //
	timeout time.Duration // without a byte of the program passing; 0: any

	// set before the first byte is read
	stdin io.WriteCloser
	proc  process

	begun atomic.Bool  // EC2 has come
	sent  atomic.Int64 // bytes of the program
	asked atomic.Int64 // sent when busy looked last

	// owned by the reader
	line    []byte    // is not whole yet
	program boot.Gate // of what comes behind the line of a boot.Shell
	sending bool      // that line has come
}

// errFallback says that an engine can't start the copies that it was told to.
var errFallback = fmt.Errorf("start Go contexts where there is no Python: %w", ErrNoMain)

// fallbackFor returns the boot command with which c's start may fall back on a Go context, nil if
// it can't.
func (o *ConnectOptions) fallbackFor(way boot.Way) ([]string, error) {
	if !o.GoFallback {
		return nil, nil
	}
	if !goctx.Started() {
		return nil, errFallback
	}
	argv, _ := boot.FallbackCommand(o.Python, way)
	return argv, nil
}

// planTunnel has a context behind a hop, which isn't an ssh of this machine, fall back on a Go
// program by a start of its own: the hop's runtime knows nothing of EC2. The first start finds out
// that there is no interpreter, and the next one has a process at the hop whose stdin and stdout
// are here. A method that needs a terminal has no such process.
func (s *starts) planTunnel(l *link, o ConnectOptions) {
	if !o.GoFallback || l.carry || l.plan.TTY || l.plan.Wait || len(l.plan.Env) > 0 {
		return
	}
	if _, known := s.pythonless.Load(l.key); !known {
		l.later = true
		return
	}
	if plan, err := l.hop.Plan(boot.ShellCommand(), o.Options, false); err == nil {
		l.plan, l.tunnel, l.fallback = plan, true, true
		l.key += "fallback"
	}
}

// FallsBack reports whether c's target, if this start finds no interpreter, can be started again
// without.
func FallsBack(c *Context) bool { return c.launch.golang.later }

// tunnelled is a starter for a process that carrier starts, and whose bytes it carries.
func (s *starts) tunnelled(carrier *Context) starter {
	return func(ctx context.Context, plan methods.Plan, _ connect.SSHOptions) (process, io.WriteCloser,
		io.ReadCloser, error) {
		t, err := carrier.Tunnels.tunnel(ctx, map[string]any{"argv": plan.Argv})
		if err != nil {
			return nil, nil, nil, err
		}
		p := &tunnelProcess{dialed: dialed{conn: t, done: make(chan struct{})}}
		if plan.Timeout > 0 {
			p.Limit(plan.Timeout)
		}
		return p, t, p, nil
	}
}

// tunnelProcess is a process that another context has started.
type tunnelProcess struct {
	dialed

	timing    sync.Mutex  // protects following
	timer     *time.Timer // of the connect; nil: none
	connected bool
}

// Limit ends the process as having timed out, unless Connected is called in time. If it is called
// again, the time begins anew.
func (p *tunnelProcess) Limit(d time.Duration) {
	p.timing.Lock()
	defer p.timing.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	if !p.connected {
		p.timer = time.AfterFunc(d, func() { p.Fail(methods.WhatTimeout) })
	}
}

func (p *tunnelProcess) Connected() {
	p.timing.Lock()
	defer p.timing.Unlock()
	p.connected = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// Failure says, if the carrier couldn't start the process, why.
func (p *tunnelProcess) Failure() methods.Failure {
	f := p.dialed.Failure()
	p.mu.Lock()
	defer p.mu.Unlock()
	if raised := (*report.CallError)(nil); f.What == methods.WhatExit && errors.As(p.reason, &raised) {
		f.What, f.Text = methods.WhatExec, raised.Text
	}
	return f
}

// newFallback returns what may start c in another way; nil: nothing.
func newFallback(c *Context, l link, config boot.Config) *fallback {
	if !l.fallback {
		return nil
	}
	way := boot.Pipe
	if l.ahead || l.tunnel { // nothing comes before EC2
		way = boot.Ahead
	}
	return &fallback{c: c, config: config, way: way, timeout: l.plan.Timeout}
}

// open takes the process. By a pipe it writes head and image, which pipes have room for.
func (f *fallback) open(proc process, stdin io.WriteCloser) error {
	f.proc, f.stdin = proc, stdin
	if f.way == boot.Ahead {
		return nil
	}
	first := opening(f.config, false)
	n, err := stdin.Write(first)
	f.c.stream.Sent(n)
	return err
}

// busy reports whether bytes of the program have passed since it was asked last. f may be nil.
func (f *fallback) busy() bool {
	if f == nil {
		return false
	}
	n := f.sent.Load()
	return f.asked.Swap(n) < n
}

// started reports whether the shell has found no interpreter. f may be nil.
func (f *fallback) started() bool { return f != nil && f.begun.Load() }

// maxShellLine bounds a line of the shell in bytes.
const maxShellLine = 4096

// begin answers EC2.
func (f *fallback) begin() {
	f.begun.Store(true)
	f.c.launch.golang.is.Store(true)
	go f.write(boot.FallbackLine(f.way))
}

// take takes what the shell prints, and then the program. It returns what is noise, and whether the
// program is there.
func (f *fallback) take(b []byte) (noise []byte, there bool) {
	for !f.sending && len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		f.line = append(f.line, b[:end+1]...)
		if end < 0 {
			f.line, b = append(f.line, b...), nil
		} else {
			b = b[end+1:]
		}
		if end < 0 && len(f.line) <= maxShellLine {
			return noise, false
		}
		shell, ok := boot.ParseShell(string(f.line))
		if !ok {
			noise = append(noise, f.line...)
		}
		if f.line = nil; ok {
			f.sending = true
			go f.send(shell)
		}
	}
	before, behind := f.program.Feed(b)
	return append(append(noise, before...), behind...), f.program.Open
}

// send has the program go to the shell, or the context be lost.
func (f *fallback) send(s boot.Shell) {
	e := f.c.e
	b, err := e.starts.binaries.AgentFor(s.System, s.Machine)
	if err == nil {
		err = s.Lacks()
	}
	var parts [][]byte
	switch {
	case err != nil:
	case s.Unpacks():
		parts = b.Gzip()
	default:
		parts, err = b.Whole()
	}
	if err != nil {
		f.fail(err)
		return
	}
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	e.log.Info("no Python there: this program is sent", slog.String("hop", f.c.name),
		slog.Int("bytes", size))
	f.c.Supply.given.gaveProgram(b, size)
	before, behind := s.Announce(size, b.Loader)
	for _, part := range slices.Concat([][]byte{before}, parts, [][]byte{behind}) {
		if f.write(part) != nil {
			return
		}
	}
}

// sendPiece is the most that is written at once.
const sendPiece = 64 << 10

// write writes to the shell. If that fails, the reader finds the end, and knows more about it.
func (f *fallback) write(b []byte) error {
	for len(b) > 0 {
		n, err := f.stdin.Write(b[:min(len(b), sendPiece)])
		f.c.stream.Sent(n)
		f.sent.Add(int64(n))
		if b = b[n:]; err != nil {
			return err
		}
		if p, ok := f.proc.(interface{ Limit(d time.Duration) }); ok && f.timeout > 0 {
			p.Limit(f.timeout)
		}
	}
	return nil
}

// fail ends a start whose target can't take the program.
func (f *fallback) fail(why error) {
	f.c.e.tree.lose(f.c, f.failure(methods.Failure{Text: why.Error(), Err: why}), true)
}

// failure returns the error of a start that has begun to fall back.
func (f *fallback) failure(why methods.Failure) error {
	if why.What == "" || why.What == methods.WhatExit {
		why.What = methods.WhatNoProgram
		why.Err = errors.Join(connect.ErrNoPython, why.Err)
	}
	return failure(f.c, why)
}

// arrived returns what goes to the program first: its head, and the frames that were to go ahead.
func (f *fallback) arrived() []byte {
	first := boot.GoHead(f.config)
	if a := f.c.launch.ahead; a != nil {
		first = append(first, a.frames...)
		a.frames = nil
	}
	return first
}
