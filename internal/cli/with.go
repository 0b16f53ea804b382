package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const withUsage = `Runs a command here that reaches the targets by its own ssh, scp, sftp, rsync or
git, through the connections that mitogen has: one login for each target,
accounts behind sudo and containers included.

Each target has a name, which the command uses as a host: NAME=TARGET, else the
last host that the target names; "host" too, if there is one target only. Any
other name is an error, and never connected to. A user before the name must be
the account that the target leads to; a port is ignored.

The command finds an ssh, scp and sftp in its PATH, and variables for git,
rsync, borg, svn, cvs and Ansible. What insists on /usr/bin/ssh goes there too
by ssh -F $MITOGEN_SSH_CONFIG: that one doesn't check the user, which it doesn't
tell, and in a shell with job control it needs </dev/null or -n unless it has a
terminal of its own. Forwarding of ports goes there too (-L, -R, -D, -W), and
ends with the ssh that asks for it, or with the command. So does -A, by which an
agent lists keys and signs, and does nothing else. What ssh -f leaves in the
background ends with the command too.

What an ssh has left running at a target ends with the command, and so do all
contexts.

--forks, --timeout and --retries bound the connects, with --lazy too; the
command has all the time that it takes. --json prints each target that can't be
reached before the command is started.

The status is the command's; 255 if a target can't be reached, before the
command is started.`

const withExamples = `  mitogen with -t web1+sudo -- rsync -a site/ web1:/srv/site/
  mitogen with -t web1 -- scp -q data web1:/srv/
  mitogen with -t db=web1+sudo -- ssh db id -un
  mitogen with -t web1 -t web2 -- sh -c 'ssh web1 uptime; ssh web2 uptime'`

func newWith(s *state) *cobra.Command {
	lazy := false
	cmd := command(s, &cobra.Command{
		Use:     "with -t [NAME=]TARGET... [flags] -- COMMAND [ARG...]",
		Short:   "run a command here whose ssh goes through the tree",
		Long:    withUsage,
		Example: withExamples,
	}, func(ctx context.Context, s *state, args []string) error { return with(ctx, s, lazy, args) })
	cmd.Flags().BoolVar(&lazy, "lazy", false, "connect each target when the command first uses it")
	s.opt.addBulk(cmd.Flags())
	s.opt.addNamedTargets(cmd)
	return cmd
}

// withGrace is the time that the command has to end after SIGTERM, before it is killed.
const withGrace = 500 * time.Millisecond

func with(ctx context.Context, s *state, lazy bool, args []string) error {
	if len(args) == 0 {
		return usagef("no command")
	}
	return s.withTargets(ctx, lazy, func(b *withBackend) error { return b.run(ctx, args) })
}

// withTargets gives f the targets, by their names. Unless lazy, they are all up.
func (s *state) withTargets(ctx context.Context, lazy bool, f func(*withBackend) error) error {
	names, err := s.opt.takeNames()
	if err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	s.asIs, s.opt.bulk = true, true
	fleet, closePath, err := s.newFleet(ctx, nil, s.printUnreached)
	if err != nil {
		return err
	}
	defer closePath()
	defer fleet.eng.Close()
	b := newWithBackend(fleet, names)
	if !lazy {
		err = b.connectAll(ctx)
	}
	if err == nil {
		err = f(b)
	}
	if stats := fleet.writeProfile(); stats != nil && err == nil {
		err = stats
	}
	return err
}

// run runs the command, and serves its ssh programs.
func (b *withBackend) run(ctx context.Context, args []string) error {
	dir, err := makeShims()
	if err != nil {
		return fmt.Errorf("put an ssh in the way: %w", err)
	}
	defer os.RemoveAll(dir)
	unlock, err := lockShims(dir)
	if err != nil {
		return fmt.Errorf("put an ssh in the way: %w", err)
	}
	defer unlock()
	front := newFront(ctx, b, "mitogen with", false)
	defer front.close()
	if err := front.listen(); err != nil {
		return fmt.Errorf("listen for ssh: %w", err)
	}
	config := filepath.Join(dir, "config")
	if err := writeNew(config, front.hosts()+front.refusal()); err != nil {
		return fmt.Errorf("write ssh's configuration: %w", err)
	}
	path, err := lookShimmed(args[0], dir)
	if err != nil {
		return usagef("run %s: %w", quoted(args[0]), err)
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Env = shimEnvironment(os.Environ(), dir, front.socket, config)
	return b.runHere(cmd, func() {})
}

// runHere runs a command with the streams of this process, and calls started when it has been
// started. cmd is of exec.CommandContext.
func (b *withBackend) runHere(cmd *exec.Cmd, started func()) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = withGrace
	// The command is in this process group: what is typed at the terminal is for it.
	defer b.onSizes(syscall.SIGINT, syscall.SIGQUIT)()
	if err := cmd.Start(); err != nil {
		return err
	}
	started()
	return commandStatus(cmd.Wait())
}

// onSizes has the terminals of sessions looked at when a client says that their size may have
// changed, until stop. It ignores other signals meanwhile.
func (b *withBackend) onSizes(ignored ...os.Signal) (stop func()) {
	return onSignals(func(sig os.Signal) {
		if sig == syscall.SIGWINCH {
			b.sizes.changed()
		}
	}, append(ignored, syscall.SIGWINCH)...)
}

// onSignals calls f for each of the signals, which do nothing else any more, until stop.
func onSignals(f func(os.Signal), signals ...os.Signal) (stop func()) {
	signal.Reset(signals...)
	c := make(chan os.Signal, 16)
	signal.Notify(c, signals...)
	go func() {
		for sig := range c {
			f(sig)
		}
	}()
	return func() {
		signal.Stop(c)
		close(c)
	}
}

// commandStatus is the end of a command as the end of this one.
func commandStatus(err error) error {
	ended := (*exec.ExitError)(nil)
	if !errors.As(err, &ended) {
		return err
	}
	if w, ok := ended.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return exitError(signalStatus + int(w.Signal()))
	}
	return exitError(ended.ExitCode())
}
