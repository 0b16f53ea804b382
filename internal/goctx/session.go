package goctx

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/process"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// Limits of sessions.
const (
	maxSessions = 1024
	outputHold  = 2 * time.Second        // what a program leaves behind may keep its output open
	dropGrace   = 300 * time.Millisecond // between SIGHUP and SIGKILL
	moduleGrace = 10 * time.Second       // the same of a module
)

// A session is a program beside the calls (docs/protocol/daemon.md, section 9). begin starts it in
// a goroutine of its own, which then waits for its end. Each of its outputs has one, and its stdin.
//
//	SESSION ─► onSession ─► take ─► fed ─► stdin
//	                 begin ─► program ─► output.follow ─► ITEM
type session struct {
	s    *served      // static, as key and spec
	key  key          // of what asked for it, and of stdout
	spec *sessionSpec // with the agent's socket in Agent
	in   *fed

	outputs []*output      // set by begin, before begun
	pumps   sync.WaitGroup // of outputs
	fed     chan struct{}  // closed when nothing writes to stdin any more

	mu      sync.Mutex // protects following
	begun   bool
	early   []func() // what came before it had begun
	proc    *os.Process
	stdin   *os.File // the terminal, or the end of a pipe
	isTTY   bool
	reaped  bool // no signals any more: the number may be another process's
	told    bool // it got a signal: what it has read may not be the whole
	dropped bool // the engine has given it up: nothing is answered
}

// onSession takes a frame of SESSION.
func (s *served) onSession(f *wire.Frame) {
	k := key{f.Src, f.Reply}
	s.mu.Lock()
	p := s.sessions[k]
	n, stopping := len(s.sessions), s.stopping
	s.mu.Unlock()
	const pickled = 0x80 // begins a pickle
	switch {
	case p != nil:
		p.take(f)
	case f.Kind != wire.Data || len(f.Payload) == 0 || f.Payload[0] != pickled || f.Reply == 0:
		// it is late: the session has ended
	case stopping:
		s.dead(f.Src, f.Reply, "context %d ends", s.me)
	case n >= maxSessions:
		s.fail(k, fmt.Errorf("%d sessions are open", maxSessions))
	default:
		spec, err := parseSession(bytes.Clone(f.Payload)) // which it keeps parts of
		if err != nil {
			s.fail(k, err)
			return
		}
		p = &session{s: s, key: k, spec: spec, fed: make(chan struct{})}
		p.in = newFed(s.crediting(k), p.endInput)
		s.mu.Lock()
		s.sessions[k] = p
		s.mu.Unlock()
		go p.begin()
	}
}

// fail answers with an ERROR.
func (s *served) fail(k key, err error) {
	payload := failed(err).payload(s.cfg.MaxMessage)
	s.send(&wire.Frame{Kind: wire.Error, Dst: k.src, Handle: k.reply, Payload: payload})
}

// crediting returns what gives bytes of a request's flow back.
func (s *served) crediting(k key) func(n int) {
	return func(n int) {
		if n > 0 {
			s.giveBack(k.src, k.reply, n)
		}
	}
}

// take takes a frame for the session. It does not block.
func (p *session) take(f *wire.Frame) {
	switch {
	case f.Kind == wire.Item:
		if err := p.in.put(f.Payload); err != nil {
			p.when(func() {
				if p.drop() {
					p.s.fail(p.key, err)
				}
			})
		}
	case f.Kind == wire.Error:
		p.when(func() { p.drop() })
	case len(f.Payload) == 0:
		p.in.finish()
	default:
		word, rest := f.Payload[0], append([]byte(nil), f.Payload[1:]...)
		p.when(func() { p.control(word, rest) })
	}
}

// maxEarly bounds what is kept until the program has started.
const maxEarly = 1024

// when calls f once the program has started, or now. Calls keep their order.
func (p *session) when(f func()) {
	p.mu.Lock()
	if !p.begun {
		if len(p.early) == maxEarly {
			p.early = p.early[:maxEarly-1] // the last may be the end
		}
		p.early = append(p.early, f)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	f()
}

// control does what a frame says that is neither input nor an end.
func (p *session) control(word byte, b []byte) {
	switch word {
	case 'c':
		if h, err := wire.ParseU32[wire.Handle](b); err == nil {
			p.unread(h)
		}
	case 'w':
		if rows, cols, width, height, err := wire.ParseResize(b); err == nil {
			p.resize(windowSize{rows, cols, width, height})
		}
	case 's':
		if sig := signalOf(string(b)); sig != 0 {
			p.mu.Lock()
			p.told = true
			p.mu.Unlock()
			p.kill(sig)
		}
	}
}

// signalOf returns the number of a signal by its name without SIG; 0: there is none.
func signalOf(name string) unix.Signal {
	const longest = 16
	if len(name) > longest {
		return 0
	}
	return unix.SignalNum("SIG" + name)
}

// kill sends a signal to the program's process group, until the program has been reaped.
func (p *session) kill(sig unix.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil || p.reaped {
		return
	}
	if unix.Kill(-p.proc.Pid, sig) != nil {
		unix.Kill(p.proc.Pid, sig)
	}
}

func (p *session) resize(size windowSize) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isTTY {
		setSize(p.stdin, size)
	}
}

// unread has an output be as a pipe whose reader has closed it. A terminal is hung up.
func (p *session) unread(h wire.Handle) {
	for _, o := range p.outputs {
		if o.flow.reply == h {
			o.close()
		}
	}
}

// drop ends the program: the engine has given it up. A module has longer: it may have a file to
// remove that isn't whole. drop returns false if it was called before.
func (p *session) drop() bool {
	p.mu.Lock()
	first := !p.dropped
	p.dropped, p.told = true, true
	p.mu.Unlock()
	if !first {
		return false
	}
	p.kill(unix.SIGHUP)
	for _, o := range p.outputs {
		o.close()
	}
	grace := dropGrace
	if p.spec.Module != "" {
		grace = moduleGrace
	}
	time.AfterFunc(grace, func() { p.kill(unix.SIGKILL) })
	return true
}

// endInput closes the program's stdin. A terminal has no end of input.
func (p *session) endInput() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isTTY {
		p.stdin.Close()
	}
}

// begin starts the program, and waits for its end.
func (p *session) begin() {
	if err := p.start(); err != nil {
		p.refuse(err)
		return
	}
	p.ready()
	go p.feed()
	for _, o := range p.outputs {
		p.pumps.Go(o.follow)
	}
	process.AwaitExit(p.proc.Pid)
	p.holdOutput()
	p.pumps.Wait()
	p.finish()
}

// refuse answers that there is no program. What came before that is not answered any more.
func (p *session) refuse(err error) {
	p.s.forgetSession(p)
	why, unstarted := err.(*startError)
	if unstarted {
		p.answerUnstarted(why)
	} else {
		p.s.fail(p.key, err)
	}
	p.mu.Lock()
	p.dropped = true
	p.mu.Unlock()
	p.ready()
	p.in.close()
	if unstarted && p.spec.Last {
		p.s.onShutdown(nil)
	}
}

// ready has what came before be done.
func (p *session) ready() {
	for {
		p.mu.Lock()
		early := p.early
		p.early = nil
		p.begun = len(early) == 0
		done := p.begun
		p.mu.Unlock()
		if done {
			return
		}
		for _, f := range early {
			f()
		}
	}
}

// feed writes the program's stdin.
func (p *session) feed() {
	defer close(p.fed)
	p.mu.Lock()
	f := p.stdin
	p.mu.Unlock()
	if f == nil {
		p.in.finish() // it has none
		p.in.run(discard{})
		return
	}
	err := p.in.run(f)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !p.isTTY { // finish sets the deadline
		f.Close()
	}
}

// holdOutput gives what the program has left behind some time to close its output.
func (p *session) holdOutput() {
	hold := outputHold
	switch wait := p.spec.Wait; {
	case p.isTTY:
		hold = 0
	case wait != nil && *wait > int64(time.Hour*24*365/time.Second):
		return
	case wait != nil:
		hold = time.Duration(max(0, *wait)) * time.Second
	}
	for _, o := range p.outputs {
		o.limit(hold)
	}
}

// finish reaps the program and answers.
func (p *session) finish() {
	status := p.reap()
	p.mu.Lock()
	keep := p.told && !p.isTTY && p.stdin != nil && !p.in.finished()
	dropped := p.dropped
	p.mu.Unlock()
	p.in.close()
	if p.stdin != nil {
		p.stdin.SetWriteDeadline(time.Now()) // ends a Write in progress
		<-p.fed
		if keep {
			go keepOpen(p.stdin)
		} else {
			p.stdin.Close()
		}
	}
	p.s.forgetSession(p)
	if !dropped {
		p.answer(status, p.wasHeld())
	}
	if p.spec.Last {
		p.s.onShutdown(nil)
	}
}

// wasHeld reports whether an output was closed that something kept open.
func (p *session) wasHeld() bool {
	for _, o := range p.outputs {
		if o.held {
			return true
		}
	}
	return false
}

// reap returns the exit status, or minus the number of the signal that has ended the program.
func (p *session) reap() int {
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	p.s.groups.Delete(p.proc.Pid)
	state, err := p.proc.Wait()
	if err != nil {
		return 255 // a function that was called here has waited for it
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -int(ws.Signal())
	}
	return state.ExitCode()
}

func (p *session) answer(status int, held bool) {
	n := 0
	if held {
		n = 1
	}
	b, err := pickle.Append(nil, pyvalue.Tuple{status, n}, pickle.Proto2Both)
	if err == nil {
		p.s.send(&wire.Frame{Dst: p.key.src, Handle: p.key.reply, Payload: b})
	}
}

// answerUnstarted says on the program's stderr that there is no program, as a shell does.
func (p *session) answerUnstarted(why *startError) {
	end := "\n"
	flow := p.key
	if p.spec.Pty != nil {
		end = "\r\n"
	} else if p.spec.Err != 0 {
		flow.reply = wire.Handle(p.spec.Err)
	}
	p.s.send(&wire.Frame{Kind: wire.Item, Dst: flow.src, Handle: flow.reply,
		Payload: []byte("mitogen: " + why.Error() + end)})
	if flow != p.key {
		p.s.send(&wire.Frame{Dst: flow.src, Handle: flow.reply})
	}
	p.answer(why.status(), false)
}

// forgetSession takes a session off the table, with the windows of its output.
func (s *served) forgetSession(p *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[p.key] == p {
		delete(s.sessions, p.key)
	}
	delete(s.flows, p.key)
	delete(s.flows, key{p.key.src, wire.Handle(p.spec.Err)})
	s.leftLocked()
}

// leaveSessions drops all sessions.
func (s *served) leaveSessions() {
	s.mu.Lock()
	var all []*session
	for _, p := range s.sessions {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		p.when(func() { p.drop() })
	}
}

// A startError says that a program could not be executed.
type startError struct {
	what string
	err  error
}

func (e *startError) Error() string {
	return e.what + ": " + strings.ToUpper(e.text()[:1]) + e.text()[1:]
}

// text is the system's, as C has it but for the first letter.
func (e *startError) text() string {
	if n, ok := e.err.(unix.Errno); ok {
		return n.Error()
	}
	return strconv.Quote(e.err.Error())
}

// status returns the exit status that a shell has then.
func (e *startError) status() int {
	if e.err == unix.ENOENT {
		return 127
	}
	return 126
}
