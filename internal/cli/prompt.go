package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/secret"
)

// errNoTerminal is the error of a question without a terminal to ask on.
var errNoTerminal = errors.New("no terminal to ask on")

// openTTY opens the terminal. It is a file of its own, so that reads can be given up.
func openTTY() (*os.File, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	return f, nil
}

// prompter answers ssh's questions: nil where there is no terminal, so that ssh is told not to ask.
func (s *state) prompter() func(context.Context, connect.Prompt) (string, error) {
	tty, err := openTTY()
	if err != nil {
		return nil
	}
	tty.Close()
	return func(ctx context.Context, p connect.Prompt) (string, error) {
		text := question(p)
		if p.Kind == connect.PromptNotice {
			return "", s.notice(text)
		}
		visible := p.Kind == connect.PromptHostKey || p.Kind == connect.PromptConfirm
		return s.ask(ctx, strings.TrimRight(text, " ")+" ", visible)
	}
}

// question returns the lines of a question, each behind the name of the hop that asks: a server may
// word it.
func question(p connect.Prompt) string {
	lines := strings.Split(strings.TrimRight(p.Text, "\r\n"), "\n")
	for i, line := range lines {
		lines[i] = printable.Line(p.Hop) + ": " + printable.Line(strings.TrimRight(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// notice shows a text that needs no answer.
func (s *state) notice(text string) (err error) {
	s.ui.alone(func() {
		var tty *os.File
		if tty, err = openTTY(); err == nil {
			fmt.Fprintln(tty, text)
			err = tty.Close()
		}
	})
	return err
}

// ask puts a question on the terminal and returns the line that is typed, shown only if visible.
// Questions come one at a time, and output waits meanwhile. Ctrl-C interrupts the command.
func (s *state) ask(ctx context.Context, text string, visible bool) (answer string, err error) {
	s.ui.alone(func() {
		s.typed.pause()
		defer s.typed.resume()
		if err = ctx.Err(); err == nil {
			answer, err = askTTY(ctx, text, visible)
		}
	})
	if !visible {
		secret.Wiped() // once it is given to whom it is for
	}
	if errors.Is(err, io.EOF) {
		s.interrupt(errInterrupted)
		err = errInterrupted
	}
	return answer, err
}

func askTTY(ctx context.Context, text string, visible bool) (string, error) {
	tty, err := openTTY()
	if err != nil {
		return "", err
	}
	defer tty.Close()
	restore, err := rawTTY(tty)
	if err != nil {
		return "", fmt.Errorf("ask on terminal: %w", err)
	}
	defer restore()
	// Lines before the last are told, not asked.
	at := strings.LastIndexByte(text, '\n') + 1
	fmt.Fprint(tty, strings.ReplaceAll(text[:at], "\n", "\r\n"))
	stop := context.AfterFunc(ctx, func() { tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	read := term.NewTerminal(keys{tty}, text[at:]).ReadLine
	if !visible {
		read = func() (string, error) {
			fmt.Fprint(tty, text[at:])
			s, err := readHidden(tty)
			if err == nil {
				fmt.Fprint(tty, "\r\n")
			}
			return string(s), err
		}
	}
	line, err := read()
	if ctx.Err() != nil {
		fmt.Fprint(tty, "\r\n")
		return "", context.Cause(ctx)
	}
	return line, err
}

// keys reads a terminal key by key, so that what is typed for the next question stays for it.
type keys struct{ *os.File }

func (k keys) Read(b []byte) (int, error) { return k.File.Read(b[:min(1, len(b))]) }

// terminalInput is standard input that comes from the terminal. It leaves the terminal to a
// question while one is asked.
type terminalInput struct {
	tty *os.File

	mu      sync.Mutex // protects following
	asked   *sync.Cond
	asking  bool
	stopped bool // no Read is wanted
}

func newTerminalInput() (*terminalInput, error) {
	tty, err := openTTY()
	if err != nil {
		return nil, err
	}
	t := &terminalInput{tty: tty}
	t.asked = sync.NewCond(&t.mu)
	return t, nil
}

func (t *terminalInput) Read(b []byte) (int, error) {
	for {
		t.mu.Lock()
		for t.asking && !t.stopped {
			t.asked.Wait()
		}
		stopped := t.stopped
		t.mu.Unlock()
		if stopped {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := t.tty.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// pause takes the terminal from a Read that waits. Like resume it does nothing where there is no
// terminal input.
func (t *terminalInput) pause() { t.set(func() { t.asking = true }) }

func (t *terminalInput) resume() { t.set(func() { t.asking = false }) }

// SetReadDeadline ends a Read if at is past. The zero time allows further ones.
func (t *terminalInput) SetReadDeadline(at time.Time) error {
	t.set(func() { t.stopped = !at.IsZero() })
	return nil
}

func (t *terminalInput) set(change func()) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	deadline := time.Time{}
	if t.asking || t.stopped {
		deadline = time.Unix(1, 0)
	}
	t.tty.SetReadDeadline(deadline)
	t.asked.Broadcast()
}

func (t *terminalInput) close() { t.tty.Close() }

// rawTTY makes tty hand over single keys. It leaves the file's mode of reading alone, which File.Fd
// would not.
func rawTTY(tty *os.File) (restore func(), err error) {
	c, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var old *term.State
	control := func(f func(fd int) error) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = f(int(fd)) })
		return errors.Join(err, failed)
	}
	if err := control(func(fd int) (err error) {
		old, err = term.MakeRaw(fd)
		return err
	}); err != nil {
		return nil, err
	}
	return rawTerminals.add(func() { control(func(fd int) error { return term.Restore(fd, old) }) }),
		nil
}

// rawTerminals has those that are to be restored.
var rawTerminals terminals

// terminals has what restores each terminal that hands over single keys.
type terminals struct {
	mu   sync.Mutex // protects following
	all  map[int]func()
	last int
}

// add returns restore, which does it once, be it here or by ts.restore.
func (ts *terminals) add(restore func()) func() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.all == nil {
		ts.all = map[int]func(){}
	}
	ts.last++
	id := ts.last
	ts.all[id] = restore
	return func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if ts.all[id] != nil {
			delete(ts.all, id)
			restore()
		}
	}
}

// restore restores all terminals.
func (ts *terminals) restore() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for id, restore := range ts.all {
		delete(ts.all, id)
		restore()
	}
}

// password returns a password from where the flags say: the terminal, a file descriptor, or else
// value, which the environment had as env. Empty: there is none.
func (s *state) password(ctx context.Context, what, env string, value secret.Secret, ask bool,
	fd int) (secret.Secret, error) {
	switch {
	case fd >= 0:
		return readFD(what, fd)
	case !ask:
		return value, nil
	}
	return s.askSecret(ctx, what, "put it into $"+env+", or hand it over by file descriptor")
}

// readFD reads one line.
func readFD(what string, fd int) (secret.Secret, error) {
	f := os.NewFile(uintptr(fd), what)
	if f == nil {
		return "", usagef("%s: bad file descriptor %d", what, fd)
	}
	defer f.Close()
	s, err := secret.ReadLine(f)
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return "", usagef("%s: read file descriptor %d: %w", what, fd, err)
	}
	return s, nil
}
