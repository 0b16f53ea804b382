package cli

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls do with each command.
func everyCommand(do func(cmd *cobra.Command)) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		do(cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(newState(Streams{os.Stdin, io.Discard, io.Discard})))
}

// sections returns the titles and texts of a help, in order.
func sections(text string) (titles []string, texts map[string]string) {
	texts = map[string]string{}
	title := ""
	for line := range strings.Lines(text) {
		if heading := regexp.MustCompile(`^[A-Z][\w ]*:\n$`); heading.MatchString(line) {
			title = strings.TrimSuffix(line, ":\n")
			titles = append(titles, title)
			continue
		}
		texts[title] += line
	}
	return titles, texts
}

// TestHelpIsWrapped demands lines that fit a terminal. Only a usage line, an example and a word may
// be longer than helpWidth, and no line is longer than 100 columns.
func TestHelpIsWrapped(t *testing.T) {
	everyCommand(func(cmd *cobra.Command) {
		_, texts := sections(helpText(cmd))
		for title, text := range texts {
			width := helpWidth
			if title == "Usage" || title == "Examples" {
				width = 100
			}
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if n := utf8.RuneCountInString(line); n > width {
					t.Errorf("%s --help, %q: got %d columns, want at most %d: %s",
						cmd.CommandPath(), title, n, width, line)
				}
			}
		}
	})
}

// TestHelpShowsEachFlagOnce demands that each flag is in one section of a command's help.
func TestHelpShowsEachFlagOnce(t *testing.T) {
	everyCommand(func(cmd *cobra.Command) {
		_, texts := sections(helpText(cmd))
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			shown := regexp.MustCompile(`(?m)^  (?:-\w, |    )--` + f.Name + `(?: |$)`)
			n := 0
			for _, text := range texts {
				n += len(shown.FindAllString(text, -1))
			}
			if n != 1 && !f.Hidden {
				t.Errorf("%s --help: got flag %s %d times, want once", cmd.CommandPath(), f.Name, n)
			}
		})
	})
}

// TestHelpGroups demands the order of sections, and that the groups name flags that exist.
func TestHelpGroups(t *testing.T) {
	seen := map[string]int{}
	everyCommand(func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { seen[f.Name]++ })
		titles, _ := sections(helpText(cmd))
		if cmd.HasExample() && titles[len(titles)-1] != "Examples" {
			t.Errorf("%s --help: got sections %q, want the examples last", cmd.CommandPath(), titles)
		}
	})
	for _, g := range flagGroups {
		for name := range strings.FieldsSeq(g.flags) {
			if seen[name] == 0 {
				t.Errorf("group %s has flag %s, want one of a command", g.title, name)
			}
			delete(seen, name)
		}
	}
	for name, commands := range seen {
		if commands > 3 {
			t.Errorf("flag %s of %d commands is in no group", name, commands)
		}
	}
	run, _, err := newRoot(newState(Streams{os.Stdin, io.Discard, io.Discard})).Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := sections(helpText(run))
	want := []string{"Usage", "Flags", "Targets", "Modules", "SSH", "Become and other methods",
		"Passwords", "Daemon", "Output", "Examples"}
	if !slices.Equal(got, want) {
		t.Errorf("mitogen run --help: got sections %q, want %q", got, want)
	}
}

// TestHelpOfFlags demands one value and one default, in words of ours.
func TestHelpOfFlags(t *testing.T) {
	everyCommand(func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			where := cmd.CommandPath() + " --" + f.Name
			if text := flagText(f); strings.Count(text, "default") > 1 || strings.Contains(text, "\n") {
				t.Errorf("%s: got %q, want one line with one default", where, text)
			}
			value := strings.Fields(flagName(f))
			if last := value[len(value)-1]; !strings.HasPrefix(last, "-") && strings.ToUpper(last) != last {
				t.Errorf("%s: got value %s, want capitals", where, last)
			}
		})
	})
}

// TestWrapped tries widths around a word's end.
func TestWrapped(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  []string
	}{
		{"one two", 7, []string{"one two"}},
		{"one two", 6, []string{"one", "two"}},
		{"one  two\nthree", 9, []string{"one two", "three"}},
		{"überlang x", 3, []string{"überlang", "x"}},
		{"üü üü", 5, []string{"üü üü"}},
		{"", 5, nil},
	} {
		if got := wrapped(test.text, test.width); !slices.Equal(got, test.want) {
			t.Errorf("wrapped(%q, %d): got %q, want %q", test.text, test.width, got, test.want)
		}
	}
}
