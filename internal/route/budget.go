package route

import (
	"fmt"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// DefaultMemory limits the unfinished values of all contexts, in bytes, unless Bound says
// otherwise.
const DefaultMemory = 1 << 30

// itemCost is the cost of an item beyond its bytes, so that many small items are bounded too.
const itemCost = 64

// largeAnswer is a size in bytes from which on an answer is accounted for until the program has
// taken it. Of smaller ones there is one for each call that the program has made.
const largeAnswer = 64 << 10

// held accounts for values that aren't finished: parts, items that are collected until their call
// ends, and what other items cost beyond their window; and for answers that are whole, but that the
// program hasn't taken. A hop can claim any number of contexts, so each port has a budget too, and
// all ports together have one. Whole answers may wait for a while in an honest program, so what a
// port may have of both is more.
type held struct {
	total           int                    // bytes
	portMax, allMax int                    // bytes
	ports           map[wire.ContextID]int // bytes of unfinished values by neighbour
	sources         map[wire.ContextID]int // bytes of unfinished values by context
	wholePorts      map[wire.ContextID]int // bytes of whole answers by neighbour
	wholeSources    map[wire.ContextID]int // bytes of whole answers by context
}

// mostOf returns the largest size of a port's unfinished values and whole answers, in bytes.
func (h *held) mostOf() int { return max(h.portMax, h.allMax/2) }

// Bound sets how many bytes of unfinished values are kept for the contexts behind one port, and for
// all.
func (r *Router) Bound(port, all int) {
	r.held.portMax, r.held.allMax = port, all
	if r.held.ports == nil {
		r.held.ports, r.held.sources = map[wire.ContextID]int{}, map[wire.ContextID]int{}
		r.held.wholePorts, r.held.wholeSources = map[wire.ContextID]int{}, map[wire.ContextID]int{}
	}
}

// Held returns how many bytes of unfinished values and whole answers are kept for the contexts
// behind port, and for all.
func (r *Router) Held(port wire.ContextID) (behind, all int) {
	return r.held.ports[port] + r.held.wholePorts[port], r.held.total
}

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

// keep accounts for an answer of n bytes to q, and for the items of q that were collected, until
// Taken. It returns how many bytes these are.
func (r *Router) keep(q *request, n int) int {
	if n < largeAnswer {
		n = 0
	}
	r.release(q.dst, q.held)
	n += q.held
	q.held = 0
	r.whole(q.dst, n)
	return n
}

// Taken says that the program has taken an answer of src, or given it up, which came with Kept.
func (r *Router) Taken(src wire.ContextID, kept int) {
	if r.nodes[src] != nil { // else all of it is forgotten
		r.whole(src, -kept)
	}
}

func (r *Router) whole(src wire.ContextID, n int) {
	port, ok := r.Port(src)
	if n == 0 || !ok {
		return
	}
	h := &r.held
	h.total += n
	add(h.wholePorts, port, n)
	add(h.wholeSources, src, n)
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
		why := fmt.Sprintf("parts of values, with others behind its stream, of more than %d bytes",
			h.portMax)
		return append(out, Action{Op: Broken, ID: r.largest(port), Why: why, Rule: PortMemory})
	case h.ports[port]+h.wholePorts[port] > h.mostOf():
		why := fmt.Sprintf("values that nothing has taken, with others behind its stream, of more than "+
			"%d bytes", h.mostOf())
		return append(out, Action{Op: Broken, ID: r.largest(port), Why: why, Rule: PortMemory})
	case h.total > h.allMax:
		why := fmt.Sprintf("the most of values of more than %d bytes in all", h.allMax)
		return append(out, Action{Op: Broken, ID: r.largest(r.largestPort()), Why: why, Rule: AllMemory})
	}
	return out
}

// largestPort returns the neighbour for which most is kept.
func (r *Router) largestPort() wire.ContextID {
	h := &r.held
	return largestOf(func(port wire.ContextID) int { return h.ports[port] + h.wholePorts[port] },
		h.ports, h.wholePorts)
}

// largest returns the context behind port for which most is kept.
func (r *Router) largest(port wire.ContextID) wire.ContextID {
	h := &r.held
	return largestOf(func(src wire.ContextID) int {
		if p, _ := r.Port(src); p != port {
			return 0
		}
		return h.sources[src] + h.wholeSources[src]
	}, h.sources, h.wholeSources)
}

// largestOf returns the context of some maps of which size is most, the lowest of several.
func largestOf(size func(wire.ContextID) int,
	maps ...map[wire.ContextID]int) (most wire.ContextID) {
	n := 0
	for _, m := range maps {
		for id := range m {
			if s := size(id); s > n || s == n && s > 0 && id < most {
				most, n = id, s
			}
		}
	}
	return most
}
