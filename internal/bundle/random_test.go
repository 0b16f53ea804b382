package bundle

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run TestRandomOrders with this seed only")
	orders   = flag.Int("orders", 500, "how many orders TestRandomOrders tries")
)

// TestRandomOrders runs random trees of contexts that import from random module graphs with cycles,
// while contexts connect and end, hops drop bundles and modules change, in random orders. An import
// fails if what it needs isn't there and nothing is on the way; no content crosses a link twice but
// for what was dropped, changed or cut off.
func TestRandomOrders(t *testing.T) {
	if *seedFlag != 0 {
		newSim(t, *seedFlag).run()
		return
	}
	first := rand.Uint64()
	for i := range uint64(*orders) {
		newSim(t, first+i).run()
		if t.Failed() {
			return
		}
	}
}

// sim is an engine with a Book, contexts, and the links between them.
type sim struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	calm   bool // nothing is dropped, changed or ended
	tidy   bool // packages don't import each other in turns
	book   *Book
	world  world
	before world // what modules were
	nodes  map[wire.ContextID]*peer
	next   wire.ContextID
	ages   map[string][][32]byte // all keys that a module has had, oldest first
	spare  map[content]int       // how often it was dropped or cut off
	log    []string
}

// world is a Source.
type world map[string]*modules.Module

func (w world) Find(name string) *modules.Module { return w[name] }

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), book: New(), world: world{},
		before: world{}, nodes: map[wire.ContextID]*peer{},
		ages: map[string][][32]byte{}, spare: map[content]int{}}
	s.calm, s.tidy = s.rng.IntN(2) == 0, s.rng.IntN(2) == 0
	for p := range 2 + s.rng.IntN(4) {
		name := fmt.Sprintf("p%d", p)
		s.world[name] = &modules.Module{Name: name, Letter: modules.Package, Own: p == 0}
		for m := range s.rng.IntN(5) {
			name := fmt.Sprintf("p%d.m%d", p, m)
			s.world[name] = &modules.Module{Name: name, Letter: modules.Plain, Own: p == 0}
		}
	}
	for _, name := range s.names() {
		s.rewrite(name)
	}
	return s
}

func (s *sim) names() []string { return slices.Sorted(maps.Keys(s.world)) }

// rewrite gives a module other imports, now and then of a missing module, or its text of before.
func (s *sim) rewrite(name string) {
	if was := s.before[name]; was != nil && s.rng.IntN(3) == 0 {
		s.world[name], s.before[name] = was, s.world[name]
		s.ages[name] = append(s.ages[name], was.Key)
		return
	}
	old := s.world[name]
	m := &modules.Module{Name: name, Letter: old.Letter, Own: old.Own}
	names := append(s.names(), "nowhere")
	for range s.rng.IntN(4) {
		imp := pysource.Import{Module: names[s.rng.IntN(len(names))]}
		if s.tidy && imp.Module[:2] < name[:2] {
			continue
		}
		if imp.Module == "nowhere" {
			imp.Where, imp.Try = pysource.Optional, 1
		}
		m.Info.Imports = append(m.Info.Imports, imp)
	}
	m.Source = fmt.Appendf(nil, "%s %x", name, s.rng.Uint64())
	copy(m.Key[:], m.Source)
	if s.ages[name] != nil {
		s.before[name] = old
	}
	s.world[name] = m
	s.ages[name] = append(s.ages[name], m.Key)
}

// lost notes that a bundle was.
func (s *sim) lost(b *Bundle) {
	for _, it := range b.items {
		s.spare[it.content]++
	}
}

func (s *sim) fail(format string, args ...any) {
	if !s.t.Failed() {
		s.t.Errorf("%s\n-seed %d, after:\n%s", fmt.Sprintf(format, args...), s.seed,
			strings.Join(s.log[max(0, len(s.log)-80):], "\n"))
	}
}

func (s *sim) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *sim) run() {
	for range 120 {
		switch n := s.rng.IntN(30); {
		case n < 3:
			s.connect()
		case n < 6:
			s.call()
		case n == 6 && !s.calm:
			s.end()
		case n == 7 && !s.calm:
			s.drop()
		case n == 8 && !s.calm && s.rng.IntN(3) == 0:
			name := s.names()[s.rng.IntN(len(s.world))]
			s.note("%s changes", name)
			s.rewrite(name)
		default:
			s.deliver()
		}
		if s.t.Failed() {
			return
		}
	}
	for n := 0; s.deliver() && !s.t.Failed(); n++ {
		if n > 100000 {
			s.fail("it doesn't end")
		}
	}
	s.checkDone()
}

// checkDone holds when nothing is on its way: all imports have worked.
func (s *sim) checkDone() {
	for _, p := range s.nodes {
		if len(p.calls) > 0 || p.open > 0 || len(p.coming) > 0 {
			s.fail("%d waits in vain: calls %v, %d answers, bundles %v", p.id, p.calls, p.open, p.coming)
		}
	}
}

func (s *sim) pick(ok func(*peer) bool) *peer {
	var some []wire.ContextID
	for id, p := range s.nodes {
		if ok(p) {
			some = append(some, id)
		}
	}
	if len(some) == 0 {
		return nil
	}
	slices.Sort(some)
	return s.nodes[some[s.rng.IntN(len(some))]]
}

func anyPeer(*peer) bool { return true }

func (s *sim) connect() {
	if len(s.nodes) > 8 {
		return
	}
	parent := wire.ContextID(0)
	if at := s.pick(anyPeer); at != nil && s.rng.IntN(3) > 0 {
		parent = at.id
	}
	s.next++
	p := newPeer(s.next, parent)
	for _, name := range s.names() {
		if !strings.Contains(name, ".") && s.rng.IntN(4) == 0 && name != "p0" {
			p.local[name] = true
		}
	}
	s.nodes[p.id] = p
	s.book.Add(p.id, parent)
	s.note("connect %d at %d, has %v", p.id, parent, p.local)
}

// call has the engine call something in a random module.
func (s *sim) call() {
	p := s.pick(anyPeer)
	if p == nil {
		return
	}
	root := s.names()[s.rng.IntN(len(s.world))]
	s.note("call %s at %d", root, p.id)
	p.roots = append(p.roots, root)
	c := closure.Of(s.world, pysource.Target{Version: [3]int{3, 9}}, []string{root})
	for _, g := range c.Own() {
		for _, m := range g.Members {
			p.own[m.Name] = true
		}
	}
	s.carryOut(s.book.Want(p.id, c))
	expect := map[string]int{}
	for name, ages := range s.ages {
		expect[name] = len(ages) - 1
	}
	s.down(0, frame{kind: call, dst: p.id, imp: imported{root, expect}})
}

// end ends a context and all behind it.
func (s *sim) end() {
	p := s.pick(anyPeer)
	if p == nil {
		return
	}
	s.note("%d ends", p.id)
	s.book.Gone(p.id)
	s.remove(p.id)
	for _, id := range sortedKeys(s.nodes) {
		hop := s.nodes[id]
		for _, key := range hop.partial() {
			if s.nodes[key.dst] == nil {
				s.cut(hop, key)
			}
		}
	}
}

func (s *sim) remove(id wire.ContextID) {
	delete(s.nodes, id)
	for c, x := range s.nodes {
		if x.parent == id {
			s.remove(c)
		}
	}
}

func sortedKeys(m map[wire.ContextID]*peer) []wire.ContextID { return slices.Sorted(maps.Keys(m)) }

// drop has a hop forget a bundle.
func (s *sim) drop() {
	p := s.pick(func(p *peer) bool { return len(p.kept) > 0 })
	if p == nil {
		return
	}
	var ids []ID
	for id := range p.kept {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	id := ids[s.rng.IntN(len(ids))]
	s.note("%d drops %x", p.id, id[:2])
	s.lost(p.kept[id])
	delete(p.kept, id)
}

func (s *sim) noteAsked(ctx wire.ContextID, names []string) {
	for _, name := range names {
		if s.nodes[ctx].asked[name] {
			s.fail("%d is asked for %s twice", ctx, name)
		}
		s.nodes[ctx].asked[name] = true
	}
}

// carryOut sends what a Book says.
func (s *sim) carryOut(actions []Action) {
	for _, a := range actions {
		switch a.Op {
		case Ask:
			s.noteAsked(a.Ctx, a.Names)
			s.down(0, frame{kind: ask, dst: a.Ctx, names: a.Names})
		case Coming:
			roots := s.nodes[a.Ctx].roots
			roots = roots[:len(roots)-len(s.book.contexts[a.Ctx].waiting)]
			if n := len(roots); n > s.nodes[a.Ctx].settled+1 {
				// of several calls at once one may bring more of a package than it needs, what another one
				// needs
				roots = nil
			}
			s.nodes[a.Ctx].settled = len(s.nodes[a.Ctx].roots) - len(s.book.contexts[a.Ctx].waiting)
			s.down(0, frame{kind: coming, dst: a.Ctx, ids: a.IDs, answers: a.Answers, names: roots})
		case Forward:
			s.note("forward %x at %d to %d", a.Bundle.ID[:2], a.Hop, a.Ctx)
			s.down(0, frame{kind: forwarding, dst: a.Hop, id: a.Bundle.ID, ctx: a.Ctx, bundle: a.Bundle})
		case Send:
			s.note("send %x %v to %d", a.Bundle.ID[:2], a.Bundle.Names, a.Ctx)
			s.pieces(0, a.Ctx, a.Bundle, 0, parts)
		}
	}
}
