package mitogen

import (
	"context"
	"errors"
	"io"

	"github.com/mitogen-go/mitogen/internal/engine"
)

// Script is a Python program to run as __main__.
type Script struct {
	Name   string // its file name, for tracebacks and sys.argv[0]
	Source []byte // its text, as bytes of the file
	Module string // run this module instead, as python -m does; Source is not used

	Args   []string  // sys.argv[1:]
	Stdin  io.Reader // read until its end or the program's; nil: /dev/null
	Stdout io.Writer // what is written to fd 1 meanwhile; nil: goes where the context's goes
	Stderr io.Writer // the same for fd 2
}

// Command is a program to run.
type Command struct {
	Args   []string          // argv, looked up in PATH there; not read by a shell
	Env    map[string]string // added to the environment
	Dir    string            // working directory; "": the context's
	Stdin  io.Reader         // read until its end or the program's; nil: /dev/null
	Stdout io.Writer         // what is written to fd 1 meanwhile; nil: goes where the context's goes
	Stderr io.Writer         // the same for fd 2
}

// Run runs s in c and returns its exit status, as if it had been run there, or -1 with an error if
// there is none. A script that ends by an exception has its traceback on stderr and status 1, as
// always, or 130 for a KeyboardInterrupt of its own. All output has been written when Run returns;
// an error of a writer is Run's. One Run or Exec at a time has a context's output, others wait, for
// no longer than their ctx, and the context. The end of ctx is as for Call.
func (c *Context) Run(ctx context.Context, s Script) (int, error) {
	p := engine.Program{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr}
	if s.Module != "" {
		p.Function, p.Module = "module", s.Module
		p.Args = []any{s.Module, words(s.Args)}
	} else {
		p.Function, p.Script = "script", s.Source
		p.Args = []any{s.Source, s.Name, append([]string{s.Name}, s.Args...)}
	}
	return c.c.Run(ctx, p)
}

// Exec runs a program in c and returns its exit status, 128 + n if signal n ended it, or -1 with an
// error if there is none.
func (c *Context) Exec(ctx context.Context, cmd Command) (int, error) {
	if len(cmd.Args) == 0 {
		return -1, errors.New("exec: no command")
	}
	var env, dir any
	if cmd.Env != nil {
		env = cmd.Env
	}
	if cmd.Dir != "" {
		dir = cmd.Dir
	}
	return c.c.Run(ctx, engine.Program{Function: "command", Args: []any{cmd.Args, env, dir}, Stdin: cmd.Stdin,
		Stdout: cmd.Stdout, Stderr: cmd.Stderr})
}

// words is never nil, which Python would see as None.
func words(s []string) []string { return append([]string{}, s...) }

// Exec runs a program at target and returns its exit status, as Context.Exec does: Connect,
// Context.Exec and Close, so that the program ends with the engine, however that ends. Where a
// target of one hop has no Python, the program is started directly instead, as "ssh host command"
// does; what it does when the engine dies is its own affair then.
func (e *Engine) Exec(ctx context.Context, target string, o ConnectOptions, cmd Command) (int, error) {
	if len(cmd.Args) == 0 {
		return -1, errors.New("exec: no command")
	}
	opt, err := o.engine()
	if err != nil {
		return -1, err
	}
	c, err := e.Connect(ctx, target, o)
	if errors.Is(err, ErrNoPython) {
		if status, direct, e := e.e.Exec(ctx, target, opt, engine.Command(cmd)); direct {
			return status, e
		}
	}
	if err != nil {
		return -1, err
	}
	defer c.Close()
	return c.Exec(ctx, cmd)
}
