package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitogen-go/mitogen"
)

// errHungUp is the end of a session by the escape character and a period.
var errHungUp = errors.New("connection closed by the escape character")

// sshStatus returns the status that ssh ends with, of a program whose Wait has returned err. The
// error says why there is none.
func sshStatus(err error) (int, error) {
	exit := (*mitogen.ExitError)(nil)
	switch {
	case !errors.As(err, &exit):
		return 0, err
	case exit.Signal > 0:
		return exitConnection, nil
	}
	return exit.Status, nil
}

// localeVariables returns the variables that ssh is configured to send on most systems. Those of
// --ssh-no-ahead aren't the user's.
func localeVariables(environ []string) map[string]string {
	found := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		ours := name == "LC_MITO" || name == "LC_MITO_DATA"
		if name == "LANG" || strings.HasPrefix(name, "LC_") && !ours {
			found[name] = value
		}
	}
	return found
}

// sizeOf is the size of the first terminal among files.
func sizeOf(files ...*os.File) mitogen.WindowSize {
	for _, file := range files {
		if w, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil {
			return mitogen.WindowSize{Rows: w.Row, Cols: w.Col, Width: w.Xpixel, Height: w.Ypixel}
		}
	}
	return mitogen.WindowSize{Rows: 24, Cols: 80}
}

// resizing tells programs that the size of a terminal may have changed.
type resizing struct {
	mu  sync.Mutex // protects following
	all map[chan struct{}]struct{}
}

// follow has resize be called with the size after each call of changed.
func (z *resizing) follow(
	resize func(mitogen.WindowSize),
	size func() mitogen.WindowSize,
) (stop func()) {
	changed := make(chan struct{}, 1)
	z.mu.Lock()
	if z.all == nil {
		z.all = map[chan struct{}]struct{}{}
	}
	z.all[changed] = struct{}{}
	z.mu.Unlock()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-changed:
				resize(size())
			case <-done:
				return
			}
		}
	}()
	return func() {
		z.mu.Lock()
		delete(z.all, changed)
		z.mu.Unlock()
		close(done)
		<-ended
	}
}

// changed has all terminals looked at.
func (z *resizing) changed() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for c := range z.all {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// keyboard is the terminal of a session. It is read once it passes keys as they are typed. Its end
// is the session's: a terminal has none unless it is gone.
type keyboard struct {
	*typed
	raw <-chan struct{} // closed then
}

func (k keyboard) Read(b []byte) (int, error) {
	<-k.raw
	n, err := k.typed.Read(b)
	if err == io.EOF && !k.over {
		k.hangUp()
	}
	return n, err
}

// A session runs at a target, with a terminal there.
type session interface {
	// start doesn't wait. When ctx ends, so does the session.
	start(ctx context.Context, keys deadlineReader, size mitogen.WindowSize) error
	resize(mitogen.WindowSize)
	wait() (status int, err error) // after a start without error
}

// onTerminal has what runs at the other end of the terminal tty, and returns its status. The
// terminal passes keys as they are typed from when h is up, so that questions come before. ctx and
// the escape character hang up. tty is as before when onTerminal returns.
func (h *host) onTerminal(
	ctx context.Context,
	what session,
	tty *os.File,
	escape uint32,
) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	typed, err := newTyped(tty, escape, h.fleet.s.ui.err, func() { cancel(errHungUp) })
	if err != nil {
		return 0, err
	}
	defer typed.close()
	raw := make(chan struct{})
	size := func() mitogen.WindowSize { return sizeOf(tty) }
	if err := what.start(ctx, keyboard{typed, raw}, size()); err != nil {
		return 0, err
	}
	var sizes resizing
	defer sizes.follow(what.resize, size)()
	defer onSignals(func(os.Signal) { sizes.changed() }, syscall.SIGWINCH)()
	sizes.changed() // it may have been before that
	_, err = h.context.Info(ctx)
	if err == nil {
		var restore func()
		if restore, err = rawTTY(tty); err == nil {
			defer restore()
		}
	}
	if err != nil {
		typed.SetReadDeadline(time.Unix(1, 0)) // what is typed isn't ours
		cancel(err)
	}
	close(raw)
	status, err := what.wait()
	if cause := context.Cause(ctx); cause == errHungUp || cause != nil && err != nil {
		err = cause
	}
	return status, err
}
