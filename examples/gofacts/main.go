// Gofacts splits itself: it runs its own function on each host, in a copy that it brings there.
//
//	gofacts web1 web2 bastion+db1+sudo
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"

	"github.com/mitogen-go/mitogen"
)

// Query says what Collect is to look at.
type Query struct{ Path string }

// Facts is the result of Collect.
type Facts struct {
	Host   string
	System string
	Lines  int // of the file at Path
}

// ErrEmpty says that the file has no line.
var ErrEmpty = mitogen.Sentinel("the file is empty")

// Collect runs on the hosts.
var Collect = mitogen.Func("collect", func(ctx context.Context, q Query) (Facts, error) {
	text, err := os.ReadFile(q.Path)
	if err != nil {
		return Facts{}, err
	}
	if len(text) == 0 {
		return Facts{}, ErrEmpty
	}
	host, err := os.Hostname()
	return Facts{host, runtime.GOOS + "/" + runtime.GOARCH, strings.Count(string(text), "\n")}, err
})

func main() {
	mitogen.Main() // in the copies, which call Collect and nothing below
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := report(ctx, os.Stdout, "/etc/passwd", os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// report writes a line for each target, also if that fails.
func report(ctx context.Context, w io.Writer, path string, targets []string) error {
	eng, err := mitogen.New(mitogen.Options{})
	if err != nil {
		return err
	}
	defer eng.Close()
	for _, target := range targets {
		host, err := eng.Connect(ctx, target, mitogen.ConnectOptions{})
		if err != nil {
			fmt.Fprintf(w, "%s: %v\n", target, err)
			continue
		}
		switch f, err := Collect.Call(ctx, host, Query{path}); {
		case errors.Is(err, ErrEmpty), errors.Is(err, os.ErrNotExist):
			fmt.Fprintf(w, "%s: nothing in %s\n", target, path)
		case err != nil:
			fmt.Fprintf(w, "%s: %v\n", target, err)
		default:
			fmt.Fprintf(w, "%s: %s, %s, %d lines in %s\n", target, f.Host, f.System, f.Lines, path)
		}
	}
	return nil
}
