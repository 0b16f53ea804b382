// Package spawn carries out plans on this machine. It is the one place of the engine that touches
// processes, terminals and signals.
//
// A Process has, besides its stdin and stdout, whose bytes are the caller's, up to two further ways
// to talk: stderr, and a terminal of its own. Until Connected is called, what comes on the terminal
// is a dialogue that the plan's prompts answer, and the plan's timeout and the context of Start can
// end it. Afterwards lines from both are passed on.
//
// Each Process has a goroutine that reaps it and one for stderr and terminal each; all have ended
// when Done is closed. One OS thread per program starts all processes (package process).
package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/process"
)

// Options hold values that a plan, being data, can't hold. The zero value is right for a context.
type Options struct {
	// Stdin and Stdout become the child's as they are, and stay the caller's to close: for a command
	// that isn't ours. Process.Stdin and Process.Stdout are nil then. Default: pipes.
	Stdin, Stdout *os.File

	// Stderr is written what comes on the child's stderr, unchanged, by one goroutine. While it blocks
	// the process can't be done.
	Stderr io.Writer

	// Line is called with each line of stderr and terminal after Connected: without its end, at most 4
	// KiB, and safe for a terminal. Two goroutines may call it at once.
	Line func(string)

	// Busy says that a person is being asked something. The timeout starts again then.
	Busy func() bool

	// Ask answers a prompt of the terminal that the plan has no answer to; nil: that fails the
	// connect. It is called once the program is known to wait for the answer, and may block.
	Ask func() (string, error)

	// asking says, in a test whose programs are not setuid, how far they have got.
	asking func() asking

	// account is, in a test that starts programs as another account, that one; nil: ours.
	account *identity

	// Background lets processes of the child's group live on when the child has ended by itself.
	Background bool
}

// A Process is a plan being carried out. Its methods may be called by any goroutine.
type Process struct {
	Stdin  *os.File // write end; non-blocking, deadlines work; closed by Close
	Stdout *os.File // read end, likewise

	plan    methods.Plan  // static
	opt     Options       // static
	proc    *os.Process   // static
	pid     int           // static; also the process group's id
	stderr  *os.File      // static
	tty     *terminal     // static; nil: none
	secrets *methods.Mask // static; of the plan's answers
	talk    *conversation // static; nil: none
	done    chan struct{} // closed by reap

	readers sync.WaitGroup

	mu        sync.Mutex // protects following
	tail      tail
	login     methods.LoginWatch // of what came on stderr before Connected
	printed   bool               // something came on stdout before EC0
	timer     *time.Timer        // of the connect
	unwatch   func() bool        // stops the watch over the context of Start
	connected bool
	ended     bool // reaped, or about to be: no signals any more
	status    int
	failure   *methods.Failure // the first one
}

// Start starts the plan's command. ctx bounds the connect: until Connected is called, its end kills
// the process. The error is a *connect.Error. The caller that got a Process must call Close.
func Start(ctx context.Context, plan methods.Plan, opt Options) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, classify(plan, cancelled(err), err)
	}
	if plan.Line != nil { // its command is another machine's
		return nil, classify(plan, methods.WhatExec, errLine)
	}
	c, err := openChannels(plan, opt)
	if err != nil {
		return nil, classify(plan, methods.WhatExec, err)
	}
	env := plan.Environ(os.Environ())
	if opt.Stdin == nil && !opt.Background { // else it is a command of the user's
		given := relativePath(env)
		env = absolute(env)
		if given != "" && plan.Method == "local" {
			env = append(env, given)
		}
	}
	proc, err := start(plan, env, c)
	c.closeChild()
	if err != nil {
		c.closeOurs()
		return nil, classify(plan, methods.WhatExec, err)
	}
	p := &Process{
		Stdin: c.stdin, Stdout: c.stdout,
		plan: plan, opt: opt, proc: proc, pid: proc.Pid, stderr: c.stderr, tty: c.tty,
		secrets: plan.Mask(), done: make(chan struct{}),
	}
	p.begin(ctx)
	return p, nil
}

// errLine says that a plan is none for a process here.
var errLine = errors.New("a command for a console isn't started here")

func start(plan methods.Plan, env []string, c *channels) (*os.Process, error) {
	path, err := LookPath(plan)
	if err != nil {
		return nil, err
	}
	attr := &os.ProcAttr{Dir: plan.Dir, Env: env, Files: c.child,
		Sys: &syscall.SysProcAttr{Setsid: true}}
	if c.tty != nil {
		attr.Sys.Setctty, attr.Sys.Ctty = true, len(c.child)-1
	}
	if plan.Alone {
		process.DieWithUs(attr.Sys)
	}
	return process.Fork(path, plan.Argv, attr)
}

func (p *Process) begin(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plan.Timeout > 0 {
		p.timer = time.AfterFunc(p.plan.Timeout, p.expired)
	}
	p.unwatch = context.AfterFunc(ctx, func() { p.Fail(cancelled(ctx.Err())) })
	p.readers.Add(1)
	said := &listener{p: p, copy: p.opt.Stderr, logs: p.plan.Method == "ssh"}
	if p.tty != nil {
		p.talk = newConversation(p)
		p.plan.Prompts = nil // it has them
		shown := &listener{p: p, talk: p.talk}
		if p.plan.Wait {
			said.talk = shown.talk // PAM's questions to a standard input that is a terminal come on stderr
		}
		p.readers.Add(1)
		go p.listen(p.tty.master, shown)
	}
	go p.listen(p.stderr, said)
	go p.reap()
}

// cancelled tells our giving up from a deadline's end.
func cancelled(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return methods.WhatTimeout
	}
	return methods.WhatCancelled
}

// classify returns the error of a start that failed because of err.
func classify(plan methods.Plan, what string, err error) error {
	f := methods.Failure{What: what, Text: err.Error(), Err: err}
	e := methods.Classify(plan.Method, f)
	e.Hop = plan.Name
	return e
}

// LookPath finds a plan's program, in the plan's PATH if it has one. It ignores relative elements.
func LookPath(plan methods.Plan) (string, error) {
	name, path := plan.Argv[0], os.Getenv("PATH")
	for _, env := range [][]string{plan.Origin, plan.Env} {
		for _, e := range env {
			if value, ok := strings.CutPrefix(e, "PATH="); ok {
				path = value
			}
		}
	}
	if strings.Contains(name, "/") && !filepath.IsAbs(name) && plan.Dir != "" {
		name = filepath.Join(plan.Dir, name)
	}
	if path == "" || strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		var st syscall.Stat_t
		if syscall.Stat(file, &st) != nil { // which most directories end with, without an error's text
			continue
		}
		if found, err := exec.LookPath(file); err == nil {
			return found, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

func (p *Process) expired() {
	if p.opt.Busy == nil || !p.opt.Busy() {
		p.Fail(methods.WhatTimeout)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.connected && !p.ended {
		p.timer.Reset(p.plan.Timeout)
	}
}

// Connected says that the context has answered: neither timeout nor the context of Start nor
// prompts matter any more.
func (p *Process) Connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = true
	p.stopWatchLocked()
	if p.talk != nil {
		p.talk.forget()
	}
}

func (p *Process) stopWatchLocked() {
	p.unwatch()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// Note adds to the text of a failure what came on stdout before EC0.
func (p *Process) Note(noise []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail.add(noise)
	p.printed = p.printed || len(noise) > 0
}

// LoggedIn tells whether an ssh is logged in: it has said so, however much came after that, or it
// has printed on stdout, which is the session's.
func (p *Process) LoggedIn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loggedInLocked()
}

func (p *Process) loggedInLocked() bool {
	return p.plan.Method == "ssh" && (p.login.LoggedIn || p.printed)
}

// Text is the end of what came on stderr and terminal, at most 4 KiB: hostile, but without the
// plan's answers.
func (p *Process) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.secrets.Hide(string(p.tail))
}

// Fail records why the connect failed (one of the What constants of package connect) and kills the
// process. After Connected, or a failure, it does nothing.
func (p *Process) Fail(what string) {
	p.mu.Lock()
	first := !p.connected && !p.ended && p.failure == nil
	if first {
		p.failure = &methods.Failure{What: what}
	}
	p.mu.Unlock()
	if first {
		p.Kill()
	}
}

// Pid is the child's process id.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process is reaped, and all that it said is in Text.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for Done and returns Status.
func (p *Process) Wait() int {
	<-p.done
	return p.Status()
}

// Status is the exit code, or minus the signal. It is 0 before Done.
func (p *Process) Status() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Failure says, after Done, why there is no process any more.
func (p *Process) Failure() methods.Failure {
	text := p.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	f := methods.Failure{What: methods.WhatExit, Status: p.status}
	if p.failure != nil {
		f = *p.failure
	}
	f.Text, f.LoggedIn = text, p.loggedInLocked()
	return f
}

// Err is Failure as an error one can act on.
func (p *Process) Err() error {
	e := methods.Classify(p.plan.Method, p.Failure())
	e.Hop = p.plan.Name
	return e
}

// Stopped tells whether the process is suspended (SIGSTOP, a debugger), and so can't be expected to
// answer.
func (p *Process) Stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended && stopped(p.pid)
}

var errStays = errors.New("process doesn't end, and may not be killed")

func (p *Process) staysError() error {
	return fmt.Errorf("close %s (pid %d): %w", p.plan.Name, p.pid, errStays)
}
