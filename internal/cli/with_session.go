package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/mitogen-go/mitogen"
	"github.com/mitogen-go/mitogen/internal/muxserve"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// Check is muxserve.Backend's.
func (b *withBackend) Check(ctx context.Context, r *muxserve.Request) error {
	h, user, err := b.find(r.Target)
	switch {
	case err != nil:
		return err
	case r.Subsystem:
		if err := knownSubsystem(r.Command); err != nil {
			return err
		}
	case r.Ready:
		if _, err := h.start(ctx); err != nil {
			return err
		}
	}
	return h.checkUser(ctx, user)
}

// knownSubsystem returns an error if there is no such subsystem.
func knownSubsystem(name string) error {
	if name != "sftp" {
		return fmt.Errorf("no subsystem is called %s; there is: sftp", printable.Name(name))
	}
	return nil
}

// checkUser returns an error if user, unless it is "", isn't the account of the target.
func (h *withHost) checkUser(ctx context.Context, user string) error {
	if user == "" {
		return nil
	}
	account, err := h.account(ctx)
	if err == nil && account != user {
		err = fmt.Errorf("the account of %s is %s, not %s",
			printable.Name(h.names[0]), printable.Name(account), printable.Name(user))
	}
	return err
}

// sftpServer executes the first of the places where systems have one.
const sftpServer = `for p in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server ` +
	`/usr/lib/ssh/sftp-server /usr/libexec/sftp-server /usr/lib/sftp-server; do test -x $p && exec ` +
	`$p; done; echo "mitogen: no sftp-server there; scp -O does without" >&2; exit 127`

// commandOfSSH returns what an ssh asks for.
func commandOfSSH(c *mitogen.Context, line string, subsystem bool, env []string) *mitogen.Cmd {
	cmd := c.ShellCommand(line)
	if subsystem {
		cmd = c.Command("sh", "-c", sftpServer)
		cmd.Login = true
	}
	cmd.WaitOutput = true
	cmd.Env = map[string]string{}
	for _, pair := range env {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			cmd.Env[name] = value
		}
	}
	return cmd
}

// Run is muxserve.Backend's.
func (b *withBackend) Run(ctx context.Context, r *muxserve.Request) int {
	status, err := b.session(ctx, r)
	if ctx.Err() != nil { // nothing waits for it: the client has gone, or the command has ended
		return exitConnection
	}
	if err != nil {
		fmt.Fprintf(r.Stderr, "mitogen: %s\n", printable.Line(err.Error()))
		return exitConnection
	}
	return status
}

func (b *withBackend) session(ctx context.Context, r *muxserve.Request) (int, error) {
	h, _, err := b.find(r.Target)
	if err != nil {
		return 0, err
	}
	c, err := h.start(ctx)
	if err != nil {
		return 0, err
	}
	cmd := commandOfSSH(c, r.Command, r.Subsystem, r.Env)
	if !b.noAgents {
		cmd.Agent = agentOf(r)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.Stdin, r.Stdout, r.Stderr
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := make(chan struct{})
	size := func() mitogen.WindowSize { return sizeOf(r.Stdin, r.Stdout, r.Stderr) }
	if r.TTY {
		cmd.Pty = &mitogen.Pty{Term: r.Term, WindowSize: size()}
		keys, err := newTyped(r.Stdin, r.Escape, r.Stderr, func() {
			<-started
			cmd.Signal("HUP")
			cancel(errHungUp)
		})
		if err != nil {
			return 0, err
		}
		defer keys.close()
		cmd.Stdin = keys
	}
	if err := cmd.Start(ctx); err != nil {
		return 0, err
	}
	close(started)
	if r.TTY {
		defer b.sizes.follow(func(w mitogen.WindowSize) { cmd.Resize(w) }, size)()
	}
	err = cmd.Wait()
	if context.Cause(ctx) == errHungUp {
		r.Stdin.Close() // before the client's user is told: what is typed then isn't ours
		return 0, errHungUp
	}
	return sshStatus(err)
}
