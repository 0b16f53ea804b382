package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/spawn"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// process carries a context next to the engine. It is a *spawn.Process, except in tests.
type process interface {
	Connected()
	Note(noise []byte)
	Text() string
	LoggedIn() bool // an ssh is; also while it runs
	Fail(what string)
	Done() <-chan struct{}
	Failure() methods.Failure
	Stopped() bool
	Kill()
	Close() error
}

// endPatience limits the time that the process of an ended stream has to say why.
const endPatience = 300 * time.Millisecond

// starter carries out a plan.
type starter func(ctx context.Context, plan methods.Plan, ssh connect.SSHOptions) (process,
	io.WriteCloser, io.ReadCloser, error)

// local is a process on this machine, with the answerer of its questions.
type local struct {
	*spawn.Process
	answers *answers
	asker   *asker
}

func (p *local) Failure() methods.Failure {
	return p.asker.amend(p.answers.amend(p.Process.Failure()))
}

// Connected lets go of what answers questions, and so of its secrets.
func (p *local) Connected() {
	p.Process.Connected()
	p.answers.forget()
}

func (p *local) Close() error {
	p.answers.release()
	return p.Process.Close()
}

// spawn is the starter for this machine.
func (s *starts) spawn(ctx context.Context, plan methods.Plan, ssh connect.SSHOptions) (process,
	io.WriteCloser, io.ReadCloser, error) {
	e := s.e
	ans, err := e.dialogues.answer(ctx, &plan, ssh)
	if err != nil {
		return nil, nil, nil, err
	}
	asker, name := e.dialogues.asker(ctx, plan), plan.Name // and no more of the plan is kept
	started, _ := ctx.Value(contextKey{}).(*Context)
	busy := func() bool {
		return ans.busy() || asker.busy() || started != nil && started.launch.golang.fallback.busy()
	}
	p, err := spawn.Start(ctx, plan,
		spawn.Options{Busy: busy, Ask: asker.function(), Line: s.news(ctx, name)})
	if err != nil {
		ans.release()
		return nil, nil, nil, err
	}
	ans.begin(p)
	return &local{p, ans, asker}, p.Stdin, p.Stdout, nil
}

// contextKey is the key of a context.Context for the Context that is started with it.
type contextKey struct{}

func withContext(ctx context.Context, c *Context) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// news takes the lines that a connection prints for the log, where hop says whose they are. What it
// prints while its context ends ("Killed", from a login shell) is of no use to anybody.
func (s *starts) news(ctx context.Context, hop string) func(line string) {
	c, _ := ctx.Value(contextKey{}).(*Context)
	return func(line string) {
		if !methods.OwnLine(line) && c.launch.wanted() {
			s.e.log.Warn(line, slog.String("hop", hop))
		}
	}
}

// wanted tells whether c is to stay. Other contexts of the same name may be.
func (l *launch) wanted() bool {
	c := l.c
	if c == nil {
		return false
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.err == nil && !c.life.ending
}

// answers holds the answerer of a process's questions. Without an answerer its methods do nothing.
type answers struct {
	answerer atomic.Pointer[askpass.Answerer] // nil: nothing is asked, or no more
	release  func()
}

// forget ends the answers.
func (a *answers) forget() {
	a.release()
	a.answerer.Store(nil)
}

// answer prepares for questions of a process that is to be started, as its plan says.
func (d *dialogues) answer(ctx context.Context, plan *methods.Plan,
	ssh connect.SSHOptions) (*answers, error) {
	if plan.Ask != methods.AskPass {
		return &answers{release: func() {}}, nil
	}
	located := methods.Plan{Argv: plan.Argv, Env: plan.Env, Origin: plan.Origin, Dir: plan.Dir}
	a := askpass.NewAnswerer(ssh, d.prompt(ctx),
		func(ctx context.Context) (askpass.Place, error) { return askpass.Locate(ctx, located) })
	from := secretsOf(ctx)
	a.From(from.source, from.target)
	a.Local()
	env, release, err := d.askpass.Register(plan.Name,
		d.e.audit.answers(cmp.Or(secretsOf(ctx).target, plan.Name), d.concealed(a.Answer)))
	if err != nil {
		f := methods.Failure{What: methods.WhatExec, Text: err.Error(), Err: err}
		failed := methods.Classify(plan.Method, f)
		failed.Hop = plan.Name
		return nil, failed
	}
	plan.Env = append(slices.Clip(plan.Env), env...)
	ans := &answers{release: release}
	ans.answerer.Store(a)
	return ans, nil
}

// begin tells of the process, which a question without an answer ends.
func (a *answers) begin(p *spawn.Process) {
	if answerer := a.answerer.Load(); answerer != nil {
		answerer.Begin(p.Pid(), p.Fail)
	}
}

func (a *answers) busy() bool {
	answerer := a.answerer.Load()
	return answerer != nil && answerer.Busy()
}

func (a *answers) amend(f methods.Failure) methods.Failure {
	if answerer := a.answerer.Load(); answerer != nil {
		return answerer.Amend(f)
	}
	return f
}

// launch brings a context up. For a context next to the engine it has the process too, whose
// streams run serves.
type launch struct {
	c *Context

	// Static, but secrets and prompt go when the context is up:
	hop     methods.Hop
	key     string // says which contexts can take its place
	place   string // see link
	secrets secret.Source
	prompt  connect.PromptFunc // answers questions about its start; nil: there is none
	golang  goState
	// carrier makes the connection of an ssh of this machine. Nil: it does that itself, or there is
	// none.
	carrier *Context
	master  *master  // nil: its ssh is none
	beside  *Context // nil, or the context whose master its ssh uses
	ahead   *ahead   // nil: nothing goes ahead

	callsAhead bool // calls may go ahead, too

	// Protected by Engine.mu:
	stopAsking context.CancelFunc // ends what is asked about its start; nil: not begun
	alone      bool               // its process is a client that can be ended alone
	killNow    bool
	proc       process // nil until started, and behind hops
}

// asking returns what starts are carried out with: it ends with the engine, and has who answers
// questions, and who has secrets.
func (l *launch) asking() context.Context {
	return withSecrets(withPrompt(l.c.e.work.base, l.prompt), l.secrets, l.c.name)
}

// run is the life of a context next to the engine: process, stream, end.
func (l *launch) run(start starter, plan methods.Plan, ssh connect.SSHOptions) {
	c, e := l.c, l.c.e
	defer e.work.jobs.Done()
	ctx, cancel := context.WithCancel(withContext(l.asking(), c))
	defer cancel()
	e.mu.Lock()
	if l.stopAsking = cancel; c.err != nil {
		cancel()
	}
	e.mu.Unlock()
	if l.master != nil {
		plan = l.lead(ctx, plan)
		defer l.forgetMaster()
	}
	if l.beside != nil {
		plan = l.beside.launch.follow(ctx, plan)
	}
	err := e.starts.refused.at(l.place)
	var proc process
	var stdin io.WriteCloser
	var stdout io.ReadCloser
	if err == nil {
		err = e.audit.connect(e.work.base, c, plan, ssh)
	}
	if err == nil {
		ahead := l.goAhead(ctx, plan)
		proc, stdin, stdout, err = start(ctx, ahead, ssh)
		for methods.OutOfDescriptors(err) && e.opt.MakeRoom != nil && e.opt.MakeRoom() {
			proc, stdin, stdout, err = start(ctx, ahead, ssh)
		}
	}
	if err != nil {
		err = startFailed(c, plan, err)
		e.tree.lose(c, err, false)
		c.stream.Close(err)
		return
	}
	e.mu.Lock()
	l.proc = proc
	l.alone = plan.Alone
	gone, wait := c.err != nil, plan.Wait || l.ahead != nil || l.golang.fallback != nil
	c.figures.count.phases.Spawn = time.Since(c.figures.began)
	e.mu.Unlock()
	c.stream.Attach(stdin, stdout)
	if !wait {
		c.stream.Release()
	}
	if l.golang.fallback != nil {
		l.golang.fallback.open(proc, stdin) // if that fails, the reader finds the end
	}
	if !gone {
		n := &noise{e: e, c: c, proc: proc, wait: wait}
		n.gate.Fallback = l.golang.fallback != nil
		err = c.stream.Read(stdout, n.take, l.stepper())
		proc.Note(n.gate.Rest())
		l.ended(proc, err)
	}
	c.stream.Close(nil)
	l.bury(proc)
}

// startFailed makes of what ended the start of c, named now, the error of a connect where a process
// or descriptor was lacking.
func startFailed(c *Context, plan methods.Plan, err error) error {
	failed := (*connect.Error)(nil)
	if !errors.As(err, &failed) {
		lacks := methods.Shortage(err)
		if lacks == nil {
			return err
		}
		failed = methods.Classify(plan.Method,
			methods.Failure{What: methods.WhatExec, Text: err.Error(), Err: lacks})
		err = failed
	}
	failed.Hop = c.name
	return err
}

// yieldAfter is the number of frames or records in a row after which one context lets the rest have
// their turn.
const yieldAfter = 32

// stepper returns what takes the frames from c's stream. A goroutine may use a processor for 10 ms,
// so a goroutine that always has work yields at times.
func (l *launch) stepper() func(*wire.Frame) {
	c := l.c
	n := 0
	return func(f *wire.Frame) {
		n++
		c.e.traffic.step(c, f, n%writeAfter != 0 && c.stream.Buffered())
		if n%yieldAfter == 0 {
			runtime.Gosched()
		}
	}
}

// ended finds out why a stream has ended and takes its context out of the tree.
func (l *launch) ended(proc process, err error) {
	c, e := l.c, l.c.e
	var corrupt *wire.CorruptError
	foreign := errors.As(err, &corrupt) || errors.Is(err, wire.ErrNoise)
	if foreign {
		proc.Fail(methods.WhatForeign)
	}
	select {
	case <-c.done: // it was us
		return
	case <-proc.Done():
	case <-time.After(endPatience):
		proc.Kill()
		<-proc.Done()
	}
	f := proc.Failure()
	e.mu.Lock()
	up, ending := c.hello.up, c.life.ending
	// on the stream of the frames, where only the session prints
	f.Started = c.figures.count.phases.EC0 > 0
	e.mu.Unlock()
	if ending {
		e.tree.lose(c, ErrClosed, false)
		return
	}
	if d, ok := proc.(*dialed); ok && d.err() != nil {
		e.tree.lose(c, d.err(), false)
		return
	}
	if !up {
		if foreign {
			f.Text += "\n" + err.Error()
		}
		if l.golang.fallback.started() {
			e.tree.lose(c, l.golang.fallback.failure(f), false)
		} else {
			e.tree.lose(c, failure(c, f), false)
		}
		return
	}
	why := fmt.Sprintf("ended (%s)", statusText(f.Status))
	switch proc.(type) {
	case *dialed, *tunnelProcess:
		why = "ended" // its status isn't known here; the text says if a signal has ended it
	}
	if foreign {
		why = err.Error()
	}
	text := printable.Text(methods.PlainWords(f.Text))
	e.tree.lose(c, &report.LostError{Reason: why, Text: text}, false)
}

// failure returns the error of c, which failed to start as f says.
func failure(c *Context, f methods.Failure) error {
	err := methods.Classify(c.launch.hop.Method, f)
	err.Hop = c.name
	return err
}

func statusText(status int) string {
	if status < 0 {
		return fmt.Sprintf("signal %d", -status)
	}
	return fmt.Sprintf("status %d", status)
}

// bury ends the process, if it hasn't yet.
func (l *launch) bury(proc process) {
	e := l.c.e
	e.mu.Lock()
	now := l.killNow
	e.mu.Unlock()
	if now {
		proc.Kill()
	}
	if err := proc.Close(); err != nil {
		e.log.Error("process stays", slog.String("context", l.c.name), slog.Any("error", err))
	}
}

// noise takes what isn't frames. Before HELLO it is kept for an error; EC0 in it says that an
// interpreter is there.
type noise struct {
	e    *Engine
	c    *Context
	proc process
	wait bool // send after EC0 or EC1
	gate boot.Gate

	there bool // the Go program is that took the interpreter's place
}

func (n *noise) take(b []byte) {
	n.e.mu.Lock()
	up := n.c.hello.up
	if up {
		n.c.conduct.noteLocked("foreign bytes skipped", slog.Int("bytes", len(b)),
			slog.String("text", fmt.Sprintf("%+q", b[:min(len(b), 200)])))
		n.e.traffic.offendLocked(n.c, oddity)
	}
	n.e.unlock()
	if up {
		return
	}
	was := n.gate.Open
	before, behind := n.gate.Feed(b)
	n.proc.Note(before)
	switch {
	case n.gate.Shell && !n.there:
		if !was {
			n.c.launch.golang.fallback.begin()
		}
		if behind, n.there = n.c.launch.golang.fallback.take(behind); n.there {
			n.begun(n.c.launch.golang.fallback.arrived())
		}
	case !was && n.gate.Open && n.c.launch.ahead != nil:
		n.begun(n.c.launch.ahead.arrived(n.gate.Ahead))
	case !was && n.gate.Open:
		n.begun(nil)
	}
	n.proc.Note(behind)
}

// begun is called when an interpreter is there, or the program in its place. first goes before all
// else.
func (n *noise) begun(first []byte) {
	n.e.mu.Lock()
	n.c.figures.count.phases.EC0 = time.Since(n.c.figures.began)
	n.e.mu.Unlock()
	if len(first) > 0 {
		n.c.stream.PutRaw(first)
	}
	if n.wait {
		n.c.stream.Release()
	}
}
