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
	// Ctx is told that the bundles of IDs are on their way, and that Answers of its LACKS are dealt
	// with
	Coming
)

// maxAsk limits the names of one Ask, so that it fits a frame.
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
	Native  bool // of an Ask: Ctx is also asked which extension modules it takes
}

// Book records which modules each context has.
//
// Its users carry out Actions in order. On one stream BUNDLE and FORWARD frames don't overtake each
// other; all other frames may overtake them. A context keeps a bundle while it arrives, if the
// bundle is for itself or for a context behind it. It keeps no bundle for a context that is gone.
// On FORWARD it sends the bundle that it keeps, and pieces that are still to come. If it doesn't
// keep the bundle (any more), it answers DROPPED. It also does so if the rest can't come because
// the first receiver is gone. An import of a missing name waits as long as an announced bundle, or
// the answer to a LACKS, is still to come. A module doesn't replace a module from a bundle that was
// announced later.
//
// A module's content is always sent in the same bundle, so that each crosses a link once. The price
// is that a context may be sent more of a package than it needs.
type Book struct {
	contexts map[wire.ContextID]*context
	items    map[content]*item
	latest   map[place]*item
	bundles  map[ID]*Bundle
	small    func(ID) []byte // what Smaller has made of a bundle; nil: nothing
	drafts   map[string]*Draft
	natives  []*Bundle // those of extension modules, in the order in which they were made
	trimmed  int       // how many there were after trim
	clock    uint64    // counts deliveries
	marks    uint64    // counts splits
}

// place is a module, whatever is in it.
type place struct{ pkg, name string }

// content identifies a module together with its text. Negative answers count for each package by
// itself.
type content struct {
	place
	letter byte
	key    [32]byte
}

// item holds the bundles of one content.
type item struct {
	content
	in      []*Bundle // all that it was ever part of
	current *Bundle   // the bundle that it is sent in; nil if none
	mark    uint64    // of the last split that it may go with
}

// context is the Book's record of one context.
type context struct {
	parent   wire.ContextID
	got      map[*Bundle]bool
	keeps    map[ID]uint64      // bundles, and when they were put there last
	forwards map[forward]told   // it was told to make
	has      map[string]bool    // answers: foreign packages that it has or lacks
	asked    [][]string         // without an answer yet
	learned  bool               // the oldest of them has one, which Lacks is to take
	waiting  []*closure.Closure // for answers
	unpacks  bool               // what bzip2 has packed
}

type forward struct {
	id  ID
	ctx wire.ContextID
}

// told says how often, and when last. A bundle goes twice where a module has changed and is as it
// was.
type told struct {
	times int
	last  uint64
}

// New returns the Book of an engine, context 0, without other contexts.
func New() *Book {
	return &Book{contexts: map[wire.ContextID]*context{}, items: map[content]*item{},
		latest:  map[place]*item{},
		bundles: map[ID]*Bundle{}}
}

// Small tells the Book where it finds the bundles that Smaller has made.
func (b *Book) Small(have func(ID) []byte) { b.small = have }

// Unpacks notes that ctx can unpack what bzip2 has packed.
func (b *Book) Unpacks(ctx wire.ContextID) {
	if x := b.contexts[ctx]; x != nil {
		x.unpacks = true
	}
}

// form returns the form in which a bundle goes to ctx: the form that is kept on the way there, else
// the smallest that ctx can unpack.
func (b *Book) form(ctx wire.ContextID, bundle *Bundle) *Bundle {
	if bundle.small == nil && b.small != nil {
		if bundle.small = bundle.smaller(b.small(bundle.ID)); bundle.small != nil {
			b.bundles[bundle.small.ID] = bundle.small
		}
	}
	x := b.contexts[ctx]
	if bundle.small == nil || !x.unpacks {
		return bundle
	}
	for ; x != nil; x = b.contexts[x.parent] {
		if _, keeps := x.keeps[bundle.small.ID]; keeps {
			break
		}
		if _, keeps := x.keeps[bundle.ID]; keeps {
			return bundle
		}
	}
	return bundle.small
}

// Add puts a new context behind parent, which is the engine or known.
func (b *Book) Add(id, parent wire.ContextID) {
	b.contexts[id] = &context{parent: parent, got: map[*Bundle]bool{}, keeps: map[ID]uint64{},
		forwards: map[forward]told{}, has: map[string]bool{}}
}

// Parent returns the context that ctx is behind, 0 for the engine.
func (b *Book) Parent(ctx wire.ContextID) wire.ContextID {
	if x := b.contexts[ctx]; x != nil {
		return x.parent
	}
	return 0
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
	b.dropDrafts()
}

// Want says what to send so that ctx can import what c has: the user's own modules at once, the
// rest when ctx has answered what it lacks. more are names that are asked about too where anything
// is: those that c's modules are likely to need later.
func (b *Book) Want(ctx wire.ContextID, c *closure.Closure, more ...string) []Action {
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
	if len(names) > 0 {
		for _, name := range more {
			if _, known := x.has[name]; !known && !x.asks(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for some := range slices.Chunk(names, maxAsk) {
		x.asked = append(x.asked, some)
		out = append(out, Action{Op: Ask, Ctx: ctx, Names: some})
	}
	x.waiting = append(x.waiting, c)
	return b.settle(out, ctx, x, 0)
}

// Ask returns c's modules of the user, and questions about all third-party packages that c needs.
// The first question is about the extension modules that ctx takes. Nothing else of c is brought.
// more are names that modules brought later are likely to need.
func (b *Book) Ask(ctx wire.ContextID, c *closure.Closure, more []string) []Action {
	x := b.contexts[ctx]
	if x == nil {
		return nil
	}
	out := b.deliver(nil, ctx, b.pick(x, c.Own()), 0)
	first := true
	names := slices.Clone(c.Foreign)
	for _, name := range more {
		if _, known := x.has[name]; !known && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for some := range slices.Chunk(names, maxAsk) {
		x.asked = append(x.asked, some)
		out = append(out, Action{Op: Ask, Ctx: ctx, Names: some, Native: first})
		first = false
	}
	return out
}

func (x *context) asks(name string) bool {
	return slices.ContainsFunc(x.asked,
		func(names []string) bool { return slices.Contains(names, name) })
}

// Lacks takes the answer to the oldest open Ask. Names in it that the engine didn't ask for don't
// count.
func (b *Book) Lacks(ctx wire.ContextID, names []string) []Action {
	x := b.contexts[ctx]
	if x == nil || len(x.asked) == 0 {
		return nil
	}
	b.Learn(ctx, names)
	x.asked, x.learned = x.asked[1:], false
	out := b.settle(nil, ctx, x, 1)
	b.dropDrafts()
	return out
}

// Learn notes what an answer says that Lacks takes next. Until then nothing is sent because of it.
// What is known already stays: ctx may have asked for the package since, and what fits its budget
// was decided by what it said first.
func (b *Book) Learn(ctx wire.ContextID, names []string) {
	x := b.contexts[ctx]
	if x == nil || len(x.asked) == 0 {
		return
	}
	x.learned = true
	lacks := map[string]bool{}
	for _, name := range names {
		lacks[name] = true
	}
	for _, name := range x.asked[0] {
		if _, known := x.has[name]; !known {
			x.has[name] = !lacks[name]
		}
	}
}

// Question returns the names in the oldest open Ask of ctx, not to be changed, and the foreign
// packages that it is known to lack, in any order.
func (b *Book) Question(ctx wire.ContextID) (asked, lacked []string) {
	x := b.contexts[ctx]
	if x == nil || len(x.asked) == 0 {
		return nil, nil
	}
	for name, has := range x.has {
		if !has {
			lacked = append(lacked, name)
		}
	}
	return x.asked[0], lacked
}

// Has reports whether ctx has said that it has a foreign package.
func (b *Book) Has(ctx wire.ContextID, pkg string) bool {
	x := b.contexts[ctx]
	return x != nil && x.has[pkg]
}

// Lacked reports whether ctx is known to lack a foreign package.
func (b *Book) Lacked(ctx wire.ContextID, pkg string) bool {
	x := b.contexts[ctx]
	if x == nil {
		return false
	}
	has, known := x.has[pkg]
	return known && !has
}

// Misses notes that ctx has asked for a name alone, and so lacks it; c is its closure. comes says
// that a bundle with it would come of Want.
func (b *Book) Misses(ctx wire.ContextID, name string, c *closure.Closure) (comes bool) {
	x := b.contexts[ctx]
	if x == nil {
		return false
	}
	for _, pkg := range shown(name, c) {
		x.has[pkg] = false
	}
	return c.Has(name) && !b.Holds(ctx, name, c)
}

// Denies returns the packages that ctx lacks if Misses is called, though ctx has said that it has
// them.
func (b *Book) Denies(ctx wire.ContextID, name string, c *closure.Closure) []string {
	return slices.DeleteFunc(shown(name, c), func(pkg string) bool { return !b.Has(ctx, pkg) })
}

// shown returns the foreign packages that a context lacks if it asks for a name alone; c is the
// name's closure.
func shown(name string, c *closure.Closure) (packages []string) {
	for _, f := range c.Foreign {
		if name == f || strings.HasPrefix(name, f+".") {
			packages = append(packages, f)
		}
	}
	if of := c.Package(name); c.Has(name) && of != "" {
		packages = append(packages, of) // the name is a file's of this package
	}
	return packages
}

// Holds reports whether ctx was sent module name of c as it was last.
func (b *Book) Holds(ctx wire.ContextID, name string, c *closure.Closure) bool {
	x, it := b.contexts[ctx], b.latest[place{c.Package(name), name}]
	return x != nil && it != nil && x.holds(it)
}

// settle sends what waited for answers that are there now, in the order of the calls: a module that
// has changed in between must not come as it was.
func (b *Book) settle(out []Action, ctx wire.ContextID, x *context, answers int) []Action {
	unknown := func(name string) bool { _, known := x.has[name]; return !known }
	var send []*Bundle
	for !x.learned && len(x.waiting) > 0 && !slices.ContainsFunc(x.waiting[0].Foreign, unknown) {
		send = append(send, b.pick(x,
			x.waiting[0].Lacking(func(name string) bool { return x.has[name] }))...)
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
	for i := range send {
		send[i] = b.form(ctx, send[i])
		coming.IDs = append(coming.IDs, send[i].ID)
	}
	out = append(out, coming)
	for _, bundle := range send {
		out = append(out, b.route(ctx, bundle))
	}
	return out
}

// route takes the shortest way: from the nearest context that keeps the bundle, else from here. All
// on it keep it then.
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

// Dropped takes what hop says of a Forward that it can't do: the bundle goes to ctx from further
// up. A hop that was sent the bundle again since is told again.
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
