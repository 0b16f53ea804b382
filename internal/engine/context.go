package engine

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
	"github.com/mitogen-go/mitogen/secret"
)

// Context is one context of the tree.
type Context struct {
	Public any // the root package's view of it, which guards it

	e      *Engine
	id     wire.ContextID // static, as all up to pushing
	name   string
	hop    methods.Hop
	key    string
	parent *Context // nil: the engine
	golang goState
	// carrier makes the connection of an ssh of this machine. Nil: it does that itself, or there is
	// none.
	carrier *Context
	master  *master  // nil: its ssh is none
	beside  *Context // nil, or the context whose master its ssh uses
	root    *Context // the context that has the stream
	stream  *stream.Stream
	began   time.Time
	ready   chan struct{}      // closed by HELLO
	done    chan struct{}      // closed when gone
	brings  []string           // modules that go to it with its start
	sent    chan struct{}      // closed when CONNECT is on its way; nil: there is none
	talk    func([]byte)       // is told what the dialogue of its start says; nil: there is none
	place   string             // see link
	prompt  connect.PromptFunc // answers questions about its start; nil: there is none
	secrets secret.Source      // has secrets for its start; nil: there is none

	answerer *askpass.Answerer // of the ssh that its hop starts; nil: there is none

	records aside // handles log records

	pushing turn // of who sends modules; taken before Engine.mu
	running turn // of the Run that has the output

	// Protected by Engine.mu:
	gate     *gate // closed until CONNECT has been sent
	info     report.Info
	mode     pickle.Mode
	up       bool
	err      error // why it is gone
	owned    bool  // a caller holds it, besides its children
	children int
	ending   bool // it is to end: SHUTDOWN was sent, or will be once its calls have ended
	told     bool // SHUTDOWN was sent
	calling  int  // calls of open
	// closing is closed by Close. Who shares the context anew opens it again.
	closing    chan struct{}
	stopAsking context.CancelFunc // ends what is asked about its start; nil: not begun
	leaving    chan struct{}      // closed when told
	alone      bool               // its process is a client that can be ended alone
	killNow    bool
	proc       process // nil until started, and behind hops
	connect    wire.Handle
	modules    map[string]bool // programs that were prepared, and modules: whether sent alone
	forwarding bool            // the Forwarder knows it
	asks       int             // ASKs without a LACKS
	forwards   int             // FORWARDs without a DROPPED, which most never get
	requests   []request       // about modules, to be served
	serving    bool
	open       openRequests // calls without an answer, in the order in which they were sent
	ahead      *ahead       // nil: nothing goes ahead
	late       bool         // its CONNECT waits for its hop's HELLO
	callsAhead bool
	outbox     outbox
	rooms      map[wire.Handle]chan struct{} // closed when there may be room in a flow, or for Call
	turns      map[wire.Handle]turn          // to send to its receivers
	refusals   int                           // of modules and files
	given      map[string]int64              // bytes of files, by name
	lent       []lent
	offences   int // that were reported
	account    account
	convicted  bool          // it was ended for breaking a rule
	widened    int           // bytes of windows of flows on its stream beyond wire.Window each
	trip       time.Duration // the shortest round trip that was measured; 0: none was
	// relayed counts bytes that other contexts have sent to it, and to the contexts behind it, since
	// its stream was last nearly empty.
	relayed  map[wire.ContextID]int
	count    counts
	beat     beat
	slowness time.Duration // static; what timeouts of silence are multiplied by; 0: 1

	// busyTimeout is more than the engine's if other engines have something started here, which allow
	// more.
	busyTimeout time.Duration
	stdout      io.Writer // owned by drain while it runs
	stderr      io.Writer
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
func (c *Context) Ready() <-chan struct{} { return c.ready }

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

// open lets pass what was held back for c. What comes meanwhile waits its turn.
func (e *Engine) open(c *Context) {
	for {
		e.mu.Lock()
		g := c.gate
		if g == nil || len(g.held) == 0 {
			c.gate = nil
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
			e.sendLocked(h.c, &h.frame)
		}
		if h.frame.Secret && above == nil {
			clear(h.frame.Payload) // which was held back, and is the gate's own
		}
		if h.need == nil || above != nil {
			e.mu.Unlock()
			continue
		}
		e.unlock() // deciding may take a while
		e.bring(h.c, h.need)
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
