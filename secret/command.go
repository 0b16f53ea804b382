package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxCommands bounds how many processes of one Command run at once.
const maxCommands = 8

// maxRest bounds what a command may write behind the secret.
const maxRest = 1 << 20

// waitDelay limits the time that processes which a command has left behind may keep its output
// open.
const waitDelay = time.Second

// ErrCommand says that a command had no secret for a place.
var ErrCommand = errors.New("password command failed")

// Command returns a Source that runs a program of this machine, once for each place: argv, without
// a shell. The program finds the place in its environment, as MITOGEN_SECRET_KIND, _METHOD,
// _TARGET, _HOST, _USER and _KEY. The first line of its standard output is the secret, an empty one
// says that there is none. An exit status other than 0 is an error, and so is it each time that the
// place is asked for.
func Command(argv []string) Source {
	c := &command{argv: slices.Clone(argv), running: make(chan struct{}, maxCommands),
		known: map[Place]*found{}}
	return c.find
}

type command struct {
	argv    []string      // static
	running chan struct{} // holds one for each process

	mu    sync.Mutex // protects following
	known map[Place]*found
}

// found is the outcome of the search for a place's secret.
type found struct {
	done   chan struct{} // closed once the following are set
	secret Secret
	err    error
}

func (c *command) find(ctx context.Context, p Place) (Secret, error) {
	for {
		c.mu.Lock()
		f, begun := c.known[p]
		if !begun {
			f = &found{done: make(chan struct{})}
			c.known[p] = f
		}
		c.mu.Unlock()
		if !begun {
			c.run(ctx, p, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) ||
			ctx.Err() != nil {
			return f.secret, f.err
		}
		// Another question for the same place was given up, and the process with it.
	}
}

// run sets what came of a place. A process that was given up says nothing about the place.
func (c *command) run(ctx context.Context, p Place, f *found) {
	defer close(f.done)
	select {
	case c.running <- struct{}{}:
		f.secret, f.err = c.execute(ctx, p)
		<-c.running
	case <-ctx.Done():
		f.err = ctx.Err()
	}
	if ctx.Err() != nil && f.err != nil {
		f.err = ctx.Err()
		c.mu.Lock()
		delete(c.known, p)
		c.mu.Unlock()
	}
}

func (c *command) execute(ctx context.Context, p Place) (Secret, error) {
	fail := func(err error) (Secret, error) {
		return "", fmt.Errorf("%w for the %s: %w", ErrCommand, p, err)
	}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.WaitDelay = waitDelay
	cmd.Env = append(os.Environ(), "MITOGEN_SECRET_KIND="+string(p.Kind),
		"MITOGEN_SECRET_METHOD="+p.Method, "MITOGEN_SECRET_TARGET="+p.Target,
		"MITOGEN_SECRET_HOST="+p.Host, "MITOGEN_SECRET_USER="+p.User, "MITOGEN_SECRET_KEY="+p.Key)
	said := &tail{}
	cmd.Stderr = said
	out, in, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer out.Close()
	cmd.Stdout = in
	Unlimited(func() { err = cmd.Start() })
	in.Close()
	if err != nil {
		return fail(err)
	}
	line := make(chan lineRead, 1)
	go func() {
		s, err := ReadLine(out)
		line <- lineRead{s, err}
		io.CopyN(io.Discard, out, maxRest)
		out.Close()
	}()
	err = cmd.Wait()
	out.SetReadDeadline(time.Now().Add(waitDelay))
	l := <-line
	switch {
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return fail(said.explain(err))
	case l.err != nil:
		return fail(l.err)
	}
	return l.secret, nil
}

type lineRead struct {
	secret Secret
	err    error
}

// tail keeps the last words of a process.
type tail struct{ b []byte }

const tailSize = 1024

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(b), nil
}

// explain adds the last line to err.
func (t *tail) explain(err error) error {
	text := bytes.TrimSpace(t.b)
	if len(text) == 0 {
		return err
	}
	line := text[bytes.LastIndexByte(text, '\n')+1:]
	return fmt.Errorf("%w: %s", err, strings.ToValidUTF8(string(line), "?"))
}
