// Package cli is the command mitogen: one file for each subcommand.
//
// A command is a function run(ctx, state, args) error on a state, which holds the streams and what
// the flags say. None exits; Main turns errors into words and an exit status:
//
//	0    all well
//	1    the code failed somewhere, or output could not be written
//	2    usage: nothing was connected to
//	255  a connection failed, or was lost, somewhere
//	23   files were left out of a copy
//	130  interrupted; 143 ended by SIGTERM, 129 by SIGHUP
//
// With one target, run, exec, shell and repl end with the status of what they ran.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mitogen-go/mitogen/internal/process"
	"github.com/mitogen-go/mitogen/secret"
)

// Exit statuses.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitConnection  = 255
	exitInterrupted = 130
	signalStatus    = 128 // and the signal's number
)

// Streams has the input and output of a command.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// errInterrupted is the cause of the end of Interruptible's context, if the user has interrupted
// it.
var errInterrupted = errors.New("interrupted")

// A signalled is that cause with the signal. It is an errInterrupted, too.
type signalled struct{ signal syscall.Signal }

func (e signalled) Error() string { return errInterrupted.Error() }

func (e signalled) Is(err error) bool { return err == errInterrupted }

// status returns the exit status that shells give a command that the signal has ended.
func (e signalled) status() int { return signalStatus + int(e.signal) }

// interruption returns the cause that a signal is.
func interruption(sig os.Signal) signalled {
	s, _ := sig.(syscall.Signal)
	return signalled{s}
}

// lastMoment is the grace period after an interrupt: then the command ends, whatever it hangs on,
// and all that it has started ends with it.
const lastMoment = 900 * time.Millisecond

// sayTimeout bounds a message of the last moment: a reader of the command's stderr may stand still.
const sayTimeout = 90 * time.Millisecond

// Interruptible returns a context that ends with the first SIGINT, SIGTERM or SIGHUP. The second
// one calls exit at once; so does the last moment.
func Interruptible(exit func(status int)) context.Context {
	w := &lastWord{}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), lastWordKey{}, w))
	signals := make(chan os.Signal, 2)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) { // as under nohup
			signal.Notify(signals, sig)
		}
	}
	go endBy(signals, cancel, w, exit)
	return ctx
}

// endBy waits for a signal, and for what has the program exit at once then. Terminals are as they
// were before.
func endBy(signals <-chan os.Signal, cancel context.CancelCauseFunc, w *lastWord,
	exit func(status int)) {
	cause := interruption(<-signals)
	cancel(cause)
	select {
	case <-signals:
	case <-time.After(lastMoment):
	}
	rawTerminals.restore()
	w.say(cause)
	exit(cause.status())
}

// A lastWord reports how the command ends, if the command has not come to do so itself.
type lastWord struct {
	mu     sync.Mutex      // protects report, and is held while it is called
	report func(error) int // nil: no command runs, or its end is or was reported
}

// lastWordKey is the key of a context's *lastWord.
type lastWordKey struct{}

// lastWordOf returns the lastWord of Interruptible's context; of any other context, a silent one.
func lastWordOf(ctx context.Context) *lastWord {
	if w, ok := ctx.Value(lastWordKey{}).(*lastWord); ok {
		return w
	}
	return &lastWord{}
}

// begin has report called if the command does not end in time.
func (w *lastWord) begin(report func(error) int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = report
}

// end tells whether the command is to report its end itself, and has say do nothing from now on. It
// waits for a report in progress.
func (w *lastWord) end() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := w.report != nil
	w.report = nil
	return mine
}

// say reports err, for sayTimeout at most, unless the command reports its end.
func (w *lastWord) say(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	report := w.report
	if report == nil {
		return
	}
	w.report = nil
	said := make(chan struct{})
	go func() {
		report(err)
		close(said)
	}()
	select {
	case <-said:
	case <-time.After(sayTimeout):
	}
}

// The command must be able to open leastFiles files. Go's poller, which ends the program if it
// can't have its own, needs fewer.
const leastFiles = 6

// Main carries out the command that args name and returns the exit status. When ctx ends, it
// returns within a second.
func Main(ctx context.Context, args []string, streams Streams) int {
	if err := process.CheckFiles(leastFiles); err != nil {
		fmt.Fprintln(streams.Stderr, "error: start:", err)
		return exitFailed
	}
	// Handled, it makes a write beyond the limit of file size an error; else Go ends the program.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGXFSZ)
	s := newState(streams)
	secret.Harden()
	w := lastWordOf(ctx)
	w.begin(s.report)
	ctx, s.interrupt = context.WithCancelCause(ctx)
	defer s.interrupt(nil)
	root := newRoot(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errInterrupted) {
		err = cause
	}
	if err = s.endAudit(s.closeOutput(err)); !w.end() {
		return verdict(err).status
	}
	return s.report(err)
}

const rootUsage = `mitogen runs Python on other machines that hold nothing but an SSH daemon, or
sudo, and some Python.

It starts an interpreter there, feeds it a runtime of a few KiB from RAM, and
calls functions in it. Nothing is written to the target's disk, and nothing
stays behind.

A target is a list of hops joined by "+", each reached from the one before:
  local                a process on this machine
  web1, deploy@web1:22 a host, by your own ssh with its configuration, agent and
                       host keys
  web1+sudo            root there; sudo:postgres is user postgres
  bastion+web1+sudo    root on web1, which is reached from bastion
  web1+docker:app      in a container there; docker:www@app as one of its users

Further methods: su[:USER], doas[:USER]; podman:, buildah:, lxc:, lxd:, incus:,
jail:[USER@]CONTAINER; docker-run:, podman-run:IMAGE;
kubectl:[CONTEXT@][NAMESPACE/]POD[/CONTAINER]; machinectl:[USER@]MACHINE;
nspawn:, chroot:[USER@]DIRECTORY; setns:PID or setns:KIND/CONTAINER, the
namespaces of a process; serial:[USER@]DEVICE[,BAUD], console:[USER@]SOCKET,
HOST:PORT or NAME, and ipmi:[USER@]HOST, a login on a console, as the first hop;
exec:COMMAND, anything that ends in a shell or an interpreter. A + that belongs
to a hop is written \+: CORP\+user@web1. CORP\user@web1 is user CORP\user. A
name with colons stands in brackets.

` + configUsage + `

Exit status: 0 all well; 1 the code failed somewhere, or output could not be
written; 2 usage; 255 a connection failed or was lost; 130 interrupted (143 by
SIGTERM, 129 by SIGHUP). With one target, run, exec, shell and repl end with the
status of what they ran.`

const rootExamples = `  mitogen ping -t web1
  mitogen call -t web1 os:getloadavg
  mitogen run -t web1,web2 check.py --verbose
  mitogen run -t web1+sudo check.py
  mitogen exec -t web1 -- df -h`

func newRoot(s *state) *cobra.Command {
	root := &cobra.Command{
		Use:           "mitogen",
		Short:         "run Python on machines that hold nothing of ours",
		Long:          rootUsage,
		Example:       rootExamples,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
	}
	version := root.Flags().Bool("version", false, "say what this is")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *version {
			return printVersion(s)
		}
		return cmd.Help()
	}
	root.SetIn(s.stdin)
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if bad := (*pflag.InvalidValueError)(nil); errors.As(err, &bad) {
			err = fmt.Errorf("--%s %s: %w", bad.GetFlag().Name, quoted(bad.GetValue()), bad.Unwrap())
		}
		return &usageError{err: err, command: cmd.CommandPath()}
	})
	root.SetHelpFunc(printHelp)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRun(s), newCall(s), newExec(s), newPut(s), newGet(s), newSync(s),
		newShell(s), newRepl(s), newWith(s), newSSH(s), newServeSSH(s), newForward(s), newPing(s),
		newPython(s), newDaemon(s), newAnsible(s), newTree(s), newDoctor(s), newDemo(s), newEngine(s),
		newBuild(s), newVersion(s), newCompletion(s), newConnectSSH(s))
	return root
}

// noSuchCommand refuses arguments of the root command, which are meant as a command's name.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{err: errors.New("unknown command " + quoted(args[0])),
		command: cmd.CommandPath()}
}

// command finishes cmd, which takes flags only before its first argument: what follows is for the
// program there.
func command(s *state, cmd *cobra.Command,
	run func(ctx context.Context, s *state, args []string) error) *cobra.Command {
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().SortFlags = false
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.command = cmd.Name()
		err := configure(cmd)
		if err != nil {
			err = usagef("%w", err)
		}
		s.ui.plain = s.ui.plain || s.opt.noColor
		if err == nil {
			err = run(cmd.Context(), s, args)
		}
		if u := (*usageError)(nil); errors.As(err, &u) && u.command == "" {
			u.command = cmd.CommandPath()
		}
		return err
	}
	return cmd
}
