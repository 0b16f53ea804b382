package route

import (
	"errors"
	"fmt"
	"iter"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Errors of Request and Reserve.
var (
	ErrGone    = errors.New("context is gone")
	ErrFull    = errors.New("too many unanswered calls")
	ErrRefused = errors.New("receiver is closed")
)

// request waits for an answer. Only dst may give it; a hop on the way there may say that none will
// come.
type request struct {
	handle    wire.Handle
	dst       wire.ContextID
	size      int // payload bytes that count as unanswered
	owner     any
	limit     int  // bytes of each value of the answer
	collected bool // items are kept until the end
	held      int  // cost of collected items

	prev, next *request // to the same context
}

// link puts q in front of a context's requests.
func (n *node) link(q *request) {
	if q.next = n.requests; q.next != nil {
		q.next.prev = q
	}
	n.requests = q
}

// unlink takes q out of a context's requests.
func (n *node) unlink(q *request) {
	if q.next != nil {
		q.next.prev = q.prev
	}
	if q.prev != nil {
		q.prev.next = q.next
	} else {
		n.requests = q.next
	}
	q.prev, q.next = nil, nil
}

// receiver takes values from those it has admitted.
type receiver struct {
	owner any
	from  map[wire.ContextID]int // how often each was admitted, less the ends that it has said
}

// Request gives out a reply handle for a question to dst. size is the payload of a call, 0 for
// anything else. ErrFull: a Room action for (dst, Call) will say when to try again.
func (r *Router) Request(dst wire.ContextID, size int, owner any) (wire.Handle, error) {
	n := r.nodes[dst]
	if n == nil && len(r.up) > 0 {
		n = &node{} // elsewhere in the tree
	}
	if n == nil {
		return 0, ErrGone
	}
	if size > 0 && n.waiting > 0 && n.waiting+size > wire.Window {
		n.full = true
		return 0, ErrFull
	}
	n.waiting += size
	h := r.nextHandle()
	q := &request{handle: h, dst: dst, size: size, owner: owner, limit: r.parts.Limit}
	r.requests[h] = q
	n.link(q)
	return h, nil
}

// Expect says what a request's answer may be: limit bounds each value, in bytes. The items of a
// collected answer count as an unfinished value until it ends.
func (r *Router) Expect(h wire.Handle, limit int, collected bool) {
	if q := r.requests[h]; q != nil {
		q.limit, q.collected = limit, collected
	}
}

func (r *Router) nextHandle() wire.Handle {
	for {
		r.handle++
		if r.handle < r.lowest {
			r.handle = r.lowest
		}
		if r.requests[r.handle] == nil && r.receivers[r.handle] == nil {
			return r.handle
		}
	}
}

// Asked returns the owners of the requests that dst has not answered.
func (r *Router) Asked(dst wire.ContextID) iter.Seq[any] {
	return func(yield func(any) bool) {
		n := r.nodes[dst]
		if n == nil {
			return
		}
		for q := n.requests; q != nil && yield(q.owner); q = q.next {
		}
	}
}

// Forget gives up on a request: its answer will be dropped.
func (r *Router) Forget(h wire.Handle, out []Action) []Action {
	q := r.requests[h]
	if q == nil {
		return out
	}
	if n := r.nodes[q.dst]; n != nil {
		n.late.add(h, true)
	}
	return r.finish(h, q, out)
}

// Listen opens a receiver. It admits no context yet.
func (r *Router) Listen(owner any) wire.Handle {
	h := r.nextHandle()
	r.receivers[h] = &receiver{owner, map[wire.ContextID]int{}}
	return h
}

// Admit lets a receiver take values from context id, until that has said as many ends as it was
// admitted.
func (r *Router) Admit(h wire.Handle, id wire.ContextID) {
	if rc, n := r.receivers[h], r.nodes[id]; rc != nil && n != nil {
		rc.from[id]++
		put(&n.admitted, h, struct{}{})
	}
}

// Listens says whether h is a receiver that isn't closed.
func (r *Router) Listens(h wire.Handle) bool { return r.receivers[h] != nil }

// Unlisten closes a receiver, and tells those who may send to it.
func (r *Router) Unlisten(h wire.Handle, out []Action) []Action {
	rc := r.receivers[h]
	if rc == nil {
		return out
	}
	for _, id := range sorted(rc.from) {
		r.leave(h, rc, id)
		r.dropFlow(id, h)
		out = r.credit(id, h, refusal, out)
	}
	delete(r.receivers, h)
	return out
}

// leave strikes a context from a receiver. What it sends nevertheless may have crossed that.
func (r *Router) leave(h wire.Handle, rc *receiver, id wire.ContextID) {
	delete(rc.from, id)
	if n := r.nodes[id]; n != nil {
		delete(n.admitted, h)
		n.late.add(h, false)
	}
}

// dynamic delivers to reply handles and receivers.
func (r *Router) dynamic(f *wire.Frame, out []Action) []Action {
	if r.shared.owns(f.Handle) {
		return r.toProgram(f, out)
	}
	if q := r.requests[f.Handle]; q != nil {
		if q.dst != f.Src && !(f.Kind == wire.Dead && r.behind(q.dst, f.Src)) {
			return r.refuse(f, fmt.Sprintf("answer to a question that context %d was asked", q.dst), out)
		}
		return r.assemble(f, q, q.owner, q.limit, out)
	}
	rc := r.receivers[f.Handle]
	switch {
	case rc == nil:
		return r.discard(f, out)
	case rc.from[f.Src] > 0:
		return r.received(f, rc, out)
	case r.expected(f) && f.Reply == 0:
		return r.discard(f, out)
	}
	return r.deny(f, "receiver was not given to it", out)
}

// received delivers to a receiver. All but items are an end, which has no window, so there are no
// more ends than admissions.
func (r *Router) received(f *wire.Frame, rc *receiver, out []Action) []Action {
	out = r.assemble(f, nil, rc.owner, r.parts.Limit, out)
	if f.Kind == wire.Item || f.Kind == wire.Part {
		return out
	}
	if rc.from[f.Src]--; rc.from[f.Src] == 0 {
		r.leave(f.Handle, rc, f.Src)
	}
	return out
}

// discard drops what comes for no handle. Where it is late for one, its window is given back so
// that the sender gets on.
func (r *Router) discard(f *wire.Frame, out []Action) []Action {
	switch {
	case f.Reply != 0 || !r.expected(f):
		return r.refuse(f, fmt.Sprintf("no handle %d", f.Handle), out)
	case f.Kind != wire.Part && f.Kind != wire.Item:
		r.late(f.Src).answered(f.Handle)
	}
	out = append(out, Action{Op: Late, ID: f.Src, Handle: f.Handle})
	if f.Kind != wire.Part && f.Kind != wire.Item || len(f.Payload) == 0 {
		return out
	}
	if r.late(f.Src).receiver(f.Handle) {
		return r.credit(f.Src, f.Handle, refusal, out)
	}
	return r.credit(f.Src, f.Handle, len(f.Payload), out)
}

// expected says whether f is for what its sender was asked, or given, until lately; or says that
// there is no answer, as also a hop may for a context behind it.
func (r *Router) expected(f *wire.Frame) bool {
	given := f.Handle <= r.handle
	if r.shared.owns(f.Handle) {
		given = f.Handle <= r.shared.handle
	}
	return r.late(f.Src).has(f.Handle) || given && (f.Kind == wire.Dead || r.nodes[f.Src] == nil)
}

// late returns what src may still send to handles that were given up; nil: it isn't below.
func (r *Router) late(src wire.ContextID) *late {
	if n := r.nodes[src]; n != nil {
		return &n.late
	}
	return nil
}

// finish ends a request.
func (r *Router) finish(h wire.Handle, q *request, out []Action) []Action {
	delete(r.requests, h)
	r.release(q.dst, q.held)
	r.dropFlow(q.dst, h)
	n := r.nodes[q.dst]
	if n == nil {
		return out
	}
	n.unlink(q)
	n.waiting -= q.size
	if n.full {
		n.full = false
		out = append(out, Action{Op: Room, ID: q.dst, Handle: wire.Call})
	}
	return out
}

// dropRequests fails what contexts that are gone were asked.
func (r *Router) dropRequests(gone map[wire.ContextID]*node, why string, out []Action) []Action {
	failed := map[wire.Handle]*request{}
	for _, n := range gone {
		for q := n.requests; q != nil; q = q.next {
			failed[q.handle] = q
		}
	}
	for _, h := range sorted(failed) {
		q := failed[h]
		q.held = 0 // released with all that its context held
		out = r.finish(h, q, out)
		op := Deliver
		if q.isProgram() {
			op = Pass
		}
		out = append(out, Action{Op: op, ID: q.dst, Owner: q.owner, Owned: true,
			Frame: wire.Frame{Kind: wire.Dead, Src: q.dst, Dst: r.me, Auth: r.me, Handle: h,
				Payload: short(why)}})
	}
	return out
}
