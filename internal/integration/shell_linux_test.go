package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen/internal/lab"
)

// terminal is a command on a terminal of this machine.
type terminal struct {
	t   *testing.T
	pty *os.File
	cmd *exec.Cmd
	end chan struct{} // closed when all is seen

	mu   sync.Mutex // protects following
	seen strings.Builder
}

// onTerminal starts a command. The terminal has 30 rows and 100 columns.
func onTerminal(t *testing.T, env []string, name string, args ...string) *terminal {
	t.Helper()
	size := pty.Winsize{Rows: 30, Cols: 100}
	c := &terminal{t: t, cmd: exec.Command(name, args...), end: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), append(env, "NO_COLOR=1", "TERM=vt220")...)
	var err error
	if c.pty, err = pty.StartWithSize(c.cmd, &size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill(); c.pty.Close() })
	go func() {
		defer close(c.end)
		for b := make([]byte, 4096); ; {
			n, err := c.pty.Read(b)
			c.mu.Lock()
			c.seen.Write(b[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *terminal) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}

// until waits for what is true.
func (c *terminal) until(what string, true func() bool) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%s doesn't come after %q", what, c.text())
		}
	}
}

func (c *terminal) wait(text string) {
	c.t.Helper()
	c.until(text, func() bool { return strings.Contains(c.text(), text) })
}

func (c *terminal) raw() bool {
	mode, err := unix.IoctlGetTermios(int(c.pty.Fd()), unix.TCGETS)
	return err == nil && mode.Lflag&unix.ECHO == 0
}

// ready waits until keys are for what runs there.
func (c *terminal) ready() {
	c.t.Helper()
	c.until("the shell's terminal", c.raw)
}

// ends checks how the command ends, and that its terminal is as before.
func (c *terminal) ends(status int) {
	c.t.Helper()
	select {
	case <-c.end:
	case <-time.After(time.Minute):
		c.t.Fatalf("doesn't end after %q", c.text())
	}
	c.cmd.Wait()
	if got := c.cmd.ProcessState.ExitCode(); got != status || c.raw() {
		c.t.Errorf("got status %d, raw: %v, want %d and a terminal as before; printed %q",
			got, c.raw(), status, c.text())
	}
}

// A login, and root behind sudo with a password, have their own shell, home and terminal, by one
// login; also from a daemon.
func TestShells(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	port := l.NewPort(t)
	daemon := []string{"MITOGEN_SOCKET=" + t.TempDir() + "/s/d"}
	t.Cleanup(func() {
		stop := exec.Command(program, "daemon", "stop")
		stop.Env = append(os.Environ(), daemon...)
		stop.Run()
	})
	for _, tt := range []struct {
		target, user string
		flags, env   []string
	}{
		{lab.Free, lab.Free, nil, nil},
		{lab.Pass + "+sudo", "root", nil, nil},
		{lab.Free + "+sudo:" + lab.None, lab.None, nil, nil},
		{lab.TTY + "+sudo", "root", []string{"--daemon"}, daemon},
	} {
		before := logins(port)
		args := append([]string{"shell", "-F", l.Config, "--host-keys", "off",
			"-p", fmt.Sprint(port.Number), "-t", tt.target}, tt.flags...)
		env := append([]string{"MITOGEN_BECOME_PASSWORD=" + l.Password, "LC_TEST=sent"}, tt.env...)
		c := onTerminal(t, env, program, args...)
		c.ready()
		const look = `echo "$(id -un),$HOME,$PWD,$LC_TEST,$TERM,$(stty size),$0."`
		c.pty.WriteString("PS1=\r" + look + "\r")
		home, shell := account(t, tt.user)
		c.wait(fmt.Sprintf("%s,%s,%s,sent,vt220,30 100,-%s.", tt.user, home, home, shell))
		pty.Setsize(c.pty, &pty.Winsize{Rows: 31, Cols: 101})
		c.until("the new size", func() bool {
			c.pty.WriteString("stty size\r")
			time.Sleep(20 * time.Millisecond)
			return strings.Contains(c.text(), "31 101\r\n")
		})
		c.pty.WriteString("exit 5\r")
		c.ends(5)
		if n := logins(port) - before; n != 1 {
			t.Errorf("%s: got %d logins, want 1", tt.target, n)
		}
	}
}

// A prompt behind sudo, and one from a daemon, whose contexts do other work meanwhile.
func TestRepls(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	dir := t.TempDir()
	const own = "import os\nuid = os.getuid()\nsize = lambda: os.popen('stty size </dev/tty').read()\n"
	if err := os.WriteFile(dir+"/own.py", []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := t.TempDir() + "/s/d"
	env := []string{"MITOGEN_BECOME_PASSWORD=" + l.Password, "MITOGEN_SOCKET=" + socket}
	mitogen := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	t.Cleanup(func() { mitogen("daemon", "stop").Run() })
	for _, flags := range [][]string{nil, {"--daemon"}} {
		where := append([]string{"-F", l.Config, "-t", lab.Pass + "+sudo"}, flags...)
		args := append(append([]string{"repl"}, where...), "--path", dir)
		callWorks := func(when string) {
			call := mitogen(append(append([]string{"call"}, where...), "os:getuid")...)
			if out, err := call.CombinedOutput(); err != nil || string(out) != "0\n" {
				t.Errorf("%q, %s the prompt: got %q, %v", flags, when, out, err)
			}
		}
		c := onTerminal(t, env, program, args...)
		c.wait(">>> ")
		c.ready()
		c.pty.WriteString("import own; 'uid %d, %s' % (own.uid, own.size())\r")
		c.wait("'uid 0, 30 100\\n'")
		callWorks("beside")
		c.pty.WriteString("\r~.")
		c.ends(255)
		callWorks("after")
	}
}

// account is an account's home directory, and the name of its shell.
func account(t *testing.T, name string) (home, shell string) {
	t.Helper()
	out, err := exec.Command("getent", "passwd", name).Output()
	fields := strings.Split(strings.TrimSpace(string(out)), ":")
	if err != nil || len(fields) != 7 {
		t.Fatalf("account %s: got %q, %v", name, out, err)
	}
	return fields[5], fields[6][strings.LastIndexByte(fields[6], '/')+1:]
}

// A connection that is lost, or that ~. leaves because nothing comes any more, leaves the terminal
// as it was.
func TestShellIsLost(t *testing.T) {
	l := lab.Need(t)
	program := buildMitogen(t)
	for _, tt := range []struct {
		signal syscall.Signal // to ssh
		typed  string
		says   string
	}{
		{syscall.SIGKILL, "", "error: " + lab.Free + " lost"},
		{syscall.SIGTERM, "", "error: " + lab.Free + " lost"},
		{syscall.SIGSTOP, "\r~.", "connection to " + lab.Free + " closed"},
	} {
		c := onTerminal(t, nil, program, "shell", "-F", l.Config, "-t", lab.Free)
		c.ready()
		c.pty.WriteString("PS1=; echo u''p\r")
		c.wait("up\r\n")
		ssh := childOf(t, c.cmd.Process.Pid, "ssh")
		if err := syscall.Kill(ssh, tt.signal); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.pty.WriteString(tt.typed)
		c.ends(255)
		t.Logf("%v: ended after %v", tt.signal, time.Since(began))
		if !strings.Contains(c.text(), tt.says) {
			t.Errorf("%v: printed %q, want %q", tt.signal, c.text(), tt.says)
		}
	}
}

// childOf returns the process of a name that another has started.
func childOf(t *testing.T, parent int, name string) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(parent), "-x", name).Output()
	pid := 0
	if _, scan := fmt.Sscan(string(out), &pid); err != nil || scan != nil {
		t.Fatalf("%s of process %d: got %q, %v", name, parent, out, err)
	}
	return pid
}
