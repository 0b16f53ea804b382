package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// runModule is the beginning of the targets of runs.
const runModule = "_mitogen_run:"

// Program is a run: a function of module _mitogen_run and its arguments, without the last, which says whether there is
// a standard input.
type Program struct {
	Function       string
	Module         string // that it runs
	Script         []byte // or the text of that
	Args           []any
	Stdin          io.Reader // nil: /dev/null
	Stdout, Stderr io.Writer // nil: the context's
}

// noStatus is the exit status of what has none, because of an error.
const noStatus = -1

// Run runs p, which has the context's output meanwhile, and returns its exit status.
func (c *Context) Run(ctx context.Context, p Program) (int, error) {
	what := "run in " + c.name
	if err := c.takeOutput(ctx); err != nil {
		return noStatus, named(what, err)
	}
	defer c.running.leave()
	told, err := c.begun(ctx, &p)
	if err != nil {
		return noStatus, named(what, err)
	}
	status, err := c.run(ctx, p)
	err = named(what, err)
	told(max(status, 0), err)
	return status, err
}

// takeOutput waits until no other Run has the context's output.
func (c *Context) takeOutput(ctx context.Context) error {
	if ctx.Err() != nil {
		return givenUp(ctx, "")
	}
	c.e.mu.Lock()
	closing, err := c.closing, c.err
	c.e.mu.Unlock()
	if err != nil {
		return err
	}
	return c.running.take(ctx, c, closing)
}

// begun has an audit log told of p.
func (c *Context) begun(ctx context.Context, p *Program) (end func(int, error), err error) {
	kind, name := p.audited()
	return c.auditBegin(ctx, kind, name)
}

// audited is what an audit log is told of p: what it is, and its name.
func (p *Program) audited() (kind EventKind, name string) {
	switch {
	case p.Module != "":
		return EventRun, p.Module
	case p.Function != "command":
		kind, name = EventRun, "script"
		if len(p.Args) > 1 {
			name = fmt.Sprint(p.Args[1])
		}
		return kind, name
	}
	if argv, ok := p.Args[0].([]string); ok && len(argv) > 0 {
		name = argv[0]
	}
	return EventExec, name
}

// run sends p and what it needs, and waits for its end.
func (c *Context) run(ctx context.Context, p Program) (int, error) {
	needs := p.needs()
	if needs.key != "" && !c.known(needs.key) {
		if err := c.prepare(ctx, needs); err != nil {
			return noStatus, err
		}
	}
	if needs.key == "" {
		if err := c.pushGuard(ctx); err != nil {
			return noStatus, err
		}
	}
	restore, outErr := c.redirect(p.Stdout, p.Stderr)
	defer restore()
	args := append(append([]any(nil), p.Args...), p.Stdin != nil)
	call := c.goAs(ctx, needs.Name, runModule+p.Function, args, nil, false)
	if p.Stdin != nil {
		fed, stop := context.WithCancel(ctx)
		defer stop()
		go c.feed(fed, call, p.Stdin)
	}
	b, _, err := call.Result(ctx)
	if err != nil {
		return noStatus, err
	}
	status := 0
	if err := pickle.Unmarshal(b, limits, &status); err != nil {
		return noStatus, fmt.Errorf("run in %s: exit status: %w", c.name, err)
	}
	return status, outErr()
}

// needs is what p imports, nothing if it is a command.
func (p *Program) needs() program {
	switch {
	case p.Module != "":
		name := "-m " + p.Module
		return program{Program: forward.Program{Name: name, Roots: []string{p.Module, p.Module + ".__main__"}, Main: p.Module}, key: name}
	case p.Script != nil:
		name := fmt.Sprintf("script %x", sha256.Sum256(p.Script))
		return program{Program: forward.Program{Name: name, Text: p.Script}, key: name}
	}
	return program{}
}

// redirect makes output go elsewhere until restore is called. writeErr says whether it could be written.
func (c *Context) redirect(stdout, stderr io.Writer) (restore func(), writeErr func() error) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	oldOut, oldErr := c.stdout, c.stderr
	out, errs := &failingWriter{w: stdout}, &failingWriter{w: stderr}
	if stdout == nil {
		out.w = oldOut
	}
	if stderr == nil {
		errs.w = oldErr
	}
	c.stdout, c.stderr = out, errs
	restore = func() {
		c.e.mu.Lock()
		c.stdout, c.stderr = oldOut, oldErr
		c.e.mu.Unlock()
	}
	return restore, func() error { return errors.Join(out.err, errs.err) }
}

// feed sends r as the standard input of a run, until its end, an error, or that of the run. It may outlive the run in
// r.Read.
func (c *Context) feed(ctx context.Context, call *Pending, r io.Reader) {
	c.e.mu.Lock()
	f := wire.Frame{Dst: c.id, Handle: wire.Stdin, Reply: call.handle}
	ok := call.open
	c.e.router.Restart(c.id, wire.Stdin)
	c.e.mu.Unlock()
	if !ok {
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		select {
		case <-call.done:
			return
		default:
		}
		if n > 0 {
			if c.window(ctx, wire.Stdin, n) != nil {
				return
			}
			f.Payload = buf[:n]
			c.put(&f)
		}
		if err != nil {
			f.Payload = nil
			c.put(&f)
			return
		}
	}
}

// put sends one frame now.
func (c *Context) put(f *wire.Frame) {
	c.e.mu.Lock()
	c.e.putLocked(c, f)
	c.e.unlock()
}
