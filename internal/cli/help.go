package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mitogen-go/mitogen/internal/printable"
)

// Columns of help.
const (
	helpWidth = 80 // of prose and flags; usage lines and examples aren't wrapped
	flagWidth = 30 // of a flag's name and value
)

// flagGroups are the sections of flags in help, in order. A flag that is in none of them is the
// command's own and comes first.
var flagGroups = []struct{ title, flags string }{
	{"Targets", "target inventory limit via forks retries timeout connect-timeout heartbeat python"},
	{"Modules", "path serve strip learned venv binaries"},
	{"SSH", "ssh-config ssh-arg port identity host-keys ssh-from-hop ssh-native ssh-no-ahead " +
		"compress"},
	{"Become and other methods", "become-login become-home program program-arg"},
	{"Passwords", "ask-pass ask-pass-fd become-password become-password-fd " +
		"password-of password-command"},
	{"Daemon", "daemon socket"},
	{"Output", "json stats audit verbose quiet no-color help"},
}

// printHelp is the help function of all commands.
func printHelp(cmd *cobra.Command, _ []string) {
	io.WriteString(cmd.OutOrStdout(), helpText(cmd))
}

// helpText returns what --help prints. Examples come last, where a terminal shows them.
func helpText(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString(reflow(cmp.Or(cmd.Long, cmd.Short)))
	fmt.Fprintf(&b, "\nUsage:\n  %s\n", usageLine(cmd))
	if commands := subcommands(cmd); len(commands) > 0 {
		b.WriteString("\nCommands:\n")
		for _, sub := range commands {
			entry(&b, sub.Name(), 14, sub.Short)
		}
	}
	for _, g := range groupedFlags(cmd) {
		fmt.Fprintf(&b, "\n%s:\n", g.title)
		for _, f := range g.flags {
			entry(&b, flagName(f), flagWidth, flagText(f))
		}
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	return b.String()
}

func usageLine(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Name() + " COMMAND ...\n  " + cmd.Name() + " COMMAND --help"
	}
	return cmd.UseLine()
}

func subcommands(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(c *cobra.Command) bool {
		return !c.IsAvailableCommand()
	})
}

// shownGroup is a section of flags that a command has.
type shownGroup struct {
	title string
	flags []*pflag.Flag
}

// groupedFlags returns the sections of a command's flags.
func groupedFlags(cmd *cobra.Command) []shownGroup {
	all := []shownGroup{{title: "Flags"}}
	grouped := map[string]bool{}
	for _, g := range flagGroups {
		shown := shownGroup{title: g.title}
		for name := range strings.FieldsSeq(g.flags) {
			grouped[name] = true
			if f := cmd.Flags().Lookup(name); f != nil && !f.Hidden {
				shown.flags = append(shown.flags, f)
			}
		}
		all = append(all, shown)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !grouped[f.Name] && !f.Hidden {
			all[0].flags = append(all[0].flags, f)
		}
	})
	return slices.DeleteFunc(all, func(g shownGroup) bool { return len(g.flags) == 0 })
}

// flagName returns a flag's letter, name and value.
func flagName(f *pflag.Flag) string {
	name := "    --" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", --" + f.Name
	}
	value, _ := pflag.UnquoteUsage(f)
	switch value {
	case "", "count":
		return name
	case "int":
		value = "N"
	case "string", "strings":
		value = "TEXT"
	}
	return name + " " + value
}

// flagText returns a flag's description. Its default stands at the end, unless the text has it.
func flagText(f *pflag.Flag) string {
	_, text := pflag.UnquoteUsage(f)
	unset := slices.Contains([]string{"", "0", "-1", "false", "[]"}, f.DefValue)
	if unset || strings.Contains(text, "default: ") {
		return text
	}
	return text + "; default: " + printable.Line(f.DefValue)
}

// entry appends a name and, from the column behind width, its description.
func entry(b *strings.Builder, name string, width int, text string) {
	lines := wrapped(text, helpWidth-2-width)
	if utf8.RuneCountInString(name) >= width {
		fmt.Fprintf(b, "  %s\n", name)
		name = ""
	}
	for _, line := range lines {
		fmt.Fprintf(b, "  %-*s%s\n", width, name, line)
		name = ""
	}
}

// reflow wraps paragraphs. Lines that begin with a blank stay as they are.
func reflow(text string) string {
	var b strings.Builder
	var paragraph []string
	end := func() {
		for _, line := range wrapped(strings.Join(paragraph, " "), helpWidth) {
			b.WriteString(line + "\n")
		}
		paragraph = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && line[0] != ' ' {
			paragraph = append(paragraph, line)
			continue
		}
		end()
		b.WriteString(line + "\n")
	}
	end()
	return b.String()
}

// wrapped cuts text into lines of at most width columns, if no word is longer.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line += strings.Repeat(" ", min(1, len(line))) + word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
