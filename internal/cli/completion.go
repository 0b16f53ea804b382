package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/internal/inventory"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/printable"
)

const completionUsage = `Prints a script that makes a shell complete commands, flags and targets:
the hosts of ~/.ssh/config, and the ways in after +.

  mitogen completion bash > ~/.local/share/bash-completion/completions/mitogen
  mitogen completion zsh > "${fpath[1]}/_mitogen"
  mitogen completion fish > ~/.config/fish/completions/mitogen.fish
  mitogen completion powershell | Out-String | Invoke-Expression`

var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletion(s *state) *cobra.Command {
	cmd := command(s, &cobra.Command{
		Use:       "completion bash|zsh|fish|powershell",
		Short:     "print a shell's completion script",
		Long:      completionUsage,
		ValidArgs: shells,
	}, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return &usageError{err: fmt.Errorf("one shell is needed: %s", strings.Join(shells, ", ")),
				command: cmd.CommandPath()}
		}
		root := cmd.Root()
		switch args[0] {
		case "bash":
			return root.GenBashCompletionV2(s.stdout, true)
		case "zsh":
			return root.GenZshCompletion(s.stdout)
		case "fish":
			return root.GenFishCompletion(s.stdout, true)
		case "powershell":
			return root.GenPowerShellCompletionWithDesc(s.stdout)
		}
		return &usageError{err: fmt.Errorf("unknown shell %s: %s", quoted(args[0]),
			strings.Join(shells, ", ")), command: cmd.CommandPath()}
	}
	return cmd
}

// completeTarget completes the last hop of the last target of a list, which may have a name.
func completeTarget(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexAny(typed, ",+@=")+1]
	config, _ := cmd.Flags().GetString("ssh-config")
	words := sshHosts(config)
	if !strings.HasSuffix(before, "@") {
		words = append(words, methods.Methods()...)
	}
	return completions(before, typed, words),
		cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completions are the words that continue what was typed. Those that aren't words for a shell are
// left out.
func completions(before, typed string, words []string) []string {
	var all []string
	for _, w := range words {
		if printable.Name(w) != w {
			continue
		}
		if w = before + w; strings.HasPrefix(w, typed) {
			all = append(all, w)
		}
	}
	return all
}

// completeLimit completes the last host or group of a pattern, from the inventories that the line
// names.
func completeLimit(cmd *cobra.Command, _ []string, typed string) ([]string,
	cobra.ShellCompDirective) {
	sources, err := cmd.Flags().GetStringArray("inventory")
	if err != nil || len(sources) == 0 || slices.Contains(sources, "-") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	inv, err := inventory.Load(cmd.Context(), sources, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := typed[:strings.LastIndexAny(typed, ",:!&")+1]
	return completions(before, typed, inv.Names()), cobra.ShellCompDirectiveNoFileComp
}
