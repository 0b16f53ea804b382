package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	served "github.com/mitogen-go/mitogen/internal/program"
)

const engineUsage = `Serves the program that has started it, over the socket that is file
descriptor FD: docs/protocol, section 11. Programs start it themselves (the Python package
mitogo does); there is nothing to type here. It ends with the program.`

// parentTick is the time between an engine's looks for its parent. The end of the socket is noticed
// at once.
const parentTick = time.Second

func newEngine(s *state) *cobra.Command {
	var fd int
	cmd := command(s, &cobra.Command{
		Use:    "engine --fd FD",
		Short:  "serve the program that has started it",
		Long:   engineUsage,
		Hidden: true,
	}, func(ctx context.Context, s *state, args []string) error {
		if len(args) > 0 || fd < 0 {
			return usagef("mitogen engine is started by programs, with --fd")
		}
		conn, err := socketAt(fd)
		if err != nil {
			return usagef("--fd %d: %w", fd, err)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			orphaned(ctx, os.Getppid())
			cancel()
		}()
		return served.Serve(ctx, conn, served.Options{Version: versionText(), Daemon: s.keptContexts})
	})
	cmd.Flags().IntVar(&fd, "fd", -1, "`FD` of the socket")
	return cmd
}

// keptContexts returns what gets contexts from the user's daemon.
func (s *state) keptContexts(prompt connect.PromptFunc,
	heartbeat time.Duration) (served.Dial, error) {
	s.opt.socket = os.Getenv("MITOGEN_SOCKET")
	d, err := s.opt.startedDaemon()
	if err != nil {
		return nil, err
	}
	d.Prompt, d.Heartbeat = prompt, heartbeat
	return (*daemonclient.Client)(d).Dial, nil
}

// socketAt returns the socket that is a file descriptor, which nothing else is started with.
func socketAt(fd int) (*net.UnixConn, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "program")
	if f == nil {
		return nil, errors.New("no such file descriptor")
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("got a socket of network %s, want a UNIX socket", c.LocalAddr().Network())
	}
	return conn, nil
}

// orphaned returns when this process has another parent than pid, or ctx ends. A copy of the
// program's socket may be open in an unknown process.
func orphaned(ctx context.Context, pid int) {
	tick := time.NewTicker(parentTick)
	defer tick.Stop()
	for os.Getppid() == pid {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
