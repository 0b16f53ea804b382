package cli

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/muxserve"
	"github.com/mitogen-go/mitogen/internal/ownfile"
	"github.com/mitogen-go/mitogen/internal/peer"
)

// named is a backend for clients that don't say what target they are for.
type named struct {
	*withBackend
	name string
}

func (n named) Check(ctx context.Context, r *muxserve.Request) error {
	if n.name != "" {
		r.Target = n.name
	}
	return n.withBackend.Check(ctx, r)
}

// hostPattern is a name that ssh's configuration, and a file, can have.
var hostPattern = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// A front leads ssh programs to a backend, by sockets in a directory of their own.
type front struct {
	b       *withBackend
	program string // who serves: for messages of the time after its end
	serving context.Context
	stop    context.CancelFunc
	fail    context.CancelCauseFunc // has the command end; static, of serve-ssh alone
	server  peer.Server

	// Set by listen.
	socket  string            // for clients that say which target they are for
	names   []string          // of the hosts that a configuration can have, sorted
	sockets map[string]string // by name, for OpenSSH's ssh, which doesn't say it
	ssh     *sshFront         // for clients without either; nil: none
}

func newFront(ctx context.Context, b *withBackend, program string, private bool) *front {
	f := &front{b: b, program: program, sockets: map[string]string{}}
	f.server.Private = private
	f.serving, f.stop = context.WithCancel(ctx)
	for name := range b.hosts {
		if hostPattern.MatchString(name) {
			f.names = append(f.names, name)
		}
	}
	slices.Sort(f.names)
	return f
}

// listen makes the sockets. The caller closes f whatever it returns.
func (f *front) listen() (err error) {
	serve := func(name string) func(*net.UnixConn) {
		return func(c *net.UnixConn) { muxserve.Serve(f.serving, c, named{f.b, name}) }
	}
	if f.socket, err = f.server.Start(serve("")); err != nil {
		return err
	}
	for i, name := range f.names {
		if f.sockets[name], err = f.server.Also(strconv.Itoa(i), serve(name)); err != nil {
			return err
		}
	}
	return nil
}

// directory returns the directory of the sockets.
func (f *front) directory() string { return filepath.Dir(f.socket) }

// close ends all that is served, and removes the directory.
func (f *front) close() {
	f.stop()
	f.server.Close()
	f.ssh.close()
}

// hosts returns the configuration that leads OpenSSH's ssh to the sockets, by the name of the host.
func (f *front) hosts() string {
	var b strings.Builder
	ended := fmt.Sprintf("that was refused, or %s has ended", f.program)
	for _, name := range f.names {
		fmt.Fprintf(&b, "Host %s\n  ControlPath %s\n  ControlMaster no\n", name,
			configPath(f.sockets[name]))
		if f.ssh == nil {
			fmt.Fprintf(&b, "  HostName %s\n%s", name, refusingProxy(ended))
		} else {
			b.WriteString(f.ssh.host(name))
		}
	}
	return b.String()
}

// refusal returns the configuration of all other hosts, which are never connected to. Its HostName
// is for clients that don't know ProxyCommand.
func (f *front) refusal() string {
	not := ""
	for _, name := range f.names {
		not += " !" + name
	}
	return "Host *" + not + "\n  ControlMaster no\n  HostName no-such-target.invalid\n" +
		refusingProxy("no target is called that; there are: "+strings.Join(f.names, ", "))
}

// refusingProxy is a ProxyCommand that says why there is no connection, in words without quotes.
func refusingProxy(why string) string {
	return "  ProxyCommand sh -c 'echo \"mitogen: " + why + "\" >&2; exit 1'\n"
}

// configPath quotes a path for ssh's configuration.
func configPath(path string) string {
	return strconv.Quote(strings.ReplaceAll(path, "%", "%%"))
}

// writeNew writes a file that only this user can read.
func writeNew(name, text string) error {
	w, err := ownfile.Create(name, 0o600)
	if err != nil {
		return err
	}
	if _, err = w.WriteString(text); err != nil {
		w.Close()
		return err
	}
	return w.Close()
}
