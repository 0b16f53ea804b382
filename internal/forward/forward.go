// Package forward decides which modules a context is sent, and when: docs/protocol.md, section 3, "Bundles".
//
// A Forwarder ties a finder, a cache of closures and a bundle.Book together. Whoever makes a call asks for its Need, which may
// read files, and then has it brought by Want; what contexts answer goes to Lacks, Asked and Dropped. What is to be sent comes
// out as Batches, one at a time and in the order in which they must be queued.
//
// A Forwarder does no I/O but the finder's. Its methods may be called by several goroutines at once.
package forward

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// maxClosures is how many questions of one context are answered with all that the module needs; later ones get the
// module alone, which costs no more than reading it.
const maxClosures = 1024

// Why says what a module was sent for.
type Why string

// The reasons.
const (
	Call    Why = "call"    // one of the user's own, with a call
	Bundle  Why = "bundle"  // foreign: the context has said that it lacks it
	Asked   Why = "asked"   // the context has asked for it, or for what needs it, alone
	Learned Why = "learned" // with a call, because another context had to ask for it during such a call
)

// Sent is a module that a context was sent.
type Sent struct {
	Name string
	Why  Why
}

// Action is something to be sent.
type Action struct {
	bundle.Action
	New  bool            // the bundle is new to Ctx
	Sent []Sent          // the modules in it, then
	Load *modules.Module // if not nil, nothing but Ctx counts, which gets this alone
}

func (a *Action) rank() int {
	if a.Load == nil && a.Op == bundle.Ask {
		return 0
	}
	return 1
}

// Batch is what comes of one event.
type Batch struct {
	Ctx     wire.ContextID // whose event it was
	Actions []Action
	Pack    time.Duration // that deciding and compressing took
}

// Forwarder knows what contexts have and need. Make one with New.
type Forwarder struct {
	finder *modules.Finder // static
	send   func(Batch)     // static
	cache  cache
	lore   lore

	mu       sync.Mutex // protects following; held while send is called
	book     *bundle.Book
	contexts map[wire.ContextID]*context
}

// context is what is known of one besides the Book's part.
type context struct {
	grant    grant  // guards itself
	wants    []want // what was wanted and isn't all sent
	open     int    // Asks without an answer
	closures int    // made for what it asked alone
}

type want struct {
	c   *closure.Closure
	why Why
}

// New returns a Forwarder without contexts. send is called for one Batch after another and must not call the Forwarder.
func New(finder *modules.Finder, send func(Batch)) *Forwarder {
	return &Forwarder{finder: finder, send: send, book: bundle.New(), contexts: map[wire.ContextID]*context{}}
}

// Add makes a context known, behind parent, which is 0 or known. Asking twice is harmless.
func (f *Forwarder) Add(id, parent wire.ContextID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.contexts[id] == nil {
		f.contexts[id] = &context{}
		f.book.Add(id, parent)
	}
}

// Gone forgets a context. Those behind it are to be forgotten too, in whatever order.
func (f *Forwarder) Gone(id wire.ContextID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.contexts, id)
	f.book.Gone(id)
}

// Need is what a call needs.
type Need struct {
	call    *closure.Closure
	learned *closure.Closure // nil: nothing was
}

// Need finds out what p needs on t. It reads files, unless they are known and have not changed.
func (f *Forwarder) Need(t pysource.Target, p Program) *Need {
	n := &Need{call: f.closure(t, p)}
	if names := f.learned(t, n.call, f.lore.of(p.Name)); len(names) > 0 {
		n.learned = f.closure(t, Program{Roots: names})
	}
	return n
}

// learned returns those of names that c's code names, or the code of one of them, or that there is
// no module of. A context that was called more than this one may have taught the others.
func (f *Forwarder) learned(t pysource.Target, c *closure.Closure, names []string) (some []string) {
	for rest := names; len(rest) > 0; {
		named, left := c.Named(), []string(nil)
		before := len(some)
		for _, name := range rest {
			if named.Has(name) || f.finder.Served(name) || f.finder.Builtin(name) {
				some = append(some, name)
			} else {
				left = append(left, name)
			}
		}
		if rest = left; len(some) == before || len(rest) == 0 {
			break
		}
		slices.Sort(some)
		c = f.closure(t, Program{Roots: some})
	}
	for _, name := range names {
		if !slices.Contains(some, name) && f.finder.Find(name).Letter == modules.Missing {
			some = append(some, name)
		}
	}
	slices.Sort(some)
	return some
}

// Idle reports whether n is nothing that would have to be sent or asked.
func (n *Need) Idle() bool {
	return idle(n.call) && (n.learned == nil || idle(n.learned) && len(n.learned.Refused()) == 0)
}

// Grants reports whether n's code names a module that might be asked for.
func (n *Need) Grants() bool { return !idle(n.call) || !n.call.Named().Empty() }

// Reads reports whether what n brings is likely to ask for files, listings or metadata of packages.
func (n *Need) Reads() bool { return n.call.Reads() || n.learned != nil && n.learned.Reads() }

// Want has ctx be sent, or asked about, what n says.
func (f *Forwarder) Want(ctx wire.ContextID, n *Need) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return
	}
	x.grant.call(n.call)
	if n.learned != nil {
		x.grant.call(n.learned)
	}
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	if !idle(n.call) {
		x.wants = append(x.wants, want{n.call, Call})
		b.add(f.book.Want(ctx, n.call))
	}
	switch {
	case n.learned == nil:
	case !idle(n.learned):
		x.wants = append(x.wants, want{n.learned, Learned})
		b.add(f.book.Want(ctx, n.learned))
	default:
		for _, m := range n.learned.Refused() { // a bundle would cost more
			b.actions = append(b.actions, Action{Action: bundle.Action{Ctx: ctx}, Load: m})
		}
	}
	b.send()
}

// want has ctx be sent, or asked about, what w says.
func (f *Forwarder) want(ctx wire.ContextID, w want) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return
	}
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	x.wants = append(x.wants, w)
	b.add(f.book.Want(ctx, w.c))
	b.send()
}

// idle reports whether c brings nothing: then there is nothing to be told apart from what the target has.
func idle(c *closure.Closure) bool { return c.Modules() == 0 && len(c.Foreign) == 0 }

// Lacks takes ctx's answer to its oldest question. What nobody asked for doesn't count.
func (f *Forwarder) Lacks(ctx wire.ContextID, names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil || x.open == 0 {
		return
	}
	x.open--
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	b.add(f.book.Lacks(ctx, names))
	b.send()
}

// Asked takes a question of ctx for one module, which came up in the call of program during, if it isn't "". If it returns a
// module, ctx is to be sent that alone: the answer to the question, positive or not. Else a bundle
// comes. Where ctx may not have the module, given is false, and the answer doesn't tell whether
// there is one.
func (f *Forwarder) Asked(ctx wire.ContextID, t pysource.Target, during,
	name string) (m *modules.Module, given bool) {
	g := f.grantOf(ctx)
	if g == nil || !f.may(g, name) {
		if g != nil {
			g.refuse(name)
		}
		if f.lore.try(during, name) && f.finder.Find(name).Letter == modules.Missing {
			f.lore.learn(during, name)
		}
		return modules.Refused(name), false
	}
	m = f.finder.Find(name)
	if f.hollow(g, m) {
		return modules.Refused(name), false
	}
	if m.Letter == modules.Missing {
		f.lore.learn(during, name)
		return m, true
	}
	ownSpace := m.Letter == modules.Namespace && m.Own // its closure may hold nothing
	if !ownSpace && f.mayAsk(ctx) && f.bring(ctx, t, name) {
		f.lore.learn(during, name)
		return nil, true
	}
	g.loaded(m, t)
	return m, true
}

// bring has a bundle sent for a module that ctx has asked for, with all that it needs. It returns
// false if none comes of that: it belongs to the standard library, for all that is known, or was
// sent before.
func (f *Forwarder) bring(ctx wire.ContextID, t pysource.Target, name string) bool {
	c := f.closure(t, Program{Roots: []string{name}})
	if !c.Has(name) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return false
	}
	x.grant.call(c)
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	x.wants = append(x.wants, want{c, Asked})
	actions, comes := f.book.Asked(ctx, name, c)
	b.add(actions)
	b.send()
	return comes
}

// mayAsk counts a question of ctx, and says whether it gets a bundle.
func (f *Forwarder) mayAsk(ctx wire.ContextID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil || x.closures >= maxClosures {
		return false
	}
	x.closures++
	return true
}

// Dropped takes what hop says of a bundle that it was told to send to ctx and can't.
func (f *Forwarder) Dropped(hop wire.ContextID, id bundle.ID, ctx wire.ContextID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.contexts[hop] == nil || f.contexts[ctx] == nil {
		return
	}
	b := batch{f: f, ctx: ctx, begun: time.Now()}
	b.add(f.book.Dropped(hop, id, ctx))
	b.send()
}

// batch puts a Batch together. Forwarder.mu is held.
type batch struct {
	f       *Forwarder
	x       *context // nil: what is sent is sent once more
	ctx     wire.ContextID
	begun   time.Time
	actions []Action
}

func (b *batch) add(actions []bundle.Action) {
	for _, a := range actions {
		out := Action{Action: a}
		switch {
		case b.x == nil:
		case a.Op == bundle.Ask:
			b.x.open++
		case a.Bundle != nil:
			out.New, out.Sent = true, b.x.reasons(a.Bundle)
			b.x.grant.bundled(a.Bundle)
		}
		b.actions = append(b.actions, out)
	}
}

// reasons says for each module in a bundle what it is sent for. What comes with a package though nobody wants it counts
// for whatever the rest is for.
func (x *context) reasons(u *bundle.Bundle) []Sent {
	var sent []Sent
	rest := Call
	for _, name := range u.Modules() {
		why := Why("")
		if i := slices.IndexFunc(x.wants, func(w want) bool { return w.c.Has(name) }); i >= 0 {
			if why = x.wants[i].why; why == Call && u.Package != "" {
				why = Bundle
			}
			rest = why
		}
		sent = append(sent, Sent{name, why})
	}
	for i := range sent {
		if sent[i].Why == "" {
			sent[i].Why = rest
		}
	}
	return sent
}

func (b *batch) send() {
	if b.x != nil && b.x.open == 0 {
		b.x.wants = nil
	}
	if len(b.actions) > 0 {
		// Questions come first: what is answered while bundles are on the way costs no time.
		slices.SortStableFunc(b.actions, func(a, b Action) int { return cmp.Compare(a.rank(), b.rank()) })
		b.f.send(Batch{Ctx: b.ctx, Actions: b.actions, Pack: time.Since(b.begun)})
	}
}
