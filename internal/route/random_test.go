package route

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/internal/wire"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run TestRandomOrders with this seed only")
	orders   = flag.Int("orders", 3000, "how many orders TestRandomOrders tries")
)

// TestRandomOrders runs trees of routers through random orders of connect, call, answer, allow,
// disconnect, reported loss, shutdown and hostile frames, and checks the invariants of
// docs/protocol/wire.md, section 7, at every step.
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

const forged = "forged" // in the payload of frames with a false source or authority

// sim is a tree of contexts, each a Router and a program, and the pipes between them.
type sim struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	nodes   map[wire.ContextID]*peer
	allowed map[pair]bool
	permits map[value]bool // receivers that contexts may send to
	given   []value
	gone    map[wire.ContextID]bool   // said to be, to the engine
	asked   map[wire.Handle]*question // by the program that is context 0 too; nil: there is none
	newest  wire.ContextID            // of those that it has claimed
	log     []string
}

// peer is one context. A hostile one has no router: it says what it likes.
type peer struct {
	id, parent wire.ContextID
	r          *Router
	hostile    bool
	dead       bool         // its stream has ended; what it sent is still on its way
	up, down   []wire.Frame // between it and its parent
	open       []*question  // that it asked
	todo       []wire.Frame // that it was asked
}

type pair struct{ from, to wire.ContextID }

// value is a receiver, and the context that may send to it.
type value struct {
	pair
	handle wire.Handle
}

// question counts how often a request was ended.
type question struct {
	by, to wire.ContextID
	ends   int
}

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), nodes: map[wire.ContextID]*peer{},
		allowed: map[pair]bool{}, permits: map[value]bool{}, gone: map[wire.ContextID]bool{}}
	s.nodes[0] = &peer{r: New(0, nil, 1<<16)}
	if s.rng.IntN(2) == 0 {
		s.nodes[0].r.Share()
		s.asked = map[wire.Handle]*question{}
	}
	return s
}

func (s *sim) fail(format string, args ...any) {
	if !s.t.Failed() {
		s.t.Errorf("%s\n-seed %d, after:\n%s", fmt.Sprintf(format, args...), s.seed,
			strings.Join(s.log[max(0, len(s.log)-40):], "\n"))
	}
}

func (s *sim) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *sim) run() {
	events := []struct {
		weight int
		do     func()
	}{{4, s.connect}, {8, s.ask}, {40, s.deliver}, {10, s.answer}, {2, s.allow},
		{2, s.permit}, {8, s.value}, {1, s.disconnect}, {6, s.attack}}
	total := 0
	for _, e := range events {
		total += e.weight
	}
	for range 150 {
		n := s.rng.IntN(total)
		for _, e := range events {
			if n -= e.weight; n < 0 {
				e.do()
				break
			}
		}
		if s.t.Failed() {
			return
		}
	}
	s.shutdown()
}

// shutdown ends contexts in random order. In between all frames on their way arrive, and then no
// request waits without an answer.
func (s *sim) shutdown() {
	for len(s.nodes) > 1 && !s.t.Failed() {
		s.disconnect()
		for s.anyFrames() && !s.t.Failed() {
			s.deliver()
		}
		s.checkAnswered()
	}
	engine := s.nodes[0]
	if !engine.r.Idle() {
		s.fail("something is kept when all contexts are gone: %+v", engine.r)
	}
}

// checkAnswered is invariant 1, once nothing is on its way: what was asked of those who are gone
// has ended.
func (s *sim) checkAnswered() {
	for _, p := range s.nodes {
		for _, q := range p.open {
			if s.nodes[q.to] == nil && q.ends != 1 {
				s.fail("request of %d to %d, which is gone, ended %d times", q.by, q.to, q.ends)
			}
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

func honest(p *peer) bool { return p.r != nil && !p.dead }
func child(p *peer) bool  { return p.id != 0 && !p.dead }

// connect has a context start another one.
func (s *sim) connect() {
	if len(s.nodes) > 12 {
		return
	}
	engine := s.nodes[0]
	at := s.pick(func(p *peer) bool { return p.id == 0 || engine.r.nodes[p.id] != nil && !p.hostile })
	id := s.nextID()
	if err := engine.r.Add(id, at.id); err != nil {
		s.fail("%v", err)
	}
	s.note("connect %d at %d", id, at.id)
	if at.id == 0 {
		s.create(id, 0)
		return
	}
	s.send(0, wire.Frame{Dst: at.id, Handle: wire.Connect, Payload: wire.AppendConnect(nil, id, nil)})
}

// nextID is the id of a new context: of the engine's choice or the program's.
func (s *sim) nextID() wire.ContextID {
	r := s.nodes[0].r
	if s.asked == nil || s.rng.IntN(3) == 0 {
		return r.NextID()
	}
	s.newest += wire.ContextID(1 + s.rng.IntN(2))
	if err := r.Claim(s.newest); err != nil {
		s.fail("%v", err)
	}
	if r.Claim(s.newest) == nil {
		s.fail("context %d was claimed twice", s.newest)
	}
	return s.newest
}

func (s *sim) create(id, parent wire.ContextID) {
	p := &peer{id: id, parent: parent, hostile: s.rng.IntN(4) == 0}
	if !p.hostile {
		p.r = New(id, s.ancestors(parent), 1<<16)
	}
	s.nodes[id] = p
	p.up = append(p.up, wire.Frame{Src: id, Auth: id, Handle: wire.Hello})
}

func (s *sim) ancestors(id wire.ContextID) []wire.ContextID {
	ids := []wire.ContextID{id}
	for id != 0 {
		id = s.nodes[id].parent
		ids = append(ids, id)
	}
	return ids
}

// send does the work of a program for a frame of its own.
func (s *sim) send(from wire.ContextID, f wire.Frame) {
	f.Src, f.Auth = from, from
	if port, ok := s.nodes[from].r.Port(f.Dst); ok {
		s.put(s.nodes[from], port, f)
	}
}

// put is the pipe to a neighbour.
func (s *sim) put(p *peer, port wire.ContextID, f wire.Frame) {
	if p.id != 0 && port == p.parent {
		p.up = append(p.up, f)
	} else if c := s.nodes[port]; c != nil && !c.dead {
		c.down = append(c.down, f)
	}
}

// ask makes a request: of the engine to anybody, or of a context to another.
func (s *sim) ask() {
	by := s.pick(honest)
	to := s.pick(func(p *peer) bool { return p.id != by.id && p.id != 0 })
	if to == nil || by.id != 0 && slices.Contains(by.r.up, to.id) {
		return
	}
	q := &question{by: by.id, to: to.id}
	if by.id == 0 && s.asked != nil && s.rng.IntN(3) > 0 {
		s.programAsks(by, q)
		return
	}
	h, err := by.r.Request(to.id, s.rng.IntN(2), q)
	if err != nil {
		return
	}
	s.note("%d asks %d: %d", by.id, to.id, h)
	by.open = append(by.open, q)
	if by.id == 0 {
		by.r.Reserve(to.id, h, 10)
		by.r.Reserve(to.id, wire.Stdin, 10)
	}
	s.send(by.id, wire.Frame{Dst: to.id, Handle: wire.Call, Reply: h})
}

// programAsks makes a request of the program's, now and then to a lost context or in parts.
func (s *sim) programAsks(engine *peer, q *question) {
	h := wire.Handle(1<<30 + len(s.asked))
	s.note("the program asks %d: %d", q.to, h)
	s.asked[h] = q
	engine.open = append(engine.open, q)
	f := wire.Frame{Dst: q.to, Handle: wire.Call, Reply: h}
	if s.rng.IntN(4) == 0 {
		part := f
		part.Kind, part.Payload = wire.Part, []byte("part")
		s.fromProgram(engine, part)
	}
	s.fromProgram(engine, f)
}

// fromProgram has the engine take a frame of the program's.
func (s *sim) fromProgram(engine *peer, f wire.Frame) {
	ok, actions := engine.r.FromProgram(&f, nil)
	if ok && f.Kind != wire.Part { // the contexts here put nothing together
		s.check(engine, &f)
		s.send(0, f)
	}
	s.apply(engine, actions)
}

// passed is the program that is context 0 too: it is given answers to what it has asked, once each.
func (s *sim) passed(p *peer, a *Action) {
	f := &a.Frame
	q := s.asked[f.Handle]
	switch {
	case string(f.Payload) == forged:
		s.fail("3: forged frame passed to the program: %v", f)
	case p.id != 0:
		s.fail("%d passes to a program: %v", p.id, f)
	case s.gone[f.Src] && f.Kind != wire.Dead:
		s.fail("2: frame of %d, which is gone: %v", f.Src, f)
	case f.Handle == wire.Credit:
	case q == nil && s.mayValue(f):
	case q == nil:
		s.fail("the program hasn't asked: %v", f)
	case f.Src != q.to:
		s.fail("answer of %d to what %d was asked", f.Src, q.to)
	case q.ends > 0:
		s.fail("1: request of the program to %d goes on after its end: %v", q.to, f)
	case f.Kind != wire.Item && f.Kind != wire.Part:
		q.ends++
	case s.rng.IntN(2) == 0:
		credit := wire.AppendCredit(nil, f.Handle, uint32(len(f.Payload)))
		s.fromProgram(p, wire.Frame{Dst: f.Src, Handle: wire.Credit, Payload: credit})
	}
}

// answer has a context answer something, in part or at last.
func (s *sim) answer() {
	p := s.pick(func(p *peer) bool { return honest(p) && len(p.todo) > 0 })
	if p == nil {
		return
	}
	f := p.todo[0]
	kind := wire.Kind(s.rng.IntN(5))
	if kind != wire.Item && kind != wire.Part {
		p.todo = p.todo[1:]
	}
	s.note("%d answers %d with %v", p.id, f.Src, kind)
	s.send(p.id, wire.Frame{Kind: kind, Dst: f.Src, Handle: f.Reply, Payload: []byte("answer")})
}

func (s *sim) allow() {
	a, b := s.pick(child), s.pick(child)
	if a == nil || a == b || s.nodes[0].r.Allow(a.id, b.id) != nil {
		return
	}
	s.note("allow %d to reach %d", a.id, b.id)
	s.allowed[pair{a.id, b.id}] = true
}

// permit lets a context send to a receiver of another one, or of the program.
func (s *sim) permit() {
	from, to := s.pick(child), s.pick(func(*peer) bool { return true })
	if from == nil {
		return
	}
	v := value{pair{from.id, to.id}, wire.Handle(1000 + s.rng.IntN(5))}
	if to.id == 0 && s.asked != nil {
		v.handle = wire.Handle(1<<30 + len(s.asked))
		s.asked[v.handle] = nil
	}
	if s.nodes[0].r.Permit(v.from, v.to, v.handle) != nil {
		return
	}
	s.note("permit %d to send to %d: %d", v.from, v.to, v.handle)
	s.permits[v] = true
	s.given = append(s.given, v)
}

// value has a context send where it may, or tell the end.
func (s *sim) value() {
	if len(s.given) == 0 {
		return
	}
	v := s.given[s.rng.IntN(len(s.given))]
	p, to := s.nodes[v.from], s.nodes[v.to]
	if p == nil || !honest(p) {
		return
	}
	s.note("%d sends to %d: %d", v.from, v.to, v.handle)
	kind := wire.Kind(s.rng.IntN(5))
	s.send(v.from, wire.Frame{Kind: kind, Dst: v.to, Handle: v.handle, Payload: []byte("value")})
	if v.to != 0 && to != nil && honest(to) {
		credit := wire.AppendCredit(nil, v.handle, 5)
		s.send(v.to, wire.Frame{Dst: v.from, Handle: wire.Credit, Payload: credit})
	}
}

// mayValue says whether f goes by a permit: there, or back as credit.
func (s *sim) mayValue(f *wire.Frame) bool {
	if flow, _, err := wire.ParseCredit(f.Payload); f.Handle == wire.Credit && err == nil {
		return s.permits[value{pair{f.Dst, f.Src}, flow}]
	}
	return s.permits[value{pair{f.Src, f.Dst}, f.Handle}]
}

// disconnect ends a context. What it has sent still arrives.
func (s *sim) disconnect() {
	if p := s.pick(child); p != nil {
		s.note("%d ends", p.id)
		p.dead, p.down = true, nil
	}
	s.deliver()
}

func (s *sim) anyFrames() bool {
	return s.pick(func(p *peer) bool {
		return len(p.up)+len(p.down) > 0 || p.dead && p.id != 0
	}) != nil
}

// deliver moves one frame over one pipe, or lets a parent find out that the pipe has ended.
func (s *sim) deliver() {
	p := s.pick(func(p *peer) bool { return len(p.up)+len(p.down) > 0 || p.dead })
	switch {
	case p == nil:
	case len(p.up) > 0 && (len(p.down) == 0 || s.rng.IntN(2) == 0):
		f := p.up[0]
		p.up = p.up[1:]
		if parent := s.nodes[p.parent]; parent.r != nil {
			s.step(parent, p.id, &f)
		}
	case len(p.down) > 0:
		f := p.down[0]
		p.down = p.down[1:]
		s.arrive(p, &f)
	case p.dead:
		s.ended(p)
	}
}

// arrive takes a frame from above.
func (s *sim) arrive(p *peer, f *wire.Frame) {
	if string(f.Payload) == forged {
		s.fail("3: forged frame passed: %v", f)
	}
	if p.hostile {
		return
	}
	if f.Handle == wire.Connect {
		id, _, err := wire.ParseConnect(f.Payload)
		if err == nil && (f.Dst == p.id || p.r.nodes[f.Dst] != nil) {
			err = p.r.Add(id, f.Dst)
		}
		if err != nil {
			s.fail("%d: %v", p.id, err)
		}
	}
	s.step(p, p.r.up[0], f)
}

// ended tells a parent that its child's stream is at its end; all behind it go with it.
func (s *sim) ended(p *peer) {
	parent := s.nodes[p.parent]
	for _, id := range s.behind(p.id) {
		delete(s.nodes, id)
	}
	if parent.r == nil {
		return
	}
	actions := parent.r.Lost(p.id, "ended", nil)
	if parent.id != 0 {
		for _, a := range actions {
			if a.Op == Gone {
				s.send(parent.id, wire.Frame{Dst: 0, Handle: wire.Lost,
					Payload: wire.AppendLost(nil, a.ID, "ended")})
			}
		}
	}
	s.apply(parent, actions)
}

func (s *sim) behind(id wire.ContextID) []wire.ContextID {
	ids := []wire.ContextID{id}
	for i := 0; i < len(ids); i++ {
		for _, p := range s.nodes {
			if p.parent == ids[i] && p.id != 0 && !slices.Contains(ids, p.id) {
				ids = append(ids, p.id)
			}
		}
	}
	return ids
}

func (s *sim) step(p *peer, port wire.ContextID, f *wire.Frame) {
	if p.dead {
		return
	}
	s.note("%d gets from %d: %v", p.id, port, f)
	s.apply(p, p.r.Step(port, f, nil))
}

// apply does what a router says, and checks it.
func (s *sim) apply(p *peer, actions []Action) {
	for i := range actions {
		a := &actions[i]
		s.note("  %d: %s", p.id, a.trace())
		switch a.Op {
		case Send:
			s.check(p, &a.Frame)
			s.put(p, a.Port, a.Frame)
		case Deliver:
			s.take(p, a)
		case Gone:
			if a.Why == "lie" {
				s.fail("LOST of somebody else's context was believed: %d", a.ID)
			}
			if p.id == 0 {
				s.gone[a.ID] = true
			}
		case Pass:
			s.passed(p, a)
		case Broken:
			s.broken(a)
		}
	}
}

// broken ends a context as the engine does. Only those that attack can have broken the rules.
func (s *sim) broken(a *Action) {
	p := s.nodes[a.ID]
	switch {
	case p == nil:
	case !p.hostile:
		s.fail("%d is broken: %s", a.ID, a.Why)
	default:
		p.dead, p.down = true, nil
	}
}

// check verifies the rules for a frame that a router relays.
func (s *sim) check(p *peer, f *wire.Frame) {
	if string(f.Payload) == forged {
		s.fail("3: forged frame forwarded: %v", f)
	}
	if p.id != 0 {
		return
	}
	if s.gone[f.Dst] {
		s.fail("2: frame for %d, which is gone: %v", f.Dst, f)
	}
	ours := f.Auth == 0 && (f.Kind == wire.Dead || f.Handle == wire.Credit)
	allowed := s.allowed[pair{f.Src, f.Dst}] || s.allowed[pair{f.Dst, f.Src}]
	if f.Src != 0 && !ours && !s.mayValue(f) && !allowed {
		s.fail("4: frame between a pair that wasn't allowed: %v", f)
	}
}

// take is the program at p.
func (s *sim) take(p *peer, a *Action) {
	f := &a.Frame
	if string(f.Payload) == forged {
		s.fail("3: forged frame delivered: %v", f)
	}
	if p.id == 0 && s.gone[f.Src] && (f.Kind != wire.Dead || f.Auth != 0) {
		s.fail("2: frame of %d, which is gone: %v", f.Src, f)
	}
	switch q, ok := a.Owner.(*question); {
	case ok && f.Src != q.to && f.Kind != wire.Dead:
		s.fail("answer of %d to what %d was asked", f.Src, q.to)
	case ok && f.Kind == wire.Item:
		s.apply(p, p.r.Consumed(f.Src, f.Handle, a.Cost, nil))
	case ok:
		if q.ends++; q.ends > 1 {
			s.fail("1: request of %d to %d ended twice", q.by, q.to)
		}
	case f.Handle == wire.Connect:
		if id, _, err := wire.ParseConnect(f.Payload); err == nil {
			s.create(id, p.id)
		}
	case f.Handle == wire.Call && f.Reply != 0:
		p.todo = append(p.todo, *f)
	}
}

// attack has a hostile context say something that it must not, or that makes no sense.
func (s *sim) attack() {
	p := s.pick(func(p *peer) bool { return p.hostile && !p.dead })
	if p == nil {
		return
	}
	any := func() wire.ContextID {
		if s.asked != nil && s.rng.IntN(3) == 0 {
			return wire.FirstEngineID + wire.ContextID(s.rng.IntN(8))
		}
		return wire.ContextID(s.rng.IntN(15))
	}
	handles := []wire.Handle{wire.Call, wire.Cancel, wire.Stdin, wire.LoadModule, wire.Connect,
		wire.Shutdown, wire.Ping,
		wire.Kill, wire.Hello, wire.Log, wire.GetModule, wire.Stdout, wire.Stderr, 500}
	f := wire.Frame{Kind: wire.Kind(s.rng.IntN(5)), Dst: any(), Src: p.id, Auth: p.id,
		Handle: handles[s.rng.IntN(len(handles))],
		Reply:  wire.Handle(s.rng.IntN(3) * (1000 + s.rng.IntN(5))), Payload: []byte("nasty")}
	if s.rng.IntN(2) == 0 {
		low := []wire.Handle{1000, 1 << 30, wire.FirstEngineHandle}[s.rng.IntN(3)]
		f.Handle = low + wire.Handle(s.rng.IntN(20))
	}
	switch s.rng.IntN(4) {
	case 0:
		f.Src, f.Payload = any(), []byte(forged)
	case 1:
		f.Auth, f.Payload = any(), []byte(forged)
	case 2:
		f.Handle, f.Kind, f.Dst = wire.Lost, wire.Data, 0
		if victim := any(); victim != p.id && s.nodes[victim] != nil &&
			!slices.Contains(s.behind(p.id), victim) {
			f.Payload = wire.AppendLost(nil, victim, "lie")
		}
	}
	if f.Src == p.id && f.Auth == p.id && string(f.Payload) == forged {
		f.Payload = nil // it happens to be true
	}
	s.note("%d attacks: %v", p.id, f)
	p.up = append(p.up, f)
}
