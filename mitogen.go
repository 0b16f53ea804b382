// Package mitogen runs Python on other machines that hold nothing of ours: over ssh, through sudo,
// or in a process next door. It starts an interpreter there, feeds it a runtime of a few KiB from
// RAM, and from then on calls functions in it as if they were local. Nothing is written to the
// target's disk.
//
// Begin with New, then Engine.Connect, then Call:
//
//	eng, err := mitogen.New(mitogen.Options{Path: []fs.FS{os.DirFS("py")}})
//	if err != nil { … }
//	defer eng.Close()
//	web, err := eng.Connect(ctx, "web1+sudo", mitogen.ConnectOptions{})
//	if err != nil { … }
//	facts, err := mitogen.Call[Facts](ctx, web, "facts:collect", "disk")
//
// A target is a list of hops joined by "+", each reached from the one before: "local", "web1",
// "deploy@web1:2222", "bastion+web1+sudo:postgres". A Context is what stands at its end: one Python
// process that runs calls one after another, in the order in which they were made. All methods may
// be used from many goroutines at once.
//
// Package connect has the options of a Connect and what can go wrong with it, package secret what
// keeps passwords, package pyvalue the values that Go has no types for, and package report the
// facts, figures, events and errors that come of an engine.
//
// What a program passes to an engine is called by goroutines of the engine, each kind in its own
// way:
//
//   - Options.Prompt and Secrets: by a goroutine for each question, several at once; for the
//     passphrase of a key one at a time. They may block, until their ctx ends, and call the
//     library.
//   - File systems of Options.Path and Packages, and Rewrite: by a goroutine of the call that
//     needs a module, or of the context that asks for one, several at once. They may block; the
//     call waits, for no longer than its ctx. They must not call contexts of the engine.
//   - The handler of Options.Logger: by one goroutine for each context, and one of the engine. It
//     may block and call the library: output and results behind a record wait for it half a
//     second, and go on then.
//   - Writers (Stdout, Stderr): by one goroutine for each context, so that a Writer of several
//     contexts must be safe for that. If one blocks, all output and results behind it wait, each
//     call for no longer than its ctx, and the context lives on. A Writer must not call the
//     context whose output it takes.
//   - Options.Audit: by one goroutine at a time. What it is told of beforehand waits for it, for
//     no longer than its ctx. It must not call the engine.
//
// What is promised: a call ends with exactly one result or error, also when its context is lost,
// and then at once, with what was lost in the error. When an Engine is closed, or its process dies
// in whatever way, every process that it started on any machine ends within a second or so of
// losing its stream (docs/protocol/bootstrap.md, section 8). A context harms only itself: what
// comes from it is bounded and checked.
package mitogen

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/daemonclient"
	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// Options are an Engine's settings. The zero value is usable.
type Options struct {
	// Path holds the user's own Python modules, first match first: directories (os.DirFS), zip files
	// (a *zip.Reader is one), embed.FS. They win over modules that are installed on a target. New
	// refuses a nil file system, and an os.DirFS of something that is no directory.
	Path []fs.FS

	// Packages holds third-party modules, such as a virtualenv's site-packages. The engine searches it
	// if Path hasn't got a module. Its modules lose to modules that are installed on a target.
	Packages []fs.FS

	// Allow and Deny name Python packages: "a.b" stands for a.b and all in it, "a.b.*" for all in it.
	// What Deny names is never sent to a target; if Allow isn't empty, nothing is but what it names
	// and the packages that this is in.
	Allow, Deny []string

	// Serve names Python modules, in the same way, that a context may ask for though no code that
	// was called in it, or that it was given, names them: plugins that a program finds at run time.
	// A context can't have any other module of Path that isn't in the closure of what was called in
	// it.
	Serve []string

	// Strip has modules sent without comments and docstrings, their lines kept, which saves about a
	// third of the bytes. Programs that show help texts from docstrings, or run what stands in them,
	// do something else then, and inspect and tracebacks show what was sent.
	Strip bool

	// NoNative has no extension modules sent. Without it, those of Packages go where the wheel that
	// brought them fits the target, and are loaded there from memory.
	NoNative bool

	// NativeBudget bounds the bytes of extension modules and their libraries that each context is
	// sent. What does not fit is an ImportError there, which names the budget. At most 120 MiB; 0: 64
	// MiB.
	NativeBudget int64

	// Learned is a file that keeps which modules programs had to ask for in the middle of a run, so
	// that these go ahead in the next run, of this process or another one. It is written by Close,
	// readable for this user alone, and holds nothing but names. "": what is learned is forgotten with
	// the Engine.
	Learned string

	// Rewrite returns what is sent in place of a module's source, or source itself, which it must not
	// change. path is what tracebacks name. It may be called from several goroutines at once. Nil:
	// modules are sent as they are found.
	Rewrite func(name, path string, source []byte) []byte

	// Logger receives the records of Python's logging module in all contexts, and what the engine
	// itself has to report. Their text is safe for a terminal. Messages and the attribute "traceback"
	// may have several lines. Nil: slog.Default().
	Logger *slog.Logger

	// Prompt is asked for a password or passphrase that a connection turns out to need and
	// ConnectOptions doesn't have. It may be called from several goroutines at once. errors.Is finds
	// Prompt's error in the connection's error. Nil: such connections fail.
	Prompt func(ctx context.Context, p connect.Prompt) (string, error)

	// Secrets finds passwords and passphrases that ConnectOptions don't have, by their purpose, when a
	// program asks for them. It returns "" for none. A secret is given once. A person is asked
	// (Prompt) only if Secrets has none. It may be called from several goroutines at once. Nil: there
	// are no further secrets.
	Secrets func(ctx context.Context, p secret.Place) (secret.Secret, error)

	// Daemon gives contexts that it keeps, instead of connecting them: see Daemon. Nil: they are
	// connected here.
	Daemon *Daemon

	// Heartbeat is the time after which both ends take a silent connection for lost, rounded up to
	// seconds by contexts. 0: 5 minutes while something runs in the context or behind it, 30 s while
	// nothing does. Negative: never. docs/protocol/bootstrap.md, section 8, has what is noticed when.
	Heartbeat time.Duration

	// MaxMessage is the size in bytes, as a pickle, of the largest value that passes between this
	// engine and a context, or two contexts: the arguments of a call together, a script's source,
	// a result, the items of a generator that Call collects together, a value that is sent. What
	// is larger is refused where it is made: in Go by an error that matches ErrTooLarge, in Python
	// by a ValueError. A file that a package reads counts as one, compressed; modules don't, unless
	// they go alone. At least 131,072; 0: 128 MiB.
	MaxMessage int

	// MaxMemory bounds what unfinished values of all contexts together take, with results that have
	// come and that nothing has waited for, in bytes. The context that takes most is ended when there
	// are more. At least 131,072; 0: 1 GiB.
	MaxMemory int

	// Audit receives the events of the engine. If it returns an error, the action of the
	// event doesn't happen and all contexts end. Every error then matches ErrAudit. One goroutine at a
	// time calls it, and nothing overtakes it. Nil: there is no audit.
	Audit func(report.Event) error

	// Binary returns the bytes of this program for another platform, as "go build" makes it with
	// GOOS and GOARCH: for Go functions, and ConnectOptions.GoFallback, at targets of that platform.
	// It is called once for each platform, and may block. What is no such binary is refused. Nil:
	// there is none.
	Binary func(goos, goarch string) ([]byte, error)

	// Agent returns the program mitogen-agent for a platform, which may be this program's, for
	// ConnectOptions.GoFallback. It is smaller than this program, and has none of its Go functions:
	// "mitogen build" makes it, of the version that this program uses. Agent may block. If it returns
	// nil, and if Agent is nil, this program goes there.
	Agent func(goos, goarch string) ([]byte, error)

	// Grace is the time that a cancelled call is given to end before its context is killed. 0: 2 s.
	Grace time.Duration
}

// Daemon says where a daemon is ("mitogen daemon"). A daemon keeps contexts connected for other
// processes. An engine gets from it a fork of the context at a target. The fork has run nothing
// yet, and ends with the engine.
type Daemon struct {
	Socket  string // default: the user's own
	Version string // of the program that the daemon must be

	// Command starts a daemon on that socket, when there is none. It need not wait for it. Nil: that
	// is an error (connect.ErrDaemon).
	Command []string

	Prompt    connect.PromptFunc // nil: Options.Prompt
	Secrets   secret.Source      // nil: Options.Secrets
	Heartbeat time.Duration      // 0: Options.Heartbeat; negative: never
}

// Disconnect has the daemon close the contexts of a target; "": all.
func (d *Daemon) Disconnect(target string) error {
	return (*daemonclient.Client)(d).Disconnect(target)
}

// Stop ends the daemon.
func (d *Daemon) Stop() error { return (*daemonclient.Client)(d).Stop() }

// Engine is the root of a tree of contexts. Make one with New; one is enough for a program.
type Engine struct {
	e  *engine.Engine
	mu sync.Mutex // protects the field Public of all contexts
}

// New returns an Engine that serves modules from o.Path. It starts no process.
func New(o Options) (*Engine, error) {
	var dial engine.Dial
	if o.Daemon != nil {
		d := *o.Daemon
		if d.Prompt == nil {
			d.Prompt = o.Prompt
		}
		if d.Secrets == nil {
			d.Secrets = o.Secrets
		}
		if d.Heartbeat == 0 {
			d.Heartbeat = o.Heartbeat
		}
		dial = (*daemonclient.Client)(&d).Dial
	}
	e, err := engine.New(engine.Options{Dial: dial, Logger: o.Logger, Prompt: o.Prompt,
		Secrets: o.Secrets, Heartbeat: o.Heartbeat, MaxMessage: o.MaxMessage, MaxMemory: o.MaxMemory,
		Grace: o.Grace, Audit: o.Audit, Binary: o.Binary, Agent: o.Agent,
		Modules: engine.ModuleOptions{
			Path: o.Path, Packages: o.Packages, Allow: o.Allow, Deny: o.Deny, Serve: o.Serve,
			Strip: o.Strip, NoNative: o.NoNative, NativeBudget: o.NativeBudget, Learned: o.Learned,
			Rewrite: o.Rewrite}})
	if err != nil {
		return nil, err
	}
	return &Engine{e: e}, nil
}

// Connect starts the context that target names, and those on the way to it that this engine has not
// got yet, and waits until it has answered. ctx bounds the connecting, not the context's life; when
// it ends first, the context is closed, and the error is a *connect.Error that matches
// ErrCancelled, ctx.Err() and context.Cause(ctx). Any other error is a *connect.Error, or a
// *report.LostError if a hop that was up is gone, or says what is wrong with target or o.
//
// Every Connect gives a context of its own; the hops on the way are shared between targets with
// equal options, whether they were made on the way or by a Connect of their own.
func (e *Engine) Connect(ctx context.Context, target string, o ConnectOptions) (*Context, error) {
	if err := engine.GivenUp(ctx, target); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		c, err := e.Start(target, o)
		if err != nil {
			return nil, err
		}
		if err = c.c.Connected(ctx); err == nil {
			return c, nil
		}
		c.Close()
		if try > 0 || !engine.FallsBack(c.c) || !errors.Is(err, connect.ErrNoPython) {
			return nil, err
		}
	}
}

// Start is Connect without the wait: calls can be made at once and travel right behind the boot. If
// connecting fails, they fail with the error that Connect would have returned.
func (e *Engine) Start(target string, o ConnectOptions) (*Context, error) {
	c, err := e.e.Start(target, o.engine())
	if err != nil {
		return nil, err
	}
	return e.wrap(c), nil
}

// wrap returns the one Context for c.
func (e *Engine) wrap(c *engine.Context) *Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.Public == nil {
		c.Public = &Context{c: c, e: e}
	}
	return c.Public.(*Context)
}

// Allow lets calls and messages made in from reach to, and their answers come back. Contexts can't
// reach each other otherwise, except that each obeys its own parents. It fails when one of them is
// gone, or of another engine (ErrOtherEngine).
func (e *Engine) Allow(from, to *Context) error {
	return e.e.Allow(from.inner(), to.inner())
}

// Contexts returns all contexts that are up or coming up, hops included, parents before children.
func (e *Engine) Contexts() []*Context {
	var all []*Context
	for _, c := range e.e.Contexts() {
		all = append(all, e.wrap(c))
	}
	return all
}

// Close ends all contexts: they are asked to, and made to after half a second. It returns when no
// process of this engine is left on this machine, within about a second. Pending calls fail with
// ErrClosed. Functions of the caller's that block (Prompt, a file system, a handler, a Writer)
// don't hold Close up: it waits 150 ms for them, and a further second for Audit, which is an error
// then that matches ErrAudit. A goroutine in such a function is all that may be left of the engine;
// it ends when the function returns. The library itself keeps one goroutine for the whole program,
// which starts processes.
func (e *Engine) Close() error { return e.e.Close() }
