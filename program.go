package mitogen

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/mitogen-go/mitogen/internal/engine"
)

// Script is a Python program to run as __main__. Its Stdin, Stdout, Stderr and WaitDelay are as Command's.
type Script struct {
	Name   string // its file name, for tracebacks and sys.argv[0]
	Source []byte // its text, as bytes of the file
	Module string // run this module instead, as python -m does; Source is not used

	Args           []string // sys.argv[1:]
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	WaitDelay      time.Duration
}

// Command is a program to run.
type Command struct {
	Args []string          // argv, looked up in PATH there; not read by a shell
	Env  map[string]string // added to the environment
	Dir  string            // working directory; "": the context's

	// Stdin is read by a goroutine of its own until its end or the program's. Nil: /dev/null.
	//
	// An error other than io.EOF is not the end of the input. The program is cancelled, its input stays open until it has
	// ended, and the error comes back in a *StreamError.
	//
	// What was read belongs to the program, up to 1 MiB ahead of it. What the program doesn't read is dropped, and neither
	// given back nor passed to the next program. When the program has ended, a Read in progress is interrupted if Stdin is
	// an *os.File or its SetReadDeadline works, which is then reset to none. Other Reads are waited for, at most for
	// WaitDelay.
	Stdin io.Reader

	// Stdout gets what is written to fd 1 meanwhile, and Stderr to fd 2. Nil: it goes where the context's goes. They are
	// called from the context's goroutine for output, and one Writer by one goroutine at a time (see
	// ConnectOptions.Stdout). An error, or a short write, cancels the program and comes back in a *StreamError.
	Stdout, Stderr io.Writer

	// WaitDelay is the longest wait, once the program has ended, for a Read of Stdin that is still in progress. After it the
	// error matches ErrStdinInUse, and Stdin is in use until that Read returns. 0: Options.Grace.
	WaitDelay time.Duration
}

// Run runs s in c and returns its exit status, as if it had been run there. A script that ends by an exception has its
// traceback on stderr and status 1, as always. All output has been written when Run returns. One Run or Exec at a time has a
// context's output, others wait.
//
// An error of Stdin, Stdout or Stderr cancels the script, as the end of a Call's ctx does, and comes back in a *StreamError. It
// matches ErrKilled too if the script did not end and its context was killed.
func (c *Context) Run(ctx context.Context, s Script) (int, error) {
	p := engine.Program{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, WaitDelay: s.WaitDelay}
	if s.Module != "" {
		p.Function, p.Module = "module", s.Module
		p.Args = []any{s.Module, words(s.Args)}
	} else {
		p.Function, p.Script = "script", s.Source
		p.Args = []any{s.Source, s.Name, append([]string{s.Name}, s.Args...)}
	}
	return c.c.Run(ctx, p)
}

// Exec runs a program in c and returns its exit status, 128 + n if signal n ended it. A program that is cancelled gets
// SIGTERM. Errors are as Run's.
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
		Stdout: cmd.Stdout, Stderr: cmd.Stderr, WaitDelay: cmd.WaitDelay})
}

// words is never nil, which Python would see as None.
func words(s []string) []string { return append([]string{}, s...) }

// Exec runs a program at target and returns its exit status: Connect, Context.Exec and Close, so that the program ends with
// the engine, however that ends. Where a target of one hop has no Python, the program is started directly instead, as
// "ssh host command" does; what it does when the engine dies is its own affair then. An error of Stdin then ends ssh or sudo,
// behind which the program may see the end of its input.
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
