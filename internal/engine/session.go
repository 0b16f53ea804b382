package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stdio"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// SessionSpec says what a session runs.
type SessionSpec struct {
	// Args is the program and its arguments. Without any, the account's shell runs Command, or, if
	// that is "" too, is a login shell.
	Args    []string
	Command string
	// Module is a part of the runtime, without "_mitogen_": a copy of the context's process runs
	// that instead of a program.
	Module  string
	Login   bool // environment and directory are those of a login
	Env     map[string]string
	Dir     string // "": the context's, or home
	Pty     *Pty   // nil: pipes
	NoStdin bool   // it has /dev/null
	// WaitOutput has the session end only when nothing has its output open any more, instead of 2 s
	// after the program's end. A terminal is hung up when the program has ended, whatever this is.
	WaitOutput bool
	// Agent is the path of an agent's socket here. The program finds a socket in SSH_AUTH_SOCK that
	// leads there by agentproxy, until the session's end.
	Agent string
	// Last has the context end with the session, without being told, if the engine has no other.
	Last bool
}

// Pty describes a terminal: its type as in TERM, and its size.
type Pty struct {
	Term string
	WindowSize
}

// WindowSize is the size of a terminal in characters and in pixels (0: unknown).
type WindowSize struct{ Rows, Cols, Width, Height uint16 }

// Session is a program beside the calls of a context. Reading it gives its stdout, writing feeds
// its stdin. Read, Write and the Read of Stderr may each be used by one goroutine at a time, all
// else by any. If stdout and Stderr are not read, the program waits, as on a pipe.
type Session struct {
	*Tunnel
	Stderr *Tunnel       // nil: it comes with stdout, on a terminal
	agent  *agentForward // nil: none
	told   func(int, error)
	ended  sync.Once
	cut    atomic.Bool // see Cut
}

// SessionEnd describes the end of a program.
type SessionEnd struct {
	Status int  // exit status; -1: a signal has ended it
	Signal int  // that signal's number on its machine; 0: none
	Held   bool // something that it left behind had its output open, which was closed
}

// Session starts a program in c. It waits neither for c to be up nor for the program. ctx bounds
// the wait for room on the way there.
func (ps *programs) Session(ctx context.Context, spec SessionSpec) (*Session, error) {
	c := ps.c
	told, err := c.e.audit.begin(ctx, c, report.EventExec, spec.name())
	if err != nil {
		return nil, err
	}
	s, err := ps.session(ctx, spec)
	if err != nil {
		told(0, err)
		return nil, err
	}
	s.told = told
	c.e.work.jobs.Go(func() {
		<-s.p.done
		s.agent.close()
		s.Stderr.end()
		s.narrow()
		s.tell()
	})
	return s, nil
}

// end says that nothing more comes of t, which may be nil: the session's answer comes after it.
func (t *Tunnel) end() {
	if t != nil {
		t.p.forget()
		t.p.answer.finish(wire.Data, nil, nil)
	}
}

// name returns the name of the session for an audit log.
func (s *SessionSpec) name() string {
	switch {
	case len(s.Args) > 0:
		return s.Args[0]
	case s.Command != "":
		return "shell -c"
	case s.Module != "":
		return "_mitogen_" + s.Module
	}
	return "login shell"
}

func (ps *programs) session(ctx context.Context, spec SessionSpec) (*Session, error) {
	if ctx.Err() != nil {
		return nil, givenUp(ctx, "run in "+ps.c.name)
	}
	if spec.Agent != "" {
		return ps.sessionWithAgent(ctx, spec)
	}
	return ps.beginSession(ctx, spec, nil)
}

// beginSession sends what asks for a program. agent is the socket that it is to find, or nil.
func (ps *programs) beginSession(
	ctx context.Context,
	spec SessionSpec,
	agent *agentForward,
) (*Session, error) {
	c := ps.c
	if err := c.Supply.pushing.take(ctx, c, c.life.closingNow()); err != nil {
		return nil, err
	}
	defer c.Supply.pushing.leave()
	needs := []string{guardModule, sessionModule}
	if spec.Module != "" {
		needs = append(needs, "_mitogen_"+spec.Module)
	}
	for _, name := range needs {
		if err := c.Supply.push(ctx, name); err != nil {
			return nil, err
		}
	}
	s := &Session{Tunnel: c.Tunnels.newTunnel(runModule+"session", wire.Session), agent: agent}
	s.up, s.down = &pace{}, &pace{down: true}
	what := spec.values()
	if spec.Pty == nil {
		s.Stderr = c.Tunnels.newTunnel(runModule+"session", wire.Session)
		if err := s.Stderr.expect(); err != nil {
			return nil, err
		}
		what["err"] = uint32(s.Stderr.p.handle)
	}
	if agent != nil {
		what["agent"] = uint32(agent.l.place.p.handle)
	}
	if s.p.final = spec.Last && agent == nil && c.Calls.onlyOne(); s.p.final {
		what["last"] = true
	}
	s.p.public = c.root.launch.callsAhead && len(spec.Env) == 0 && agent == nil
	if err := s.begin(ctx, what); err != nil {
		s.Stderr.giveUp()
		return nil, err
	}
	return s, nil
}

// closingNow returns the channel that is closed when c is closed.
func (l *life) closingNow() <-chan struct{} {
	c := l.c
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return l.closing
}

// onlyOne tells whether c is the engine's only context, and then has no other be started through
// it.
func (s *calls) onlyOne() bool {
	c := s.c
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if len(c.e.tree.contexts) != 1 || c.life.children > 0 || s.open.n > 0 && s.calling > 0 {
		return false
	}
	if c.e.tree.shared[c.launch.key] == c {
		delete(c.e.tree.shared, c.launch.key)
	}
	return true
}

// values is the spec as the runtime takes it. Names of the system's are bytes.
func (s *SessionSpec) values() map[string]any {
	what := map[string]any{}
	if s.Module != "" {
		what["module"] = s.Module
	} else if len(s.Args) > 0 {
		var argv []any
		for _, a := range s.Args {
			argv = append(argv, []byte(a))
		}
		what["argv"] = argv
	} else if s.Command != "" {
		what["command"] = []byte(s.Command)
	}
	if len(s.Env) > 0 {
		var env []any
		for _, name := range slices.Sorted(maps.Keys(s.Env)) {
			env = append(env, pyvalue.Tuple{[]byte(name), []byte(s.Env[name])})
		}
		what["env"] = env
	}
	if s.Dir != "" {
		what["cwd"] = []byte(s.Dir)
	}
	if s.Pty != nil {
		p := s.Pty
		what["pty"] = pyvalue.Tuple{[]byte(p.Term), int64(p.Rows), int64(p.Cols), int64(p.Width),
			int64(p.Height)}
	}
	if s.WaitOutput {
		what["wait"] = int64(1 << 40) // seconds: for ever
	}
	login := s.Login || len(s.Args)+len(s.Module) == 0
	for name, set := range map[string]bool{"login": login, "null": s.NoStdin} {
		if set {
			what[name] = true
		}
	}
	return what
}

// expect gives t a handle that answers come to, which something else asks for.
func (t *Tunnel) expect() error {
	c := t.c
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	h, err := c.e.router.Request(c.id, 0, t.p)
	if err != nil {
		return c.lostAs()
	}
	c.e.router.Expect(h, maxOwn, false)
	t.p.handle, t.p.open, t.p.sent = h, true, true
	c.Calls.open.add(t.p)
	return nil
}

// giveUp ends t without telling the context. t may be nil.
func (t *Tunnel) giveUp() {
	if t == nil {
		return
	}
	t.cancel()
	t.p.forget()
	t.p.answer.finish(wire.Dead, nil, errors.New("closed"))
	t.p.answer.dropItems()
}

// Resize tells the program's terminal its size, which sends it SIGWINCH.
func (s *Session) Resize(size WindowSize) error {
	return s.put(&wire.Frame{Payload: wire.AppendResize(nil, size.Rows, size.Cols, size.Width,
		size.Height)})
}

// unread has the program get SIGPIPE when it writes what t reads; a terminal is hung up.
func (s *Session) unread(t *Tunnel) error {
	return s.put(&wire.Frame{Payload: wire.AppendU32([]byte{'c'}, t.p.handle)})
}

// Signal sends a signal, by its name without SIG, to the program's process group. The runtime
// ignores names that it doesn't know.
func (s *Session) Signal(name string) error {
	return s.put(&wire.Frame{Payload: append([]byte{'s'}, name...)})
}

// Close ends the program: SIGHUP to its process group, and SIGKILL after 300 ms. It doesn't wait.
func (s *Session) Close() error {
	err := s.Tunnel.Close()
	s.Stderr.giveUp()
	return err
}

// Done returns a channel that is closed when the program has ended. Output may be left to be read.
func (s *Session) Done() <-chan struct{} { return s.p.done }

// End waits for the end of the program, and of its output. The error says that it wasn't started,
// that its context is gone, or that ctx or Close has come first.
func (s *Session) End(ctx context.Context) (SessionEnd, error) {
	select {
	case <-s.p.done:
	case <-ctx.Done():
		return SessionEnd{Status: noStatus}, givenUp(ctx, "run in "+s.c.name)
	}
	if err := s.failure(); err != nil {
		if lost := (*report.LostError)(nil); ctx.Err() != nil && !errors.As(err, &lost) {
			err = givenUp(ctx, "run in "+s.c.name) // which has closed it
		}
		return SessionEnd{Status: noStatus}, err
	}
	return s.c.Programs.sessionEnd([]byte(s.p.answer.text()))
}

// failure returns why the program wasn't started, or its end isn't known.
func (s *Session) failure() error { return s.agent.explain(s.p.failure()) }

// sessionEnd reads the last frame of a session.
func (ps *programs) sessionEnd(b []byte) (SessionEnd, error) {
	c := ps.c
	v, err := pickle.Decode(b, recordLimits)
	t, ok := v.(pyvalue.Tuple)
	if err != nil || !ok || len(t) != 2 {
		return SessionEnd{Status: noStatus},
			fmt.Errorf("run in %s: read exit status: got %d bytes, want a status", c.name, len(b))
	}
	status, _ := t[0].(int64)
	held, _ := t[1].(int64)
	switch {
	case status < -255 || status > 255:
		return SessionEnd{Status: noStatus},
			fmt.Errorf("run in %s: read exit status: got %d, want at most 255", c.name, status)
	case status < 0:
		return SessionEnd{Status: noStatus, Signal: int(-status), Held: held != 0}, nil
	}
	return SessionEnd{Status: int(status), Held: held != 0}, nil
}

// tell has the audit log know of the end.
func (s *Session) tell() {
	s.ended.Do(func() {
		end, err := s.End(context.Background())
		s.told(max(end.Shell(), 0), err)
	})
}

// Shell is the status that a shell would give: 128 + n for signal n.
func (e SessionEnd) Shell() int {
	if e.Signal > 0 {
		return 128 + e.Signal
	}
	return e.Status
}

// Streams hold the source of a program's input and the destinations of its output. WaitDelay is as
// Command's.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer // nil: where the context's goes
	WaitDelay      time.Duration
	// Pipes has a Writer's EPIPE close the program's end of that stream, which is no error then.
	Pipes bool
}

// errWaited is the answer to a second Wait.
var errWaited = errors.New("program: Wait was already called")

// closedPipe says that nothing reads any more what a Writer is given.
func closedPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

// Started is a session whose streams are passed on.
type Started struct {
	*Session
	ctx    context.Context // ends with the caller's, or with the error of a stream
	failed context.CancelCauseFunc
	copied <-chan struct{}
	over   chan error         // the result of await, sent once; holds one
	fed    chan *stdio.Feeder // sent once; holds one
	delay  time.Duration
	waited atomic.Bool
}

// Begin starts a program, with streams that goroutines pass on, and doesn't wait for it. When ctx
// ends, so does the program, whether Wait was called or not: it gets SIGTERM, and SIGKILL after
// Options.Grace. Wait must be called.
func (ps *programs) Begin(ctx context.Context, spec SessionSpec, st Streams) (*Started, error) {
	c := ps.c
	spec.NoStdin = st.Stdin == nil
	session, err := ps.Session(ctx, spec)
	if err != nil {
		return nil, named("run in "+c.name, err)
	}
	s := &Started{Session: session, over: make(chan error, 1), fed: make(chan *stdio.Feeder, 1)}
	s.delay = cmp.Or(st.WaitDelay, c.e.opt.Grace)
	s.ctx, s.failed = context.WithCancelCause(ctx)
	s.copied = ps.copyOutput(session, st, s.failed)
	go func() { s.over <- session.await(s.ctx) }()
	go func() { s.fed <- session.feed(s.ctx, st.Stdin, s.failed) }()
	return s, nil
}

// Wait waits for the end of the program, and until its output has been written. An error of a
// stream ends the program, and comes back in a *report.StreamError. It is called once.
func (s *Started) Wait() (SessionEnd, error) {
	none := SessionEnd{Status: noStatus}
	if s.waited.Swap(true) {
		return none, errWaited
	}
	defer s.failed(nil)
	what := "run in " + s.c.name
	err := <-s.over
	inUse := (<-s.fed).Stop(s.delay)
	select {
	case <-s.copied:
	case <-s.ctx.Done(): // a Writer may block
		select {
		case <-s.copied:
		case <-time.After(outputPatience):
		}
	}
	if failure := streamFailure(s.ctx, err); failure != nil {
		return none, named(what, joined(failure, inUse))
	}
	if err != nil {
		return none, named(what, joined(err, inUse))
	}
	end, err := s.End(context.Background())
	if err == nil && inUse != nil {
		err = fmt.Errorf("%s: %w", what, inUse)
	}
	return end, err
}

// Exec runs cmd as a session and returns its exit status. With last, c ends with it.
func (ps *programs) Exec(ctx context.Context, cmd Command, last bool) (int, error) {
	spec := SessionSpec{Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Agent: cmd.Agent, Last: last}
	s, err := ps.Begin(ctx, spec, Streams{Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
		WaitDelay: cmd.WaitDelay})
	if err != nil {
		return noStatus, err
	}
	end, err := s.Wait()
	return end.Shell(), err
}

// copyOutput passes on what s writes. The channel is closed when all of that has been written.
func (ps *programs) copyOutput(s *Session, st Streams, failed func(error)) <-chan struct{} {
	c := ps.c
	c.e.mu.Lock()
	stdout, stderr := c.outbox.stdout, c.outbox.stderr
	c.e.mu.Unlock()
	fail := failed
	failed = func(err error) {
		if !st.Pipes || !closedPipe(err) {
			fail(err)
		}
	}
	if st.Stdout != nil {
		stdout = c.e.writers.Sink(c.name, report.WriteStdout, st.Stdout, failed)
	}
	if st.Stderr != nil {
		stderr = c.e.writers.Sink(c.name, report.WriteStderr, st.Stderr, failed)
	}
	copied := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { s.copyTo(s.Tunnel, stdout, failed, st.Pipes) })
	if s.Stderr != nil {
		both.Go(func() { s.copyTo(s.Stderr, stderr, failed, st.Pipes) })
	}
	go func() {
		both.Wait()
		close(copied)
	}()
	return copied
}

// copyTo writes what t reads to w, until an error of one of them. The first is t's own affair. With
// pipes, EPIPE closes t for the program, and what is on the way is dropped.
func (s *Session) copyTo(t *Tunnel, w io.Writer, failed func(error), pipes bool) {
	for {
		b, err := t.next()
		if err != nil {
			return
		}
		_, err = w.Write(b)
		switch {
		case err == nil:
		case pipes && closedPipe(err):
			s.unread(t)
			w = io.Discard
		default:
			failed(err)
			return
		}
	}
}

// feed passes r on to s, once its context is up: until then it isn't known whether anything runs.
func (s *Session) feed(ctx context.Context, r io.Reader, failed func(error)) *stdio.Feeder {
	select {
	case <-s.c.hello.ready:
	case <-s.p.done:
		r = nil
	case <-ctx.Done():
		r = nil
	}
	send := func(_ context.Context, b []byte) error {
		if b == nil {
			return s.CloseWrite()
		}
		_, err := s.Write(b)
		return err
	}
	return stdio.Feed(ctx, r, send, func(err error) {
		failed(&report.StreamError{Context: s.c.name,
			Op: report.ReadStdin, Err: err})
	})
}

// await waits for the end of s. If ctx ends first, s gets SIGTERM, and after Options.Grace SIGKILL.
func (s *Session) await(ctx context.Context) error {
	select {
	case <-s.p.done:
		return s.failure()
	case <-ctx.Done():
	}
	select {
	case <-s.c.hello.ready:
		s.Signal("TERM")
		t := time.NewTimer(s.c.e.opt.Grace)
		defer t.Stop()
		select {
		case <-s.p.done:
		case <-t.C:
		}
	default:
	}
	err := error(nil)
	lost := (*report.LostError)(nil)
	if s.p.finished() && errors.As(s.p.failure(), &lost) {
		err = lost
	}
	s.Close()
	return cmp.Or(err, error(givenUp(ctx, "run in "+s.c.name)))
}
