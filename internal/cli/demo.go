package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/internal/demo"
)

const demoUsage = `Shows the main job on this machine alone: an SSH server inside of this program,
on the loopback interface and with throw-away keys, stands for a remote host. It
needs ssh and Python, no second machine and no configuration, and leaves nothing
behind.`

func newDemo(s *state) *cobra.Command {
	cmd := command(s, &cobra.Command{
		Use:   "demo [flags]",
		Short: "see it work, on this machine alone",
		Long:  demoUsage,
	}, func(ctx context.Context, s *state, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %s", quoted(args[0]))
		}
		return demo.Run(ctx, demo.Options{Stdout: s.stdout, Colour: s.ui.outTTY && !s.ui.plain})
	})
	cmd.Flags().BoolVar(&s.opt.noColor, "no-color", false, "no colours; so does $NO_COLOR")
	return cmd
}
