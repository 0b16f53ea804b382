// Command house counts what makes a source tree easy or hard to live in: the length of functions
// and lines, the size of structs, comments of forbidden forms, and so on.
//
//	go run ./tools/house [-json] [-before REVISION]   print the figures, beside an earlier revision's
//	go run ./tools/house -list KIND [DIR]             print each finding of a kind as file:line
//	go run ./tools/house -check FILE                  fail where there is more than FILE allows
//	go run ./tools/house -lower FILE                  lower FILE's limits to today's figures
//
// It looks at Go, Python and shell files, but not at testdata and at what is generated, and at the
// subjects of the commits. It exits with 1 if -check finds something, and with 2 on other errors.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// command holds the flags.
type command struct {
	dir, before, list, check, lower string
	json                            bool
	stdout, stderr                  io.Writer
}

func run(args []string, stdout, stderr io.Writer) int {
	c := command{stdout: stdout, stderr: stderr}
	flags := flag.NewFlagSet("house", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.dir, "C", ".", "measure the tree in `DIR`")
	flags.StringVar(&c.before, "before", "", "compare with a `REVISION` or directory")
	flags.StringVar(&c.list, "list", "",
		"print the findings of a `KIND`: "+strings.Join(kindNames(), ", "))
	flags.StringVar(&c.check, "check", "", "fail where there is more than limits `FILE` allows")
	flags.StringVar(&c.lower, "lower", "",
		"lower the limits in `FILE`, which is made if it is missing")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ok, err := c.do(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "house:", err)
		return 2
	}
	if !ok {
		return 1
	}
	return 0
}

// do carries out the command. ok is false if a check failed.
func (c *command) do(args []string) (ok bool, err error) {
	now, err := measure(c.dir)
	if err != nil {
		return false, err
	}
	switch {
	case c.list != "":
		return true, c.findings(now, args)
	case c.check != "":
		return c.checked(now)
	case c.lower != "":
		return true, lowerFile(c.lower, now)
	}
	return true, c.figures(now)
}

// findings prints those of a kind, in all directories or in one.
func (c *command) findings(now *house, args []string) error {
	if _, ok := kinds[c.list]; !ok {
		return fmt.Errorf("unknown kind %q, want one of %s", c.list, strings.Join(kindNames(), ", "))
	}
	for _, f := range now.findings {
		if f.kind == c.list && (len(args) == 0 || f.dir == args[0]) {
			fmt.Fprintln(c.stdout, f)
		}
	}
	return nil
}

// checked compares with the limits and prints what is new.
func (c *command) checked(now *house) (bool, error) {
	limits, err := readLimits(c.check)
	if err != nil {
		return false, err
	}
	exceeded := limits.exceeded(now)
	if len(exceeded) == 0 {
		return true, nil
	}
	base, err := c.base()
	if err != nil {
		fmt.Fprintln(c.stderr, "house: old findings are listed with the new ones:", err)
	}
	for _, e := range exceeded {
		fmt.Fprintf(c.stderr, "%s, %s: got %d, want at most %d (%s)\n",
			e.dir, kinds[e.kind].about, e.got, e.limit, c.check)
		for _, f := range e.blame(now, base) {
			fmt.Fprintf(c.stderr, "\t%s\n", f)
		}
	}
	return false, nil
}

// base measures the revision in which the limits were last written. Without one it returns nil.
func (c *command) base() (*house, error) {
	commit, err := lastChange(c.dir, c.check)
	if err != nil || commit == "" {
		return nil, err
	}
	return measureRevision(c.dir, commit)
}

// figures prints the table, or JSON.
func (c *command) figures(now *house) error {
	var before *house
	if c.before != "" {
		var err error
		if before, err = measureBefore(c.dir, c.before); err != nil {
			return err
		}
	}
	if c.json {
		trees := map[string]map[string]any{"now": now.json()}
		if before != nil {
			trees["before"] = before.json()
		}
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(trees)
	}
	return table(c.stdout, now, before)
}
