package engine

import (
	"log/slog"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Stats are as documented at mitogen.Stats.
type Stats struct {
	ID, Parent           wire.ContextID
	Name                 string
	BytesDown, BytesUp   int64
	FramesDown, FramesUp int64
	RoundTrips           int64
	Modules, Calls       int64
	Spawn, EC0           time.Duration
	Hello, Result        time.Duration
	Steps                []Step

	Forwarded
}

// A Step is a part of the start of a context on a console, and when it was done, counted from the
// beginning of the start.
type Step struct {
	Name  string
	After time.Duration
}

// Forwarded counts the cost of the modules that a context was sent.
type Forwarded struct {
	Sent       []Sent        // which, and why, in order; those of the runtime aren't in it
	Found      int64         // bytes of their files
	Minified   int64         // bytes of what was made of these
	Compressed int64         // bytes that went on the way
	Native     int64         // bytes of the extension modules and libraries among these files
	Budget     int64         // bytes of them that the context may be sent
	Negative   int64         // answers that there is no module
	Questions  int64         // times that the context was asked what it lacks
	Asked      int64         // times that it asked for a module
	Files      int64         // times that it asked for what packages have beside modules
	Given      []GivenFile   // files of packages and of their metadata that it was given, sorted
	Refused    int64         // modules and files that it asked for and may not have
	Scan       time.Duration // for finding out what is needed
	Pack       time.Duration // for compressing, and deciding
}

// Sent is a module that a context was sent, and why: "call": one of the user's own, with a call;
// "bundle": because the context has said that it lacks it; "asked": because it, or what needs it,
// was asked for alone; "learned": with a call, because another context had asked for it during such
// a call.
type Sent = forward.Sent

// counts sums up a context's frames. A stream counts for itself.
type counts struct {
	bytesDown, bytesUp   int64
	framesDown, framesUp int64
	trips                int64
	down                 bool // something went down since something came up
	modules, calls       int64
	phases               phases
	steps                []Step
	Forwarded
}

type phases struct{ Spawn, EC0, Hello, Result time.Duration }

func (c *Context) countDown(f *wire.Frame) {
	c.count.framesDown++
	c.count.bytesDown += int64(f.Size())
	c.count.down = true
}

func (c *Context) countUp(f *wire.Frame) {
	n := &c.count
	n.framesUp++
	n.bytesUp += int64(f.Size())
	if n.down {
		n.down = false
		n.trips++
	}
}

// Stats returns what c has cost. A context next to the engine is charged with all that passed its
// stream.
func (c *Context) Stats() Stats {
	c.e.mu.Lock()
	n := c.count
	n.Sent = slices.Clip(n.Sent) // it only grows
	n.Given, n.Refused = c.givenLocked(), int64(c.refusals)
	n.Budget = c.e.forward.Bound()
	c.e.mu.Unlock()
	s := Stats{ID: c.id, Name: c.name, BytesDown: n.bytesDown, BytesUp: n.bytesUp,
		FramesDown: n.framesDown,
		FramesUp:   n.framesUp, RoundTrips: n.trips, Modules: n.modules, Calls: n.calls,
		Spawn: n.phases.Spawn, EC0: n.phases.EC0, Hello: n.phases.Hello, Result: n.phases.Result,
		Steps: slices.Clip(n.steps), Forwarded: n.Forwarded}
	for _, p := range []*Context{c.parent, c.carrier} {
		if p != nil {
			s.Parent = p.id
		}
	}
	if c.stream != nil {
		k := c.stream.Counters()
		s.BytesDown, s.BytesUp = k.BytesDown, k.BytesUp
		s.FramesDown, s.FramesUp = k.FramesDown, k.FramesUp
		s.RoundTrips = k.RoundTrips
	}
	return s
}

// bundledLocked counts a bundle that is on its way to c.
func (c *Context) bundledLocked(a *forward.Action) {
	n, b := &c.count, a.Bundle
	if a.New {
		n.modules += int64(len(a.Sent))
		n.Sent = append(n.Sent, a.Sent...)
		n.Negative += int64(b.Negative)
		n.Found += int64(b.Found)
		n.Minified += int64(b.Minified)
		n.Native += b.Native()
		c.gaveBundleLocked(b)
	}
	n.Compressed += int64(len(b.Compressed))
	c.traceLocked("bundle sent", slog.String("package", b.Package), slog.Any("modules", a.Sent),
		slog.Int("negative", b.Negative),
		slog.Int("found", b.Found), slog.Int("minified", b.Minified),
		slog.Int("compressed", len(b.Compressed)),
		slog.Uint64("by", uint64(a.Hop)))
}

// loadedLocked counts a module that goes to c alone. Those of the runtime count only as modules.
func (c *Context) loadedLocked(m *modules.Module, size int) {
	n := &c.count
	_, ours := c.e.opt.builtin(m.Name)
	switch {
	case m.Letter == modules.Missing:
		n.Negative++
	case !ours:
		n.Sent = append(n.Sent, Sent{Name: m.Name, Why: forward.Asked})
		n.Found += int64(m.Size)
		n.Minified += int64(m.Length())
		if m.Letter == modules.Native {
			n.Native += int64(m.Size)
		}
		n.Compressed += int64(size)
		c.gaveModuleLocked(m)
		fallthrough
	default:
		n.modules++
	}
	c.traceLocked("module sent", slog.String("module", m.Name),
		slog.Bool("negative", m.Letter == modules.Missing), slog.Int("bytes", size))
}

// traceLocked logs at debug level.
func (c *Context) traceLocked(what string, attrs ...slog.Attr) {
	c.queueLocked(event{report: what, level: slog.LevelDebug, attrs: attrs})
}
