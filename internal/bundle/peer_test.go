package bundle

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/wire"
)

type kind int

const (
	ask kind = iota
	coming
	call
	piece1
	forwarding
	lacks   // up
	dropped // up
)

// parts counts the pieces of each bundle.
const parts = 3

type frame struct {
	kind    kind
	dst     wire.ContextID
	src     wire.ContextID
	names   []string
	ids     []ID
	answers int
	id      ID
	ctx     wire.ContextID
	bundle  *Bundle
	part    int
	imp     imported
}

// imported is a module that a call imports, and how old modules were when the call was made.
type imported struct {
	root string
	ages map[string]int
}

// loaded is a module that a context has, by which announcement: an earlier one doesn't replace it.
type loaded struct {
	content
	turn int
}

// passage is a bundle on its way to a context.
type passage struct {
	id  ID
	dst wire.ContextID
}

type announced struct {
	id    ID
	turn  int
	roots []string // of the calls that the bundles so far are for
}

// peer is a context, as Book's comment says that they behave.
type peer struct {
	id, parent  wire.ContextID
	local       map[string]bool // packages that are installed
	bulk, small []frame         // from the parent
	up          []frame         // to the parent
	parts       map[passage]int // pieces that have come by, of bundles that aren't complete
	waits       map[passage][]wire.ContextID
	kept        map[ID]*Bundle
	held        map[string]loaded
	asked       map[string]bool
	turn        int              // announcements
	crossed     map[crossing]int // how often it came over the link from the parent
	own         map[string]bool  // the user's modules that its calls need
	open        int              // answers that COMING hasn't settled
	coming      []announced
	calls       []imported
	roots       []string // of all calls
	settled     int      // how many of them wait for no answer
}

// crossing is a content that crosses a link. A module of the user's may cross it in several
// bundles: no context gets modules that only other contexts need.
type crossing struct {
	content
	in ID // zero for third-party modules
}

func newPeer(id, parent wire.ContextID) *peer {
	return &peer{id: id, parent: parent, local: map[string]bool{}, parts: map[passage]int{},
		waits: map[passage][]wire.ContextID{},
		kept:  map[ID]*Bundle{}, held: map[string]loaded{}, asked: map[string]bool{},
		crossed: map[crossing]int{}, own: map[string]bool{}}
}

// down puts a frame on the link from context from towards its destination.
func (s *sim) down(from wire.ContextID, f frame) {
	at := s.nodes[f.dst]
	for at != nil && at.parent != from {
		at = s.nodes[at.parent]
	}
	switch {
	case at == nil:
	case f.kind == piece1 || f.kind == forwarding:
		at.bulk = append(at.bulk, f)
	default:
		at.small = append(at.small, f)
	}
}

func (s *sim) pieces(from, to wire.ContextID, b *Bundle, first, last int) {
	for i := first; i < last; i++ {
		s.down(from, frame{kind: piece1, dst: to, id: b.ID, bundle: b, part: i})
	}
}

// deliver moves one frame over one link, or lets a context import.
func (s *sim) deliver() bool {
	p := s.pick(func(p *peer) bool { return len(p.bulk)+len(p.small)+len(p.up) > 0 })
	if p == nil {
		return false
	}
	// Small frames may overtake bundles.
	queues := []*[]frame{&p.small, &p.bulk, &p.up}
	queues = slices.DeleteFunc(queues, func(q *[]frame) bool { return len(*q) == 0 })
	q := queues[s.rng.IntN(len(queues))]
	if q == &p.bulk && len(p.small) > 0 && !s.mayPass(p) {
		q = &p.small
	}
	f := (*q)[0]
	*q = (*q)[1:]
	if q == &p.up {
		s.rise(p, f)
	} else {
		s.arrive(p, f)
	}
	return true
}

// mayPass reports whether the first bundle frame may go before the first small one: not what was
// announced by it.
func (s *sim) mayPass(p *peer) bool {
	f := p.bulk[0]
	return !slices.ContainsFunc(p.small,
		func(g frame) bool { return g.kind == coming && slices.Contains(g.ids, f.id) })
}

func (s *sim) rise(p *peer, f frame) {
	if parent := s.nodes[p.parent]; parent != nil {
		parent.up = append(parent.up, f)
		return
	}
	if f.kind == lacks {
		s.note("%d lacks %v", f.src, f.names)
		s.carryOut(s.book.Lacks(f.src, f.names))
	} else {
		s.note("%d dropped %x for %d", f.src, f.id[:2], f.ctx)
		s.carryOut(s.book.Dropped(f.src, f.id, f.ctx))
	}
}

// arrive takes a frame from above.
func (s *sim) arrive(p *peer, f frame) {
	if f.kind == piece1 {
		s.keep(p, f)
	}
	if f.dst != p.id {
		s.down(p.id, f)
		return
	}
	switch f.kind {
	case ask:
		lacking := slices.DeleteFunc(slices.Clone(f.names),
			func(name string) bool { return p.local[name] })
		p.open++
		p.up = append(p.up, frame{kind: lacks, src: p.id, names: lacking})
	case coming:
		p.open -= f.answers
		for _, id := range f.ids {
			p.turn++
			p.coming = append(p.coming, announced{id, p.turn, f.names})
		}
	case call:
		p.calls = append(p.calls, f.imp)
	case forwarding:
		s.forward(p, f)
	}
	s.tryImports(p)
}

// keep takes note of a piece that comes by, and hands it on to those whom it was promised.
func (s *sim) keep(p *peer, f frame) {
	key := passage{f.id, f.dst}
	if f.part == 0 {
		s.count(p, f.bundle)
	}
	if f.part != p.parts[key] {
		return // the beginning was cut off
	}
	if s.nodes[f.dst] == nil {
		s.lost(f.bundle)
		return // the rest may not come
	}
	p.parts[key]++
	for _, ctx := range p.waits[key] {
		s.pieces(p.id, ctx, f.bundle, f.part, f.part+1)
	}
	if p.parts[key] < parts {
		return
	}
	for _, ctx := range p.waits[key] {
		if ctx == p.id {
			s.load(p, f.bundle)
		}
	}
	delete(p.parts, key)
	delete(p.waits, key)
	p.kept[f.id] = f.bundle
	if f.dst == p.id {
		s.load(p, f.bundle)
	}
}

func (s *sim) count(p *peer, b *Bundle) {
	for _, it := range b.items {
		if it.letter == modules.Missing {
			continue
		}
		top, _, _ := strings.Cut(it.name, ".")
		key := crossing{content: it.content}
		if it.pkg == "" {
			key.in = b.ID
		}
		if p.crossed[key]++; !s.changed(top) && p.crossed[key] > 1+s.spare[it.content] {
			s.fail("%s crosses the link to %d for the %d. time", it.name, p.id, p.crossed[key])
		}
	}
}

// changed reports whether a module of a package did: its other modules are packed anew then.
func (s *sim) changed(top string) bool {
	for name, ages := range s.ages {
		if len(ages) > 1 && (name == top || strings.HasPrefix(name, top+".")) {
			return true
		}
	}
	return false
}

func (s *sim) forward(p *peer, f frame) {
	if b := p.kept[f.id]; b != nil {
		s.pieces(p.id, f.ctx, b, 0, parts)
		if f.ctx == p.id {
			s.load(p, b)
		}
		return
	}
	for _, key := range p.partial() {
		if key.id == f.id {
			s.pieces(p.id, f.ctx, f.bundle, 0, p.parts[key])
			p.waits[key] = append(p.waits[key], f.ctx)
			return
		}
	}
	p.up = append(p.up, frame{kind: dropped, src: p.id, id: f.id, ctx: f.ctx})
}

// partial returns what hasn't come by completely.
func (p *peer) partial() []passage {
	return slices.SortedFunc(maps.Keys(p.parts), func(a, b passage) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.dst, b.dst))
	})
}

// cut forgets a bundle whose rest can't come.
func (s *sim) cut(p *peer, key passage) {
	s.lost(s.book.bundles[key.id])
	for _, ctx := range p.waits[key] {
		p.up = append(p.up, frame{kind: dropped, src: p.id, id: key.id, ctx: ctx})
	}
	delete(p.waits, key)
	delete(p.parts, key)
}

// load makes a bundle's modules usable.
func (s *sim) load(p *peer, b *Bundle) {
	at := slices.IndexFunc(p.coming, func(a announced) bool { return a.id == b.ID })
	if at < 0 {
		s.fail("%d gets %x, which wasn't announced", p.id, b.ID[:2])
		return
	}
	turn, roots := p.coming[at].turn, p.coming[at].roots
	p.coming = slices.Delete(p.coming, at, at+1)
	for _, it := range b.items {
		if it.pkg == "" && it.letter != modules.Missing && !p.own[it.name] {
			s.fail("%d gets %s, which only others need", p.id, it.name)
		}
		if p.local[it.pkg] {
			s.fail("%d gets %s, which it has", p.id, it.name)
		}
		if turn > p.held[it.name].turn {
			p.held[it.name] = loaded{it.content, turn}
		}
	}
	if s.calm && s.tidy {
		s.checkOrder(p, b, roots)
	}
	s.tryImports(p)
}

func lastIndex(keys [][32]byte, key [32]byte) int {
	for i := len(keys) - 1; i >= 0; i-- {
		if keys[i] == key {
			return i
		}
	}
	return -1
}

// checkOrder demands that a foreign module comes after what it imports, if it was called for: a
// bundle may hold more.
func (s *sim) checkOrder(p *peer, b *Bundle, roots []string) {
	needed := map[string]bool{}
	var reach func(name string)
	reach = func(name string) {
		top, _, _ := strings.Cut(name, ".")
		if m := s.world[name]; m != nil && !needed[name] && !p.local[top] {
			needed[name] = true
			reach(top)
			for _, i := range m.Info.Imports {
				reach(i.Module)
			}
		}
	}
	for _, root := range roots {
		reach(root)
	}
	for _, it := range b.items {
		if it.pkg == "" || it.letter == modules.Missing || !needed[it.name] {
			continue
		}
		for _, i := range s.world[it.name].Info.Imports {
			if _, held := p.held[i.Module]; !held && needed[i.Module] {
				s.fail("%d gets %s before %s, which it imports", p.id, it.name, i.Module)
			}
		}
	}
}

// tryImports does the imports of the calls, one after the other.
func (s *sim) tryImports(p *peer) {
	for len(p.calls) > 0 && !s.t.Failed() {
		lack := s.lacks(p, p.calls[0])
		if lack != "" && p.open+len(p.coming) > 0 {
			return // waits
		}
		if lack != "" {
			s.fail("%d has to ask for %s, to import %s", p.id, lack, p.calls[0].root)
		}
		p.calls = p.calls[1:]
	}
}

// lacks walks through an import as Python does, slowly, and returns the first module that isn't
// there. A module that has changed since the call may import what it will.
func (s *sim) lacks(p *peer, imp imported) string {
	done := map[string]bool{}
	var visit func(name string) string
	visit = func(name string) string {
		top, _, dotted := strings.Cut(name, ".")
		if done[name] || p.local[top] {
			return ""
		}
		done[name] = true
		if dotted {
			if lack := visit(top); lack != "" {
				return lack
			}
		}
		m, held := p.held[name]
		if !held {
			return name
		}
		if age := lastIndex(s.ages[name], m.key); name != "nowhere" && age < imp.ages[name] {
			return name + ", as it is now"
		}
		if now := s.world[name]; now != nil && len(s.ages[name]) == imp.ages[name]+1 {
			for _, i := range now.Info.Imports {
				if lack := visit(i.Module); lack != "" {
					return lack
				}
			}
		}
		return ""
	}
	return visit(imp.root)
}
