package cli

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// waitRaw waits until the terminal passes keys as they are typed.
func (c *console) waitRaw() {
	c.t.Helper()
	c.waitFor("terminal that passes keys", func() bool { return !echoes(c.t, c.pty) })
}

// shellOf starts mitogen shell with a plain sh, once it takes commands.
func shellOf(t *testing.T, args ...string) *console {
	t.Helper()
	c := startConsole(t, append([]string{"shell"}, args...)...)
	c.waitRaw()
	c.pty.WriteString("PS1=; echo u''p\r")
	c.wait("up\r\n")
	return c
}

// ends checks how a command ends, and that its terminal is as before.
func (c *console) ends(status int) {
	c.t.Helper()
	if got := c.status(); got != status {
		c.t.Errorf("got status %d, want %d; printed %q", got, status, c.text())
	}
	if !echoes(c.t, c.pty) {
		c.t.Errorf("the terminal doesn't echo after %q", c.text())
	}
}

var plainShell = []string{"-t", "local", "--", "sh", "-i"}

// The terminal there is of the size of the one here, as long as both last.
func TestShellResize(t *testing.T) {
	c := shellOf(t, plainShell...)
	c.pty.WriteString("stty size; tty; echo $TERM\r")
	c.wait("24 60\r\n")
	c.wait("xterm\r\n")
	const watch = "sh -c 'trap \"stty size\" WINCH; echo wa\"\"tches; while :; do sleep .05; done'\r"
	c.pty.WriteString(watch)
	c.wait("watches\r\n")
	for _, size := range [][2]uint16{{50, 132}, {7, 11}, {25, 61}} {
		pty.Setsize(c.pty, &pty.Winsize{Rows: size[0], Cols: size[1]})
		c.wait(fmt.Sprintf("%d %d\r\n", size[0], size[1]))
	}
	c.pty.WriteString("\x03")
	c.pty.WriteString("exit 7\r")
	c.ends(7)
}

// Ctrl-C and Ctrl-Z are for what runs there, and the end of input too.
func TestShellKeys(t *testing.T) {
	c := shellOf(t, plainShell...)
	c.pty.WriteString("sleep 1000; echo sle''pt\r\x03")
	time.Sleep(100 * time.Millisecond)
	c.pty.WriteString("\x03\rtrap 'echo got INT' INT\r\x03\recho f''ine; cat\r")
	c.wait("fine\r\n")
	c.pty.WriteString("ty\x7fyped\r")
	c.wait("typed\r\n")
	c.pty.WriteString("\x04exit 3\r")
	c.ends(3)
	if strings.Contains(c.text(), "slept") {
		t.Errorf("Ctrl-C doesn't interrupt: %q", c.text())
	}
}

// The escape character ends, tells, and can be typed; only at the beginning of a line.
func TestShellEscape(t *testing.T) {
	for _, tt := range []struct {
		flags []string
		typed string
		want  string // what is shown
		ends  string // what is typed then
		code  int
	}{
		{nil, "echo a~.b\r", "a~.b\r\n", "~.", exitConnection},
		{nil, "~~. echo tilde\r", "~.", "~.", exitConnection},
		{nil, "~?", "ends the connection\r\n", "~.", exitConnection},
		{[]string{"-e", "%"}, "echo t''ilde; ~.\r", "tilde\r\n", "%.", exitConnection},
		{[]string{"-e", "^]"}, "~.\recho t''ilde\r", "tilde\r\n", "\x1d.", exitConnection},
		{[]string{"-e", "none"}, "~.\recho t''ilde\r", "tilde\r\n", "exit 4\r", 4},
		{[]string{"--escape=none"}, "~?\recho t''ilde\r", "tilde\r\n", "exit 5\r", 5},
	} {
		c := shellOf(t, append(tt.flags, plainShell...)...)
		c.pty.WriteString(tt.typed)
		c.wait(tt.want)
		if tt.code == exitConnection {
			c.pty.WriteString("\r")
		}
		c.pty.WriteString(tt.ends)
		c.ends(tt.code)
		closed := strings.Contains(c.text(), "connection to local closed\r\n")
		if closed != (tt.code == exitConnection) {
			t.Errorf("%q: printed %q", tt.typed, c.text())
		}
	}
	for _, bad := range []string{"ab", "^\x80", "ä", "nones"} {
		cmd := exec.Command("mitogen", "shell", "-e", bad, "-t", "local")
		out, _ := cmd.CombinedOutput()
		refused := strings.Contains(string(out), "--escape: bad escape character")
		if got := cmd.ProcessState.ExitCode(); got != exitUsage || !refused {
			t.Errorf("-e %q: got status %d, %s, want %d", bad, got, out, exitUsage)
		}
	}
}

// However the command ends, the terminal is as it was before.
func TestShellRestoresTerminal(t *testing.T) {
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	for _, sig := range signals {
		c := shellOf(t, plainShell...)
		syscall.Kill(c.cmd.Process.Pid, sig)
		c.ends(signalStatus + int(sig))
	}
	c := shellOf(t, plainShell...)
	c.pty.WriteString("kill -9 $PPID\r") // the context
	c.ends(exitConnection)
	if !strings.Contains(c.text(), "error:\x1b[0m local lost: ") {
		t.Errorf("lost: printed %q", c.text())
	}
	c = shellOf(t, plainShell...)
	c.pty.WriteString("kill -9 $$\r")
	c.ends(exitConnection)
	c = startConsole(t, "shell", "-t", "local", "--", "/no/such/program")
	c.wait("mitogen: /no/such/program: No such file or directory\r\n")
	c.ends(127)
	c = startConsole(t, "shell", "-t", "exec:/no/such/way")
	c.ends(exitConnection)
	c = startConsole(t, "shell", "-t", "local", "--python", "/no/such/python", "--", "sh", "-c",
		"exit 7") // which needs none
	c.ends(7)
}

// A command's questions come before the terminal is the shell's.
func TestShellAsks(t *testing.T) {
	config := serve(t)
	c := startConsole(t, "shell", "-F", config, "-t", "asks", "--", "sh", "-i")
	c.wait("password: ")
	c.pty.WriteString(password + "\r")
	c.waitRaw()
	c.pty.WriteString("PS1=; echo u''p; tty\r")
	c.wait("up\r\n")
	c.wait("/dev/pts/")
	c.pty.WriteString("exit 6\r")
	c.ends(6)
	if strings.Contains(c.text(), "sesame") {
		t.Errorf("the password is in %q", c.text())
	}
}

// Without a terminal the account's shell reads commands, and its streams stay apart, as with ssh.
func TestShellWithoutTerminal(t *testing.T) {
	home := accountHome(t)
	for _, tt := range []struct {
		args        []string
		in          string
		out, errors string
		code        int
	}{
		{nil, "echo out; echo err >&2; pwd; exit 9", "out\n" + home + "\n", "err\n", 9},
		{nil, "test -t 0 || echo none; kill -9 $$", "none\n", "", exitConnection},
		{nil, "(sleep .3; echo late) & exit 2", "late\n", "", 2},
		{[]string{"--", "sh", "-c", "cat; exit $1", "sh", "4"}, "a b\n", "a b\n", "", 4},
		{[]string{"--", "printf", "%s|", "a b", "$HOME"}, "", "a b|$HOME|", "", 0},
		{nil, "echo $LC_TEST $LANG", "test de_DE.UTF-8\n", "", 0},
	} {
		cmd := exec.Command("mitogen", append([]string{"shell", "-t", "local"}, tt.args...)...)
		cmd.Env = append(os.Environ(), "LC_TEST=test", "LANG=de_DE.UTF-8")
		cmd.Stdin = strings.NewReader(tt.in)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != tt.code {
			t.Errorf("%q: got status %d (%v), want %d", tt.in, got, err, tt.code)
		}
		if stdout.String() != tt.out || stderr.String() != tt.errors {
			t.Errorf("%q: got %q and %q, want %q and %q",
				tt.in, stdout.String(), stderr.String(), tt.out, tt.errors)
		}
	}
}

// An account that the user database doesn't know, as in a container, has a shell and a directory.
func TestShellOfNoAccount(t *testing.T) {
	const as = "setpriv --reuid 54321 --regid 54321 --clear-groups "
	const python = "/usr/bin/python3"
	if exec.Command("sh", "-c", as+python+" -c pass").Run() != nil {
		t.Skip("needs setpriv, root, and a Python that all may use")
	}
	cmd := exec.Command("mitogen", "shell", "--python", python, "-t", "exec:"+as+"sh")
	cmd.Stdin = strings.NewReader("echo $0,$PWD,$HOME,$SHELL,$USER; id -u; exit 3")
	out, _ := cmd.CombinedOutput()
	const want = "-sh,/,/,/bin/sh,54321\n54321\n"
	if got := cmd.ProcessState.ExitCode(); got != 3 || string(out) != want {
		t.Errorf("got status %d, %q, want 3, %q", got, out, want)
	}
}

// What goes along is of the locale, and not ours.
func TestLocaleVariables(t *testing.T) {
	got := localeVariables([]string{"LANG=C", "LC_ALL=", "LC_X=a=b", "LC_MITO=x", "LC_MITO_DATA=y",
		"LC_MITO_DATE=z", "LANGUAGE=de", "MY_LC_X=1", "LC_BARE"})
	want := map[string]string{
		"LANG": "C", "LC_ALL": "", "LC_X": "a=b", "LC_MITO_DATE": "z", "LC_BARE": "",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// accountHome is the home directory of this account, as the user database has it.
func accountHome(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `getent passwd "$(id -u)" | cut -d: -f6`).Output()
	if err != nil {
		t.Skip(err)
	}
	return strings.TrimSpace(string(out))
}

// What makes no sense for one terminal is refused before anything is connected to.
func TestShellUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-t", "local,local"}, {"-t", "local", "--json"}, {"-i", "a,b"},
		{"-t", "local", "-e", "xy"},
	} {
		cmd := exec.Command("mitogen", append([]string{"shell"}, args...)...)
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitUsage {
			t.Errorf("%q: got %v, %s, want status %d", args, err, out, exitUsage)
		}
	}
}
