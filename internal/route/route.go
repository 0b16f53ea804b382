// Package route decides what becomes of every frame: docs/protocol/wire.md, sections 2, 3 and 7. A
// Router is a pure value: no goroutine, no I/O, no clock. Its owner passes in what happened (Step,
// Lost, Request, …) and carries out the Actions that come back, in their order.
//
// It serves the engine (no ancestors), which has authority, and a hop, which only passes frames up
// and down.
package route

import (
	"fmt"
	"slices"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Op says what an Action asks for.
type Op uint8

// What a Router asks its owner to do.
const (
	// Send puts Frame on the stream to neighbour Port. Its payload may alias the payload of the frame
	// given to Step.
	Send Op = iota
	// Deliver hands Frame to the program. Owner is the owner of its request or receiver, nil for fixed
	// handles. The last frame of a request has a Kind other than Item. Cost must be given back with
	// Consumed once the program has taken the frame, and Kept with Taken.
	Deliver
	// Left says that the receiver of Owner takes nothing more from context ID, which is gone. It
	// comes before Gone.
	Left
	// Gone says that context ID doesn't exist any more, because of Why. Everything it was asked
	// follows as Deliver of Dead frames.
	Gone
	// Refused says that a frame of context ID was dropped, because of Why. Text in it is hostile.
	// No runtime of ours sends one, whatever program it runs.
	Refused
	// Denied says that a frame of context ID was dropped that an honest context sends if its program
	// tries what it may not.
	Denied
	// Broken says that context ID breaks Rule and should be ended.
	Broken
	// Room says that there is a window again: for flow Handle to context ID, or for calls there
	// (Handle is Call).
	Room
	// Late says that a frame of context ID was dropped that an honest context may have sent before
	// it knew better: a late answer, or what a context that is gone had sent. Only very many of
	// them are an attack.
	Late
	// Pass hands Frame to the program that is context 0 too (see Share), as it is. Its payload may
	// alias the payload of the frame given to Step.
	Pass
)

// Rule names what a context has broken. Its text is stable: programs may test it.
type Rule string

// Rules that are the reason of a Broken action.
const (
	Window     Rule = "window"  // of a flow: more was sent than the receiver had given room for
	ValueSize  Rule = "message" // of a value, or of all unfinished values of one context
	PortMemory Rule = "stream"  // of unfinished values of all contexts behind one stream
	AllMemory  Rule = "engine"  // of unfinished values of all contexts
)

// Action is one thing to do.
type Action struct {
	Op     Op
	Port   wire.ContextID
	ID     wire.ContextID
	Handle wire.Handle
	Frame  wire.Frame
	Owned  bool // Frame.Payload is not aliased by anything else
	Cost   int  // bytes of the flow (Frame.Src, Frame.Handle) that Frame stands for
	// bytes that are accounted for until Taken: of a large answer, and of items before an answer
	Kept  int
	Owner any
	Why   string
	Rule  Rule
}

// Router is the state of one node. Make one with New. All that belongs to a context is found from
// its node, so that no frame and no loss costs time that grows with the size of the tree.
type Router struct {
	me wire.ContextID
	up []wire.ContextID // ancestors, nearest first; none in an engine

	nodes  map[wire.ContextID]*node
	newest wire.ContextID
	shared *shared // nil: context 0 has no program of its own

	handle    wire.Handle // last one given out
	lowest    wire.Handle // that is given out
	requests  map[wire.Handle]*request
	receivers map[wire.Handle]*receiver

	parts wire.Assembler
	held  held
	flows map[wire.ContextID]*flows
}

// node is a context below this one.
type node struct {
	id       wire.ContextID
	parent   wire.ContextID
	port     wire.ContextID // neighbour that it is behind
	children map[wire.ContextID]*node
	hello    bool
	waiting  int  // payload bytes of unanswered calls
	full     bool // a call has been refused for that

	requests *request                       // ours to it: the first of a list
	asked    wire.Handle                    // the last that the program has asked it with
	late     late                           // requests to it, and receivers of it, that were given up
	admitted map[wire.Handle]struct{}       // receivers that take values from it
	asks     map[wire.Handle]wire.ContextID // its requests to other contexts
	owes     map[asked]struct{}             // requests of other contexts to it
	reaches  map[wire.ContextID]struct{}    // contexts that it may call
	reached  map[wire.ContextID]struct{}    // contexts that may call it

	permits   map[permit]granted     // receivers that it may send to
	permitted map[permitted]struct{} // contexts that may send to receivers of it
}

type asked struct {
	by     wire.ContextID
	handle wire.Handle
}

// maxRelays limits the open requests of one context to other contexts.
const maxRelays = 4096

// New returns the router of context me. ancestors are nearest first; the engine has none. limit is
// the size in bytes of the largest value to put together; 0: wire.MaxMessage.
func New(me wire.ContextID, ancestors []wire.ContextID, limit int) *Router {
	if limit <= 0 {
		limit = wire.MaxMessage
	}
	r := &Router{
		me: me, up: ancestors, parts: wire.Assembler{Limit: limit},
		nodes:     map[wire.ContextID]*node{},
		handle:    wire.FirstDynamic - 1,
		lowest:    wire.FirstDynamic,
		requests:  map[wire.Handle]*request{},
		receivers: map[wire.Handle]*receiver{},
		flows:     map[wire.ContextID]*flows{},
	}
	r.Bound(2*limit, max(DefaultMemory, 2*limit))
	return r
}

// HandlesFrom sets the lowest handle that is given out, before any is.
func (r *Router) HandlesFrom(lowest wire.Handle) { r.lowest, r.handle = lowest, lowest-1 }

// NextID returns the id for a new context. Ids are never used twice.
func (r *Router) NextID() wire.ContextID { return r.newest + 1 }

// Add makes context id known as a child of parent, which is me or a context below. An engine's
// ids must rise, but for those that were claimed.
func (r *Router) Add(id, parent wire.ContextID) error {
	claimed := r.shared.take(id)
	if r.nodes[id] != nil || len(r.up) == 0 && !claimed && id <= r.newest ||
		slices.Contains(r.up, id) || id == r.me {
		return fmt.Errorf("add context %d: id was used before", id)
	}
	n := &node{id: id, parent: parent, port: id}
	if parent != r.me {
		p := r.nodes[parent]
		if p == nil {
			return fmt.Errorf("add context %d: no context %d", id, parent)
		}
		n.port = p.port
		put(&p.children, id, n)
	}
	if !claimed {
		r.newest = max(r.newest, id)
	}
	r.nodes[id] = n
	return nil
}

// Port returns the neighbour that frames for dst go to.
func (r *Router) Port(dst wire.ContextID) (wire.ContextID, bool) {
	if n := r.nodes[dst]; n != nil {
		return n.port, true
	}
	if len(r.up) > 0 && dst != r.me {
		return r.up[0], true
	}
	return 0, false
}

// Allow lets from call and send to to, and to answer.
func (r *Router) Allow(from, to wire.ContextID) error {
	if r.nodes[from] == nil || r.nodes[to] == nil {
		return fmt.Errorf("allow %d to reach %d: %w", from, to, ErrGone)
	}
	put(&r.nodes[from].reaches, to, struct{}{})
	put(&r.nodes[to].reached, from, struct{}{})
	return nil
}

// put stores v in a map that is made when it is needed.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// behind says whether id is a context of, or behind, ancestor.
func (r *Router) behind(id, ancestor wire.ContextID) bool {
	for n := r.nodes[id]; n != nil; n = r.nodes[n.parent] {
		if n.id == ancestor {
			return true
		}
	}
	return false
}

// Lost removes context id and all behind it, because of why. Asking twice is harmless. It takes
// time in proportion to what is removed.
func (r *Router) Lost(id wire.ContextID, why string, out []Action) []Action {
	n := r.nodes[id]
	if n == nil {
		return out
	}
	gone := map[wire.ContextID]*node{}
	n.collect(gone)
	if p := r.nodes[n.parent]; p != nil {
		delete(p.children, id)
	}
	for _, c := range sorted(gone) {
		for _, h := range sorted(gone[c].admitted) {
			out = append(out, Action{Op: Left, ID: c, Handle: h, Owner: r.receivers[h].owner})
		}
		r.release(c, r.held.sources[c])
		r.whole(c, -r.held.wholeSources[c])
		r.parts.Drop(c)
		delete(r.flows, c)
		delete(r.nodes, c)
		out = append(out, Action{Op: Gone, ID: c, Why: why})
	}
	out = r.dropRequests(gone, why, out)
	out = r.dropRelays(gone, why, out)
	for _, n := range gone {
		r.dropNode(n)
	}
	return out
}

// Bounds of what a hop says of a loss, in bytes: all of it, and what those are told who had asked.
const (
	maxWhy   = 16 << 10
	maxShort = 256
)

// short is the beginning of why, of its own memory.
func short(why string) []byte { return []byte(why[:min(len(why), maxShort)]) }

// collect puts n and all behind it into all.
func (n *node) collect(all map[wire.ContextID]*node) {
	all[n.id] = n
	for _, c := range n.children {
		c.collect(all)
	}
}

// dropNode forgets all that other nodes keep of a context that is gone.
func (r *Router) dropNode(n *node) {
	r.dropPermits(n)
	for h := range n.admitted {
		delete(r.receivers[h].from, n.id)
	}
	for to := range n.reaches {
		if x := r.nodes[to]; x != nil {
			delete(x.reached, n.id)
		}
	}
	for from := range n.reached {
		if x := r.nodes[from]; x != nil {
			delete(x.reaches, n.id)
		}
	}
}

// Idle says whether nothing is kept that belongs to a context: no route, request, part or credit.
func (r *Router) Idle() bool {
	return len(r.nodes)+len(r.requests)+r.parts.Len()+len(r.flows)+r.held.total+len(r.held.ports)+
		len(r.held.sources)+
		len(r.held.wholePorts)+len(r.held.wholeSources) == 0
}

func sorted[K wire.ContextID | wire.Handle, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
