// Package route decides what becomes of every frame: docs/protocol.md, sections 2, 3 and 7. A Router is a pure value: no
// goroutine, no I/O, no clock. Its owner passes in what happened (Step, Lost, Request, …) and carries out the Actions that
// come back, in their order.
//
// It serves the engine (no ancestors), which has authority, and a hop, which only passes frames up and down.
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
	// Send puts Frame on the stream to neighbour Port. Its payload may alias that of the frame given to Step.
	Send Op = iota
	// Deliver hands Frame to the program. Owner is that of the request or receiver it is for, nil for fixed handles. The
	// last frame of a request has a Kind other than Item. Cost must be given back with Consumed once the program
	// has taken the frame.
	Deliver
	// Gone says that context ID doesn't exist any more, because of Why. Everything it was asked follows as Deliver of
	// Dead frames.
	Gone
	// Refused says that a frame of context ID was dropped, because of Why. Text in it is hostile.
	Refused
	// Broken says that context ID breaks the rules of flow control and should be ended.
	Broken
	// Room says that there is a window again: for flow Handle to context ID, or for calls there (Handle is Call).
	Room
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
	Owner  any
	Why    string
}

// Router is the state of one node. Make one with New.
type Router struct {
	me wire.ContextID
	up []wire.ContextID // ancestors, nearest first; none in an engine

	nodes   map[wire.ContextID]*node
	newest  wire.ContextID
	allowed map[pair]struct{}
	relayed map[asked]wire.ContextID // request of a child to another: who was asked

	handle    wire.Handle // last one given out
	requests  map[wire.Handle]*request
	receivers map[wire.Handle]*receiver

	parts   wire.Assembler
	inflow  map[flowKey]*inflow
	windows map[flowKey]int // what may still be sent
}

// node is a context below this one.
type node struct {
	id      wire.ContextID
	parent  wire.ContextID
	port    wire.ContextID // neighbour that it is behind
	hello   bool
	waiting int  // payload bytes of unanswered calls
	full    bool // a call has been refused for that
	relays  int  // its requests to other contexts
}

type pair struct{ from, to wire.ContextID }

type asked struct {
	by     wire.ContextID
	handle wire.Handle
}

// maxRelays is how many requests to other contexts one may have open.
const maxRelays = 4096

// New returns the router of context me. ancestors are nearest first; the engine has none. limit is the size in bytes
// of the largest value to put together.
func New(me wire.ContextID, ancestors []wire.ContextID, limit int) *Router {
	return &Router{
		me: me, up: ancestors, parts: wire.Assembler{Limit: limit},
		nodes:     map[wire.ContextID]*node{},
		allowed:   map[pair]struct{}{},
		relayed:   map[asked]wire.ContextID{},
		handle:    wire.FirstDynamic - 1,
		requests:  map[wire.Handle]*request{},
		receivers: map[wire.Handle]*receiver{},
		inflow:    map[flowKey]*inflow{},
		windows:   map[flowKey]int{},
	}
}

// NextID returns the id for a new context. Ids are never used twice.
func (r *Router) NextID() wire.ContextID { return r.newest + 1 }

// Add makes context id known as a child of parent, which is me or a context below. Ids must rise.
func (r *Router) Add(id, parent wire.ContextID) error {
	if id <= r.newest || slices.Contains(r.up, id) || id == r.me {
		return fmt.Errorf("add context %d: id was used before", id)
	}
	n := &node{id: id, parent: parent, port: id}
	if parent != r.me {
		p := r.nodes[parent]
		if p == nil {
			return fmt.Errorf("add context %d: no context %d", id, parent)
		}
		n.port = p.port
	}
	r.newest = id
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
	r.allowed[pair{from, to}] = struct{}{}
	return nil
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

// Lost removes context id and all behind it, because of why. Asking twice is harmless.
func (r *Router) Lost(id wire.ContextID, why string, out []Action) []Action {
	gone := map[wire.ContextID]bool{}
	for c := range r.nodes {
		if r.behind(c, id) {
			gone[c] = true
		}
	}
	if len(gone) == 0 {
		return out
	}
	for _, c := range sorted(gone) {
		delete(r.nodes, c)
		out = append(out, Action{Op: Gone, ID: c, Why: why})
	}
	out = r.dropRequests(gone, why, out)
	out = r.dropRelays(gone, why, out)
	for p := range r.allowed {
		if gone[p.from] || gone[p.to] {
			delete(r.allowed, p)
		}
	}
	r.dropFlows(gone)
	return out
}

// Idle says whether nothing is kept that belongs to a context: no route, request, part or credit.
func (r *Router) Idle() bool {
	return len(r.nodes)+len(r.allowed)+len(r.relayed)+len(r.requests)+r.parts.Len()+len(r.inflow)+len(r.windows) == 0
}

func sorted[K wire.ContextID | wire.Handle, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
