package goctx

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// copyWord is the only argument of a copy of this program that copies files, as the module of a
// session.
const copyWord = "mitogen:copy"

// copyModules are the modules of sessions that a Go context has. What is asked for is in the first
// record.
var copyModules = map[string]bool{"put": true, "get": true}

// copyLife is the life of the process of a copy: records come on stdin, and go to stdout
// (docs/protocol/files.md). It ends with this process. SIGHUP and SIGTERM remove a file that is not
// whole.
func copyLife() {
	unix.SetNonblock(0, true)
	in := os.NewFile(0, "records")
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGHUP, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { in.Close() })
	if err := ownfile.Serve(ctx, in, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mitogen: copy files:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
