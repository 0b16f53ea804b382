package mitogen

import (
	"context"
	"io"
)

// Script is a Python program to run as __main__.
type Script struct {
	Name   string // its file name, for tracebacks and sys.argv[0]
	Source []byte // its text, as bytes of the file
	Module string // run this module instead, as python -m does; Source is not used

	Args   []string  // sys.argv[1:]
	Stdin  io.Reader // needs ConnectOptions.Stdin; nil: end of file at once
	Stdout io.Writer // what is written to fd 1 meanwhile; nil: goes where the context's goes
	Stderr io.Writer // the same for fd 2
}

// Command is a program to run.
type Command struct {
	Args   []string          // argv, looked up in PATH there; not read by a shell
	Env    map[string]string // added to the environment
	Dir    string            // working directory; "": the context's
	Stdin  io.Reader         // needs ConnectOptions.Stdin; nil: end of file at once
	Stdout io.Writer         // what is written to fd 1 meanwhile; nil: goes where the context's goes
	Stderr io.Writer         // the same for fd 2
}

// Run runs s in c and returns its exit status, as if it had been run there. A script that ends by an exception has its traceback on
// stderr and status 1, as always. All output has been written when Run returns. One Run or Exec at a time has a context's output.
func (c *Context) Run(ctx context.Context, s Script) (int, error) { return 0, errThin }

// Exec runs a program in c and returns its exit status, 128 + n if signal n ended it.
func (c *Context) Exec(ctx context.Context, cmd Command) (int, error) { return 0, errThin }

// Exec runs a program at target, where the last hop needs no Python: a first hop is used directly (ssh host command), others by
// the context before the last. It returns the program's exit status.
func (e *Engine) Exec(ctx context.Context, target string, o ConnectOptions, cmd Command) (int, error) {
	return 0, errThin
}
