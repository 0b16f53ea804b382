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
func (e *Engine) spawn(ctx context.Context, plan methods.Plan, ssh connect.SSHOptions) (process,
	io.WriteCloser, io.ReadCloser, error) {
	ans, err := e.answer(ctx, &plan, ssh)
	if err != nil {
		return nil, nil, nil, err
	}
	asker, name := e.asker(ctx, plan), plan.Name // and no more of the plan is kept
	started, _ := ctx.Value(contextKey{}).(*Context)
	busy := func() bool {
		return ans.busy() || asker.busy() || started != nil && started.golang.fallback.busy()
	}
	p, err := spawn.Start(ctx, plan,
		spawn.Options{Busy: busy, Ask: asker.function(), Line: e.news(ctx, name)})
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
func (e *Engine) news(ctx context.Context, hop string) func(line string) {
	c, _ := ctx.Value(contextKey{}).(*Context)
	return func(line string) {
		if !methods.OwnLine(line) && c.wanted() {
			e.log.Warn(line, slog.String("hop", hop))
		}
	}
}

// wanted tells whether c is to stay. Other contexts of the same name may be.
func (c *Context) wanted() bool {
	if c == nil {
		return false
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.err == nil && !c.ending
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
func (e *Engine) answer(ctx context.Context, plan *methods.Plan, ssh connect.SSHOptions) (*answers,
	error) {
	if plan.Ask != methods.AskPass {
		return &answers{release: func() {}}, nil
	}
	located := methods.Plan{Argv: plan.Argv, Env: plan.Env, Origin: plan.Origin, Dir: plan.Dir}
	a := askpass.NewAnswerer(ssh, e.prompt(ctx),
		func(ctx context.Context) (askpass.Place, error) { return askpass.Locate(ctx, located) })
	from := secretsOf(ctx)
	a.From(from.source, from.target)
	a.Local()
	env, release, err := e.askpass.Register(plan.Name,
		e.auditAnswers(cmp.Or(secretsOf(ctx).target, plan.Name), e.concealed(a.Answer)))
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

// run is the life of a context next to the engine: process, stream, end.
func (e *Engine) run(c *Context, start starter, plan methods.Plan, ssh connect.SSHOptions) {
	defer e.jobs.Done()
	ctx, cancel := context.WithCancel(withContext(withSecrets(withPrompt(e.base, c.prompt), c.secrets,
		c.name), c))
	defer cancel()
	e.mu.Lock()
	if c.stopAsking = cancel; c.err != nil {
		cancel()
	}
	e.mu.Unlock()
	if c.master != nil {
		plan = e.lead(ctx, c, plan)
		defer c.forgetMaster()
	}
	if c.beside != nil {
		plan = c.beside.follow(ctx, plan)
	}
	err := e.refused.at(c.place)
	var proc process
	var stdin io.WriteCloser
	var stdout io.ReadCloser
	if err == nil {
		err = e.auditConnect(e.base, c, plan, ssh)
	}
	if err == nil {
		ahead := c.goAhead(ctx, plan)
		proc, stdin, stdout, err = start(ctx, ahead, ssh)
		for methods.OutOfDescriptors(err) && e.opt.MakeRoom != nil && e.opt.MakeRoom() {
			proc, stdin, stdout, err = start(ctx, ahead, ssh)
		}
	}
	if err != nil {
		err = startFailed(c, plan, err)
		e.lose(c, err, false)
		c.stream.Close(err)
		return
	}
	e.mu.Lock()
	c.proc = proc
	c.alone = plan.Alone
	gone, wait := c.err != nil, plan.Wait || c.ahead != nil || c.golang.fallback != nil
	c.count.phases.Spawn = time.Since(c.began)
	e.mu.Unlock()
	if plan.Near {
		c.stream.Near()
	}
	c.stream.Attach(stdin, stdout)
	if !wait {
		c.stream.Release()
	}
	if c.golang.fallback != nil {
		c.golang.fallback.open(proc, stdin) // if that fails, the reader finds the end
	}
	if !gone {
		n := &noise{e: e, c: c, proc: proc, wait: wait}
		n.gate.Fallback = c.golang.fallback != nil
		err = c.stream.Read(stdout, n.take, e.stepper(c))
		proc.Note(n.gate.Rest())
		e.ended(c, proc, err)
	}
	c.stream.Close(nil)
	e.bury(c, proc)
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
func (e *Engine) stepper(c *Context) func(*wire.Frame) {
	n := 0
	return func(f *wire.Frame) {
		n++
		e.step(c, f, n%writeAfter != 0 && c.stream.Buffered())
		if n%yieldAfter == 0 {
			runtime.Gosched()
		}
	}
}

// ended finds out why a stream has ended and takes its context out of the tree.
func (e *Engine) ended(c *Context, proc process, err error) {
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
	up, ending := c.up, c.ending
	f.Started = c.count.phases.EC0 > 0 // on the stream of the frames, where only the session prints
	e.mu.Unlock()
	if ending {
		e.lose(c, ErrClosed, false)
		return
	}
	if d, ok := proc.(*dialed); ok && d.err() != nil {
		e.lose(c, d.err(), false)
		return
	}
	if !up {
		if foreign {
			f.Text += "\n" + err.Error()
		}
		if c.golang.fallback.started() {
			e.lose(c, c.golang.fallback.failure(f), false)
		} else {
			e.lose(c, failure(c, f), false)
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
	e.lose(c, &report.LostError{Reason: why, Text: printable.Text(methods.PlainWords(f.Text))}, false)
}

// failure returns the error of c, which failed to start as f says.
func failure(c *Context, f methods.Failure) error {
	err := methods.Classify(c.hop.Method, f)
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
func (e *Engine) bury(c *Context, proc process) {
	e.mu.Lock()
	now := c.killNow
	e.mu.Unlock()
	if now {
		proc.Kill()
	}
	if err := proc.Close(); err != nil {
		e.log.Error("process stays", slog.String("context", c.name), slog.Any("error", err))
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
	up := n.c.up
	if up {
		n.c.noteLocked("foreign bytes skipped", slog.Int("bytes", len(b)),
			slog.String("text", fmt.Sprintf("%+q", b[:min(len(b), 200)])))
		n.e.offendLocked(n.c, oddity)
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
			n.c.golang.fallback.begin()
		}
		if behind, n.there = n.c.golang.fallback.take(behind); n.there {
			n.begun(n.c.golang.fallback.arrived())
		}
	case !was && n.gate.Open && n.c.ahead != nil:
		n.begun(n.c.ahead.arrived(n.gate.Ahead))
	case !was && n.gate.Open:
		n.begun(nil)
	}
	n.proc.Note(behind)
}

// begun is called when an interpreter is there, or the program in its place. first goes before all
// else.
func (n *noise) begun(first []byte) {
	n.e.mu.Lock()
	n.c.count.phases.EC0 = time.Since(n.c.began)
	n.e.mu.Unlock()
	if len(first) > 0 {
		n.c.stream.PutRaw(first)
	}
	if n.wait {
		n.c.stream.Release()
	}
}
