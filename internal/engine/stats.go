package engine

import (
	"log/slog"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// counts sums up a context's frames. A stream counts for itself.
type counts struct {
	bytesDown, bytesUp   int64
	framesDown, framesUp int64
	trips                int64
	down                 bool // something went down since something came up
	modules, calls       int64
	phases               phases
	steps                []report.Step
	report.ModuleStats
}

type phases struct{ Spawn, EC0, Hello, Result time.Duration }

func (fi *figures) countDown(f *wire.Frame) {
	fi.count.framesDown++
	fi.count.bytesDown += int64(f.Size())
	fi.count.down = true
}

func (fi *figures) countUp(f *wire.Frame) {
	n := &fi.count
	n.framesUp++
	n.bytesUp += int64(f.Size())
	if n.down {
		n.down = false
		n.trips++
	}
}

// figures count what a context costs, and measure the line to it.
type figures struct {
	c        *Context
	began    time.Time     // static
	slowness time.Duration // static; what timeouts of silence are multiplied by; 0: 1

	// Protected by Engine.mu:
	count counts
	trip  time.Duration // the shortest round trip that was measured; 0: none was
	beat  beat
}

// Stats returns what c has cost. A context next to the engine is charged with all that passed its
// stream.
func (c *Context) Stats() report.Stats {
	c.e.mu.Lock()
	n := c.figures.count
	n.Sent = slices.Clip(n.Sent) // it only grows
	n.Given, n.Refused = c.Supply.given.givenLocked(), int64(c.Supply.given.refusals)
	n.Budget = c.e.library.forward.Bound()
	c.e.mu.Unlock()
	s := report.Stats{ID: uint32(c.id), Name: c.name, BytesDown: n.bytesDown, BytesUp: n.bytesUp,
		FramesDown: n.framesDown,
		FramesUp:   n.framesUp, RoundTrips: n.trips, Modules: n.modules, Calls: n.calls,
		Spawn: n.phases.Spawn, EC0: n.phases.EC0, Hello: n.phases.Hello, Result: n.phases.Result,
		Steps: slices.Clip(n.steps), ModuleStats: n.ModuleStats}
	for _, p := range []*Context{c.parent, c.launch.carrier} {
		if p != nil {
			s.Parent = uint32(p.id)
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
func (g *given) bundledLocked(a *forward.Action) {
	c := g.c
	n, b := &c.figures.count, a.Bundle
	if a.New {
		n.modules += int64(len(a.Sent))
		n.Sent = append(n.Sent, a.Sent...)
		n.Negative += int64(b.Negative)
		n.Found += int64(b.Found)
		n.Minified += int64(b.Minified)
		n.Native += b.Native()
		g.gaveBundleLocked(b)
	}
	n.Compressed += int64(len(b.Compressed))
	c.outbox.traceLocked("bundle sent", slog.String("package", b.Package), slog.Any("modules", a.Sent),
		slog.Int("negative", b.Negative),
		slog.Int("found", b.Found), slog.Int("minified", b.Minified),
		slog.Int("compressed", len(b.Compressed)),
		slog.Uint64("by", uint64(a.Hop)))
}

// loadedLocked counts a module that goes to c alone. Those of the runtime count only as modules.
func (g *given) loadedLocked(m *modules.Module, size int) {
	c := g.c
	n := &c.figures.count
	_, ours := c.e.opt.Modules.builtin(m.Name)
	switch {
	case m.Letter == modules.Missing:
		n.Negative++
	case !ours:
		n.Sent = append(n.Sent, report.Sent{Name: m.Name, Reason: report.SentAsked})
		n.Found += int64(m.Size)
		n.Minified += int64(m.Length())
		if m.Letter == modules.Native {
			n.Native += int64(m.Size)
		}
		n.Compressed += int64(size)
		g.gaveModuleLocked(m)
		fallthrough
	default:
		n.modules++
	}
	c.outbox.traceLocked("module sent", slog.String("module", m.Name),
		slog.Bool("negative", m.Letter == modules.Missing), slog.Int("bytes", size))
}

// traceLocked logs at debug level.
func (b *outbox) traceLocked(what string, attrs ...slog.Attr) {
	b.queueLocked(event{report: what, level: slog.LevelDebug, attrs: attrs})
}
