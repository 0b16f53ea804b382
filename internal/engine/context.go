package engine

import (
	"cmp"
	"slices"

	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Context is one context of the tree: its identity and its place there. All else that the engine
// knows of it is in rooms. Each has its own fields and its own reason, and refers to its context.
// A room is exported if other packages call its methods.
//
//	hello     greeting   what the context said when it came up
//	launch    launch     how it is brought up, and the process that has its stream
//	hopStart  hopStart   how its hop starts it; only of a context behind one
//	life      life       who needs it, and how it ends
//	Calls     calls      requests to it, and values for its receivers
//	Programs  programs   runs and sessions
//	Tunnels   tunnels    what runs beside it: forks, connections, services
//	Supply    supply     modules and files: what it has, lacks, asks for and was given
//	outbox    outbox     its output and log records, on their way to their writers
//	conduct   conduct    what it does that it must not
//	figures   figures    what it has cost, and how fast and alive it is
type Context struct {
	Public any // the root package's view of it, which guards it

	// Static, as is all that isn't said to be protected by Engine.mu.
	e      *Engine
	id     wire.ContextID
	name   string
	parent *Context // nil: the engine
	root   *Context // the context that has the stream
	stream *stream.Stream
	done   chan struct{} // closed when gone
	err    error         // why it is gone. Protected by Engine.mu

	hello    greeting
	launch   launch
	hopStart hopStart
	life     life
	Calls    calls
	Programs programs
	Tunnels  tunnels
	Supply   supply
	outbox   outbox
	conduct  conduct
	figures  figures
}

// bare returns a context that is in no tree.
func bare(e *Engine, id wire.ContextID, name string) *Context {
	c := &Context{e: e, id: id, name: name, done: make(chan struct{})}
	c.hello.ready = make(chan struct{})
	c.launch.c = c
	c.hopStart.c = c
	c.life = life{c: c, closing: make(chan struct{}), leaving: make(chan struct{})}
	c.Calls = calls{c: c, waiting: map[wire.Handle]chan struct{}{}}
	c.Programs = programs{c: c, running: make(turn, 1)}
	c.Tunnels.c = c
	c.Supply = supply{c: c, pushing: make(turn, 1), modules: map[string]bool{},
		requests: requests{c: c}, given: given{c: c}}
	c.outbox.c = c
	c.conduct.c = c
	c.figures.c = c
	return c
}

// greeting has what a context says of itself. Protected by Engine.mu, but for ready.
type greeting struct {
	ready chan struct{} // closed by HELLO
	up    bool
	info  report.Info
	mode  pickle.Mode // how values for it are written; a guess before HELLO
}

// gate holds back what must not be sent yet.
type gate struct {
	held []heldBack
	size int // bytes of held
}

// heldBack is a frame, or something that the Forwarder can't decide about before the frames before
// it are sent, or who waits until they are.
type heldBack struct {
	frame wire.Frame
	c     *Context
	need  *forward.Need // nil: it is something else
	sent  chan struct{} // closed when what is before it is sent; nil: it is something else
}

func (g *gate) hold(c *Context, f *wire.Frame) {
	h := *f
	h.Payload = append([]byte(nil), f.Payload...)
	g.add(heldBack{frame: h, c: c})
}

func (g *gate) add(h heldBack) {
	g.held = append(g.held, h)
	g.size += h.frame.Size()
}

// take returns what is to pass next, of which there is something.
func (g *gate) take() heldBack {
	h := g.held[0]
	g.held[0] = heldBack{}
	g.held = g.held[1:]
	g.size -= h.frame.Size()
	return h
}

// ID returns the context's number.
func (c *Context) ID() wire.ContextID { return c.id }

// Name returns the target up to this context.
func (c *Context) Name() string { return c.name }

// Via returns the context that frames for c pass; nil: c is next to the engine.
func (c *Context) Via() *Context { return c.parent }

// Done returns a channel that is closed when the context is gone.
func (c *Context) Done() <-chan struct{} { return c.done }

// Ready returns a channel that is closed when the context is up; it never is if it doesn't get
// there.
func (c *Context) Ready() <-chan struct{} { return c.hello.ready }

// Err returns why the context is gone; nil: it isn't.
func (c *Context) Err() error {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.err
}

// Info returns what HELLO said; zero before it has come.
func (c *Context) Info() report.Info {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.hello.info
}

// ancestors returns the ids above, nearest first, engine last.
func (c *Context) ancestors() []uint32 {
	var ids []uint32
	for p := c.parent; p != nil; p = p.parent {
		ids = append(ids, uint32(p.id))
	}
	return append(ids, 0)
}

// open lets pass what was held back for c. What comes meanwhile waits its turn.
func (hs *hopStart) open() {
	c, e := hs.c, hs.c.e
	for {
		e.mu.Lock()
		g := hs.gate
		if g == nil || len(g.held) == 0 {
			hs.gate = nil
			e.unlock()
			return
		}
		h := g.take()
		above := (*gate)(nil)
		if c.parent != nil {
			above = c.parent.gateLocked()
		}
		switch {
		case h.c.err != nil:
		case above != nil:
			above.add(h)
		case h.sent != nil:
			close(h.sent)
		case h.need == nil:
			e.traffic.sendLocked(h.c, &h.frame)
		}
		if h.frame.Secret && above == nil {
			clear(h.frame.Payload) // which was held back, and is the gate's own
		}
		if h.need == nil || above != nil {
			e.mu.Unlock()
			continue
		}
		e.unlock() // deciding may take a while
		h.c.Supply.bring(h.need)
	}
}

// RootOf returns the context next to the engine that frames for c pass, which may be c.
func RootOf(c *Context) *Context { return c.root }

func sortedContexts(m map[wire.ContextID]*Context) []*Context {
	all := make([]*Context, 0, len(m))
	for _, c := range m {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Context) int { return cmp.Compare(a.id, b.id) })
	return all
}

// gateLocked returns the gate that frames for c are held back at, nil if they aren't.
func (c *Context) gateLocked() *gate {
	for x := c; x != nil; x = x.parent {
		if x.hopStart.gate != nil {
			return x.hopStart.gate
		}
	}
	return nil
}
