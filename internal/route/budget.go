package route

import (
	"fmt"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// DefaultMemory is what unfinished values of all contexts may take, in bytes, unless Bound says
// otherwise.
const DefaultMemory = 1 << 30

// itemCost is what an item counts beyond its bytes, so that many small ones are bounded too.
const itemCost = 64

// held accounts for values that aren't finished: parts, items that are collected until their call
// ends, and what other items cost beyond their window. A hop can claim any number of contexts, so
// each port has a budget too, and all ports together have one.
type held struct {
	total           int                    // bytes
	portMax, allMax int                    // bytes
	ports           map[wire.ContextID]int // bytes by neighbour
	sources         map[wire.ContextID]int // bytes by context
}

// Bound sets how many bytes of unfinished values are kept for the contexts behind one port, and for
// all.
func (r *Router) Bound(port, all int) {
	r.held.portMax, r.held.allMax = port, all
	if r.held.ports == nil {
		r.held.ports, r.held.sources = map[wire.ContextID]int{}, map[wire.ContextID]int{}
	}
}

// Held returns how many bytes of unfinished values are kept for the contexts behind port, and for
// all.
func (r *Router) Held(port wire.ContextID) (behind, all int) { return r.held.ports[port], r.held.total }

// charge accounts for n bytes that are kept for src.
func (r *Router) charge(src wire.ContextID, n int) {
	if n == 0 {
		return
	}
	port, ok := r.Port(src)
	if !ok {
		return
	}
	h := &r.held
	h.total += n
	add(h.ports, port, n)
	add(h.sources, src, n)
}

func (r *Router) release(src wire.ContextID, n int) { r.charge(src, -n) }

// add adds n to m[id]; what is 0 is not kept.
func add(m map[wire.ContextID]int, id wire.ContextID, n int) {
	if m[id] += n; m[id] == 0 {
		delete(m, id)
	}
}

// add gives a frame to the Assembler and accounts for what that keeps.
func (r *Router) add(f wire.Frame, limit int) (whole wire.Frame, done bool, err error) {
	before := r.parts.Held(f.Src)
	whole, done, err = r.parts.AddUpTo(f, limit)
	r.charge(f.Src, r.parts.Held(f.Src)-before)
	return whole, done, err
}

// dropValue forgets the parts that src has sent to handle.
func (r *Router) dropValue(src wire.ContextID, handle wire.Handle) {
	before := r.parts.Held(src)
	r.parts.DropValue(src, handle, 0)
	r.charge(src, r.parts.Held(src)-before)
}

// itemTaken accounts for an item of n bytes: until the program takes it, or, where it is collected,
// until the end of q.
func (r *Router) itemTaken(f *wire.Frame, q *request, n int) {
	if q != nil && q.collected {
		q.held += n + itemCost
		r.charge(f.Src, n+itemCost)
		return
	}
	r.incoming(f.Src, f.Handle).items++
	r.charge(f.Src, itemCost)
}

// overBudget ends the context that takes most, if a budget is exceeded now that src has taken more.
func (r *Router) overBudget(src wire.ContextID, out []Action) []Action {
	port, ok := r.Port(src)
	if !ok {
		return out
	}
	h := &r.held
	switch {
	case h.ports[port] > h.portMax:
		why := fmt.Sprintf("parts of values, with others behind its stream, of more than %d bytes", h.portMax)
		return append(out, Action{Op: Broken, ID: r.largest(port), Why: why, Rule: PortMemory})
	case h.total > h.allMax:
		why := fmt.Sprintf("the most of parts of values of more than %d bytes in all", h.allMax)
		return append(out, Action{Op: Broken, ID: r.largest(r.largestPort()), Why: why, Rule: AllMemory})
	}
	return out
}

// largestPort returns the neighbour for which most is kept.
func (r *Router) largestPort() wire.ContextID {
	var most wire.ContextID
	for port, n := range r.held.ports {
		if m := r.held.ports[most]; n > m || n == m && port < most {
			most = port
		}
	}
	return most
}

// largest returns the context behind port for which most is kept.
func (r *Router) largest(port wire.ContextID) wire.ContextID {
	var most wire.ContextID
	for src, n := range r.held.sources {
		p, _ := r.Port(src)
		if m := r.held.sources[most]; p == port && (n > m || n == m && src < most) {
			most = src
		}
	}
	return most
}
