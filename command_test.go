package mitogen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen"
)

// A Cmd has streams, a terminal and an end of its own.
func TestCmd(t *testing.T) { onEach(t, mitogen.Options{}, testCmd) }

func testCmd(t *testing.T, c *mitogen.Context) {
	const missing = "mitogen: /no/such: No such file or directory\n"
	for name, tt := range map[string]struct {
		cmd            *mitogen.Cmd
		stdout, stderr string
		want           mitogen.ExitError
	}{
		"streams": {c.Command("sh", "-c", "cat; echo err >&2"), "say", "err\n", mitogen.ExitError{}},
		"status":  {c.Command("sh", "-c", "exit 7"), "", "", mitogen.ExitError{Status: 7}},
		"signal": {c.Command("sh", "-c", "kill -KILL $$"), "", "",
			mitogen.ExitError{Status: -1, Signal: 9}},
		"no such":  {c.Command("/no/such"), "", missing, mitogen.ExitError{Status: 127}},
		"shell":    {c.ShellCommand("echo $((1 + 2))"), "3\n", "", mitogen.ExitError{}},
		"a login":  {c.ShellCommand(""), "", "", mitogen.ExitError{Status: 127}},
		"not UTF8": {c.Command("echo", "\xff"), "\xff\n", "", mitogen.ExitError{}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			tt.cmd.Stdin, tt.cmd.Stdout, tt.cmd.Stderr = strings.NewReader("say"), &out, &errs
			err := tt.cmd.Run(limited(t))
			got := mitogen.ExitError{}
			if e := (*mitogen.ExitError)(nil); errors.As(err, &e) {
				got = *e
			} else if err != nil {
				t.Fatal(err)
			}
			if got != tt.want || out.String() != tt.stdout ||
				name != "a login" && errs.String() != tt.stderr {
				t.Errorf("got %+v, stdout %q, stderr %q, want %+v, %q, %q",
					got, out.String(), errs.String(), tt.want, tt.stdout, tt.stderr)
			}
		})
	}
}

// Twenty programs run at once in one context, while a call does. If nothing reads the output of
// one, the rest don't stop.
func TestCmdsAtOnce(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	ctx := limited(t)
	call := c.Go("time:sleep", 0.5)
	stalled := c.Command("head", "-c", "5000000", "/dev/zero")
	r, w := io.Pipe()
	stalled.Stdout = w
	if err := stalled.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			var out bytes.Buffer
			cmd := c.Command("sh", "-c", "cat; head -c 100000 /dev/zero | wc -c")
			cmd.Stdin, cmd.Stdout = strings.NewReader(fmt.Sprintln(i)), &out
			if err := cmd.Run(ctx); err != nil || out.String() != fmt.Sprintf("%d\n100000\n", i) {
				t.Errorf("program %d: got %q, %v", i, out.String(), err)
			}
		})
	}
	all.Wait()
	go func() {
		stalled.Wait()
		w.Close()
	}()
	if n, err := io.Copy(io.Discard, r); n != 5_000_000 || err != nil {
		t.Errorf("the stalled one: got %d bytes, %v, want all", n, err)
	}
	if _, err := mitogen.Wait[any](ctx, call); err != nil {
		t.Error(err)
	}
}

// A terminal has a size, which changes, and ^C interrupts what runs on it.
func TestCmdPty(t *testing.T) { onEach(t, mitogen.Options{}, testCmdPty) }

func testCmdPty(t *testing.T, c *mitogen.Context) {
	r, w := io.Pipe()
	out := &watched{}
	cmd := c.Command("sh", "-c", "trap 'stty size' WINCH; stty size; while :; do sleep .05; done")
	cmd.Stdin, cmd.Stdout = r, out
	cmd.Pty = &mitogen.Pty{Term: "vt100", WindowSize: mitogen.WindowSize{Rows: 24, Cols: 80}}
	if err := cmd.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	out.await(t, "24 80\r\n")
	cmd.Resize(mitogen.WindowSize{Rows: 50, Cols: 132})
	out.await(t, "50 132\r\n")
	w.Write([]byte{3})
	w.Close()
	exit := (*mitogen.ExitError)(nil)
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Signal != 2 {
		t.Errorf("got %v, want signal 2", err)
	}
}

// watched is a Writer that can be waited for.
type watched struct {
	mu   sync.Mutex
	text string
	more chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text += string(b)
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
	return len(b), nil
}

func (w *watched) await(t *testing.T, text string) {
	t.Helper()
	ctx := limited(t)
	for {
		w.mu.Lock()
		found, more := strings.Contains(w.text, text), make(chan struct{})
		if w.more != nil {
			more = w.more
		}
		w.more = more
		got := w.text
		w.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("got %q, want %q", got, text)
		}
	}
}

// Output that may be missing is an error, unless all of it is waited for.
func TestCmdOutputHeld(t *testing.T) { onEach(t, mitogen.Options{}, testCmdOutputHeld) }

func testCmdOutputHeld(t *testing.T, c *mitogen.Context) {
	var all sync.WaitGroup
	for name, tt := range map[string]struct {
		script, out string
		wait        bool
		want        string
	}{
		"held": {"(sleep 4; echo late) & echo now", "now\n", false, mitogen.ErrOutputHeld.Error()},
		"by stderr": {"(exec >/dev/null; sleep 4) & echo now", "now\n", false,
			mitogen.ErrOutputHeld.Error()},
		"with status": {"(sleep 4; echo late) & echo now; exit 3", "now\n", false,
			"program: got exit status 3, want 0"},
		"waits":   {"(sleep 4; echo late) & echo now", "now\nlate\n", true, "<nil>"},
		"in time": {"(sleep .1; echo late) & echo now", "now\nlate\n", false, "<nil>"},
	} {
		all.Go(func() {
			var out, errs bytes.Buffer
			cmd := c.Command("sh", "-c", tt.script)
			cmd.Stdout, cmd.Stderr, cmd.WaitOutput = &out, &errs, tt.wait
			if err := cmd.Run(limited(t)); fmt.Sprint(err) != tt.want || out.String() != tt.out {
				t.Errorf("%s: got %q, %v, want %q, %s", name, out.String(), err, tt.out, tt.want)
			}
		})
	}
	all.Wait()
}

// Output that never pauses is closed 2 s after the program's end, too, however slowly it is taken.
func TestCmdOutputNeverPauses(t *testing.T) {
	onEach(t, mitogen.Options{}, testCmdOutputNeverPauses)
}

func testCmdOutputNeverPauses(t *testing.T, c *mitogen.Context) {
	var all sync.WaitGroup
	for _, tt := range []struct {
		name, script   string
		stdout, stderr io.Writer
	}{
		{"fast", "yes & exit 0", io.Discard, nil},
		{"slow", "yes & exit 0", sleepy{}, nil},
		{"slow stderr", "yes >&2 & exit 0", nil, sleepy{}},
	} {
		all.Go(func() {
			cmd := c.Command("sh", "-c", tt.script)
			cmd.Stdout, cmd.Stderr = tt.stdout, tt.stderr
			if err := cmd.Run(limited(t)); err != mitogen.ErrOutputHeld {
				t.Errorf("%s: got %v, want %v", tt.name, err, mitogen.ErrOutputHeld)
			}
		})
	}
	all.Wait()
}

// sleepy is a Writer that takes its time.
type sleepy struct{}

func (sleepy) Write(b []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return len(b), nil
}

// broken is a Writer that nothing reads any more after its first write, or one with another error.
type broken struct {
	err  error
	full bool
}

func (b *broken) Write(p []byte) (int, error) {
	if b.full {
		return 0, b.err
	}
	b.full = true
	return len(p), nil
}

// A stream that nothing reads any more is closed for the program, and ends nothing else.
func TestCmdUnread(t *testing.T) { onEach(t, mitogen.Options{}, testCmdUnread) }

func testCmdUnread(t *testing.T, c *mitogen.Context) {
	epipe := &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
	const pipe = "program: got signal 13, want exit status 0"
	for name, tt := range map[string]struct {
		script         string
		stdout, stderr io.Writer
		want           string
	}{
		"stdout": {"exec yes", &broken{err: epipe}, nil, pipe},
		"stderr": {"exec yes >&2", nil, &broken{err: io.ErrClosedPipe}, pipe},
		"goes on": {"trap '' PIPE; yes 2>/dev/null; exit 5", &broken{err: epipe}, nil,
			"program: got exit status 5, want 0"},
		"not noticed": {"yes | head -n 300000; exit 0", &broken{err: epipe}, nil, "<nil>"},
		"another":     {"exec yes", &broken{err: syscall.ENOSPC}, nil, "no space left on device"},
	} {
		cmd := c.Command("sh", "-c", tt.script)
		cmd.Stdout, cmd.Stderr = tt.stdout, tt.stderr
		if err := cmd.Run(limited(t)); !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

// A terminal needs no Stdin.
func TestCmdPtyWithoutStdin(t *testing.T) { onEach(t, mitogen.Options{}, testCmdPtyWithoutStdin) }

func testCmdPtyWithoutStdin(t *testing.T, c *mitogen.Context) {
	var out bytes.Buffer
	cmd := c.Command("sh", "-c", "stty size <&1; cat; echo on it >/dev/tty")
	cmd.Stdout, cmd.Pty = &out, &mitogen.Pty{Term: "vt100",
		WindowSize: mitogen.WindowSize{Rows: 24, Cols: 80}}
	if err := cmd.Run(limited(t)); err != nil || out.String() != "24 80\r\non it\r\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// What is done in the wrong order is an error.
func TestCmdMisused(t *testing.T) {
	c := connected(t, newEngine(t, mitogen.Options{}), mitogen.ConnectOptions{})
	fresh, used := c.Command("true"), c.Command("true")
	if err := used.Run(limited(t)); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"wait":       fresh.Wait(),
		"resize":     fresh.Resize(mitogen.WindowSize{}),
		"signal":     fresh.Signal("TERM"),
		"no context": (&mitogen.Cmd{Args: []string{"true"}}).Start(limited(t)),
		"wait again": used.Wait(),
		"twice":      used.Start(limited(t)),
		"no command": (&mitogen.Cmd{}).Run(limited(t)),
	} {
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// The end of ctx ends a program that Wait isn't called for.
func TestCmdEndsWithContext(t *testing.T) {
	onEach(t, mitogen.Options{Grace: 1}, testCmdEndsWithContext)
}

func testCmdEndsWithContext(t *testing.T, c *mitogen.Context) {
	ctx, cancel := context.WithTimeout(limited(t), 300*time.Millisecond)
	defer cancel()
	out := &watched{}
	cmd := c.Command("sh", "-c", "trap '' TERM HUP; echo $$ is it; sleep 1000; sleep 1000")
	cmd.Stdout = out
	if err := cmd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	out.await(t, "is it")
	var pid int
	if _, err := fmt.Sscan(out.text, &pid); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(10 * time.Second)
	for ; syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the program still runs 10 s after the end of ctx")
		}
	}
	if err := cmd.Wait(); !errors.Is(err, mitogen.ErrCancelled) {
		t.Errorf("got %v, want %v", err, mitogen.ErrCancelled)
	}
}

// A program that is cancelled ends, whatever it does about it, and its context stays.
func TestCmdCancelled(t *testing.T) { onEach(t, mitogen.Options{Grace: 1}, testCmdCancelled) }

func testCmdCancelled(t *testing.T, c *mitogen.Context) {
	for name, script := range map[string]string{
		"ends":      "echo started; exec sleep 1000",
		"goes on":   "trap '' TERM HUP; echo started; sleep 1000; sleep 1000",
		"a process": "(trap '' TERM HUP; echo started; sleep 1000; sleep 1000)",
	} {
		ctx, cancel := context.WithCancel(limited(t))
		out := &watched{}
		cmd := c.Command("sh", "-c", script)
		cmd.Stdout = out
		if err := cmd.Start(ctx); err != nil {
			t.Fatal(err)
		}
		out.await(t, "started")
		cancel()
		if err := cmd.Wait(); !errors.Is(err, mitogen.ErrCancelled) {
			t.Errorf("%s: got %v, want %v", name, err, mitogen.ErrCancelled)
		}
		behind(t, c)
	}
}
