package cli

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/sshargs"
)

const shellUsage = `Starts the login shell of the account that the target leads to, in its home
directory, as ssh does: with a terminal there if standard input is one, whose size follows that
of the terminal here. TERM, LANG and LC_* go along. The shell is the one that the user database
names; of an account that isn't in it, as in many containers, it is /bin/sh.

COMMAND is run in its place, with its arguments, and not read by a shell.

If standard input is no terminal there is none either, and the shell reads its commands from
standard input.

The target needs no Python. Where it has none, a copy of this program works
there, which has no name in the file system and ends with the command.

At the beginning of a line ~. ends the connection, ~? tells what else there is, and ~~ types ~.

The status is that of the shell or command; 255 if the target can't be reached or is lost, if ~.
ended it, or if a signal did there. With a terminal, all that was started there is hung up with
the shell; without, the command lasts until nothing writes to the shell's output any more.`

const shellExamples = `  mitogen shell -t bastion+web1+sudo
  mitogen shell -t web1+sudo:postgres -- psql
  mitogen shell -t web1+sudo < commands`

// shellFlags are the flags of shell alone.
type shellFlags struct{ escape string }

// escapeCharacter reads the flag.
func (f *shellFlags) escapeCharacter() (uint32, error) {
	c, err := (&sshargs.Args{Escape: f.escape}).EscapeCharacter()
	if err != nil {
		return 0, usagef("--escape: %w", err)
	}
	return c, nil
}

// add adds them.
func (f *shellFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.escape, "escape", "e", "~",
		"escape `CHARACTER` of a terminal: one, ^ and a letter, or none")
}

func newShell(s *state) *cobra.Command {
	var flags shellFlags
	cmd := command(s, &cobra.Command{
		Use:     "shell -t TARGET [flags] [-- COMMAND [ARG...]]",
		Short:   "be at a shell there",
		Long:    shellUsage,
		Example: shellExamples,
	}, func(ctx context.Context, s *state, args []string) error {
		return shell(ctx, s, flags, args)
	})
	flags.add(cmd)
	s.opt.addBulk(cmd.Flags())
	s.opt.addFallback(cmd.Flags())
	s.opt.addTargets(cmd)
	return cmd
}

func shell(ctx context.Context, s *state, flags shellFlags, args []string) error {
	escape, err := flags.escapeCharacter()
	if err != nil {
		return err
	}
	if err := s.checkOne(ctx); err != nil {
		return err
	}
	s.asIs, s.opt.bulk, s.goFallback = true, true, true
	return s.interactive(ctx, func(ctx context.Context, h *host) error {
		if err := h.connect(h.stdout); err != nil {
			return err
		}
		cmd := h.context.ShellCommand("")
		if len(args) > 0 {
			cmd = h.context.Command(args[0], args[1:]...)
			cmd.Login = true
		}
		cmd.Env, cmd.WaitOutput = localeVariables(os.Environ()), true
		cmd.Stdout, cmd.Stderr = h.stdout, h.stderr
		if isTerminal(s.stdin) {
			h.status, err = h.onTerminal(ctx, commandSession{cmd}, s.stdin.(*os.File), escape)
			return err
		}
		input, closeInput, err := s.inputs(false)
		if err != nil {
			return err
		}
		defer closeInput()
		cmd.Stdin = input()
		h.status, err = sshStatus(cmd.Run(ctx))
		return err
	})
}

// commandSession is a program with a terminal.
type commandSession struct{ *mitogen.Cmd }

func (c commandSession) start(
	ctx context.Context,
	keys deadlineReader,
	size mitogen.WindowSize,
) error {
	c.Pty = &mitogen.Pty{Term: os.Getenv("TERM"), WindowSize: size}
	c.Stdin = keys
	if err := c.Start(ctx); err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { c.Signal("HUP") })
	return nil
}

func (c commandSession) resize(size mitogen.WindowSize) { c.Resize(size) }

func (c commandSession) wait() (int, error) { return sshStatus(c.Wait()) }

// checkOne is check for commands that are at one target, and print no records.
func (s *state) checkOne(ctx context.Context) error {
	if s.opt.json {
		return usagef("%s goes with no --json", s.command)
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if n := len(s.opt.spots); n > 1 {
		return usagef("got %d targets, want one", n)
	}
	return nil
}

// interactive runs a job at one target that may make a terminal pass keys as they are typed. The
// terminal is as before when interactive returns, whatever j does.
func (s *state) interactive(ctx context.Context, j job) error {
	defer rawTerminals.restore()
	// Without this, Go ends the program.
	defer onSignals(func(sig os.Signal) { s.interrupt(interruption(sig)) }, syscall.SIGQUIT)()
	return s.job(ctx, nil, (*host).tell, func(ctx context.Context, h *host) error {
		err := j(ctx, h)
		if errors.Is(err, errHungUp) {
			h.status, err = exitConnection, nil
			s.ui.say("connection to %s closed", printable.Name(h.target))
		}
		return err
	})
}
