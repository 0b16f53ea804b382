package cli

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/mitogen-go/mitogen/internal/demo"
)

// console is a command on a terminal.
type console struct {
	t   *testing.T
	pty *os.File
	cmd *exec.Cmd

	mu   sync.Mutex // protects seen
	seen bytes.Buffer
	end  chan struct{} // closed when all is seen
}

// startConsole starts mitogen with all its streams on a terminal.
func startConsole(t *testing.T, args ...string) *console {
	t.Helper()
	c := &console{t: t, cmd: exec.Command("mitogen", args...), end: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	var err error
	if c.pty, err = pty.StartWithSize(c.cmd, &pty.Winsize{Rows: 24, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill(); c.pty.Close() })
	go func() {
		defer close(c.end)
		buf := make([]byte, 4096)
		for {
			n, err := c.pty.Read(buf)
			c.mu.Lock()
			c.seen.Write(buf[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}

func (c *console) wait(text string) {
	c.t.Helper()
	c.waitFor(text, func() bool { return strings.Contains(c.text(), text) })
}

// waitFor waits until something is true.
func (c *console) waitFor(what string, true func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("no %q in %q", what, c.text())
		}
	}
}

// status waits for the end.
func (c *console) status() int {
	c.t.Helper()
	select {
	case <-c.end:
	case <-time.After(patience):
		c.t.Fatalf("does not end after %q", c.text())
	}
	c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

// serve starts a server and returns a configuration for it.
func serve(t *testing.T) (config string) {
	t.Helper()
	server, err := demo.Serve(demo.ServerOptions{Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if config, err = writeConfig(server, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return config
}

// Ctrl-C at a question ends the command.
func TestCtrlCAtQuestion(t *testing.T) {
	config := serve(t)
	for _, args := range [][]string{{"--ask-pass"}, nil} {
		c := startConsole(t, append([]string{"ping", "-F", config, "-t", "asks"}, args...)...)
		c.wait("password: ")
		c.pty.WriteString("\x03")
		if got := c.status(); got != exitInterrupted ||
			!strings.Contains(c.text(), "error:\x1b[0m interrupted") {
			t.Errorf("%q: status %d, printed %q", args, got, c.text())
		}
	}
}

func TestPasswordIsNotEchoed(t *testing.T) {
	config := serve(t)
	c := startConsole(t, "run", "-F", config, "-t", "asks", "-c", "print('it is ' + 'in')")
	c.wait("password: ")
	if !strings.Contains(c.text(), "asks: ") {
		t.Errorf("the question %q doesn't name the hop", c.text())
	}
	c.pty.WriteString(password + "\r")
	c.wait("it is in")
	if got := c.status(); got != 0 {
		t.Errorf("status %d", got)
	}
	if strings.Contains(c.text(), "sesame") {
		t.Errorf("the password is in %q", c.text())
	}
}

func TestCtrlCOnTerminal(t *testing.T) {
	c := startConsole(t, "run", "-t", "local", "-c",
		"import sys, time; print('up'); sys.stdout.flush(); time.sleep(1000)")
	c.wait("up")
	c.pty.WriteString("\x03")
	if got := c.status(); got != exitInterrupted {
		t.Errorf("status %d, printed %q", got, c.text())
	}
}

// One target passes escapes on, as ssh does; of several none does more than print. Colour and
// progress are there.
func TestEscapesOnTerminal(t *testing.T) {
	const code = `import sys; sys.stdout.write('\x1b[2J\x1b]0;title\x07tab\there\r\n')`
	one := startConsole(t, "run", "-t", "local", "-c", code)
	if one.status(); !strings.Contains(one.text(), "\x1b[2J\x1b]0;title\x07") {
		t.Errorf("one target: %q", one.text())
	}
	two := startConsole(t, "run", "-t", "local,local", "-c", code)
	status, text := two.status(), two.text()
	if status != 0 || strings.Contains(text, "\x1b[2J") || strings.Contains(text, "\x1b]0") {
		t.Errorf("two targets: status %d, %q", status, text)
	}
	for _, want := range []string{`\x1b[2J\x1b]0;title\x07tab    here`, "\x1b[", "local:\x1b[0m ",
		"1 of 2 done", "2 of 2 done"} {
		if !strings.Contains(text, want) {
			t.Errorf("two targets: no %q in %q", want, text)
		}
	}
	plain := startConsole(t, "run", "--no-color", "-t", "local,local", "-c", "print(1)")
	if plain.status(); strings.Contains(plain.text(), "\x1b") {
		t.Errorf("--no-color: %q", plain.text())
	}
	quiet := startConsole(t, "run", "--quiet", "-t", "local,local", "-c", "print(1)")
	if quiet.status(); strings.Contains(quiet.text(), "done") {
		t.Errorf("--quiet: %q", quiet.text())
	}
}
