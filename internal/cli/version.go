package cli

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version string

func newVersion(s *state) *cobra.Command {
	return command(s, &cobra.Command{
		Use:   "version",
		Short: "say what this is",
		Long:  "Prints the version of mitogen and of the Go that made it, and the platform.",
	}, func(_ context.Context, s *state, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %s", quoted(args[0]))
		}
		return printVersion(s)
	})
}

func printVersion(s *state) error {
	version := []any{versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
	return s.ui.page(s.ui.out).add("mitogen %s %s %s/%s", version...).end().print()
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
