package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/gobinary"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// Errors of starting a Go context.
var (
	// ErrNoMain says that a copy of this program would not serve as a context.
	ErrNoMain = errors.New("this program can't be started as a context: " +
		"call mitogen.Main at the start of main")

	// ErrNoBinary says that there is no binary of this program that a target can execute.
	ErrNoBinary = gobinary.ErrNone
)

// goModule takes binaries in, in a context.
const goModule = "_mitogen_go"

// StartGo starts a copy of this program as a context: on this machine, which it doesn't wait for,
// or beside o.Via, which has to be up and get the binary first. ctx bounds that.
func (e *Engine) StartGo(ctx context.Context, o ConnectOptions) (*Context, error) {
	if !goctx.Started() {
		return nil, fmt.Errorf("start a Go context: %w", ErrNoMain)
	}
	if o.Via != nil {
		return e.starts.startGoBeside(ctx, o)
	}
	path, err := gobinary.Path()
	if err != nil {
		return nil, fmt.Errorf("start a Go context: %w", err)
	}
	return e.starts.addGo(nil, methods.PlanGo([]string{path, boot.GoWord}, o.Options), o)
}

// startGoBeside starts a Go context as a child of o.Via.
func (s *starts) startGoBeside(ctx context.Context, o ConnectOptions) (*Context, error) {
	e := s.e
	via := o.Via
	what := "start a Go context beside " + via.name
	switch {
	case via.e != e:
		return nil, fmt.Errorf("%s: %w", what, ErrOtherEngine)
	case via.launch.golang.is.Load():
		return nil, fmt.Errorf("%s, which is one: %w", what, errors.ErrUnsupported)
	}
	if err := via.Connected(ctx); err != nil {
		return nil, err
	}
	if err := via.launch.golang.readying.take(ctx, via, via.life.closing); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer via.launch.golang.readying.leave()
	t, err := via.Tunnels.tunnel(ctx, map[string]any{"service": "go"}, forwardModule, goModule)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer context.AfterFunc(ctx, func() { t.Close() })()
	r := &readying{c: via, t: t}
	if err := r.run(); err != nil {
		t.Close()
		if ctx.Err() != nil {
			err = givenUp(ctx, what)
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	plan := methods.PlanGo([]string{r.path, boot.GoWord}, o.Options)
	plan.Bare, plan.Remove = true, r.remove
	c, err := s.addGo(via, plan, o)
	if err != nil {
		t.Close()
		return nil, err
	}
	e.work.jobs.Go(func() { // the file may stay until the program runs
		select {
		case <-c.hello.ready:
		case <-c.done:
		}
		t.Close()
	})
	return c, nil
}

// readying brings the binary to a context. Its fields are set by run.
type readying struct {
	c    *Context
	t    *Tunnel
	path string // of the binary there

	// remove is a directory that goes once the program has started; "": there is none.
	remove string
}

// run does what the context asks for until it is ready.
func (r *readying) run() error {
	var found *gobinary.Binary
	var program *bundle.Bundle
	asked := map[string]bool{}
	for {
		word, a, b, err := r.next()
		if err != nil {
			return err
		}
		if asked[word] {
			return errors.New("the context asks twice")
		}
		asked[word] = true
		switch word {
		case "platform":
			if found, err = r.c.e.starts.binaries.For(a, b); err != nil {
				return err
			}
			program = found.Bundle
			if _, err := r.t.Write(append(program.ID[:], found.Loader...)); err != nil {
				return err
			}
		case "want":
			if program == nil {
				return errors.New("the context asked for nothing that it was offered")
			}
			r.c.Supply.introduce()
			r.c.Supply.given.gaveProgram(found, len(program.Compressed))
			r.c.e.library.forward.Bring(r.c.id, program)
			r.c.root.stream.Kick()
		case "ready":
			r.path, r.remove = a, b
			return nil
		default:
			return fmt.Errorf("%w: %s", ErrNoBinary, oneLine(a))
		}
	}
}

// next returns what the context says: a word, and two more texts.
func (r *readying) next() (word, a, b string, err error) {
	said, err := r.t.Next()
	if err != nil {
		return "", "", "", cmp.Or(r.c.Err(), err)
	}
	v, err := pickle.Decode(said, readyLimits)
	t, _ := v.(pyvalue.Tuple)
	if err != nil || len(t) == 0 || len(t) > 3 {
		return "", "", "", errors.New("the context answers what can't be read")
	}
	all := [3]string{}
	for i := range t {
		all[i], _ = t[i].(string)
	}
	return all[0], all[1], all[2], nil
}

// readyLimits bound what a context says of binaries.
var readyLimits = pickle.Limits{Nodes: 8, Depth: 2}

// addGo makes the context of a plan.
func (s *starts) addGo(via *Context, plan methods.Plan, o ConnectOptions) (*Context, error) {
	e := s.e
	l := link{hop: methods.Hop{Method: methods.GoMethod}, name: methods.GoMethod, plan: plan,
		options: o.Options, golang: true, key: fmt.Sprintf("go %d", s.fresh.Add(1))}
	e.mu.Lock()
	defer e.unlock()
	err := error(nil)
	if via != nil {
		l.name = via.name + "+" + l.name
		if err = via.err; err == nil && via.life.closedLocked() {
			err = ErrClosed
		}
	}
	if e.tree.closed {
		err = ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", l.name, err)
	}
	c := s.startLocked(via, l, o)
	c.life.owned = true
	c.outbox.outputLocked(o)
	return c, nil
}

// goState is the part of a Context that has to do with Go programs.
type goState struct {
	is       atomic.Bool    // it is a Go program. Set before its first frame
	fallback *fallback      // nil: it's known from the start whether it is. Static
	later    bool           // link.later. Static
	like     ConnectOptions // of the Go context beside it. Static
	readying turn           // of the start that has a binary sent

	companion *companion // the Go context beside it; nil: none was started. Protected by Engine.mu
}

// begin sets the fields of a new context.
func (g *goState) begin(l link, o ConnectOptions) {
	timeout := connect.Options{Timeout: o.Timeout}
	g.is.Store(l.golang)
	g.later = l.later
	g.readying = make(turn, 1)
	g.like = ConnectOptions{Options: timeout, Stdout: o.Stdout, Stderr: o.Stderr, LogLevel: o.LogLevel}
}

// modeBefore returns how values are written for a context before its HELLO has come.
func modeBefore(l link) pickle.Mode {
	if l.golang {
		return pickle.Proto4
	}
	return pickle.Proto2Both
}

// companion is the start of a Go context beside a Python context. Its fields are set when done is
// closed.
type companion struct {
	done chan struct{}
	c    *Context
	err  error
}

// upLocked returns the companion's context; nil: there is none, or not yet, or it is gone.
func (p *companion) upLocked() *Context {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.c == nil || p.c.err != nil {
		return nil
	}
	return p.c
}

// Beside returns the Go context for calls of Go functions in c: c itself, or the one beside it,
// which ends with c. It is started at the first call, and again if it is lost. Beside waits until
// its start is on its way, or ctx ends.
func (e *Engine) Beside(ctx context.Context, c *Context) (*Context, error) {
	if c.launch.golang.fallback != nil { // else it is known what c is
		if err := c.Connected(ctx); err != nil {
			return nil, err
		}
	}
	if c.launch.golang.is.Load() {
		return c, nil
	}
	e.mu.Lock()
	if e.tree.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	p := c.launch.golang.companion
	if p != nil && p.upLocked() == nil && finished(p.done) {
		p = nil
	}
	if p == nil {
		p = &companion{done: make(chan struct{})}
		c.launch.golang.companion = p
		o := c.launch.golang.like
		o.Via = c
		e.work.jobs.Go(func() {
			g, err := e.StartGo(e.work.base, o)
			e.mu.Lock()
			p.c, p.err = g, err
			close(p.done)
			if c.launch.golang.companion == p && !c.life.owned { // it was given up meanwhile
				c.life.releaseLocked()
			}
			e.unlock()
		})
	}
	e.mu.Unlock()
	select {
	case <-p.done:
		return p.c, p.err
	case <-ctx.Done():
		return nil, givenUp(ctx, "start a Go context beside "+c.name)
	}
}

func finished(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// dismissCompanionLocked ends the Go context beside c if nothing else needs c. It returns true if c
// ends once that is gone.
func (l *life) dismissCompanionLocked() bool {
	g := l.c.launch.golang.companion.upLocked()
	if g == nil || l.owned || l.children != 1 {
		return false
	}
	if g.life.owned {
		g.life.owned = false
		g.life.closeLocked()
		g.life.releaseLocked()
	}
	return true
}
