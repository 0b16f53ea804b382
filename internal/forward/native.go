package forward

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Which extension modules a context is sent depends on what its interpreter takes. A closure that
// has some is made for whatever there is, at first, so that the question goes along with those
// about what the context lacks. Such a closure brings nothing but the user's own modules. When the
// answer comes, the closure is made anew.

// Bounds of the budget for extension modules, in bytes.
const (
	DefaultBudget = 64 << 20
	MaxBudget     = modules.MaxNative
)

const mebibyte = 1 << 20

// Budget sets how many bytes of extension modules and their libraries each context is sent. 0:
// DefaultBudget. Negative: none. It is to be called before the first context is added.
func (f *Forwarder) Budget(bytes int64) {
	f.budget = bytes
	if bytes == 0 {
		f.budget = DefaultBudget
	}
}

// Bound returns how many bytes of extension modules each context is sent at most.
func (f *Forwarder) Bound() int64 { return max(0, f.budget) }

// ABI returns what ctx says of the extension modules that it takes, as pysource.Target has it.
func (f *Forwarder) ABI(ctx wire.ContextID) string {
	if f.budget < 0 {
		return modules.RefusedABI + "--no-native is in force"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.contexts[ctx]; x != nil {
		return x.abi
	}
	return ""
}

// takes is told of each answer of ctx, before lacks is. Only the answer to a question for what ctx
// takes counts.
func (f *Forwarder) takes(ctx wire.ContextID, t pysource.Target, abi string, names []string) {
	f.mu.Lock()
	x := f.contexts[ctx]
	if x == nil || len(x.asks) == 0 || !x.asks[0] {
		f.mu.Unlock()
		return
	}
	f.book.Learn(ctx, names) // first: what ctx has needs no room in its budget
	abi = modules.CheckedABI(abi)
	held := x.held
	x.held, x.abi = nil, abi
	f.mu.Unlock()
	t.ABI = abi
	for _, w := range held {
		w.c = f.closure(t, w.p)
		w = f.booked(ctx, t, w)
		if g := f.grantOf(ctx); g != nil {
			g.call(w.c)
		}
		f.want(ctx, w)
	}
}

// want has the Book bring what w says; or, as long as that depends on what the context takes, only
// ask.
func (b *batch) want(w want) {
	if w.c.ABI() != "" || len(w.c.Natives()) == 0 {
		b.x.wants = append(b.x.wants, w)
		b.add(b.f.book.Want(b.ctx, w.c, w.more...))
		return
	}
	b.x.held = append(b.x.held, w)
	b.add(b.f.book.Ask(b.ctx, w.c, w.more))
	b.f.warm(b.ctx, w.c)
}

// fitted returns w as it is for what ctx takes and what is left of its budget, and the target that
// this is for.
func (f *Forwarder) fitted(ctx wire.ContextID, t pysource.Target, w want) (want, pysource.Target) {
	if len(w.c.Natives()) == 0 {
		return w, t
	}
	if t.ABI = f.ABI(ctx); t.ABI != w.c.ABI() {
		w.c = f.closure(t, w.p)
	}
	if t.ABI == "" {
		w.more = f.required.of(w.c, f.finder)
		return w, t
	}
	abi, reasons := t.ABI, map[string]string{}
	for range maxFits {
		over := f.over(ctx, w.c)
		if len(over) == 0 {
			break // a library of several packages counts for the rest, the next time
		}
		for name, bytes := range over {
			reasons[name] = fmt.Sprintf("%s with what goes along needs %d MiB of extension modules, "+
				"more than is left of the target's budget of %d MiB (--native-budget)",
				name, (bytes+mebibyte-1)/mebibyte, f.budget/mebibyte)
		}
		t.ABI = modules.Over(abi, reasons)
		w.c = f.closure(t, w.p)
	}
	return w, t
}

// booked is fitted, and keeps part of ctx's budget for w until that is all sent. A want that is
// booked is to be wanted.
func (f *Forwarder) booked(ctx wire.ContextID, t pysource.Target, w want) want {
	if f.asks(ctx, w.c) {
		w.more = f.required.of(w.c, f.finder)
	}
	for range maxFits {
		w, t = f.fitted(ctx, t, w)
		if w.c.ABI() == "" || len(w.c.Natives()) == 0 || f.hold(ctx, w.c) {
			return w
		}
	}
	t.ABI = modules.RefusedABI + "what is left of the target's budget changes all the time " +
		"(--native-budget)"
	w.c = f.closure(t, w.p)
	return w
}

// maxFits bounds how often a want is fitted while other wants take from the same budget.
const maxFits = 16

// hold keeps part of ctx's budget for c, unless other wants have taken it meanwhile.
func (f *Forwarder) hold(ctx wire.ContextID, c *closure.Closure) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return true
	}
	if len(f.overOf(ctx, x, c)) > 0 {
		return false
	}
	x.booked = append(x.booked, c)
	return true
}

// settle gives back what was kept for wants that are all sent.
func (x *context) settle() {
	for _, w := range x.wants {
		if i := slices.Index(x.booked, w.c); i >= 0 {
			x.booked = slices.Delete(x.booked, i, i+1)
		}
	}
	x.wants = nil
}

// coming returns the extension modules that x is to be sent, and their bytes: those that are
// booked, but for those of packages that the target has.
func (x *context) coming(has func(pkg string) bool) (names map[string]bool, bytes int64) {
	names = map[string]bool{}
	for _, c := range x.booked {
		for _, m := range c.Natives() {
			if !has(c.Package(m.Name)) && !names[m.Name] && !x.grant.sent(m.Name) {
				names[m.Name] = true
				bytes += int64(m.Size)
			}
		}
	}
	return names, bytes
}

// has returns a function that reports whether ctx has said that it has a package. The lock is held
// while it is called.
func (f *Forwarder) has(ctx wire.ContextID) func(pkg string) bool {
	return func(pkg string) bool { return f.book.Has(ctx, pkg) }
}

// misses notes that ctx lacks name of c, which it has asked for. If ctx has said that it has the
// package, and what was booked since leaves no room in its budget for that, misses does nothing
// and returns false.
func (f *Forwarder) misses(ctx wire.ContextID, name string, c *closure.Closure) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return false
	}
	denied := f.book.Denies(ctx, name, c)
	_, before := x.coming(f.has(ctx))
	_, after := x.coming(func(pkg string) bool {
		return f.book.Has(ctx, pkg) && !slices.Contains(denied, pkg)
	})
	if after > before && x.native+after > f.budget {
		return false
	}
	f.book.Misses(ctx, name, c)
	return true
}

// over returns the top-level packages in c whose extension modules ctx can't be sent, and how many
// bytes each needs. Small packages come first, so that as many as possible work.
func (f *Forwarder) over(ctx wire.ContextID, c *closure.Closure) map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.contexts[ctx]; x != nil {
		return f.overOf(ctx, x, c)
	}
	return nil
}

// overOf is over. The lock is held.
func (f *Forwarder) overOf(ctx wire.ContextID, x *context, c *closure.Closure) map[string]int64 {
	has := f.has(ctx)
	coming, bytes := x.coming(has)
	sizes := map[string]int64{}
	for _, m := range c.Natives() {
		pkg := c.Package(m.Name)
		if !has(pkg) && !coming[m.Name] && !x.grant.sent(m.Name) {
			sizes[top(pkg)] += int64(m.Size)
		}
	}
	left := f.budget - x.native - bytes
	order := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[a], sizes[b]), cmp.Compare(a, b))
	})
	for _, name := range order {
		if left -= sizes[name]; left >= 0 {
			delete(sizes, name)
		}
	}
	return sizes
}

// find returns a module as ctx may have it, and the target that it is for.
func (f *Forwarder) find(ctx wire.ContextID, t pysource.Target, name string) (*modules.Module,
	pysource.Target) {
	m := f.finder.Pass().For(t.ABI).Find(name)
	if m.Letter == modules.Native {
		p := Program{Roots: []string{name}}
		_, t = f.fitted(ctx, t, want{c: f.closure(t, p), why: report.SentAsked, p: p})
		m = f.finder.Pass().For(t.ABI).Find(name)
	}
	return m, t
}

// alone returns an extension module that is to go without a bundle, or why it can't.
func (f *Forwarder) alone(ctx wire.ContextID, t pysource.Target,
	m *modules.Module) *modules.Module {
	if t.ABI == "" || len(m.Libraries) > 0 {
		return modules.Without(m.Name, m.Path+" is an extension module, which can't be sent alone")
	}
	if !f.spend(ctx, int64(m.Size)) {
		refused := modules.Without(m.Name, m.Path+" is an extension module, which can't be sent: "+
			"it is larger than what is left of the target's budget (--native-budget)")
		refused.TooLarge = true
		return refused
	}
	size := int64(m.Size)
	if m = m.Alone(); m.Letter == modules.Missing {
		f.spend(ctx, -size) // nothing of it is sent
	}
	return m
}

// spend takes bytes from ctx's budget, or returns false if less is left. Negative: it gives them
// back.
func (f *Forwarder) spend(ctx wire.ContextID, bytes int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	if x == nil {
		return true
	}
	if _, coming := x.coming(f.has(ctx)); bytes > 0 && x.native+coming+bytes > f.budget {
		return false
	}
	x.native += bytes
	return true
}

// compress makes the bundles of extension modules in closures that ctx is about to be sent, before
// the lock is taken for that: all contexts would wait for as long as it takes. names are the
// packages of which ctx has just said that it lacks them.
func (f *Forwarder) compress(ctx wire.ContextID, names []string, closures ...*closure.Closure) {
	for _, d := range f.due(ctx, names, closures) {
		d.Make()
	}
}

// due returns the bundles of extension modules in closures that ctx lacks and that are not made
// yet.
func (f *Forwarder) due(ctx wire.ContextID, names []string, closures []*closure.Closure) (
	due []*bundle.Draft) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.contexts[ctx]
	for _, c := range closures {
		if x == nil || c == nil || c.ABI() == "" || len(c.Natives()) == 0 {
			continue
		}
		groups := c.Lacking(func(pkg string) bool {
			return !slices.Contains(names, pkg) && !f.book.Lacked(ctx, pkg)
		})
		due = append(due, f.book.Drafts(ctx, groups)...)
	}
	return due
}

// waiting returns the closures that ctx is to be sent and that aren't all sent.
func (f *Forwarder) waiting(ctx wire.ContextID) (all []*closure.Closure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.contexts[ctx]; x != nil {
		for _, w := range x.wants {
			all = append(all, w.c)
		}
	}
	return all
}

// warmAfter is the time after which c's extension modules are compressed if the answer isn't there
// yet.
const warmAfter = 5 * time.Millisecond

// warm makes the bundles of c's extension modules while an answer is on its way: those that ctx
// will be sent if it lacks all of c and takes what there is.
func (f *Forwarder) warm(ctx wire.ContextID, c *closure.Closure) {
	time.AfterFunc(warmAfter, func() {
		if f.waits(ctx) {
			for _, d := range f.drafts(ctx, c) {
				d.Make()
			}
		}
	})
}

// drafts returns the bundles of extension modules that ctx would be sent if it lacked all of c.
func (f *Forwarder) drafts(ctx wire.ContextID, c *closure.Closure) []*bundle.Draft {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.book.Drafts(ctx, c.Lacking(func(pkg string) bool { return f.book.Has(ctx, pkg) }))
}
