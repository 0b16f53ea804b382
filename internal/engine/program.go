package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stdio"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// runModule is the beginning of the targets of runs.
const runModule = "_mitogen_run:"

// Program is a run: a function of module _mitogen_run and its arguments, without the last ones: the
// place of a script, whether there is a standard input, and whether what it leaves behind stays.
type Program struct {
	Function       string
	Module         string // that it runs
	Script         []byte // or the text of that
	Args           []any
	Keep           bool      // what it leaves behind
	Stdin          io.Reader // nil: /dev/null
	Stdout, Stderr io.Writer // nil: the context's
	WaitDelay      time.Duration
}

// noStatus is the exit status of what has none, because of an error.
const noStatus = -1

// programs runs code in a context: a Program as a call, which has the context's output while it
// runs, and programs beside the context as sessions, with streams of their own.
type programs struct {
	c       *Context
	running turn // of the Run that has the output
}

// Run runs p, which has the context's output meanwhile, and returns its exit status.
func (ps *programs) Run(ctx context.Context, p Program) (int, error) {
	what := "run in " + ps.c.name
	if err := ps.takeOutput(ctx); err != nil {
		return noStatus, named(what, err)
	}
	defer ps.running.leave()
	told, err := ps.begun(ctx, &p)
	if err != nil {
		return noStatus, named(what, err)
	}
	status, err := ps.run(ctx, p)
	err = named(what, err)
	told(max(status, 0), err)
	return status, err
}

// takeOutput waits until no other Run has the context's output.
func (ps *programs) takeOutput(ctx context.Context) error {
	c := ps.c
	if ctx.Err() != nil {
		return givenUp(ctx, "")
	}
	c.e.mu.Lock()
	closing, err := c.life.closing, c.err
	c.e.mu.Unlock()
	if err != nil {
		return err
	}
	return ps.running.take(ctx, c, closing)
}

// begun has an audit log told of p.
func (ps *programs) begun(ctx context.Context, p *Program) (end func(int, error), err error) {
	c := ps.c
	kind, name := p.audited()
	return c.e.audit.begin(ctx, c, kind, name)
}

// audited returns the kind and the name of p for an audit log.
func (p *Program) audited() (kind report.EventKind, name string) {
	switch argv := p.argv(); {
	case p.Module != "" && p.Function != "tree":
		kind, name = report.EventRun, p.Module
	case len(argv) > 0:
		kind, name = report.EventRun, argv[0]
	default:
		kind, name = report.EventRun, "script"
	}
	return kind, name
}

// argv returns the arguments of a script or a directory, nil if there are none.
func (p *Program) argv() []string {
	i := 0
	if p.Function == "script" {
		i = 2
	}
	if i >= len(p.Args) {
		return nil
	}
	argv, _ := p.Args[i].([]string)
	return argv
}

// run sends p and what it needs, and waits for its end.
func (ps *programs) run(ctx context.Context, p Program) (int, error) {
	c := ps.c
	needs := p.needs()
	if needs.key != "" && !c.Supply.known(needs.key) {
		if err := c.Supply.prepare(ctx, needs); err != nil {
			return noStatus, err
		}
	}
	ctx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	restore := ps.redirect(p.Stdout, p.Stderr, failed)
	defer restore()
	args := append([]any(nil), p.Args...)
	if p.Function == "script" && len(args) > 1 {
		args = append(args, c.e.library.finder.ScriptPlace(fmt.Sprint(args[1]), p.Script))
	}
	args = append(args, p.Stdin != nil)
	if p.Keep {
		args = append(args, true)
	}
	call := c.Calls.goAs(ctx, needs.Name, runModule+p.Function, args, nil, false)
	in := ps.feed(ctx, call, p.Stdin, failed)
	b, _, err := call.Result(ctx)
	defer call.Taken()
	inUse := in.Stop(cmp.Or(p.WaitDelay, c.e.opt.Grace))
	if failure := streamFailure(ctx, err); failure != nil {
		err = failure
	}
	if err != nil {
		return noStatus, joined(err, inUse)
	}
	status := 0
	if err := pickle.Unmarshal(b, limits, &status); err != nil {
		return noStatus, fmt.Errorf("run in %s: exit status: %w", c.name, err)
	}
	if inUse != nil {
		return status, fmt.Errorf("run in %s: %w", c.name, inUse)
	}
	return status, nil
}

// needs returns the code that p imports.
func (p *Program) needs() program {
	switch {
	case p.Module != "":
		name := "-m " + p.Module
		return program{Program: forward.Program{Name: name,
			Roots: []string{p.Module, p.Module + ".__main__"}, Main: p.Module}, key: name}
	case p.Script != nil:
		name := fmt.Sprintf("script %x", sha256.Sum256(p.Script))
		return program{Program: forward.Program{Name: name, Text: p.Script}, key: name}
	}
	return program{}
}

// redirect makes output go elsewhere until restore is called. failed takes the first error of a
// writer.
func (ps *programs) redirect(stdout, stderr io.Writer, failed func(error)) (restore func()) {
	c := ps.c
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	oldOut, oldErr := c.outbox.stdout, c.outbox.stderr
	if stdout == nil {
		stdout = oldOut
	}
	if stderr == nil {
		stderr = oldErr
	}
	c.outbox.stdout = c.e.writers.Sink(c.name, report.WriteStdout, stdout, failed)
	c.outbox.stderr = c.e.writers.Sink(c.name, report.WriteStderr, stderr, failed)
	return func() {
		c.e.mu.Lock()
		c.outbox.stdout, c.outbox.stderr = oldOut, oldErr
		c.e.mu.Unlock()
	}
}

// errUnread ends feeding a program that takes no more.
var errUnread = errors.New("the program reads no more")

// feed passes r on as the standard input of a run. failed takes an error of r, after which the run
// gets no end of input.
func (ps *programs) feed(ctx context.Context, call *Pending, r io.Reader,
	failed func(error)) *stdio.Feeder {
	c := ps.c
	c.e.mu.Lock()
	f := wire.Frame{Dst: c.id, Handle: wire.Stdin, Reply: call.handle}
	if !call.open {
		r = nil
	}
	c.e.router.Restart(c.id, wire.Stdin)
	c.e.mu.Unlock()
	send := func(ctx context.Context, b []byte) error {
		select {
		case <-call.done:
			return errUnread
		default:
		}
		if len(b) > 0 {
			if err := c.Calls.window(ctx, call, wire.Stdin, len(b)); err != nil {
				return err
			}
		}
		f.Payload = b
		c.Calls.put(&f)
		return nil
	}
	return stdio.Feed(ctx, r, send, func(err error) {
		failed(&report.StreamError{Context: c.name,
			Op: report.ReadStdin, Err: err})
	})
}

// put sends one frame now.
func (s *calls) put(f *wire.Frame) {
	c := s.c
	c.e.mu.Lock()
	c.e.traffic.putLocked(c, f)
	c.e.unlock()
}
