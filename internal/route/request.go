package route

import (
	"errors"
	"fmt"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Errors of Request.
var (
	ErrGone = errors.New("context is gone")
	ErrFull = errors.New("too many unanswered calls")
)

// request waits for an answer. Only dst may give it; a hop on the way there may say that none will come.
type request struct {
	dst   wire.ContextID
	size  int // payload bytes that count as unanswered
	owner any
}

// receiver takes values from those it has admitted.
type receiver struct {
	owner any
	from  map[wire.ContextID]struct{}
}

// Request gives out a reply handle for a question to dst. size is the payload of a call, 0 for anything else. ErrFull: a
// Room action for (dst, Call) will say when to try again.
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
	r.requests[h] = &request{dst, size, owner}
	return h, nil
}

func (r *Router) nextHandle() wire.Handle {
	for {
		r.handle++
		if r.handle < wire.FirstDynamic {
			r.handle = wire.FirstDynamic
		}
		if r.requests[r.handle] == nil && r.receivers[r.handle] == nil {
			return r.handle
		}
	}
}

// Forget gives up on a request: its answer will be dropped.
func (r *Router) Forget(h wire.Handle, out []Action) []Action {
	if q := r.requests[h]; q != nil {
		return r.finish(h, q, out)
	}
	return out
}

// Listen opens a receiver. It admits nobody yet.
func (r *Router) Listen(owner any) wire.Handle {
	h := r.nextHandle()
	r.receivers[h] = &receiver{owner, map[wire.ContextID]struct{}{}}
	return h
}

// Admit lets a receiver take values from context id.
func (r *Router) Admit(h wire.Handle, id wire.ContextID) {
	if rc := r.receivers[h]; rc != nil && r.nodes[id] != nil {
		rc.from[id] = struct{}{}
	}
}

// Unlisten closes a receiver.
func (r *Router) Unlisten(h wire.Handle) {
	rc := r.receivers[h]
	if rc == nil {
		return
	}
	for id := range rc.from {
		r.dropFlow(id, h)
	}
	delete(r.receivers, h)
}

// dynamic delivers to reply handles and receivers.
func (r *Router) dynamic(f *wire.Frame, out []Action) []Action {
	if q := r.requests[f.Handle]; q != nil {
		if q.dst != f.Src && !(f.Kind == wire.Dead && r.behind(q.dst, f.Src)) {
			return r.refuse(f, fmt.Sprintf("answer to a question that context %d was asked", q.dst), out)
		}
		return r.assemble(f, q.owner, out)
	}
	rc := r.receivers[f.Handle]
	if rc == nil {
		if wire.FirstDynamic <= f.Handle && f.Handle <= r.handle && f.Reply == 0 {
			return r.discard(f, out)
		}
		return r.refuse(f, fmt.Sprintf("no handle %d", f.Handle), out)
	}
	if _, ok := rc.from[f.Src]; !ok {
		return r.refuse(f, "receiver was not given to it", out)
	}
	return r.assemble(f, rc.owner, out)
}

// discard drops what comes for a handle that was one until lately, giving its window back so that the sender gets on.
func (r *Router) discard(f *wire.Frame, out []Action) []Action {
	if f.Kind != wire.Part && f.Kind != wire.Item || len(f.Payload) == 0 {
		return out
	}
	return r.credit(f.Src, f.Handle, len(f.Payload), out)
}

// finish ends a request.
func (r *Router) finish(h wire.Handle, q *request, out []Action) []Action {
	delete(r.requests, h)
	r.dropFlow(q.dst, h)
	n := r.nodes[q.dst]
	if n == nil {
		return out
	}
	n.waiting -= q.size
	if n.full {
		n.full = false
		out = append(out, Action{Op: Room, ID: q.dst, Handle: wire.Call})
	}
	return out
}

// dropRequests fails what contexts that are gone were asked, and strikes them from receivers.
func (r *Router) dropRequests(gone map[wire.ContextID]bool, why string, out []Action) []Action {
	failed := map[wire.Handle]*request{}
	for h, q := range r.requests {
		if gone[q.dst] {
			failed[h] = q
		}
	}
	for _, h := range sorted(failed) {
		q := failed[h]
		out = r.finish(h, q, out)
		out = append(out, Action{Op: Deliver, Owner: q.owner, Owned: true,
			Frame: wire.Frame{Kind: wire.Dead, Src: q.dst, Dst: r.me, Auth: r.me, Handle: h, Payload: []byte(why)}})
	}
	for _, rc := range r.receivers {
		for id := range rc.from {
			if gone[id] {
				delete(rc.from, id)
			}
		}
	}
	return out
}
