// Package engine ties the parts together: it is context 0 of a tree. A router (package route)
// decides about every frame; the engine feeds it what streams bring and programs ask for, and
// carries out what it says.
//
//	caller ─ Go ─► Router.Request ─► stream.Put, Flush ──────────────► pipe
//	pipe ─► stream.Read ─► Router.Step ─► actions ─┬─► stream.Put, Kick   (forward, credit, refusal)
//	                                               ├─► answer.finish      (answers, none waiting)
//	                                               └─► Context.outbox ─► drain (output, logs,
//	                                                                      answers behind them)
//
// One mutex (Engine.mu) protects router and contexts. Nothing is read, written or waited for under
// it: frames are only queued, and streams are flushed once it is let go. Goroutines: for each
// stream a reader (launch.run) and a writer; for each context one while there is output to hand
// over (drain), and one while it has questions about modules (serve).
//
// Engine and Context are divided into rooms, which are listed there: a room is a type with the
// fields and the methods of one subject.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/aside"
	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/stdio"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// Defaults of Options.
const (
	DefaultHeartbeat   = 30 * time.Second // while nothing runs
	DefaultBusyTimeout = 5 * time.Minute  // while something runs
	DefaultGrace       = 2 * time.Second
)

// How long an ending context is waited for.
const (
	shutdownPatience = time.Second // a context that was asked to end
	// farewell is for a client like ssh to put SHUTDOWN on the wire. What is behind it ends in order
	// without being waited for, so that a program on a long link doesn't pay a round trip for its end.
	farewell      = 8 * time.Millisecond
	closePatience = 450 * time.Millisecond // all of them, when the engine closes
	drainPatience = 150 * time.Millisecond // then, for their output to be taken
)

// leastMessage is the lowest message limit in bytes: what comes in one frame isn't bounded by it.
const leastMessage = wire.MaxPayload

// floodLimit limits the bytes that wait for a context. If other contexts send more, the context
// that sends most is ended for it. If twice as much waits, the context itself is ended, because it
// doesn't read the answers to its own requests.
const floodLimit = 16 << 20

// Options are as documented at mitogen.Options. The zero value is usable.
type Options struct {
	Modules    ModuleOptions
	Logger     *slog.Logger
	Prompt     connect.PromptFunc
	Secrets    secret.Source
	Heartbeat  time.Duration
	MaxMessage int
	MaxMemory  int
	Grace      time.Duration
	Audit      func(report.Event) error

	// Binary returns this program for another platform, Agent what goes to machines without Python in
	// its place.
	Binary, Agent func(goos, goarch string) ([]byte, error)

	// MakeRoom is called when a start finds no descriptors. It may block; true: the start is tried
	// again. Nil: never.
	MakeRoom func() bool

	Dial Dial // starts contexts that have no other before them; nil: the engine does

	busyTimeout   time.Duration // Heartbeat where something runs
	start         starter       // replaces package spawn in tests
	aheadPatience time.Duration // longer in tests
}

// ModuleOptions are those of mitogen.Options that are about modules.
type ModuleOptions struct {
	Path         []fs.FS
	Packages     []fs.FS
	Allow        []string
	Deny         []string
	Serve        []string
	Strip        bool
	NoNative     bool
	NativeBudget int64
	Learned      string
	Rewrite      func(name, path string, source []byte) []byte

	// OwnMitogen says that Path has a package mitogen, which contexts get in place of the runtime's
	// module of this name.
	OwnMitogen bool

	builtin func(name string) ([]byte, bool) // replaces boot.Module in tests
}

// withoutMitogen is boot.Module without what programs import as mitogen.
func withoutMitogen(name string) ([]byte, bool) {
	if name == "mitogen" {
		return nil, false
	}
	return boot.Module(name)
}

// ErrClosed is the error of a context or engine that was closed.
var ErrClosed = errors.New("context closed")

// forwards is compressed once for all engines of this process.
var forwards atomic.Pointer[modules.Module]

// Engine is the root of a tree. It has one mutex; what it does is done by rooms, each of which has
// its own fields and its own reason, and refers to its engine.
//
//	tree       the contexts there are: who is added, lost and gone
//	traffic    frames: what the router decides, and what is queued for streams
//	starts     how contexts are planned and started
//	dialogues  who answers questions of what is started, and which secrets are hidden
//	library    modules: where they are found, and what decides who is sent which
//	audit      what is told to Options.Audit
//	work       goroutines, and what ends them
type Engine struct {
	opt Options // static
	// identity marks the handles that this engine has given out. Static.
	identity uint64
	log      *slog.Logger  // static; doesn't block
	handler  slog.Handler  // static; of log, and blocks
	reports  aside.Queue   // hands records of log over
	workshop *workshop     // where values are decoded. Static
	writers  stdio.Writers // of all contexts

	starts    starts
	dialogues dialogues
	library   library
	audit     audits
	work      work

	mu      sync.Mutex // protects following, and what rooms say
	router  *route.Router
	front   *Front // nil: no program is context 0 too
	tree    tree
	traffic traffic
}

// work counts what an engine has begun and not finished, and ends it.
type work struct {
	base   context.Context // ended by Close
	stop   context.CancelFunc
	jobs   sync.WaitGroup // goroutines that Close waits for
	drains sync.WaitGroup // those that run code of the caller's, which may block
}

// check returns what is wrong with o.
func (o *Options) check() error {
	switch {
	case o.MaxMessage < 0 || o.MaxMemory < 0 || o.Grace < 0:
		return errors.New("negative limit")
	case 0 < o.MaxMessage && o.MaxMessage < leastMessage:
		return fmt.Errorf("MaxMessage: got %d bytes, want at least %d", o.MaxMessage, leastMessage)
	case 0 < o.MaxMemory && o.MaxMemory < leastMessage:
		return fmt.Errorf("MaxMemory: got %d bytes, want at least %d", o.MaxMemory, leastMessage)
	}
	return o.Modules.check()
}

// check returns what is wrong with o.
func (o *ModuleOptions) check() error {
	if o.NativeBudget < 0 || o.NativeBudget > forward.MaxBudget {
		return fmt.Errorf("NativeBudget: got %d bytes, want 0 to %d", o.NativeBudget, forward.MaxBudget)
	}
	for name, list := range map[string][]fs.FS{"Path": o.Path, "Packages": o.Packages} {
		for i, fsys := range list {
			if err := modules.Check(fsys); err != nil {
				return fmt.Errorf("%s[%d]: %w", name, i, err)
			}
		}
	}
	return nil
}

// fill sets what isn't set to its default.
func (o *Options) fill() {
	switch {
	case o.busyTimeout != 0: // a test's
	case o.Heartbeat == 0:
		o.Heartbeat, o.busyTimeout = DefaultHeartbeat, DefaultBusyTimeout
	default:
		o.busyTimeout = o.Heartbeat
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = wire.MaxMessage
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = max(route.DefaultMemory, 2*o.MaxMessage)
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if m := &o.Modules; m.builtin == nil {
		m.builtin = boot.Module
		if m.OwnMitogen {
			m.builtin = withoutMitogen
		}
	}
	if o.aheadPatience == 0 {
		o.aheadPatience = aheadPatience
	}
}

// New returns an engine without contexts.
func New(o Options) (*Engine, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("new engine: %w", err)
	}
	o.fill()
	e := &Engine{opt: o, identity: newIdentity(), router: route.New(0, nil, o.MaxMessage)}
	e.starts.e, e.dialogues.e, e.library.e = e, e, e
	e.audit.e, e.tree.e, e.traffic.e = e, e, e
	e.tree.contexts = map[wire.ContextID]*Context{}
	e.tree.shared = map[string]*Context{}
	e.tree.empty = make(chan struct{})
	// Contexts begin at wire.FirstDynamic: so a flow to one has a number that no other has.
	e.router.HandlesFrom(1<<30 + wire.Handle(e.identity>>40))
	e.audit.auditor = newAuditor(o.Audit, e.audit.failed)
	e.handler = maskedLog{printableLog{o.Logger.Handler()}, &e.dialogues.mask}
	e.reports.Group = &e.work.drains
	e.log = slog.New(aside.NewLog(e.handler, &e.reports))
	e.router.Bound(min(2*o.MaxMessage, o.MaxMemory), o.MaxMemory)
	e.workshop = newWorkshop(max(o.MaxMemory, runtime.GOMAXPROCS(0)*pickle.LeastMemory))
	e.starts.binaries.Find, e.starts.binaries.Agent = o.Binary, o.Agent
	e.library.open(&o.Modules)
	if e.opt.start == nil {
		e.opt.start = e.starts.spawn
	}
	e.work.base, e.work.stop = context.WithCancel(context.Background())
	return e, nil
}

// Contexts returns those that are up or coming up, parents before children.
func (e *Engine) Contexts() []*Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return sortedContexts(e.tree.contexts)
}

// Allow lets from call and send to to.
func (e *Engine) Allow(from, to *Context) error {
	for _, c := range []*Context{from, to} {
		if err := e.tree.owns(c); err != nil {
			return fmt.Errorf("allow: %w", err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range []*Context{from, to} {
		if c.err != nil {
			return fmt.Errorf("allow %s to reach %s: %w", from.name, to.name, c.err)
		}
	}
	return e.router.Allow(from.id, to.id)
}

// unlock lets the mutex go, then leaves what was queued meanwhile to the streams' writers.
func (e *Engine) unlock() {
	if len(e.traffic.kicks) == 0 {
		e.mu.Unlock()
		return
	}
	kicks, inline := append([]*stream.Stream(nil), e.traffic.kicks...), e.front != nil
	e.traffic.kicks = e.traffic.kicks[:0]
	e.mu.Unlock()
	for _, s := range kicks {
		if inline { // a program waits, mostly for one answer at a time
			s.Flush()
		} else {
			s.Kick()
		}
	}
}

// unlockBefore is unlock; but with more it may leave what was queued to the caller's next unlock.
// The caller says false once the frames that it has read are used up. So a program's calls, and
// their answers, pass in as few writes as they came in.
func (e *Engine) unlockBefore(more bool) {
	if more && e.front != nil {
		e.mu.Unlock()
		return
	}
	e.unlock()
}
