package mitogen

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
)

// Script is a Python program to run as __main__. Its Stdin, Stdout, Stderr and WaitDelay are as
// Command's.
type Script struct {
	// its file name, for tracebacks and sys.argv[0]; "-c" and "-" are as for python
	Name string
	// its absolute file name, which Python has for tracebacks and __file__ from 3.9 on; "": Name
	File   string
	Source []byte // its text, as bytes of the file

	// Module is a module to run instead, as python -m does; Source is not used. "__main__" is the main
	// module of a directory or zip file called Name, as python NAME runs it. Its place must be the
	// first of Options.Path.
	Module string

	// Keep leaves what the program has started and not ended, as ssh does, and waits until nothing
	// writes to its stdout and stderr any more. False: it ends with the context.
	Keep bool

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
	// An error other than io.EOF is not the end of the input. The program is cancelled, its input
	// stays open until it has ended, and the error comes back in a *report.StreamError.
	//
	// What was read belongs to the program, up to 1 MiB ahead of it. What the program doesn't read is
	// dropped, and neither given back nor passed to the next program. When the program has ended, a
	// Read in progress is interrupted if Stdin is an *os.File or its SetReadDeadline works, which is
	// then reset to none. Other Reads are waited for, at most for WaitDelay.
	Stdin io.Reader

	// Stdout gets what is written to fd 1 meanwhile, and Stderr to fd 2. Nil: it goes where the
	// context's goes. They are called from the context's goroutine for output, and one Writer by one
	// goroutine at a time (see ConnectOptions.Stdout). An error, or a short write, cancels the program
	// and comes back in a *report.StreamError.
	Stdout, Stderr io.Writer

	// WaitDelay is the longest wait, once the program has ended, for a Read of Stdin that is still in
	// progress. After it the error matches ErrStdinInUse, and Stdin is in use until that Read returns.
	// 0: Options.Grace.
	WaitDelay time.Duration

	// Agent is the path of the socket of an ssh-agent here, as SSH_AUTH_SOCK has it, that the program
	// can have sign: see Cmd.Agent. It takes Python at the target. "": none.
	Agent string
}

// Run runs s in c and returns its exit status, as if it had been run there. If an exception ends
// the script, its traceback goes to stderr and the status is 1, as always. All output has been
// written when Run returns. One Run at a time has a context's output, and a second Run waits. An
// Exec or Cmd has its own output.
//
// An error of Stdin, Stdout or Stderr cancels the script, as the end of a Call's ctx does, and
// comes back in a *report.StreamError. It matches ErrKilled too if the script did not end and its
// context was killed.
func (c *Context) Run(ctx context.Context, s Script) (int, error) {
	p := engine.Program{Keep: s.Keep, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
		WaitDelay: s.WaitDelay}
	argv := words(append([]string{s.Name}, s.Args...))
	switch s.Module {
	case "":
		p.Function, p.Script = "script", s.Source
		p.Args = []any{s.Source, escape(cmp.Or(s.File, s.Name)), argv}
	case mainModule:
		p.Function, p.Module = "tree", s.Module
		p.Args = []any{argv}
	default:
		p.Function, p.Module = "module", s.Module
		p.Args = []any{s.Module, argv[1:]}
	}
	return c.c.Programs.Run(ctx, p)
}

// Exec runs a program in c and returns its exit status, 128 + n if signal n ended it. It runs
// beside calls and other programs; no more than 1,024 at a time run in one context. A program that
// is cancelled gets SIGTERM with its process group, and SIGKILL after Options.Grace; its context
// stays. Errors are as Run's. What the program leaves behind may keep its output open for 2 s after
// its end.
func (c *Context) Exec(ctx context.Context, cmd Command) (int, error) {
	if len(cmd.Args) == 0 {
		return -1, errors.New("exec: no command")
	}
	return c.c.Programs.Exec(ctx, engine.Command(cmd), false)
}

// mainModule is the module of a directory or zip file that python runs.
const mainModule = "__main__"

// words returns s as the runtime takes it: escaped, and never nil, which Python would see as None.
func words(s []string) []string {
	escaped := make([]string, len(s))
	for i := range s {
		escaped[i] = escape(s[i])
	}
	return escaped
}

// escape returns s as text: a byte that isn't UTF-8 becomes the lone surrogate that Python has for
// it (surrogateescape).
func escape(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b.Write([]byte{0xed, 0xb0 | s[0]>>6, 0x80 | s[0]&0x3f})
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// Exec runs a program at target and returns its exit status: Connect, Context.Exec and Close, so
// that the program ends with the engine, however that ends. Where a target of one hop has no
// Python, the program is started directly instead, as "ssh host command" does; what it does when
// the engine dies is its own affair then. An error of Stdin then ends ssh or sudo, behind which the
// program may see the end of its input.
func (e *Engine) Exec(ctx context.Context, target string, o ConnectOptions, cmd Command) (int,
	error) {
	if len(cmd.Args) == 0 {
		return -1, errors.New("exec: no command")
	}
	opt := o.engine()
	if err := engine.GivenUp(ctx, target); err != nil {
		return -1, err
	}
	c, err := e.Start(target, o)
	if err != nil {
		return -1, err
	}
	defer c.Close()
	status, err := c.c.Programs.Exec(ctx, engine.Command(cmd), true)
	if errors.Is(err, connect.ErrNoPython) {
		if status, direct, e := e.e.Exec(ctx, target, opt, engine.Command(cmd)); direct {
			return status, e
		}
	}
	if gone := engine.GivenUp(ctx, target); err != nil && gone != nil && c.Stats().Hello == 0 {
		return -1, gone
	}
	return status, err
}
