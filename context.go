package mitogen

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// ConnectOptions say how a target is reached. They apply to all its hops, each taking what concerns
// it. The zero value is usable.
type ConnectOptions struct {
	// Options are for the hops of the target. Interactive and Sourced are the engine's to set.
	connect.Options

	// GoFallback has a copy of this program started as the context, as by ConnectGo, where the target
	// has no Python and is no console. There Go functions, programs, connections, Put and Get work;
	// what needs Python fails with an error that matches connect.ErrNoPython. The program goes there
	// in the same connection, and has no name in the file system. It has to call Main (ErrNoMain),
	// and a binary for the target's platform has to be there (Options.Binary). If the target can't
	// take it, the error matches connect.ErrNoProgram. A Daemon's contexts have no fallback.
	//
	// Hops need Python. Behind a hop, unless it is passed by ssh, Connect starts the last hop a second
	// time. After a Start that has found no Python, a further Start does. Methods that need a terminal
	// there, as sudo, have no fallback then.
	GoFallback bool

	// Via is the context that the target is reached from; nil: the engine. It must be one of the same
	// engine. What the options say holds for the hops from there on, so that different hops can have
	// different ones.
	Via *Context

	// Stdout gets what is written to fd 1 there, by child processes too, and Stderr to fd 2. Nil: it
	// is thrown away.
	//
	// Each context calls its Writers from one goroutine of its own, which also delivers the context's
	// results and log records; while a Write blocks, they wait. One Writer may be given to several
	// contexts and programs of an engine: one goroutine at a time calls it, if it can be compared with
	// ==. Other uses are the caller's to guard.
	//
	// An error, or a short write, cancels all calls of the context that have no result yet, whichever
	// of them has written, and is theirs, in a *report.StreamError. Nothing more is written then, and
	// output during further calls ends these in the same way.
	Stdout, Stderr io.Writer

	LogLevel slog.Level // the lowest level of Python's log records that is sent; zero: INFO
}

func (o ConnectOptions) engine() engine.ConnectOptions {
	var via *engine.Context
	if o.Via != nil {
		via = o.Via.c
	}
	o.Interactive, o.Sourced = false, false
	return engine.ConnectOptions{
		Via: via, Options: o.Options, GoFallback: o.GoFallback,
		Stdout: o.Stdout, Stderr: o.Stderr, LogLevel: o.LogLevel,
	}
}

// Context is one Python process somewhere in an engine's tree. It can be an argument of calls.
type Context struct {
	c *engine.Context
	e *Engine
}

func init() {
	pickle.Register(func(c *Context) (pyvalue.Ref, error) { return c.c.Ref(), nil }, nil)
}

// inner returns what c stands for, nil for nil.
func (c *Context) inner() *engine.Context {
	if c == nil {
		return nil
	}
	return c.c
}

// ID returns the context's number in the tree; the engine is 0.
func (c *Context) ID() uint32 { return uint32(c.c.ID()) }

// Name returns the target that names the context, hops before it included.
func (c *Context) Name() string { return c.c.Name() }

// Direct tells whether the context has a link to the engine of its own, which none but those behind
// it use. A host behind a bastion has one, unless connect.SSHOptions.FromHop is set.
func (c *Context) Direct() bool { return engine.RootOf(c.c) == c.c }

// Info waits until the context is up and returns what it said about itself. Errors are those of
// Connect.
func (c *Context) Info(ctx context.Context) (report.Info, error) {
	if err := c.c.Connected(ctx); err != nil {
		return report.Info{}, err
	}
	return c.c.Info(), nil
}

// Ping waits until the context is up, sends a message there and back and returns the time that this
// took. It works while a call runs. Until the context is up, errors are those of Connect.
func (c *Context) Ping(ctx context.Context) (time.Duration, error) { return c.c.Calls.Ping(ctx) }

// Done returns a channel that is closed when the context is gone.
func (c *Context) Done() <-chan struct{} { return c.c.Done() }

// Err returns nil while the context lives, then why it doesn't: a *connect.Error, a
// *report.LostError or ErrClosed.
func (c *Context) Err() error { return c.c.Err() }

// Close refuses calls from now on: they fail with ErrClosed, as does a Run that waits for another
// Run. Calls, Execs and Cmds that were made before end in their order, for at most a second. Then
// the engine asks the context to end, and after another second ends it. Close returns when the
// context is gone. If the context is a hop of other contexts, it lives on until these are closed.
// Then Close returns at once. A later Connect to the same target may give the same Context again,
// which takes calls then.
func (c *Context) Close() error { return c.c.Close() }

// Stats returns what the context has cost so far. It may be called when the context is gone.
func (c *Context) Stats() report.Stats { return c.c.Stats() }
