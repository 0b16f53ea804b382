package route

import (
	"fmt"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// permit names a receiver that a context may send values to: of another context, or, with context
// 0, of the program that is context 0 too.
type permit struct {
	to     wire.ContextID
	handle wire.Handle
}

// granted counts what a context may send by a permit.
type granted struct {
	ends int // that the context owes

	// away counts bytes of values that another context has not given back. The engine watches the
	// program's window by its inflow.
	away int
}

// permitted is the other side of a permit: a context that may send to a receiver.
type permitted struct {
	from   wire.ContextID
	handle wire.Handle
}

// Permit lets context from send values to receiver h of context to, until from has said as many
// ends as it was permitted. to 0 is the program, whose handle h must be. Nothing else may pass: no
// calls, and back no more than CREDIT.
func (r *Router) Permit(from, to wire.ContextID, h wire.Handle) error {
	n, dst := r.nodes[from], r.nodes[to]
	switch {
	case n == nil || to != 0 && dst == nil:
		return fmt.Errorf("permit %d to send to %d: %w", from, to, ErrGone)
	case h < wire.FirstDynamic || to == 0 && !r.shared.owns(h) || from == to:
		return fmt.Errorf("permit %d to send to %d: handle %d is no receiver of it", from, to, h)
	}
	if n.permits == nil {
		n.permits = map[permit]granted{}
	}
	g := n.permits[permit{to, h}]
	g.ends++
	n.permits[permit{to, h}] = g
	if to == 0 {
		r.shared.handle = max(r.shared.handle, h)
	} else {
		put(&dst.permitted, permitted{from, h}, struct{}{})
	}
	return nil
}

// mayValue reports whether f is a value, or an end of values, that src may send, and notes it. What
// exceeds the window of another context is none: that context has no bound of its own.
func (r *Router) mayValue(src *node, f *wire.Frame) bool {
	p := permit{f.Dst, f.Handle}
	if src == nil || f.Reply != 0 || src.permits[p].ends == 0 {
		return false
	}
	g := src.permits[p]
	switch {
	case f.Kind != wire.Item && f.Kind != wire.Part:
		g.ends-- // what was permitted stays known: late CREDIT is no offence
		g.away = 0
	case p.to == 0:
		return true
	case g.away >= wire.Window || f.Kind == wire.Item && len(f.Payload) == 0:
		return false
	default:
		g.away += len(f.Payload)
	}
	src.permits[p] = g
	return true
}

// permittedCredit passes on a CREDIT of src for values that dst was permitted to send there, of no
// more than it has sent. It returns false if f is none.
func (r *Router) permittedCredit(src, dst *node, f *wire.Frame, out []Action) ([]Action, bool) {
	if f.Handle != wire.Credit || f.Kind != wire.Data {
		return out, false
	}
	flow, n, err := wire.ParseCredit(f.Payload)
	p := permit{src.id, flow}
	g, ok := dst.permits[p]
	if err != nil || !ok {
		return out, false
	}
	back := int(min(int64(n), int64(g.away)))
	switch {
	case n == refusal:
		g.away = 0
	case back == 0:
		return append(out, Action{Op: Late, ID: src.id, Handle: wire.Credit}), true
	default:
		g.away -= back
	}
	dst.permits[p] = g
	c := *f
	c.Auth, c.Payload = f.Src, wire.AppendCredit(nil, flow, uint32(back))
	return append(out, Action{Op: Send, Port: dst.port, Frame: c, Owned: true}), true
}

// valueForProgram passes a value on to the program, which has the receiver. Its window is watched.
func (r *Router) valueForProgram(f *wire.Frame, out []Action) []Action {
	if f.Kind == wire.Item || f.Kind == wire.Part && len(f.Payload) > 0 {
		if _, ok := r.take(f); !ok {
			r.endPermit(f.Src, f.Handle)
			return append(out, Action{Op: Broken, ID: f.Src, Handle: f.Handle,
				Why: "more values than its window", Rule: Window})
		}
	} else if f.Kind != wire.Part && r.nodes[f.Src].permits[permit{0, f.Handle}].ends == 0 {
		r.endPermit(f.Src, f.Handle)
	}
	return append(out, Action{Op: Pass, ID: f.Src, Frame: *f})
}

// endPermit strikes a context from a receiver of the program's. What the context sends nevertheless
// may have crossed that.
func (r *Router) endPermit(from wire.ContextID, h wire.Handle) {
	n := r.nodes[from]
	p := permit{0, h}
	if n == nil {
		return
	}
	if _, ok := n.permits[p]; !ok {
		return
	}
	delete(n.permits, p)
	r.dropFlow(from, h)
	n.late.add(h, false)
}

// dropPermits forgets the permits of a context that is gone, and the permits to send to it.
func (r *Router) dropPermits(n *node) {
	for p := range n.permits {
		if to := r.nodes[p.to]; to != nil {
			delete(to.permitted, permitted{n.id, p.handle})
		}
	}
	for p := range n.permitted {
		if from := r.nodes[p.from]; from != nil {
			delete(from.permits, permit{n.id, p.handle})
		}
	}
}
