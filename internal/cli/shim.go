package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mitogen-go/mitogen/internal/muxserve"
	"github.com/mitogen-go/mitogen/internal/peer"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/sshargs"
	"golang.org/x/sys/unix"
)

// withVariable is the environment variable with the socket of the `mitogen with` above a process.
const withVariable = "MITOGEN_WITH"

// sshPrograms are the names of shims in the search path of the command that `mitogen with` starts.
var sshPrograms = []string{"ssh", "scp", "sftp"}

// init makes this program ssh, scp or sftp if a shim of `mitogen with` has started it by that name,
// and sshpass for a task of Ansible that a daemon has lent its ssh.
func init() {
	socket, within := os.LookupEnv(withVariable)
	if within && os.Args[0] == behindName {
		stayBehind()
		os.Exit(0)
	}
	name := filepath.Base(os.Args[0])
	if within && (slices.Contains(sshPrograms, name) || name == passProgram) {
		os.Exit(shim(socket, name, os.Args[1:]))
	}
}

// newSSH makes the command that is an ssh for programs with an option for the ssh that they use.
func newSSH(*state) *cobra.Command {
	return &cobra.Command{
		Use:   "ssh [ARGUMENTS OF SSH...]",
		Short: "be the ssh of a command that `mitogen with` has started",
		Long: `Does what ssh does with the same arguments, inside of "mitogen with", where host
is the name of a target: for programs that have an option for the ssh that they
use, as rsync -e "mitogen ssh".`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Equal(args, []string{"--help"}) || slices.Equal(args, []string{"-h"}) {
				return cmd.Help()
			}
			socket, within := os.LookupEnv(withVariable)
			if !within {
				return usagef("not inside of `mitogen with`")
			}
			if status := shim(socket, "ssh", args); status != 0 {
				return exitError(status)
			}
			return nil
		},
	}
}

// passProgram gives passwords to the ssh of a command that it starts. Here, no ssh asks for any.
const passProgram = "sshpass"

// execCommand executes the command that sshpass was given. Its other arguments say where a password
// is, which nothing reads.
func execCommand(args []string) int {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if len(args[0]) == 2 && strings.ContainsAny(args[0][1:], "dfpP") {
			args = args[1:]
		}
		args = args[min(1, len(args)):]
	}
	if len(args) == 0 {
		return 1 // as sshpass does, where its presence is tried
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = syscall.Exec(path, args, os.Environ())
	}
	fmt.Fprintf(os.Stderr, "%s: execute %s: %v\n", passProgram, printable.Name(args[0]), err)
	return 3 // as sshpass does
}

// shim is ssh, or starts another program with it.
func shim(socket, name string, args []string) int {
	switch name {
	case "ssh":
	case passProgram:
		return execCommand(args)
	default:
		return execWithShim(name, args)
	}
	status, err := sshByTree(socket, args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "ssh: %s\n", printable.Line(err.Error()))
		return exitConnection
	}
	return status
}

// execWithShim executes the machine's own scp or sftp, which look for ssh elsewhere than in PATH.
// Each `mitogen with` around this one has its own directory of shims in PATH: one of those would
// execute this program again.
func execWithShim(name string, args []string) int {
	for _, at := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(at, name)
		st, err := os.Stat(path)
		if err != nil || st.IsDir() || st.Mode()&0o111 == 0 ||
			strings.HasPrefix(filepath.Base(at), shimPrefix) {
			continue
		}
		err = syscall.Exec(path, append([]string{name, "-S", shimPath()}, args...), os.Environ())
		fmt.Fprintf(os.Stderr, "%s: execute %s: %v\n", name, path, err)
		return exitConnection
	}
	fmt.Fprintf(os.Stderr, "%s: not installed on this machine\n", name)
	return 127
}

// lender names the program that this ssh belongs to, for messages. The ssh of a task of Ansible is
// beside its socket.
func lender() string {
	if filepath.Dir(shimPath()) == filepath.Dir(os.Getenv(withVariable)) {
		return "the task of Ansible that this ssh is for"
	}
	return "mitogen with"
}

// shimPath is the ssh of the `mitogen with` that this process is below.
func shimPath() string { return os.Getenv("MITOGEN_SSH") }

// sshByTree does what ssh does with args, by a `mitogen with`. Where there is an error, ssh would
// end with 255.
func sshByTree(socket string, args []string) (int, error) {
	a, err := sshargs.Parse(args)
	if err != nil {
		return 0, err
	}
	target := a.Host
	if a.User != "" {
		target = a.User + "@" + a.Host
	}
	switch {
	case a.Version:
		fmt.Fprintln(os.Stderr, "OpenSSH_9.2 (mitogen)")
		return 0, nil
	case a.Query != "":
		return 0, nil
	case a.Config:
		fmt.Printf("host %s\nhostname %s\nuser %s\nport %d\n", a.Host, a.Host, a.User, max(a.Port, 22))
		return 0, nil
	}
	if controls := []string{"", "check", "exit", "stop"}; !slices.Contains(controls, a.Control) {
		return 0, fmt.Errorf("-O %s: want check, exit or stop", printable.Name(a.Control))
	}
	c, err := peer.Dial(socket)
	if err != nil {
		return 0, fmt.Errorf("%s has ended: %w", lender(), err)
	}
	m, err := muxserve.Open(c, target)
	if err != nil {
		return 0, fmt.Errorf("greet %s: %w", lender(), err)
	}
	if a.Control != "" {
		if err := m.Check(); err != nil {
			return 0, err
		}
		if a.Control == "check" {
			fmt.Fprintf(os.Stderr, "Master running (pid=%d)\r\n", m.Server)
		}
		return 0, nil
	}
	if a.Stdio != "" {
		return stdioByTree(m, a.Stdio, os.Stdin, os.Stdout)
	}
	if a.Behind {
		if err := m.Ready(); err != nil {
			return 0, err
		}
	}
	if err := forwardByTree(m, a.Forwards); err != nil {
		return 0, err
	}
	switch {
	case a.NoCommand && a.Behind:
		if err := m.BeginHold(); err != nil {
			return 0, err
		}
		return 0, goBehind(m)
	case a.NoCommand && len(a.Forwards) > 0:
		return 0, m.Hold()
	}
	return runByTree(m, a)
}

// behindName is the name of the process that an ssh -f leaves.
const behindName = "mitogen-ssh-f"

// goBehind starts a process that keeps m's connection until the end of what was asked for, or of
// `mitogen with`. Its arguments are ours. If it is killed, what was asked for ends.
func goBehind(m *muxserve.Client) error {
	f, err := m.File()
	if err != nil {
		return err
	}
	defer f.Close()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe)
	cmd.Args = append([]string{behindName}, os.Args[1:]...)
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("-f: %w", err)
	}
	return nil
}

// stayBehind is the life of the process that goBehind starts.
func stayBehind() {
	const extra = 3 // the first of ExtraFiles
	io.Copy(io.Discard, os.NewFile(extra, "mitogen with"))
}

// runByTree has a session run.
func runByTree(m *muxserve.Client, a *sshargs.Args) (int, error) {
	stdin := os.Stdin
	switch {
	case a.NoCommand:
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		defer w.Close() // its end is the end of the session
		stdin = r
	case a.NoStdin:
		null, err := os.Open(os.DevNull)
		if err != nil {
			return 0, err
		}
		stdin = null
	}
	escape, err := a.EscapeCharacter()
	if err != nil {
		return 0, err
	}
	keyboard := term.IsTerminal(int(stdin.Fd()))
	feed := func() {}
	if keyboard {
		// mitogen with is in the background of a shell with job control, and can't read it.
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		stdin, feed = r, func() {
			feedPipe(w, os.Stdin)
			w.Close()
		}
	}
	r := &muxserve.Request{Command: a.Command, Subsystem: a.Subsystem,
		Term: os.Getenv("TERM"), Env: a.Environment(os.Environ()),
		Escape: escape, Stdin: stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	r.TTY = a.Terminal == sshargs.TerminalForce || a.Terminal != sshargs.TerminalNever && keyboard
	if a.NoCommand {
		r.Command, r.TTY = ":; exec cat >/dev/null", false
	}
	if err := askAgent(r, a); err != nil {
		return 0, err
	}
	if err := m.Start(r); err != nil {
		return 0, err
	}
	if a.Behind {
		return 0, goBehind(m)
	}
	stdin.Close()
	if r.TTY && keyboard {
		defer rawShim(m, os.Stdin)()
	}
	go feed()
	status, err := m.Wait()
	if err == io.EOF {
		err = errors.New(lender() + " has ended")
	}
	return status, err
}

// feedPipe copies the keyboard to a pipe until the keyboard ends or the pipe's reader is closed.
// It leaves what is typed afterwards to the shell.
func feedPipe(w, keyboard *os.File) {
	b := make([]byte, 4096)
	for {
		fds := []unix.PollFd{{Fd: int32(keyboard.Fd()), Events: unix.POLLIN}, {Fd: int32(w.Fd())}}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err == nil && fds[1].Revents != 0 {
			return
		}
		n, err := keyboard.Read(b)
		if _, failed := w.Write(b[:n]); err != nil || failed != nil {
			return
		}
	}
}

// rawShim has the terminal pass keys as they are typed, and its size be known there. A signal that
// ends this process restores the terminal first.
func rawShim(m *muxserve.Client, tty *os.File) (restore func()) {
	raw, err := rawTTY(tty)
	if err != nil {
		return func() {}
	}
	stop := onSignals(func(sig os.Signal) {
		if sig == syscall.SIGWINCH {
			syscall.Kill(m.Server, syscall.SIGWINCH)
			return
		}
		rawTerminals.restore()
		os.Exit(exitConnection)
	}, syscall.SIGWINCH, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	return func() {
		stop()
		raw()
	}
}
