// Command mitogen runs Python, and other programs, on machines that hold nothing of ours.
package main

import (
	"fmt"
	"os"

	"github.com/mitogen-go/mitogen/internal/cli"
	"github.com/mitogen-go/mitogen/internal/descriptors"
)

// leastFiles is how many files the command has to open for as much as an error: more than Go's poller needs.
const leastFiles = 6

func main() {
	if err := descriptors.Check(leastFiles); err != nil {
		fmt.Fprintln(os.Stderr, "error: start:", err)
		os.Exit(1)
	}
	ctx := cli.Interruptible(os.Exit)
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
}
