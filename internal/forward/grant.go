package forward

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/bundle"
	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// Bounds of what a grant keeps.
const (
	maxRecent  = 64   // closures; the names of older ones are put together
	maxRefused = 1024 // names
)

// A grant is the list of what one context may be given: the modules that the code which was called
// in it names, and those that the code which it was given names in turn. Questions are answered
// from this list; no file is looked for before that.
type grant struct {
	mu      sync.Mutex                 // protects following
	recent  []*closure.Closure         // of calls, and of what was given
	names   closure.Names              // those of older ones
	code    map[*modules.Module]bool   // the user's own, of older ones
	refused map[string]bool            // names that weren't in the list when they were asked for
	dists   map[string]bool            // packages of the distributions whose metadata were given
	bundles []*bundle.Bundle           // that were sent
	alone   map[string]*modules.Module // that were sent without a bundle
	says    map[string]said            // answers of Says
}

// said is an answer of Says, and how many bundles and modules the context had been sent then.
type said struct {
	yes  bool
	sent int
}

// call notes that the context may have what c names.
func (g *grant) call(c *closure.Closure) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.Contains(g.recent, c) {
		return
	}
	if len(g.recent) == maxRecent {
		g.condense()
	}
	g.recent = append(g.recent, c)
}

// condense puts the names of all closures together. The lock is held.
func (g *grant) condense() {
	for _, c := range g.recent {
		g.names.Add(c.Named())
		for _, m := range c.Code() {
			g.keep(m)
		}
	}
	clear(g.recent)
	g.recent = g.recent[:0]
}

// keep notes code of the user's own. The lock is held.
func (g *grant) keep(m *modules.Module) {
	if g.code == nil {
		g.code = map[*modules.Module]bool{}
	}
	g.code[m] = true
}

// refuse notes a name that is not in the list.
func (g *grant) refuse(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused == nil {
		g.refused = map[string]bool{}
	}
	if len(g.refused) < maxRefused && modules.Valid(name) {
		g.refused[name] = true
	}
}

// require notes the packages of distributions whose metadata the context was given: it may have
// them.
func (g *grant) require(tops []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dists == nil {
		g.dists = map[string]bool{}
	}
	for _, name := range tops {
		g.dists[name] = true
	}
}

// late returns the refused names that c's code names, and forgets them.
func (g *grant) late(c *closure.Closure) (names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.refused) == 0 {
		return nil
	}
	named := c.Named()
	for name := range g.refused {
		if named.Has(name) {
			names = append(names, name)
			delete(g.refused, name)
		}
	}
	slices.Sort(names)
	return names
}

// has reports whether code that the context has, or will have, names a module.
func (g *grant) has(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names.Has(name) || g.dists[top(name)] {
		return true
	}
	for i := len(g.recent) - 1; i >= 0; i-- {
		if g.recent[i].Named().Has(name) {
			return true
		}
	}
	return false
}

// below returns the names in the list that are in a package.
func (g *grant) below(pkg string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	names := g.names.Below(pkg)
	for _, c := range g.recent {
		names = append(names, c.Named().Below(pkg)...)
	}
	return names
}

// ownCode returns the code of the user's own that the context has, or will have, each module once.
// The order is by name; programs, which all have the same name, are in the order of their code.
func (g *grant) ownCode() []*modules.Module {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := maps.Clone(g.code)
	if all == nil {
		all = map[*modules.Module]bool{}
	}
	for _, c := range g.recent {
		for _, m := range c.Code() {
			all[m] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b *modules.Module) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path),
			bytes.Compare(a.Code, b.Code))
	})
}

// bundled notes a bundle that is on its way.
func (g *grant) bundled(b *bundle.Bundle) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bundles = append(g.bundles, b)
}

// loaded notes a module that goes alone, and what it names.
func (g *grant) loaded(m *modules.Module, t pysource.Target) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.alone == nil {
		g.alone = map[string]*modules.Module{}
	}
	if g.alone[m.Name] == m {
		return
	}
	g.alone[m.Name] = m
	g.names.Collect(m, t)
	if m.Own {
		g.keep(m)
	}
}

// sent reports whether the context was sent a module.
func (g *grant) sent(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.alone[name] != nil {
		return true
	}
	for _, b := range g.bundles {
		if b.Holds(name) {
			return true
		}
	}
	return false
}

// modulesOf returns the modules of a top-level package that the context was sent in bundles.
func (g *grant) modulesOf(pkg string) (names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range g.bundles {
		for _, name := range b.Modules() {
			if top(name) == pkg {
				names = append(names, name)
			}
		}
	}
	return names
}

// grantOf returns the grant of a context; nil: it is gone.
func (f *Forwarder) grantOf(ctx wire.ContextID) *grant {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.contexts[ctx]; x != nil {
		return &x.grant
	}
	return nil
}

// Grant lets ctx ask for what n's code names, also where n brings nothing with it. What ctx was
// refused before goes to it now.
func (f *Forwarder) Grant(ctx wire.ContextID, t pysource.Target, n *Need) {
	g := f.grantOf(ctx)
	if g == nil {
		return
	}
	g.call(n.call)
	if names := g.late(n.call); len(names) > 0 {
		p := Program{Roots: names}
		w := f.booked(ctx, t, want{c: f.closure(t, p), why: report.SentAsked, p: p})
		g.call(w.c)
		f.want(ctx, w)
	}
}

// Lend lets ctx ask for what module names because another context, by, has called something in it.
// It does nothing if by may not have the module itself.
func (f *Forwarder) Lend(by, ctx wire.ContextID, t pysource.Target, module string) {
	from, to := f.grantOf(by), f.grantOf(ctx)
	if from == nil || to == nil || !f.may(from, module) {
		return
	}
	to.call(f.closure(t, Program{Roots: []string{module}}))
}

// may reports whether a context with grant g may be given a module.
func (f *Forwarder) may(g *grant, name string) bool {
	return modules.Valid(name) && (g.has(name) || f.finder.Served(name) || f.finder.Builtin(name))
}

// hollow reports whether m is a directory without __init__ that lies in the user's search path and
// holds nothing that a context with grant g may be given.
func (f *Forwarder) hollow(g *grant, m *modules.Module) bool {
	if m.Letter != modules.Namespace || !m.Own || f.finder.Served(m.Name) {
		return false
	}
	return !slices.ContainsFunc(g.below(m.Name), func(name string) bool {
		found := f.finder.Find(name).Letter
		return found == modules.Plain || found == modules.Package
	})
}

// reader is a context as the finder's files know it.
type reader struct {
	*grant
	f *Forwarder
}

// Any reports whether the context was given a module at all.
func (r reader) Any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bundles)+len(r.alone) > 0
}

// Plugged reports whether the context was given the metadata of distributions.
func (r reader) Plugged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.dists) > 0
}

// Names reports whether the context may be given a module.
func (r reader) Names(name string) bool { return r.has(name) }

// Sent reports whether the context was sent a module.
func (r reader) Sent(name string) bool { return r.sent(name) }

// Reads reports whether code of the user's own reads files of packages.
func (r reader) Reads() bool { return r.someCode(closure.Reads) }

// Quotes reports whether code of the user's own has a literal that is text, or ends with it as a
// path does.
func (r reader) Quotes(text string) bool {
	return r.literal(text, func(before []byte) bool {
		return len(before) > 0 && strings.IndexByte(`"'/`, before[len(before)-1]) >= 0
	})
}

// Spells reports whether code of the user's own has a literal that is text, or text behind a slash
// that the literal, or a place in a format, begins with. If text ends with a slash, more of the
// literal may follow.
func (r reader) Spells(text string) bool {
	return r.literal(text, func(before []byte) bool {
		before = bytes.TrimSuffix(before, []byte("/"))
		return len(before) > 0 && strings.IndexByte(`"'}`, before[len(before)-1]) >= 0
	})
}

// Says reports whether code that the context was given has text as a literal, code of third-party
// packages included. Of these it reads the modules as they are found now.
func (r reader) Says(text string) bool {
	if r.Quotes(text) {
		return true
	}
	r.mu.Lock()
	sent := len(r.bundles) + len(r.alone)
	known, ok := r.says[text]
	bundles := slices.Clone(r.bundles)
	names := slices.Collect(maps.Keys(r.alone))
	r.mu.Unlock()
	if ok && (known.yes || known.sent == sent) {
		return known.yes
	}
	for _, b := range bundles {
		names = append(names, b.Modules()...)
	}
	pass := r.f.finder.Pass()
	yes := slices.ContainsFunc(names, func(name string) bool {
		m := pass.Find(name)
		return bytes.Contains(m.Code, []byte(`"`+text+`"`)) ||
			bytes.Contains(m.Code, []byte("'"+text+"'"))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.says == nil {
		r.says = map[string]said{}
	}
	r.says[text] = said{yes, sent}
	return yes
}

// Runs reports whether the context was given a program of this size and text.
func (r reader) Runs(size int64, text func() []byte) bool {
	return r.someCode(func(m *modules.Module) bool {
		return m.Name == "__main__" && int64(len(m.Code)) == size && bytes.Equal(m.Code, text())
	})
}

// literal reports whether code of the user's own has text at the end of a literal, behind what
// begins says.
func (r reader) literal(text string, begins func(before []byte) bool) bool {
	return r.someCode(func(m *modules.Module) bool {
		for pos := 0; ; {
			i := bytes.Index(m.Code[pos:], []byte(text))
			if i < 0 {
				return false
			}
			end := m.Code[pos+i+len(text):]
			ends := strings.HasSuffix(text, "/") || len(end) > 0 && strings.IndexByte(`"'`, end[0]) >= 0
			if ends && begins(m.Code[:pos+i]) {
				return true
			}
			pos += i + len(text)
		}
	})
}

// someCode reports whether test is true of a module of the user's own.
func (g *grant) someCode(test func(*modules.Module) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for m := range g.code {
		if test(m) {
			return true
		}
	}
	return slices.ContainsFunc(g.recent,
		func(c *closure.Closure) bool { return slices.ContainsFunc(c.Code(), test) })
}
