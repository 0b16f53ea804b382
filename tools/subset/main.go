// Command subset refuses what not all Pythons from a version to the newest have. The runtime in
// python/ is held to it, because most of those Pythons can't be run where it is developed.
//
//	go run ./tools/subset [-min 2.4] FILE…
//
// It prints file:line and what to write instead, and exits with 1 if there was something. A comment
// `# subset: ok` exempts its line.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("subset", flag.ContinueOnError)
	flags.SetOutput(stderr)
	oldest := flags.String("min", "2.4", "oldest Python, as major.minor")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	floor, err := parseVersion(*oldest)
	if err != nil || flags.NArg() == 0 {
		fmt.Fprintln(stderr, "usage: subset [-min 2.4] FILE...")
		return 2
	}
	status := 0
	for _, name := range flags.Args() {
		n, err := report(stdout, name, floor)
		if err != nil {
			fmt.Fprintln(stderr, "subset:", err)
			return 2
		}
		if n > 0 {
			status = 1
		}
	}
	return status
}

func parseVersion(s string) (version, error) {
	var major, minor version
	if _, err := fmt.Sscanf(s, "%d.%d", &major, &minor); err != nil {
		return 0, fmt.Errorf("parse version %q: %w", s, err)
	}
	return major*100 + minor, nil
}

// report prints the findings in a file and returns their number.
func report(w io.Writer, name string, floor version) (int, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	found, err := check(src, floor)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	for _, f := range found {
		fmt.Fprintf(w, "%s:%d: %s\n", name, f.line, f)
	}
	return len(found), nil
}

// String says what was found, since when it exists, and what to write instead.
func (f finding) String() string {
	s := f.what + ": not in all Pythons"
	if f.rule.since != never {
		s = fmt.Sprintf("%s: only since %d.%d", f.what, f.rule.since/100, f.rule.since%100)
	}
	if f.rule.instead != "" {
		s += "; " + f.rule.instead
	}
	return s
}
