// Command mitogen-agent is the runtime of a Go context alone: what mitogen sends to a machine
// without Python. It has no functions, only programs, connections, listeners and files, and nothing
// that a user would start. It is built with the tag mitogen_agent and without inlining, which keeps
// it small (scripts/build-agent.sh).
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/mitogen-go/mitogen/internal/goctx"
)

// stamp is "mitogen-agent/VERSION/", set by the linker. mitogen looks for it in the file, so that
// no agent of another version is sent.
var stamp string

func main() {
	goctx.Main()
	version := "of no version"
	if parts := strings.Split(stamp, "/"); len(parts) == 3 {
		version = parts[1]
	}
	fmt.Fprintf(os.Stderr, "mitogen-agent %s: mitogen sends this program to machines without Python, "+
		"and starts it there\n", version)
	os.Exit(2)
}
