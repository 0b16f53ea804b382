package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/daemon"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/printable"
)

const daemonUsage = `Keeps contexts connected for commands that are given --daemon, or
$MITOGEN_DAEMON=1: the first connects a target, further ones have a round trip.
Such a command starts a daemon when there is none. Each run and call is executed
in a fork of a context that has run nothing, so that none sees what another has
left: modules, edits, working directory, environment.

It listens on a socket that only its user can reach, and ends itself, and
contexts, when they have not been used for a while. All contexts end with it,
however it ends. The directory and the environment of a command (its ssh agent,
for instance) hold for what is started for it.

Without a subcommand it runs here, until it is interrupted.`

func newDaemon(s *state) *cobra.Command {
	var idle duration
	var owner int
	cmd := command(s, &cobra.Command{
		Use:   "daemon [--idle DURATION] [--socket PATH] | daemon stop | daemon disconnect [TARGET]",
		Short: "keep contexts connected for other commands",
		Long:  daemonUsage,
		Example: `  mitogen call --daemon -t web1 os:getloadavg
  MITOGEN_DAEMON=1 mitogen run -t web1+sudo check.py
  mitogen tree
  mitogen daemon stop`,
	}, func(ctx context.Context, s *state, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %s", quoted(args[0]))
		}
		return serveDaemon(ctx, s, time.Duration(idle), owner)
	})
	cmd.Flags().IntVar(&owner, "owner", 0, "`PID` of a process that it is to end with")
	cmd.Flags().Var(&idle, "idle", "how long contexts, and the daemon, stay unused; default: 10m")
	s.opt.addSocket(cmd)
	s.opt.addAudit(cmd.Flags())
	s.opt.addOutput(cmd.Flags())
	stop := command(s, &cobra.Command{Use: "stop", Short: "end the daemon", Args: cobra.NoArgs},
		func(_ context.Context, s *state, _ []string) error {
			return notRunning(s.opt.client(nil).Stop())
		})
	disconnect := command(s, &cobra.Command{Use: "disconnect [TARGET]",
		Short: "close what is connected, or one target", Args: cobra.MaximumNArgs(1)},
		func(_ context.Context, s *state, args []string) error {
			return notRunning(s.opt.client(nil).Disconnect(strings.Join(args, "")))
		})
	for _, sub := range []*cobra.Command{stop, disconnect} {
		s.opt.addSocket(sub)
		cmd.AddCommand(sub)
	}
	return cmd
}

// notRunning says it in words.
func notRunning(err error) error {
	if err != nil && !daemonclient.Running(err) {
		return errors.New("no daemon is running")
	}
	return err
}

// daemonGC is GOGC of a daemon: it has few MB, so that Go's own 100 would look through them for
// every few tasks of a playbook.
const daemonGC = 400

func serveDaemon(ctx context.Context, s *state, idle time.Duration, owner int) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(daemonGC)
	}
	tell, err := s.auditor()
	if err != nil {
		return err
	}
	return notOurs(daemon.Serve(ctx,
		daemon.Options{Socket: s.opt.socket, Idle: idle, Owner: owner, Version: daemonVersion(),
			Logger: s.newLogger(), Audit: tell,
			Ready: func() {
				if s.opt.verbose > 0 {
					s.ui.say("listening on %s", s.opt.client(nil).Socket)
				}
			}}))
}

func notOurs(err error) error {
	if errors.Is(err, daemon.ErrRunning) {
		return withHint(err, "mitogen tree shows what it has; mitogen daemon stop ends it")
	}
	return err
}

// daemonVersion tells programs apart that were built of different sources, though they may be
// called alike.
func daemonVersion() string {
	text := versionText()
	if exe, err := os.Executable(); err == nil {
		if st, err := os.Stat(exe); err == nil {
			text += "/" + strconv.FormatInt(st.Size(), 16) + "." +
				strconv.FormatInt(st.ModTime().UnixNano(), 16)
		}
	}
	return text
}

// addSocket adds the flag of what talks to a daemon.
func (o *options) addSocket(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.socket, "socket", os.Getenv("MITOGEN_SOCKET"),
		"the daemon's; default: $MITOGEN_SOCKET, else the user's own")
}

// client reaches the daemon. With a command, the client starts a missing daemon.
func (o *options) client(command []string) *mitogen.Daemon {
	c := &mitogen.Daemon{Socket: o.socket, Version: daemonVersion(), Command: command}
	if c.Socket == "" {
		c.Socket = daemonclient.DefaultSocket()
	}
	// a daemon that is started has another directory
	if socket, err := filepath.Abs(c.Socket); err == nil {
		c.Socket = socket
	}
	return c
}

// viaDaemon is the daemon that contexts come from, nil if they are connected by this process.
func (o *options) viaDaemon() (*mitogen.Daemon, error) {
	if on, _ := strconv.ParseBool(os.Getenv("MITOGEN_DAEMON")); !on && !o.daemon {
		return nil, nil
	}
	return o.startedDaemon()
}

// startedDaemon is the user's daemon, which is started if it isn't there.
func (o *options) startedDaemon() (*mitogen.Daemon, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := o.client(nil)
	c.Command = []string{exe, "daemon", "--socket", c.Socket, "--quiet"}
	if name := o.auditFile(); name != "" { // which a daemon would look for in its own directory
		name, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		c.Command = append(c.Command, "--audit", name)
	}
	return c, nil
}

const treeUsage = `Shows the contexts that the daemon has: where they are, Python, round trip,
bytes down and up, runtime modules sent, memory, and how many clients have a
fork of each, now and in all.`

func newTree(s *state) *cobra.Command {
	cmd := command(s, &cobra.Command{Use: "tree [--json]", Short: "show the daemon's contexts",
		Long: treeUsage, Args: cobra.NoArgs},
		func(_ context.Context, s *state, _ []string) error {
			pid, all, err := (*daemonclient.Client)(s.opt.client(nil)).List()
			if err := notRunning(err); err != nil {
				return err
			}
			if s.opt.json {
				return s.ui.json(s.ui.out, struct {
					PID      int                    `json:"pid"`
					Contexts []daemonclient.Context `json:"contexts"`
				}{pid, append([]daemonclient.Context{}, all...)}, "")
			}
			return printTree(s.ui.page(s.ui.out), pid, all)
		})
	cmd.Flags().BoolVar(&s.opt.json, "json", false, "print one JSON object")
	s.opt.addSocket(cmd)
	return cmd
}

// printTree draws children below their parents.
func printTree(p *page, pid int, all []daemonclient.Context) error {
	children := map[uint32][]daemonclient.Context{}
	for _, c := range all {
		children[c.Parent] = append(children[c.Parent], c)
	}
	p.add("daemon, pid %d", pid).end()
	var draw func(parent uint32, indent string)
	draw = func(parent uint32, indent string) {
		for i, c := range children[parent] {
			branch, below := "├─ ", "│  "
			if i == len(children[parent])-1 {
				branch, below = "└─ ", "   "
			}
			p.add("%s%s%s", indent, branch, describeContext(c)).end()
			draw(c.ID, indent+below)
		}
	}
	draw(0, "")
	return p.print()
}

func describeContext(c daemonclient.Context) string {
	name := c.Name[strings.LastIndexByte(c.Name, '+')+1:]
	if !c.Up {
		return printable.Name(name) + ": connecting"
	}
	rtt := "no answer"
	if c.RTT > 0 {
		rtt = time.Duration(c.RTT * float64(time.Second)).Round(time.Microsecond).String()
	}
	who := fmt.Sprintf("%s: %s, %s, uid %d, pid %d", printable.Name(name), printable.Name(c.Hostname),
		c.Python, c.UID, c.PID)
	return fmt.Sprintf("%s; %s; %s down, %s up; %d modules; %s of memory; %d clients, %d in all",
		who, rtt, size(c.Down), size(c.UpBytes), c.Modules, size(c.Memory), c.Clients, c.Sessions)
}

// size is n bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
