package ansible

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/muxserve"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/printable"
)

// Ansible's `synchronize` runs an rsync on the playbook's machine, which starts an ssh of its own.
// While such a task lasts, that ssh is a link to this program, which asks the task's lending.

// lending runs what an ssh of a task asks for, in the context of the task's account.
type lending struct {
	t       *Session
	names   []string // of the host, as ssh may call it
	refused string   // why it runs nothing; "": it does
	h       *host    // in use; nil: it runs nothing
	l       *leaf    // in use
	become  bool     // l is an account that the task becomes
	login   bool     // the context began where a login begins: at home

	server peer.Server
	stop   context.CancelFunc
}

// lentPrograms are the programs that a task finds first in its PATH.
var lentPrograms = []string{"ssh", "sshpass"}

// lend has the account of m ready, and says in end where the programs are.
func (t *Session) lend(ctx context.Context, m *Message, end *End) error {
	t.takeBack()
	if len(m.Names) == 0 {
		return errors.New("lend: got no names of the host")
	}
	n := &lending{t: t, names: m.Names, refused: m.Refused, become: m.Account != "",
		login: strings.HasPrefix(t.way[len(t.way)-1].Target, "ssh:")}
	if n.refused == "" {
		err := t.at(ctx, m.Account, "", func(h *host) error { return n.enter(ctx, m, h) })
		if errors.Is(err, errAccount) {
			return errors.New(err.Error()) // nor could an ssh that isn't ours enter it
		}
		if err != nil {
			return err
		}
	}
	t.lent = n
	socket, err := n.serve()
	if err != nil {
		t.takeBack()
		return fmt.Errorf("put an ssh in the way: %w", err)
	}
	end.Socket = socket
	return nil
}

// enter has the account's context be up and as a new one would be, and keeps it in use.
func (n *lending) enter(ctx context.Context, m *Message, h *host) error {
	if err := h.login.Connected(ctx); err != nil {
		return err
	}
	l, err := n.t.leaf(ctx, h, m, "", nil)
	if err == nil {
		_, _, err = n.t.run(ctx, h, l, map[string]any{"op": "exec", "argv": []any{"/bin/sh", "-c", ":"},
			"env": map[string]any{}, "tty": false, "ends": true, "apart": n.become,
			"temps": []any{}})
	}
	if err == nil && !h.use() {
		err = errGone
	}
	if err != nil {
		h.release(l)
		return err
	}
	n.h, n.l = h, l
	return nil
}

// serve listens for the programs, which it puts beside the socket.
func (n *lending) serve() (socket string, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	socket, err = n.server.Start(func(c *net.UnixConn) { muxserve.Serve(ctx, c, n) })
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(socket)
	if strings.Contains(dir, string(filepath.ListSeparator)) {
		return "", fmt.Errorf("%s can't be in PATH, set TMPDIR to another directory", dir)
	}
	program, err := n.server.Program()
	for _, name := range lentPrograms {
		if err == nil {
			err = os.Symlink(program, filepath.Join(dir, name))
		}
	}
	return socket, err
}

// takeBack ends what was lent.
func (t *Session) takeBack() {
	n := t.lent
	t.lent = nil
	if n == nil {
		return
	}
	if n.stop != nil {
		n.stop()
	}
	n.server.Close()
	if n.h != nil {
		n.h.release(n.l)
		n.h.done()
	}
}

// Check is muxserve.Backend's.
func (n *lending) Check(_ context.Context, r *muxserve.Request) error {
	switch {
	case n.refused != "":
		return errors.New(n.refused)
	case !slices.Contains(n.names, r.Target):
		return fmt.Errorf("the task's connection leads to %s, not to %s: "+
			"with `ansible_connection: ssh` the task can go elsewhere", n.names[0], printable.Name(r.Target))
	case r.Command == "" || r.Subsystem || r.TTY || r.Agent:
		return errors.New("a task's ssh runs a command without a terminal, and nothing else")
	}
	_, err := n.spec(r.Command)
	return err
}

// spec returns the program in the account's context that a command stands for.
func (n *lending) spec(command string) (engine.SessionSpec, error) {
	s := engine.SessionSpec{Command: command, WaitOutput: true}
	if !n.become {
		return s, nil
	}
	run, ok := "", false
	for _, how := range []string{"sudo -u " + n.l.user + " ", "sudo ", ""} { // of `synchronize` itself
		if run, ok = strings.CutPrefix(command, how+"rsync "); ok {
			break
		}
	}
	if !ok {
		first, _, _ := strings.Cut(command, " --server")
		return s, fmt.Errorf("got %s, want rsync, to become %s: give rsync_path in the task itself",
			printable.Name(first), printable.Name(n.l.user))
	}
	run = "rsync " + run
	if n.login { // ~ is the login's, as it is before sudo
		run = `h=$HOME; HOME=$PWD; exec env HOME="$h" ` + run
	}
	s.Args = []string{"/bin/sh", "-c", run}
	return s, nil
}

// Run is muxserve.Backend's.
func (n *lending) Run(ctx context.Context, r *muxserve.Request) int {
	spec, err := n.spec(r.Command)
	if err != nil {
		return sshFailed // Check has said why
	}
	n.t.did(func(w *Work) { w.Literal, w.Waits = w.Literal+1, w.Waits+1 })
	streams := engine.Streams{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Pipes: true}
	s, err := n.l.ctx.Programs.Begin(ctx, spec, streams)
	var end engine.SessionEnd
	if err == nil {
		end, err = s.Wait()
	}
	switch {
	case err != nil && ctx.Err() == nil:
		fmt.Fprintf(r.Stderr, "mitogen: %s\n", printable.Line(err.Error()))
		return sshFailed
	case err != nil || end.Signal != 0:
		return sshFailed
	}
	return end.Status
}

// Dial is muxserve.Backend's.
func (n *lending) Dial(context.Context, string, string) (muxserve.Conn, error) {
	return nil, errors.New("a task's ssh forwards nothing")
}

var _ muxserve.Backend = (*lending)(nil)
