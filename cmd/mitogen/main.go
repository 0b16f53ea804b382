// Command mitogen runs Python, and other programs, on machines that hold nothing of ours.
package main

import (
	"os"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/cli"
)

func main() {
	mitogen.Main() // where there is no Python, a copy of this program is the context
	ctx := cli.Interruptible(os.Exit)
	os.Exit(cli.Main(ctx, os.Args[1:],
		cli.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
}
