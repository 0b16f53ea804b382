package cli

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/modules"
)

const runUsage = `Runs a local Python script at each target, as __main__, with its arguments, its
standard input and its exit status as if it had been run there. It is sent, and
so are the modules it imports from its own directory (with -m and -c: from the
current one), from those that it puts on sys.path by way of __file__, from
--path and from $MITOGEN_PATH; packages of a virtual environment are where the
target lacks them. No other file is given to the target: what the script imports
by a name that it makes up must be allowed by --serve. Nothing is written to a
disk there.

SCRIPT may be a directory or a zip file with a module __main__, as for python.
SCRIPT - is standard input; the script then has none itself. What follows SCRIPT
belongs to the script, options too. With -m and -c put -- before arguments that
begin with a dash.

One target: bytes pass as they are, and mitogen ends with the script's status.
Several: each line has its target before it, each target gets the same standard
input, unless that is a terminal, and the status is 0 if all ended with 0.

What the script has started and not ended ends with it, also what it has started
with nohup or setsid. With --keep it goes on, and the command lasts until
nothing writes to the script's output any more, as with ssh.

If standard input can't be read to its end, or output can't be written, the
script is ended and the status is 1.`

const runExamples = `  mitogen run -t web1 check.py --verbose
  mitogen run -t web1,web2,web3 check.py
  mitogen run -t bastion+web1+sudo --become-password fix.py < data
  mitogen run -t local -m platform
  mitogen run -t web1 -c 'import os; print(os.uname())'`

func newRun(s *state) *cobra.Command {
	var what program
	cmd := command(s, &cobra.Command{
		Use:     "run -t TARGET... [flags] SCRIPT|-m MODULE|-c CODE [ARG...]",
		Short:   "run a local script there",
		Long:    runUsage,
		Example: runExamples,
	}, func(ctx context.Context, s *state, args []string) error { return run(ctx, s, what, args) })
	cmd.Flags().StringVarP(&what.module, "module", "m", "", "run `MODULE`, as python -m does")
	cmd.Flags().StringVarP(&what.code, "code", "c", "", "run `CODE`, as python -c does")
	cmd.Flags().BoolVarP(&what.noStdin, "no-stdin", "n", false, "no standard input for the script")
	cmd.Flags().BoolVar(&what.keep, "keep", false,
		"leave background jobs of the script as they are, as ssh does")
	s.opt.addTargets(cmd)
	s.opt.addPath(cmd.Flags())
	return cmd
}

// program has the flags of run: a module or code in place of a script, and how it runs.
type program struct {
	module, code string
	noStdin      bool
	keep         bool
}

func run(ctx context.Context, s *state, what program, args []string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	script, dirs, err := s.script(what, args)
	if err != nil {
		return err
	}
	input, closeInput, err := s.inputs(what.noStdin || what.module+what.code == "" && args[0] == "-")
	if err != nil {
		return err
	}
	defer closeInput()
	s.asIs = true
	return s.job(ctx, dirs, s.printRun, func(ctx context.Context, h *host) (err error) {
		if err := h.connect(h.stdout); err != nil {
			return err
		}
		mine := script
		mine.Keep = what.keep
		mine.Stdin, mine.Stdout, mine.Stderr = input(), h.stdout, h.stderr
		h.status, err = h.context.Run(ctx, mine)
		h.ran = err == nil
		return err
	})
}

// script reads what is to be run; dirs are the first places of its modules.
func (s *state) script(what program, args []string) (script mitogen.Script, dirs []string,
	err error) {
	switch {
	case what.module != "" && what.code != "":
		return script, nil, usagef("-m and -c exclude each other")
	case what.module != "":
		return mitogen.Script{Module: what.module, Args: args}, []string{directoryOf(what.module)}, nil
	case what.code != "":
		return mitogen.Script{Name: "-c", Source: []byte(what.code + "\n"), Args: args}, []string{"."},
			nil
	case len(args) == 0:
		return script, nil, usagef("no script")
	case args[0] == "-":
		source, err := io.ReadAll(s.stdin)
		if err != nil {
			return script, nil, fmt.Errorf("read script: %w", err)
		}
		return mitogen.Script{Name: "-", Source: source, Args: args[1:]}, []string{"."}, nil
	}
	if isTree(args[0]) {
		dir, err := filepath.Abs(args[0])
		return mitogen.Script{Name: args[0], Module: "__main__", Args: args[1:]}, treeDirs(dir), err
	}
	source, err := readFile("script", args[0])
	if err != nil {
		return script, nil, err
	}
	file, err := filepath.Abs(args[0])
	return mitogen.Script{Name: args[0], File: file, Source: source, Args: args[1:]},
		scriptDirs(args[0], source), err
}

// treeDirs are the places of the modules of a directory or zip file that is run.
func treeDirs(name string) []string {
	source, _ := os.ReadFile(filepath.Join(name, "__main__.py")) // those of a zip file are in it
	return modules.ProgramDirs(name, source)
}

// scriptDirs are the places of the modules of a script: its directory, and those that it, and the
// modules beside it that it imports, put on sys.path.
func scriptDirs(name string, source []byte) []string {
	dir := scriptDir(name)
	return modules.ProgramDirs(dir, source)
}

// scriptDir returns the directory whose modules a script imports. If the script is a link, that is
// the directory of the file that the link leads to, as Python has it.
func scriptDir(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	return filepath.Dir(name)
}

// isTree reports whether python runs name as a directory or zip file with a module __main__.
func isTree(name string) bool {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return false
	case st.IsDir():
		_, err := os.Stat(filepath.Join(name, "__main__.py"))
		return err == nil
	case !st.Mode().IsRegular():
		return false
	}
	z, err := zip.OpenReader(name)
	if err != nil {
		return false
	}
	defer z.Close()
	_, err = z.Open("__main__.py")
	return err == nil
}

// inputs returns what makes the standard input of each target: ours, or none. Several targets share
// it, but not a terminal.
func (s *state) inputs(none bool) (input func() io.Reader, close func(), err error) {
	nothing := func() {}
	switch {
	case none || unreadable(s.stdin) || s.opt.several() && isTerminal(s.stdin):
		return func() io.Reader { return nil }, nothing, nil
	case isTerminal(s.stdin):
		// Where it is not the terminal that questions come on it is read as it is.
		if s.typed, err = newTerminalInput(); err == nil {
			return func() io.Reader { return s.typed }, s.typed.close, nil
		}
	}
	if !s.opt.several() && s.opt.retries == 0 {
		return func() io.Reader { return s.stdin }, nothing, nil
	}
	all, err := newSpool(s.stdin)
	if err != nil {
		return nil, nil, err
	}
	return all.reader, all.close, nil
}

// unreadable says that in was not opened for reading, as nohup does it, so that a program has no
// standard input.
func unreadable(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	flags := unix.O_RDONLY
	c, err := f.SyscallConn()
	if err == nil {
		err = c.Control(func(fd uintptr) {
			if got, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err == nil {
				flags = got
			}
		})
	}
	return err == nil && flags&unix.O_ACCMODE == unix.O_WRONLY
}

// printRun prints what run and exec have not printed yet.
func (s *state) printRun(h *host) {
	if s.opt.json {
		r := record{}
		if h.ran {
			r.Status = &h.status
		}
		h.printJSON(r)
		return
	}
	h.tell()
	if h.ran && h.status != 0 && s.opt.several() {
		s.ui.tell(h.target, &problem{Message: fmt.Sprintf("exit status %d", h.status)})
	}
}
