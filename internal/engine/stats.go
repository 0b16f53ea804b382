package engine

import (
	"time"

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
}

// counts are what a context's frames add up to. A stream counts for itself.
type counts struct {
	bytesDown, bytesUp   int64
	framesDown, framesUp int64
	trips                int64
	down                 bool // something went down since something came up
	modules, calls       int64
	phases               phases
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

// Stats returns what c has cost. A context next to the engine is charged with all that passed its stream.
func (c *Context) Stats() Stats {
	c.e.mu.Lock()
	n := c.count
	c.e.mu.Unlock()
	s := Stats{ID: c.id, Name: c.name, BytesDown: n.bytesDown, BytesUp: n.bytesUp, FramesDown: n.framesDown,
		FramesUp: n.framesUp, RoundTrips: n.trips, Modules: n.modules, Calls: n.calls,
		Spawn: n.phases.Spawn, EC0: n.phases.EC0, Hello: n.phases.Hello, Result: n.phases.Result}
	if c.parent != nil {
		s.Parent = c.parent.id
	}
	if c.stream != nil {
		k := c.stream.Counters()
		s.BytesDown, s.BytesUp, s.FramesDown, s.FramesUp = k.BytesDown, k.BytesUp, k.FramesDown, k.FramesUp
		s.RoundTrips = k.RoundTrips
	}
	return s
}
