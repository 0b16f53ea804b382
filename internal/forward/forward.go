// Package forward decides which modules a context is sent, and when: docs/protocol/modules.md,
// section 12, "Bundles".
//
// A Forwarder ties a finder, a cache of closures and a bundle.Book together. A caller asks for the
// Need of its call, which may read files, and then has it brought by Want. Answers of contexts go
// to Lacks, Asked and Dropped. Frames to send come out as Batches, one at a time and in the order
// in which they must be queued.
//
// A Forwarder does no I/O but the finder's, and in Remember and Save. Its methods may be called by
// several goroutines at once.
package forward

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// maxClosures limits the questions of one context that are answered with all that the module needs.
// Later questions get the module alone, which costs no more than reading it.
const maxClosures = 1024

// Action is something to be sent.
type Action struct {
	bundle.Action
	New  bool            // the bundle is new to Ctx
	Sent []report.Sent   // the modules in it, then
	Load *modules.Module // if not nil, only Ctx, which gets this alone, and Sent count
}

func (a *Action) rank() int {
	if a.Load == nil && a.Op == bundle.Ask {
		return 0
	}
	return 1
}

// Batch holds the results of one event.
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

	small    smaller  // guards itself
	required required // guards itself

	budget int64 // bytes of extension modules for each context; negative: none are sent. Static

	mu       sync.Mutex // protects following; held while send is called
	book     *bundle.Book
	contexts map[wire.ContextID]*context
}

// context is the Forwarder's record of one context, besides the Book's.
type context struct {
	grant    grant  // guards itself
	wants    []want // what was wanted and isn't all sent
	asks     []bool // Asks without an answer: true, those that ask which extension modules it takes
	closures int    // made for what it asked alone
	near     bool   // no link leads to it
	guesses  guesses

	abi    string // pysource.Target.ABI
	held   []want // until abi is known
	native int64  // bytes of extension modules that it was sent

	booked []*closure.Closure // whose extension modules are to be sent
}

type want struct {
	c   *closure.Closure
	why report.Reason
	p   Program // that c is of

	more []string // foreign names that it is likely to need later
}

// New returns a Forwarder without contexts. send is called for one Batch after another and must not
// call the Forwarder.
func New(finder *modules.Finder, send func(Batch)) *Forwarder {
	f := &Forwarder{finder: finder, send: send, budget: DefaultBudget, book: bundle.New(),
		contexts: map[wire.ContextID]*context{}}
	f.book.Small(f.small.of)
	return f
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

// Need describes the modules that a call needs.
type Need struct {
	call    *closure.Closure
	learned *closure.Closure // nil: nothing was

	target  pysource.Target
	program Program
	names   []string // that learned is of
}

// Need finds out what p needs on t. It reads files, unless they are known and have not changed.
func (f *Forwarder) Need(t pysource.Target, p Program) *Need {
	p.Roots = append(slices.Clip(p.Roots), f.named(t, p)...)
	n := &Need{call: f.closure(t, p), target: t, program: p}
	if n.names = f.learned(t, n.call, f.lore.of(f.loreKey(p.Name))); len(n.names) > 0 {
		n.learned = f.closure(t, Program{Roots: n.names})
	}
	return n
}

// named returns the modules that Serve names and p's code, or the code of one of them, has as a
// literal: settings, and what these name in turn.
func (f *Forwarder) named(t pysource.Target, p Program) (names []string) {
	if !f.finder.Serves() {
		return nil
	}
	read := map[*modules.Module]bool{}
	for again := true; again; {
		again = false
		more := Program{Roots: append(slices.Clip(p.Roots), names...), Main: p.Main, Text: p.Text}
		for _, m := range f.closure(t, more).Code() {
			if read[m] {
				continue
			}
			read[m] = true
			for _, text := range closure.Dotted(m, maxLearned) {
				if name := f.served(text); name != "" && !slices.Contains(names, name) {
					names, again = append(names, name), true
				}
			}
		}
	}
	return names
}

// served returns the longest part of a dotted name that is a module which Serve names; "": none is.
func (f *Forwarder) served(name string) string {
	for ; f.finder.Served(name); name = name[:strings.LastIndexByte(name, '.')] {
		switch m := f.finder.Find(name); {
		case m.Own && (m.Letter == modules.Plain || m.Letter == modules.Package):
			return name
		case !strings.Contains(name, "."):
			return ""
		}
	}
	return ""
}

// learned returns some of names. Each is named by c's code, or by the code of another returned
// name, or has no module. A context that was called more may have taught the remaining names.
func (f *Forwarder) learned(t pysource.Target, c *closure.Closure, names []string) (some []string) {
	first, named := c.Named(), c.Named()
	allowed := func(name string) bool {
		name, _, _ = strings.Cut(name, "/") // a file goes where its package may
		return first.Has(name) || named.Has(name) || f.finder.Served(name) || f.finder.Builtin(name)
	}
	for rest := names; len(rest) > 0; {
		left := []string(nil)
		before := len(some)
		for _, name := range rest {
			if allowed(name) {
				some = append(some, name)
			} else {
				left = append(left, name)
			}
		}
		if rest = left; len(some) == before || len(rest) == 0 {
			break
		}
		slices.Sort(some)
		named = f.closure(t, Program{Roots: some}).Named()
	}
	for _, name := range names {
		if !strings.Contains(name, "/") && !slices.Contains(some, name) && f.nowhere(name, allowed) {
			some = append(some, name)
		}
	}
	slices.Sort(some)
	return some
}

// nowhere reports whether there is no module name, and none above it that isn't allowed: those
// would go along.
func (f *Forwarder) nowhere(name string, allowed func(string) bool) bool {
	for at, c := range name {
		if c == '.' && !allowed(name[:at]) && f.finder.Find(name[:at]).Letter != modules.Missing {
			return false
		}
	}
	return f.finder.Find(name).Letter == modules.Missing
}

// Idle reports whether n is nothing that would have to be sent or asked.
func (n *Need) Idle() bool {
	return idle(n.call) && (n.learned == nil || idle(n.learned) && len(n.learned.Refused()) == 0)
}

// Grants reports whether n's code names a module that might be asked for.
func (n *Need) Grants() bool { return !idle(n.call) || !n.call.Named().Empty() }

// Want has ctx be sent, or asked about, what n says.
func (f *Forwarder) Want(ctx wire.ContextID, n *Need) {
	call := f.booked(ctx, n.target, want{c: n.call, why: report.SentCall, p: n.program})
	learned := want{c: n.learned, why: report.SentLearned, p: Program{Roots: n.names}}
	if n.learned != nil {
		learned = f.booked(ctx, n.target, learned)
	}
	alone := n.alone()
	if alone == nil {
		f.compress(ctx, nil, call.c, learned.c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return
	}
	x.grant.call(call.c)
	if learned.c != nil {
		x.grant.call(learned.c)
	}
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	if !idle(call.c) && !b.bringAlone(n, alone) {
		b.want(call)
	}
	switch {
	case learned.c == nil:
	case !idle(learned.c):
		b.want(learned)
	default:
		for _, m := range learned.c.Refused() { // a bundle would cost more
			b.actions = append(b.actions, Action{Action: bundle.Action{Ctx: ctx}, Load: m})
		}
	}
	b.send()
	if len(x.asks) > 0 {
		f.warmWhole(ctx)
		f.packLocked(ctx, n)
	}
}

// want has ctx be sent, or asked about, what w says.
func (f *Forwarder) want(ctx wire.ContextID, w want) {
	f.compress(ctx, nil, w.c)
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return
	}
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	b.want(w)
	b.send()
}

// idle reports whether c brings nothing: then there is nothing to be told apart from what the
// target has.
func idle(c *closure.Closure) bool { return c.Modules() == 0 && len(c.Foreign) == 0 }

// Unpacks notes that ctx can unpack what is packed better.
func (f *Forwarder) Unpacks(ctx wire.ContextID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.book.Unpacks(ctx)
}

// Lacks takes ctx's answer to its oldest question: names are the packages that it lacks, abi says
// which extension modules it takes, "" if the answer says nothing of them. t is the target without
// abi. Names that the question didn't have don't count.
func (f *Forwarder) Lacks(ctx wire.ContextID, t pysource.Target, abi string, names []string) {
	names = f.whole(ctx, names)
	f.takes(ctx, t, abi, names)
	f.lacks(ctx, names)
}

// lacks is Lacks once it is known what ctx takes.
func (f *Forwarder) lacks(ctx wire.ContextID, names []string) {
	f.compress(ctx, names, f.waiting(ctx)...)
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil || len(x.asks) == 0 {
		return
	}
	x.asks = x.asks[1:]
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	b.add(f.book.Lacks(ctx, names))
	b.send()
}

// Asked takes a question of ctx for one module, which came up in the call of program during, if it
// isn't "". If it returns a module, ctx is to be sent that alone: the answer to the question,
// positive or not. Else a bundle comes. Where ctx may not have the module, given is false, and the
// answer doesn't tell whether there is one.
func (f *Forwarder) Asked(ctx wire.ContextID, t pysource.Target, during,
	name string) (m *modules.Module, given bool) {
	during = f.loreKey(during)
	g := f.grantOf(ctx)
	if g == nil || !f.may(g, name) {
		if g != nil {
			g.refuse(name)
		}
		if f.lore.try(during, name) && f.finder.Find(name).Letter == modules.Missing {
			f.lore.learn(during, name, true)
		}
		return modules.Refused(name), false
	}
	m, t = f.find(ctx, t, name)
	if f.hollow(g, m) {
		return modules.Refused(name), false
	}
	if m.Letter == modules.Missing {
		f.lore.learn(during, name, true)
		f.missed(ctx, t, during, name)
		return m, true
	}
	ownSpace := m.Letter == modules.Namespace && m.Own // its closure may hold nothing
	if !ownSpace && f.mayAsk(ctx) && f.bring(ctx, t, during, name) {
		f.lore.learn(during, name, false)
		return nil, true
	}
	if m.Letter == modules.Native {
		m = f.alone(ctx, t, m)
	}
	if m.Letter != modules.Missing {
		g.loaded(m, t)
	}
	return m, true
}

// bring has a bundle sent for a module that ctx has asked for, with all that it needs. It returns
// false if none comes of that: it belongs to the standard library, for all that is known, or was
// sent before.
func (f *Forwarder) bring(ctx wire.ContextID, t pysource.Target, during, name string) bool {
	p := Program{Roots: []string{name}}
	w, _ := f.fitted(ctx, t, want{c: f.closure(t, p), why: report.SentAsked, p: p})
	if !w.c.Has(name) || !f.misses(ctx, name, w.c) {
		return false
	}
	// All is announced at once: the context may ask as soon as it has the answer.
	all := []want{f.booked(ctx, t, w)}
	names := f.likely(ctx, name, w.c)
	if len(names) > 0 { // what of it fits depends on what is booked
		more := Program{Roots: names}
		all = append(all, f.booked(ctx, t, want{c: f.closure(t, more), why: report.SentAsked, p: more}))
	}
	comes := f.bringWant(ctx, name, all...)
	for _, other := range names {
		f.lore.learn(during, other, false)
	}
	return comes
}

// bringWant has sent what all say; name is in the first. It returns false if name was sent before.
func (f *Forwarder) bringWant(ctx wire.ContextID, name string, all ...want) (comes bool) {
	for _, w := range all {
		f.compress(ctx, nil, w.c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return false
	}
	b := batch{f: f, x: x, ctx: ctx, begun: time.Now()}
	comes = f.book.Misses(ctx, name, all[0].c)
	for _, w := range all {
		x.grant.call(w.c)
		b.want(w)
	}
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
			b.x.asks = append(b.x.asks, a.Native)
		case a.Bundle != nil:
			out.New, out.Sent = true, b.x.reasons(a.Bundle)
			b.x.grant.bundled(a.Bundle)
			b.x.native += a.Bundle.Native()
		}
		b.actions = append(b.actions, out)
	}
}

// reasons says for each module in a bundle what it is sent for. A module that only comes with its
// package has the reason of the rest.
func (x *context) reasons(u *bundle.Bundle) []report.Sent {
	var sent []report.Sent
	rest := report.SentCall
	for _, name := range u.Modules() {
		why := report.Reason("")
		if i := slices.IndexFunc(x.wants, func(w want) bool { return w.c.Has(name) }); i >= 0 {
			if why = x.wants[i].why; why == report.SentCall && u.Package != "" {
				why = report.SentBundle
			}
			rest = why
		}
		sent = append(sent, report.Sent{Name: name, Reason: why})
	}
	for i := range sent {
		if sent[i].Reason == "" {
			sent[i].Reason = rest
		}
	}
	return sent
}

func (b *batch) send() {
	if b.x != nil && len(b.x.asks) == 0 {
		b.x.settle()
	}
	if len(b.actions) > 0 {
		// Questions come first: what is answered while bundles are on the way costs no time.
		slices.SortStableFunc(b.actions, func(a, b Action) int { return cmp.Compare(a.rank(), b.rank()) })
		b.f.send(Batch{Ctx: b.ctx, Actions: b.actions, Pack: time.Since(b.begun)})
	}
}
