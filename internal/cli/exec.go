package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/methods"
)

const execUsage = `Runs a program at each target, with its arguments, its standard input and its
exit status as if it had been started there; 128 + N if signal N ended it.
COMMAND is looked up in PATH there and not read by a shell.

Where the target is one hop no Python is needed there: what runs is the command
and nothing else. There is then nothing to count for --stats.

One target: bytes pass as they are. Several: each line has its target before it,
each target gets the same standard input, unless that is a terminal, and the
status is 0 if all ended with 0.

What the command leaves behind in the background ends with it, at the latest 2 s
later.

-A has ssh, git and ssh-add there list the keys of the ssh-agent here and have
it sign, until the command ends; they can do nothing else with it. All processes
of the account can meanwhile, and root's there, as with ssh -A. It takes Python
there, or, at a target of one hop, a copy of this program, as shell does.

If standard input can't be read to its end, or output can't be written, the
command is ended and the status is 1.`

const execExamples = `  mitogen exec -t web1 -- df -h
  mitogen exec -t web1+sudo -t web2+sudo -- systemctl restart nginx
  tar c site | mitogen exec -t web1 -- tar x -C /srv
  mitogen exec -t local --env LANG=C --dir /tmp -- sh -c 'echo $LANG; pwd'`

func newExec(s *state) *cobra.Command {
	var c commandFlags
	cmd := command(s, &cobra.Command{
		Use:     "exec -t TARGET... [flags] -- COMMAND [ARG...]",
		Short:   "run a program there",
		Long:    execUsage,
		Example: execExamples,
	}, func(ctx context.Context, s *state, args []string) error { return execute(ctx, s, c, args) })
	cmd.Flags().StringArrayVarP(&c.env, "env", "e", nil,
		"`NAME=VALUE` added to the environment; repeat")
	cmd.Flags().StringVar(&c.dir, "dir", "", "working `DIRECTORY`")
	cmd.Flags().BoolVarP(&c.agent, "forward-agent", "A", false,
		"let the command list and use the keys of the agent of SSH_AUTH_SOCK")
	cmd.Flags().BoolVarP(&c.noStdin, "no-stdin", "n", false, "no standard input for the command")
	s.opt.addBulk(cmd.Flags())
	s.opt.addFallback(cmd.Flags())
	s.opt.addTargets(cmd)
	return cmd
}

// commandFlags has the flags of exec that are about the command.
type commandFlags struct {
	env     []string
	dir     string
	noStdin bool
	agent   bool
}

func execute(ctx context.Context, s *state, flags commandFlags, args []string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if len(args) == 0 {
		return usagef("no command")
	}
	env, err := environment(flags.env)
	if err != nil {
		return err
	}
	agent := ""
	if flags.agent {
		if agent, err = agentHere(); err != nil {
			return err
		}
	}
	input, closeInput, err := s.inputs(flags.noStdin)
	if err != nil {
		return err
	}
	defer closeInput()
	s.asIs, s.opt.bulk = true, true
	return s.job(ctx, nil, s.printRun, func(ctx context.Context, h *host) (err error) {
		c := mitogen.Command{Args: args, Env: env, Dir: flags.dir, Agent: agent,
			Stdin: input(), Stdout: h.stdout, Stderr: h.stderr}
		h.status, err = h.fleet.exec(ctx, h, c)
		h.ran = err == nil
		return err
	})
}

// exec needs a context only where there are hops.
func (f *fleet) exec(ctx context.Context, h *host, c mitogen.Command) (int, error) {
	if target, o, ok := h.direct(); ok {
		o.GoFallback = c.Agent != "" && goctx.Started() // for which sh alone won't do
		return f.eng.Exec(ctx, target, o, c)
	}
	if err := h.connect(h.stdout); err != nil {
		return 0, err
	}
	return h.context.Exec(ctx, c)
}

// direct returns a target of one hop, where what needs no Python runs without a context.
func (h *host) direct() (target string, o mitogen.ConnectOptions, ok bool) {
	way := &h.chain[0]
	hops, err := methods.ParseTarget(way.Target)
	if err != nil || len(hops)*len(h.chain) != 1 || h.fleet.daemon {
		return "", o, false
	}
	return way.Target, merged(h.fleet.options, &way.Options), true
}

// environment reads NAME=VALUE.
func environment(words []string) (map[string]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	env := map[string]string{}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" || strings.ContainsRune(w, 0) {
			return nil, usagef("--env %s: not NAME=VALUE", quoted(w))
		}
		env[name] = value
	}
	return env, nil
}
