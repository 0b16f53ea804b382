package bundle

import (
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// Op says what an Action is.
type Op uint8

// The kinds of Actions.
const (
	Send    Op = iota // the bundle goes to Ctx, all the way from here
	Forward           // Hop, which keeps the bundle, is told to send it to Ctx; Hop may be Ctx
	Ask               // Ctx is asked which of Names it can't import
	Coming            // Ctx is told that the bundles of IDs are on their way, and that Answers of its LACKS are dealt with
)

// maxAsk is how many names one Ask has, so that it fits a frame.
const maxAsk = 256

// Action is something to be sent.
type Action struct {
	Op      Op
	Ctx     wire.ContextID
	Hop     wire.ContextID
	Bundle  *Bundle
	Names   []string
	IDs     []ID
	Answers int
}

// Book is what the engine knows about who has which modules.
//
// Its users carry out Actions in order. On one stream BUNDLE and FORWARD frames don't overtake each other; all else may
// overtake them. Contexts behave like this: what is on the way to others, or meant for themselves, they keep while it
// arrives, but nothing of what is for somebody who is gone; on FORWARD they send what they keep, and pieces that are still to come. They answer DROPPED if they don't keep
// it (any more), and also if its rest can't come because whom it went to is gone. An import of a name that isn't there waits as
// long as a bundle that was announced, or the answer to a LACKS, is still to come. A module doesn't replace one from a bundle
// that was announced later.
//
// A module's content is always sent in the same bundle, so that each crosses a link once. The price is that a context
// may be sent more of a package than it needs.
type Book struct {
	contexts map[wire.ContextID]*context
	items    map[content]*item
	latest   map[place]*item
	bundles  map[ID]*Bundle
	clock    uint64 // counts deliveries
	marks    uint64 // counts splits
}

// place is a module, whatever is in it.
type place struct{ pkg, name string }

// content is what is in a module. Negative answers count for each package by itself.
type content struct {
	place
	letter byte
	key    [32]byte
}

// item is what the Book knows about a content.
type item struct {
	content
	in      []*Bundle // all that it was ever part of
	current *Bundle   // the one that it is sent in; nil if none
	mark    uint64    // of the last split that it may go with
}

// context is what the Book knows about one context.
type context struct {
	parent   wire.ContextID
	got      map[*Bundle]bool
	keeps    map[ID]uint64      // bundles, and when they were put there last
	forwards map[forward]told   // it was told to make
	has      map[string]bool    // answers: foreign packages that it has or lacks
	asked    [][]string         // without an answer yet
	waiting  []*closure.Closure // for answers
}

type forward struct {
	id  ID
	ctx wire.ContextID
}

// told says how often, and when last. A bundle goes twice where a module has changed and is as it was.
type told struct {
	times int
	last  uint64
}

// New returns the Book of an engine, context 0, without other contexts.
func New() *Book {
	return &Book{contexts: map[wire.ContextID]*context{}, items: map[content]*item{}, latest: map[place]*item{},
		bundles: map[ID]*Bundle{}}
}

// Add puts a new context behind parent, which is the engine or known.
func (b *Book) Add(id, parent wire.ContextID) {
	b.contexts[id] = &context{parent: parent, got: map[*Bundle]bool{}, keeps: map[ID]uint64{},
		forwards: map[forward]told{}, has: map[string]bool{}}
}

// Gone forgets a context and all behind it.
func (b *Book) Gone(id wire.ContextID) {
	for c, x := range b.contexts {
		if x.parent == id && c != id {
			b.Gone(c)
		}
	}
	delete(b.contexts, id)
	for _, x := range b.contexts {
		for f := range x.forwards {
			if f.ctx == id {
				delete(x.forwards, f)
			}
		}
	}
}

// Want says what to send so that ctx can import what c has: the user's own modules at once, the rest when ctx has
// answered what it lacks.
func (b *Book) Want(ctx wire.ContextID, c *closure.Closure) []Action {
	x := b.contexts[ctx]
	if x == nil {
		return nil
	}
	out := b.deliver(nil, ctx, b.pick(x, c.Own()), 0)
	var names []string
	for _, name := range c.Foreign {
		if _, known := x.has[name]; !known && !x.asks(name) {
			names = append(names, name)
		}
	}
	for some := range slices.Chunk(names, maxAsk) {
		x.asked = append(x.asked, some)
		out = append(out, Action{Op: Ask, Ctx: ctx, Names: some})
	}
	x.waiting = append(x.waiting, c)
	return b.settle(out, ctx, x, 0)
}

func (x *context) asks(name string) bool {
	return slices.ContainsFunc(x.asked, func(names []string) bool { return slices.Contains(names, name) })
}

// Lacks takes the answer to the oldest Ask that has none. There may be names in it that nobody asked for: they don't count.
func (b *Book) Lacks(ctx wire.ContextID, names []string) []Action {
	x := b.contexts[ctx]
	if x == nil || len(x.asked) == 0 {
		return nil
	}
	lacks := map[string]bool{}
	for _, name := range names {
		lacks[name] = true
	}
	for _, name := range x.asked[0] {
		x.has[name] = !lacks[name]
	}
	x.asked = x.asked[1:]
	return b.settle(nil, ctx, x, 1)
}

// Asked is Want for a name that ctx has asked for alone, and so lacks; c is its closure. comes says that a bundle with it comes
// of that, perhaps when ctx has answered something else. If none does, ctx has been sent the module before.
func (b *Book) Asked(ctx wire.ContextID, name string, c *closure.Closure) (out []Action, comes bool) {
	x := b.contexts[ctx]
	if x == nil {
		return nil, false
	}
	for _, f := range c.Foreign {
		if name == f || strings.HasPrefix(name, f+".") {
			x.has[f] = false
		}
	}
	comes = c.Has(name) && !b.Holds(ctx, name, c)
	return b.Want(ctx, c), comes
}

// Holds reports whether ctx was sent module name of c as it was last.
func (b *Book) Holds(ctx wire.ContextID, name string, c *closure.Closure) bool {
	x, it := b.contexts[ctx], b.latest[place{c.Package(name), name}]
	return x != nil && it != nil && x.holds(it)
}

// settle sends what waited for answers that are there now, in the order of the calls: a module that has changed in
// between must not come as it was.
func (b *Book) settle(out []Action, ctx wire.ContextID, x *context, answers int) []Action {
	unknown := func(name string) bool { _, known := x.has[name]; return !known }
	var send []*Bundle
	for len(x.waiting) > 0 && !slices.ContainsFunc(x.waiting[0].Foreign, unknown) {
		send = append(send, b.pick(x, x.waiting[0].Lacking(func(name string) bool { return x.has[name] }))...)
		x.waiting = x.waiting[1:]
	}
	return b.deliver(out, ctx, send, answers)
}

// deliver announces bundles and sends them.
func (b *Book) deliver(out []Action, ctx wire.ContextID, send []*Bundle, answers int) []Action {
	if len(send) == 0 && answers == 0 {
		return out
	}
	coming := Action{Op: Coming, Ctx: ctx, Answers: answers}
	for _, bundle := range send {
		coming.IDs = append(coming.IDs, bundle.ID)
	}
	out = append(out, coming)
	for _, bundle := range send {
		out = append(out, b.route(ctx, bundle))
	}
	return out
}

// route takes the shortest way: from the nearest context that keeps the bundle, else from here. All on it keep it then.
func (b *Book) route(ctx wire.ContextID, bundle *Bundle) Action {
	b.clock++
	a := Action{Op: Send, Ctx: ctx, Bundle: bundle}
	for id := ctx; ; {
		x := b.contexts[id]
		if x == nil {
			return a
		}
		if _, keeps := x.keeps[bundle.ID]; keeps {
			f := forward{bundle.ID, ctx}
			x.forwards[f] = told{x.forwards[f].times + 1, b.clock}
			a.Op, a.Hop = Forward, id
			return a
		}
		x.keeps[bundle.ID] = b.clock
		id = x.parent
	}
}

// Dropped takes what hop says of a Forward that it can't do: the bundle goes to ctx from further up. A hop that was sent the
// bundle again since is told again.
func (b *Book) Dropped(hop wire.ContextID, id ID, ctx wire.ContextID) []Action {
	h := b.contexts[hop]
	bundle := b.bundles[id]
	if h == nil || bundle == nil {
		return nil
	}
	f := forward{id, ctx}
	t, ok := h.forwards[f]
	if !ok {
		return nil
	}
	when := t.last
	if t.times--; t.times > 0 {
		h.forwards[f] = t
	} else {
		delete(h.forwards, f)
	}
	for at := ctx; at != hop; at = b.contexts[at].parent {
		if b.contexts[at].keeps[id] == when {
			delete(b.contexts[at].keeps, id) // it didn't come by
		}
	}
	if h.keeps[id] < when {
		delete(h.keeps, id)
	}
	return []Action{b.route(ctx, bundle)}
}
