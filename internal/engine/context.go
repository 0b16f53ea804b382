package engine

import (
	"cmp"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/connect"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Context is one context of the tree.
type Context struct {
	Public any // the root package's view of it, which guards it

	e      *Engine
	id     wire.ContextID // static, as all up to pushing
	name   string
	hop    connect.Hop
	key    string
	parent *Context // nil: the engine
	root   *Context // the one that has the stream
	stream *stream.Stream
	began  time.Time
	ready  chan struct{} // closed by HELLO
	done   chan struct{} // closed when gone

	pushing sync.Mutex // held while a module is sent; taken before Engine.mu
	running sync.Mutex // held by the Run that has the output

	// Protected by Engine.mu:
	gate     *gate // closed until CONNECT has been sent
	info     Info
	mode     pickle.Mode
	up       bool
	err      error // why it is gone
	owned    bool  // somebody holds it, besides its children
	children int
	ending   bool // SHUTDOWN was sent
	alone    bool // its process is a client that can be ended alone
	killNow  bool
	proc     process // nil until started, and behind hops
	connect  wire.Handle
	modules  map[string]bool // known: whether sent (else there is none)
	asked    []string        // modules to be served
	serving  bool
	outbox   outbox
	rooms    map[wire.Handle]chan struct{} // closed when there may be room in a flow, or for Call
	offences int
	count    counts
	beat     beat
	stdout   io.Writer // owned by drain while it runs
	stderr   io.Writer
}

// gate holds frames back that must not be sent yet.
type gate struct {
	held []wire.Frame
	size int // bytes of held
}

func (g *gate) hold(f *wire.Frame) {
	h := *f
	h.Payload = append([]byte(nil), f.Payload...)
	g.held = append(g.held, h)
	g.size += wire.HeaderSize + len(h.Payload) + wire.TrailerSize
}

// Info is what HELLO says.
type Info struct {
	Version        [3]int
	Implementation string
	Platform       string
	UID            int
	Hostname       string
	PID            int
	Executable     string
}

// ID returns the context's number.
func (c *Context) ID() wire.ContextID { return c.id }

// Name returns the target up to this context.
func (c *Context) Name() string { return c.name }

// Done returns a channel that is closed when the context is gone.
func (c *Context) Done() <-chan struct{} { return c.done }

// Ready returns a channel that is closed when the context is up; it never is if it doesn't get there.
func (c *Context) Ready() <-chan struct{} { return c.ready }

// Err returns why the context is gone; nil: it isn't.
func (c *Context) Err() error {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.err
}

// Info returns what HELLO said; zero before it has come.
func (c *Context) Info() Info {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.info
}

// ancestors returns the ids above, nearest first, engine last.
func (c *Context) ancestors() []uint32 {
	var ids []uint32
	for p := c.parent; p != nil; p = p.parent {
		ids = append(ids, uint32(p.id))
	}
	return append(ids, 0)
}

// openLocked lets pass what was held back for c.
func (e *Engine) openLocked(c *Context) {
	g := c.gate
	c.gate = nil
	if g == nil {
		return
	}
	for i := range g.held {
		if dst := e.contexts[g.held[i].Dst]; dst != nil {
			e.putLocked(dst, &g.held[i])
		}
	}
}

func sortedContexts(m map[wire.ContextID]*Context) []*Context {
	all := make([]*Context, 0, len(m))
	for _, c := range m {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Context) int { return cmp.Compare(a.id, b.id) })
	return all
}
