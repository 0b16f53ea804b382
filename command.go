package mitogen

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mitogen-go/mitogen/internal/engine"
)

// Pty describes the terminal of a Cmd.
type Pty struct {
	Term string // its type, as in TERM
	WindowSize
}

// WindowSize is the size of a terminal in characters and in pixels (0: unknown).
type WindowSize struct{ Rows, Cols, Width, Height uint16 }

// engine returns p as the engine has it.
func (p *Pty) engine() *engine.Pty {
	if p == nil {
		return nil
	}
	return &engine.Pty{Term: p.Term, WindowSize: engine.WindowSize(p.WindowSize)}
}

// Cmd is a program in a context, with streams, a terminal and an end of its own. It is shaped like
// exec.Cmd: fields are set before Start, Wait is called once after it, and a Cmd is used once.
// Programs run beside each other and beside calls; at most 1,024 in one context at a time. They end
// with their context.
type Cmd struct {
	Args []string          // argv, looked up in PATH there and not read by a shell
	Env  map[string]string // added to the environment
	Dir  string            // working directory; "": the context's, or the account's home

	// Shell is a command line for the account's login shell, if there are no Args. If both are
	// empty, that shell runs, as after a login.
	Shell string

	// Login gives the program the environment and directory of a login. It is implied without Args.
	Login bool

	// Pty is a terminal for the program; nil: it has pipes. Its output then all goes to Stdout.
	Pty *Pty

	// Agent is the path of the socket of an ssh-agent here, as SSH_AUTH_SOCK has it; "": none. The
	// program has SSH_AUTH_SOCK lead to that agent, by a socket that only its account, and root, can
	// connect to, until it ends. What connects there can list the keys and have them sign, and
	// nothing else: the agent isn't asked for anything more. Keys that are bound to hosts (ssh-add
	// -h) can't be used. See docs/security.md.
	Agent string

	// WaitOutput has Wait wait, as ssh does, for everything that the program left behind with its
	// output open. False: what is left is closed 2 s after the program's end. A terminal is hung up
	// when the program has ended, whatever this is.
	WaitOutput bool

	// Stdin, Stdout and Stderr are as those of Command, but that a Stdout or Stderr whose error is
	// EPIPE or io.ErrClosedPipe closes that stream of the program, as a pipe does that nothing reads:
	// it gets SIGPIPE when it writes more, or SIGHUP if it has a terminal. That is no error of Wait.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	c       *Context
	started *engine.Started // nil before Start
}

var errNotStarted = errors.New("program: not started")

// ErrOutputHeld says that a program has ended with status 0, and that something that it left behind
// still had its output open, which was closed: see Cmd.WaitOutput.
var ErrOutputHeld = errors.New("program: its output was still open 2 s after its end, and was " +
	"closed")

// ExitError is the error of a program that has ended otherwise than with status 0.
type ExitError struct {
	Status int  // exit status; -1: a signal has ended it
	Signal int  // that signal's number on its machine; 0: none
	Held   bool // something that it left behind had its output open, which was closed after 2 s
}

func (e *ExitError) Error() string {
	if e.Signal > 0 {
		return fmt.Sprintf("program: got signal %d, want exit status 0", e.Signal)
	}
	return fmt.Sprintf("program: got exit status %d, want 0", e.Status)
}

// Command returns a Cmd that runs a program in c.
func (c *Context) Command(name string, arg ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, arg...), c: c}
}

// ShellCommand returns a Cmd that has the account's login shell run a command line in c; "": the
// shell runs as after a login.
func (c *Context) ShellCommand(line string) *Cmd { return &Cmd{Shell: line, c: c} }

// Start starts the program. It waits neither for the context to be up nor for the program. When ctx
// ends, so does the program: its process group gets SIGTERM, and SIGKILL after Options.Grace.
func (cmd *Cmd) Start(ctx context.Context) error {
	switch {
	case cmd.c == nil:
		return errors.New("program: no context; a Cmd comes from Context.Command")
	case cmd.started != nil:
		return errors.New("program: already started")
	}
	spec := engine.SessionSpec{Args: cmd.Args, Command: cmd.Shell, Login: cmd.Login, Env: cmd.Env,
		Dir: cmd.Dir, Pty: cmd.Pty.engine(), WaitOutput: cmd.WaitOutput, Agent: cmd.Agent}
	streams := engine.Streams{Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr, Pipes: true}
	s, err := cmd.c.c.Programs.Begin(ctx, spec, streams)
	cmd.started = s
	return err
}

// Wait waits for the end of the program, and until its output has been written. The error is nil if
// its status is 0, else an *ExitError, or says why the program wasn't started or its end isn't
// known: errors are those of Context.Run. With status 0 it is ErrOutputHeld if output may be
// missing. A second Wait is an error.
func (cmd *Cmd) Wait() error {
	if cmd.started == nil {
		return errNotStarted
	}
	end, err := cmd.started.Wait()
	switch {
	case err != nil:
		return err
	case end.Status != 0 || end.Signal != 0:
		return &ExitError{end.Status, end.Signal, end.Held}
	case end.Held && cmd.Pty == nil:
		return ErrOutputHeld
	}
	return nil
}

// Run is Start and Wait.
func (cmd *Cmd) Run(ctx context.Context) error {
	if err := cmd.Start(ctx); err != nil {
		return err
	}
	return cmd.Wait()
}

// Resize tells the program's terminal its size, and the program gets SIGWINCH. It doesn't block.
func (cmd *Cmd) Resize(size WindowSize) error {
	if cmd.started == nil {
		return errNotStarted
	}
	return cmd.started.Resize(engine.WindowSize(size))
}

// Signal sends a signal to the program's process group, by its name without SIG. A name that the
// system doesn't know is ignored. It doesn't block.
func (cmd *Cmd) Signal(name string) error {
	if cmd.started == nil {
		return errNotStarted
	}
	return cmd.started.Signal(name)
}
