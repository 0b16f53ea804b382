package bundle

import (
	"slices"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
)

func contentOf(m closure.Member) content {
	return content{place{m.Package, m.Name}, m.Letter, m.Key}
}

// item returns what is known about m. What a changed module was part of is not used any more; if it
// is as it once was, those who had it then have something else since.
func (b *Book) item(m closure.Member) *item {
	c := contentOf(m)
	it := b.items[c]
	if it == nil {
		it = &item{content: c}
		b.items[c] = it
	}
	if old := b.latest[c.place]; old != nil && old != it {
		b.retire(old.current)
		b.retire(it.current)
		it.in = nil
	}
	b.latest[c.place] = it
	return it
}

// retire makes its members' next transfer be in other bundles.
func (b *Book) retire(old *Bundle) {
	if old == nil {
		return
	}
	for _, it := range old.items {
		if it.current == old {
			it.current = nil
		}
	}
}

func (x *context) holds(it *item) bool {
	return slices.ContainsFunc(it.in, func(b *Bundle) bool { return x.got[b] })
}

// pick returns the bundles that x needs to hold all of groups, dependencies first. x holds them
// from now on.
func (b *Book) pick(x *context, groups []closure.Group) []*Bundle {
	needed := make([][]*item, len(groups)) // by group: what x doesn't hold
	fresh := make([]closure.Group, len(groups))
	var own []*item // and extension modules
	for _, g := range groups {
		for _, m := range g.Members {
			it := b.item(m) // retires what must not be used below
			if m.Package == "" || isNative(m.Letter) {
				own = append(own, it)
			}
		}
	}
	b.split(x, own)
	for i, g := range groups {
		fresh[i].Needs = g.Needs
		for _, m := range g.Members {
			it := b.item(m)
			if x.holds(it) {
				continue
			}
			needed[i] = append(needed[i], it)
			if it.current == nil {
				fresh[i].Members = append(fresh[i].Members, m)
			}
		}
	}
	for _, bundle := range pack(fresh, b.native) {
		b.register(bundle)
	}
	send := order(groups, needed)
	for _, bundle := range send {
		x.got[bundle] = true
		if slices.Contains(bundle.refused, true) {
			b.retire(bundle)
		}
	}
	b.trim()
	return send
}

// split retires bundles that x would be sent for its items own, and that hold more modules of the
// user's own, or more extension modules: x gets no such module but for what is run in it, and what
// its budget is for. Bundles of third-party packages' sources go whole.
func (b *Book) split(x *context, own []*item) {
	b.marks++
	for _, it := range own {
		it.mark = b.marks
	}
	excess := func(it *item) bool {
		return (it.pkg == "" && it.letter != modules.Missing || isNative(it.letter)) &&
			it.mark != b.marks && !x.holds(it)
	}
	var looked *Bundle // most items are in one
	for _, it := range own {
		if it.current == nil || it.current == looked || x.holds(it) {
			continue
		}
		if looked = it.current; slices.ContainsFunc(looked.items, excess) {
			b.retire(looked)
		}
	}
}

// register notes a new bundle. One of the same ID that was retired stays another one: who got that
// may have had something else since. No context holds an item that the bundle refuses, so its file
// is read again when it is next needed.
func (b *Book) register(bundle *Bundle) {
	b.bundles[bundle.ID] = bundle
	for i, it := range bundle.items {
		it = b.items[it.content]
		bundle.items[i] = it
		it.current = bundle
		if !bundle.refuses(i) {
			it.in = append(it.in, bundle)
		}
	}
	if bundle.Native() > 0 {
		b.natives = append(b.natives, bundle)
	}
}

// order returns the bundles of all that is needed. One comes when all that its groups need is
// there, as far as the bundles allow it.
func order(groups []closure.Group, needed [][]*item) []*Bundle {
	var todo []*Bundle
	needs := map[*Bundle]map[*Bundle]bool{}
	for i, items := range needed {
		for _, it := range items {
			if needs[it.current] == nil {
				needs[it.current] = map[*Bundle]bool{}
				todo = append(todo, it.current)
			}
			for _, g := range groups[i].Needs {
				for _, n := range needed[g] {
					needs[it.current][n.current] = true
				}
			}
		}
	}
	var out []*Bundle
	for len(todo) > 0 {
		next := slices.IndexFunc(todo, func(b *Bundle) bool {
			return !slices.ContainsFunc(todo,
				func(other *Bundle) bool { return other != b && needs[b][other] })
		})
		next = max(next, 0)
		out = append(out, todo[next])
		todo = slices.Delete(todo, next, next+1)
	}
	return out
}
