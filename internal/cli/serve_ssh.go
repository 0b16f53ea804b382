package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/sshserve"
)

const serveUsage = `Serves targets as hosts of a configuration for ssh, until it is interrupted: for
programs that can't be started by "mitogen with", or insist on /usr/bin/ssh.
Accounts behind sudo and containers are hosts too, and there is one login for
each target.

The hosts are called as with "mitogen with": NAME of NAME=TARGET, else the last
host that the target names; with -i all hosts of the inventory. Names with other
characters than letters, digits, dots, dashes and underscores aren't there.

The configuration is made for ssh -F. In it any other host is an error, which
lists those that there are. The file that is printed as Include has the hosts
alone, for the first line of ~/.ssh/config. Both are in a directory that no
other user can enter, and gone when the command ends. --config and --include
write them to files of other places too, which are removed at the end; after
SIGKILL they lead nowhere.

OpenSSH's ssh, and with it scp, sftp, rsync and git, opens its sessions by a
ControlPath, without a login or a key exchange. An SSH server is there for an
ssh that is given another ControlPath, as by git-annex and Ansible, and for
clients with an SSH of their own. It is at a socket that no other user can
connect to, and that ProxyCommand leads to; --listen puts it at a port, for
clients without ProxyCommand. Each host has a private key and a host key, which
are made for this run. The key says which target is meant. The user is the name
of the host, or the account that the target leads to; any other user is an
error. Shells and commands with and without terminals, sftp, and forwarding of
ports and sockets in both directions are served, and the client's agent with -A.

With --daemon the sessions run beside the contexts that a daemon keeps: one
login serves all commands, and stays when this one ends. What sessions have left
running ends with this command all the same. If the daemon is stopped, so are
the sessions; the next one begins at a new daemon.

COMMAND is started with the path of the configuration in $MITOGEN_SSH_CONFIG.
Its end is the end of all, and its status is that of this command.

--json prints an object for each host, once all are served.`

const serveExamples = `  mitogen serve-ssh -t web1+sudo
  mitogen serve-ssh -t web1+sudo --include ~/.ssh/mitogen.conf
  mitogen serve-ssh -t web1 --listen 127.0.0.1:2222
  mitogen serve-ssh -t web1+sudo -- sh -c 'scp -F $MITOGEN_SSH_CONFIG -q data web1:/srv/'`

// serveFlags has the flags of serve-ssh itself.
type serveFlags struct {
	lazy, agents            bool
	listen, config, include string
}

func newServeSSH(s *state) *cobra.Command {
	flags := serveFlags{}
	cmd := command(s, &cobra.Command{
		Use:     "serve-ssh -t [NAME=]TARGET... [flags] [-- COMMAND [ARG...]]",
		Short:   "serve targets as hosts of ssh's configuration",
		Long:    serveUsage,
		Example: serveExamples,
	}, func(ctx context.Context, s *state, args []string) error {
		network, address, err := flags.address()
		if err == nil {
			err = flags.apart()
		}
		if err != nil {
			return err
		}
		return s.withTargets(ctx, flags.lazy, func(b *withBackend) error {
			b.noAgents = !flags.agents
			return b.serveSSH(ctx, &flags, network, address, args)
		})
	})
	f := cmd.Flags()
	f.StringVar(&flags.listen, "listen", unixAddress,
		"serve SSH at `ADDRESS`: [HOST:]PORT of loopback, 0 for any port, or unix")
	f.StringVar(&flags.config, "config", "", "write the configuration for ssh -F to `FILE` too")
	f.StringVar(&flags.include, "include", "", "write the hosts alone to `FILE` too, for Include")
	f.BoolVarP(&flags.agents, "forward-agent", "A", false,
		"let clients forward their ssh-agent, to list keys and sign")
	f.BoolVar(&flags.lazy, "lazy", false, "connect each target when it is first used")
	s.opt.addBulk(f)
	s.opt.addNamedTargets(cmd)
	return cmd
}

// configVariable is the environment variable with the path of the configuration for ssh -F.
const configVariable = "MITOGEN_SSH_CONFIG"

// unixAddress is the --listen of a socket in the directory.
const unixAddress = "unix"

// address reads --listen.
func (f *serveFlags) address() (network, address string, err error) {
	if f.listen == unixAddress {
		return unixAddress, "", nil
	}
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil {
		host, port = "127.0.0.1", f.listen
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", "", usagef("--listen %s: want a port of loopback, such as 127.0.0.1:2222, or unix",
			quoted(f.listen))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", usagef("--listen %s: want a port from 0 to 65535, or unix", quoted(f.listen))
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

// apart returns an error if --config and --include are one file, which can't have both texts.
func (f *serveFlags) apart() error {
	if f.config == "" || f.include == "" || filepath.Base(f.config) != filepath.Base(f.include) {
		return nil
	}
	a, err := os.Stat(filepath.Dir(f.config))
	b, failed := os.Stat(filepath.Dir(f.include))
	if err == nil && failed == nil && os.SameFile(a, b) {
		return usagef("--config %s and --include %s: want two files", quoted(f.config),
			quoted(f.include))
	}
	return nil
}

// serveSSH serves until the end of ctx, of a command or of the SSH server.
func (b *withBackend) serveSSH(
	ctx context.Context,
	flags *serveFlags,
	network, address string,
	args []string,
) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	err := b.serveFront(ctx, fail, flags, network, address, args)
	if ended := (*serverEnded)(nil); errors.As(context.Cause(ctx), &ended) {
		return b.f.s.tellEnd(ended)
	}
	return err
}

// serverEnded is the end of an SSH server whose listener has failed.
type serverEnded struct {
	at  string
	err error
}

func (e *serverEnded) Error() string {
	return fmt.Sprintf("the SSH server at %s has ended: %s", e.at, printable.Line(e.err.Error()))
}

// tellEnd returns the error of a command that ends with its server.
func (s *state) tellEnd(ended *serverEnded) error {
	if !s.opt.json {
		return ended
	}
	line := servedEnd{Event: "end", Address: ended.at, Error: describeSocket(ended.err)}
	if err := s.ui.json(s.ui.out, line, ""); err != nil {
		return err
	}
	return exitError(exitFailed)
}

// serveFront serves until the end of ctx or of a command. fail ends ctx.
func (b *withBackend) serveFront(
	ctx context.Context,
	fail context.CancelCauseFunc,
	flags *serveFlags,
	network, address string,
	args []string,
) error {
	f := newFront(ctx, b, "mitogen serve-ssh", true)
	f.fail = fail
	defer f.close()
	if err := f.listen(); err != nil {
		return fmt.Errorf("listen for ssh: %w", err)
	}
	if err := peer.CheckDirectory(f.directory()); err != nil {
		return fmt.Errorf("listen for ssh: %w", err)
	}
	if err := f.serveClients(network, address); err != nil {
		return err
	}
	config, include := f.file("config"), f.file("hosts")
	for _, file := range []struct{ name, text string }{
		{config, f.hosts() + f.refusal()}, {include, f.hosts()},
	} {
		if err := writeNew(file.name, file.text); err != nil {
			return fmt.Errorf("write ssh's configuration: %w", err)
		}
	}
	for _, file := range []struct{ name, text string }{
		{flags.config, f.hosts() + f.refusal()}, {flags.include, f.hosts()},
	} {
		if file.name == "" {
			continue
		}
		if at := f.directory(); !peer.Lasting(at) {
			return usagef("%s: other users could make what it names after a restart, in %s: set "+
				"XDG_RUNTIME_DIR to a directory of your own", quoted(file.name), at)
		}
		remove, err := publish(file.name, file.text)
		if err != nil {
			return fmt.Errorf("write ssh's configuration: %w", err)
		}
		defer remove()
	}
	if len(args) > 0 {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		if cmd.Err != nil {
			return usagef("run %s: %w", quoted(args[0]), cmd.Err)
		}
		cmd.Env = append(os.Environ(), configVariable+"="+config)
		return b.runHere(cmd, func() { leaveTerminal(flags.lazy) })
	}
	if err := f.announce(config, include); err != nil {
		return err
	}
	defer b.onSizes()()
	leaveTerminal(flags.lazy)
	<-ctx.Done()
	return context.Cause(ctx)
}

// file returns the path of a file in the directory.
func (f *front) file(name string) string { return filepath.Join(f.directory(), name) }

// servedHost is a line of --json.
type servedHost struct {
	Event      string `json:"event"` // listening
	Host       string `json:"host"`
	Target     string `json:"target"`
	Config     string `json:"config"`
	Include    string `json:"include"`
	Socket     string `json:"control_path"`
	Address    string `json:"address"` // of the server: HOST:PORT, or a path
	User       string `json:"user"`
	Identity   string `json:"identity"`
	KnownHosts string `json:"known_hosts"`
}

// servedEnd is the last line of --json, if the command ends with its server.
type servedEnd struct {
	Event   string   `json:"event"` // end
	Address string   `json:"address"`
	Error   *problem `json:"error"`
}

// announce says what there is.
func (f *front) announce(config, include string) error {
	ui := f.b.f.s.ui
	if f.b.f.s.opt.json {
		for _, name := range f.names {
			line := servedHost{Event: "listening", Host: name, Target: f.b.hosts[name].target,
				Config: config, Include: include, Socket: f.sockets[name], Address: f.ssh.address,
				User: name, Identity: f.ssh.keys[name], KnownHosts: f.ssh.knownHosts}
			if err := ui.json(ui.out, line, ""); err != nil {
				return err
			}
		}
		return nil
	}
	p := ui.page(ui.out)
	p.add("ssh -F %s HOST", config).end()
	p.add("Include %s", include).end()
	p.add("hosts: %s", strings.Join(f.names, ", ")).end()
	p.add("SSH server at %s", f.ssh.address).end()
	return p.print()
}

// publishMark begins files that publish has written.
const publishMark = "# Written by mitogen serve-ssh, which removes it when it ends.\n"

// publish writes a file in a place of the user's choice, where no other user can put one when it is
// gone. It replaces none but its own. remove removes it, unless another has taken its place.
func publish(name, text string) (remove func(), err error) {
	if st, err := os.Stat(filepath.Dir(name)); err != nil {
		return nil, err
	} else if st.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("%s can be written by all users, want another directory",
			printable.Name(filepath.Dir(name)))
	}
	if err := checkOld(name); err != nil {
		return nil, err
	}
	if name, err = filepath.Abs(name); err != nil {
		return nil, err
	}
	w, err := os.CreateTemp(filepath.Dir(name), ".mitogen-*")
	if err != nil {
		return nil, err
	}
	_, err = w.WriteString(publishMark + text)
	ours, failed := w.Stat()
	if err = errors.Join(err, failed, w.Close()); err == nil {
		err = os.Rename(w.Name(), name)
	}
	if err != nil {
		os.Remove(w.Name())
		return nil, err
	}
	return func() {
		if st, err := os.Lstat(name); err == nil && os.SameFile(st, ours) {
			os.Remove(name)
		}
	}, nil
}

// checkOld returns an error if there is a file that publish hasn't written.
func checkOld(name string) error {
	st, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var old []byte
	if err == nil && st.Mode().IsRegular() {
		old, err = os.ReadFile(name)
	}
	if err == nil && !strings.HasPrefix(string(old), publishMark) {
		err = fmt.Errorf("%s exists, and wasn't written by mitogen serve-ssh", printable.Name(name))
	}
	return err
}

// An sshFront serves clients that bring an SSH of their own.
type sshFront struct {
	address    string // HOST:PORT, or a path
	lines      string // of each host's configuration: how to get there
	keys       map[string]string
	knownHosts string
	stop       func()
}

// serveClients starts an SSH server.
func (f *front) serveClients(network, address string) error {
	server, err := sshserve.New(sshBackend{f.b}, !f.b.noAgents)
	if err != nil {
		return err
	}
	s := &sshFront{keys: map[string]string{}, knownHosts: f.file("known_hosts")}
	for _, name := range f.names {
		key, err := server.NewClientKey(name)
		if err != nil {
			return err
		}
		s.keys[name] = f.file("key-" + name)
		if err := writeNew(s.keys[name], string(key)); err != nil {
			return fmt.Errorf("write key: %w", err)
		}
	}
	known := ""
	if network == unixAddress {
		if s.address, err = f.server.Also("ssh", func(c *net.UnixConn) {
			server.ServeConn(f.serving, c)
		}); err != nil {
			return fmt.Errorf("listen for SSH: %w", err)
		}
		s.stop = func() {}
		program, err := f.server.Program()
		if err != nil {
			return err
		}
		command := methods.QuoteCommand([]string{program, connectCommand, s.address})
		s.lines = "  Port 22\n  ProxyCommand " + strings.ReplaceAll(command, "%", "%%") + "\n"
		for _, name := range f.names {
			known += name + " " + server.HostKey()
		}
	} else {
		l, err := net.Listen(network, address)
		if err != nil {
			return &listenError{address, err}
		}
		s.address = l.Addr().String()
		host, port, err := net.SplitHostPort(s.address)
		if err != nil {
			return err
		}
		s.lines = fmt.Sprintf("  HostName %s\n  Port %s\n", host, port)
		known = knownName(host, port) + " " + server.HostKey()
		s.stop = f.serveListener(server, l)
	}
	f.ssh = s
	return writeNew(s.knownHosts, known)
}

// serveListener serves the clients of l. If l fails, f does. stop waits for the end.
func (f *front) serveListener(server *sshserve.Server, l net.Listener) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(f.serving, l); err != nil {
			f.fail(&serverEnded{l.Addr().String(), err})
		}
	}()
	return func() { <-ended }
}

// knownName returns what known_hosts calls a server.
func knownName(host, port string) string {
	if port == "22" {
		return host
	}
	return "[" + host + "]:" + port
}

// close waits for the end of what is served. f may be nil.
func (s *sshFront) close() {
	if s != nil {
		s.stop()
	}
}

// host returns the configuration of a host, behind its name.
func (s *sshFront) host(name string) string {
	lines := s.lines
	if !strings.Contains(lines, "HostName") {
		lines = "  HostName " + name + "\n" + lines
	}
	return lines + fmt.Sprintf(`  User %s
  IdentityFile %s
  IdentitiesOnly yes
  PreferredAuthentications publickey
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
`, name, configPath(s.keys[name]), configPath(s.knownHosts))
}

// connectCommand is the command that a ProxyCommand starts.
const connectCommand = "connect-ssh"

// newConnectSSH makes the command that connects a client with the socket of serve-ssh.
func newConnectSSH(s *state) *cobra.Command {
	return &cobra.Command{
		Use:    connectCommand + " SOCKET",
		Short:  "connect an SSH client with `mitogen serve-ssh`",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("got %d arguments, want the path of a socket", len(args))
			}
			// ssh ends it by SIGHUP when the session is over. It ends at once then, without a word.
			signal.Reset(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
			if cmd.Context().Err() != nil {
				return nil
			}
			c, err := peer.Dial(args[0])
			if err != nil {
				return fmt.Errorf("mitogen serve-ssh has ended: %w", err)
			}
			defer c.Close()
			go func() {
				io.Copy(c, s.stdin)
				c.CloseWrite()
			}()
			if _, err := io.Copy(s.stdout, c); err != nil {
				return exitError(exitFailed) // ssh says what the loss of its connection means, if anything
			}
			return nil
		},
	}
}
