package route

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Step takes a frame that came from neighbour port and appends what is to be done about it to out.
func (r *Router) Step(port wire.ContextID, f *wire.Frame, out []Action) []Action {
	if len(r.up) > 0 && port == r.up[0] {
		return r.fromAbove(f, out)
	}
	src, auth := r.nodes[f.Src], r.nodes[f.Auth]
	if src == nil || auth == nil || src.port != port || auth.port != port {
		return r.forged(port, f, out)
	}
	switch {
	case f.Dst == r.me:
		return r.dispatch(src, f, out)
	case len(r.up) > 0:
		return r.toAbove(f, out)
	}
	return r.relay(src, f, out)
}

// forged reports a frame with a source or authority that isn't behind its port. What a context sent
// before it was taken for gone may still be on its way; that is no offence.
func (r *Router) forged(port wire.ContextID, f *wire.Frame, out []Action) []Action {
	if r.wasThere(f.Src) || r.wasThere(f.Auth) {
		return append(out, Action{Op: Late, ID: port})
	}
	return append(out, Action{Op: Refused, ID: port,
		Why: fmt.Sprintf("frame from %d with authority of %d came from %d", f.Src, f.Auth, port)})
}

// wasThere says whether id is a context that is gone.
func (r *Router) wasThere(id wire.ContextID) bool {
	return r.nodes[id] == nil && 0 < id &&
		(r.shared.used(id) || r.shared.engines(id) && id <= r.newest)
}

// fromAbove is the way down in a hop.
func (r *Router) fromAbove(f *wire.Frame, out []Action) []Action {
	if f.Dst == r.me {
		if f.Handle < wire.FirstDynamic && !slices.Contains(r.up, f.Auth) && f.Handle != wire.Credit &&
			f.Handle != wire.Ping {
			return r.refuse(f, fmt.Sprintf("context %d has no authority here", f.Auth), out)
		}
		if f.Handle < wire.FirstDynamic {
			return append(out, Action{Op: Deliver, Frame: *f})
		}
		return r.dynamic(f, out)
	}
	if n := r.nodes[f.Dst]; n != nil {
		return append(out, Action{Op: Send, Port: n.port, Frame: *f})
	}
	return r.refuse(f, fmt.Sprintf("no route to context %d", f.Dst), out)
}

// toAbove is the way up in a hop, which learns from it what is gone.
func (r *Router) toAbove(f *wire.Frame, out []Action) []Action {
	out = append(out, Action{Op: Send, Port: r.up[0], Frame: *f})
	if f.Handle == wire.Lost && f.Kind == wire.Data && f.Dst == 0 {
		if id, why, err := wire.ParseLost(f.Payload); err == nil && id != f.Src && r.behind(id, f.Src) {
			out = r.Lost(id, why, out)
		}
	}
	return out
}

// dispatch is for frames from below that are addressed to this context.
func (r *Router) dispatch(src *node, f *wire.Frame, out []Action) []Action {
	if f.Handle >= wire.FirstDynamic {
		return r.dynamic(f, out)
	}
	if f.Kind != wire.Data || len(r.up) > 0 && f.Handle != wire.Credit && f.Handle != wire.Ping {
		return r.refuse(f, "not accepted from below", out)
	}
	switch f.Handle {
	case wire.Hello:
		if src.hello {
			return r.refuse(f, "HELLO came twice", out)
		}
		src.hello = true
	case wire.Stdout, wire.Stderr:
		cost, ok := r.take(f)
		if !ok {
			return append(out, Action{Op: Broken, ID: f.Src, Why: "more output than its window",
				Rule: Window})
		}
		return append(out, Action{Op: Deliver, Frame: *f, Cost: cost})
	case wire.Credit:
		return r.credited(f, out)
	case wire.Lost:
		return r.lostBelow(f, out)
	case wire.Log, wire.GetModule, wire.GetFile, wire.Lacks, wire.Dropped, wire.Ping:
	case wire.Call, wire.Cancel:
		return r.deny(f, "not accepted from below", out)
	default:
		return r.refuse(f, "not accepted from below", out)
	}
	return append(out, Action{Op: Deliver, Frame: *f})
}

// lostBelow takes a LOST. One for a context that is gone already has crossed our own word of that.
func (r *Router) lostBelow(f *wire.Frame, out []Action) []Action {
	id, why, err := wire.ParseLost(f.Payload)
	switch {
	case err == nil && id != f.Src && r.behind(id, f.Src):
		return r.Lost(id, why[:min(len(why), maxWhy)], out)
	case err == nil && r.wasThere(id):
		return append(out, Action{Op: Late, ID: f.Src})
	}
	return r.refuse(f, "LOST for a context that is not behind it", out)
}

// relay is for frames from one context to another, by way of the engine.
func (r *Router) relay(src *node, f *wire.Frame, out []Action) []Action {
	dst := r.nodes[f.Dst]
	if dst == nil {
		why := fmt.Sprintf("no route to context %d", f.Dst)
		if r.wasThere(f.Dst) {
			return r.unreachable(f, Late, why, out)
		}
		return r.deny(f, why, out)
	}
	_, there := src.reaches[f.Dst]
	_, back := dst.reaches[f.Src]
	high := f.Handle >= wire.FirstDynamic
	asks := high || f.Handle == wire.Call || f.Handle == wire.Cancel || f.Handle == wire.Credit ||
		f.Handle == wire.Ping
	switch {
	case there && asks:
		if f.Reply != 0 && !r.remember(src, dst, f) {
			return r.unreachable(f, Late, "too many open requests", out)
		}
		if f.Kind == wire.Part && len(f.Payload) == 0 {
			r.forget(src, f.Reply)
		}
		g := *f
		g.Auth = 0
		r.answered(f)
		return append(out, Action{Op: Send, Port: dst.port, Frame: g})
	case back && (high || f.Handle == wire.Credit):
		r.answered(f)
		return append(out, Action{Op: Send, Port: dst.port, Frame: *f})
	case r.mayValue(src, f):
		g := *f
		g.Auth = f.Src
		return append(out, Action{Op: Send, Port: dst.port, Frame: g})
	}
	if out, ok := r.permittedCredit(src, dst, f, out); ok {
		return out
	}
	why := fmt.Sprintf("context %d is not allowed to reach context %d", f.Src, f.Dst)
	if !asks {
		return r.refuse(f, why, out)
	}
	return r.deny(f, why, out)
}

// remember notes a request of one context to another, so that it is answered if that one goes.
func (r *Router) remember(src, dst *node, f *wire.Frame) bool {
	to, known := src.asks[f.Reply]
	if known {
		return to == f.Dst
	}
	if len(src.asks) >= maxRelays || f.Reply < wire.FirstDynamic {
		return false
	}
	put(&src.asks, f.Reply, f.Dst)
	put(&dst.owes, asked{f.Src, f.Reply}, struct{}{})
	return true
}

// forget is for a request that is answered, or was given up half sent.
func (r *Router) forget(by *node, reply wire.Handle) {
	to, open := by.asks[reply]
	if !open {
		return
	}
	delete(by.asks, reply)
	if n := r.nodes[to]; n != nil {
		delete(n.owes, asked{by.id, reply})
	}
}

// answered forgets the request that f ends, if it does.
func (r *Router) answered(f *wire.Frame) {
	by := r.nodes[f.Dst]
	if f.Kind == wire.Item || f.Kind == wire.Part || by == nil {
		return
	}
	if to, open := by.asks[f.Handle]; open && to == f.Src {
		r.forget(by, f.Handle)
	}
}

// dropRelays answers those who asked a context that is gone.
func (r *Router) dropRelays(gone map[wire.ContextID]*node, why string, out []Action) []Action {
	var open []asked
	to := map[asked]wire.ContextID{}
	for id, n := range gone {
		for h := range n.asks {
			r.forget(n, h)
		}
		for key := range n.owes {
			if r.nodes[key.by] != nil {
				open = append(open, key)
				to[key] = id
			}
		}
	}
	slices.SortFunc(open, func(a, b asked) int {
		return cmp.Or(cmp.Compare(a.by, b.by), cmp.Compare(a.handle, b.handle))
	})
	for _, key := range open {
		n := r.nodes[key.by]
		delete(n.asks, key.handle)
		out = append(out, Action{Op: Send, Port: n.port,
			Frame: wire.Frame{Kind: wire.Dead, Dst: key.by, Src: to[key],
				Auth: r.me, Handle: key.handle, Payload: short(why)}, Owned: true})
	}
	return out
}

// refuse answers f with DEAD where it wants an answer, and reports it where it came from below. The
// engine answers in the name of the context that was asked, since only that one's answer is taken.
func (r *Router) refuse(f *wire.Frame, why string, out []Action) []Action {
	return r.unreachable(f, Refused, why, out)
}

// deny is refuse for what a program may try.
func (r *Router) deny(f *wire.Frame, why string, out []Action) []Action {
	return r.unreachable(f, Denied, why, out)
}

// unreachable is refuse. op says what the frame is: Refused, Denied or Late.
func (r *Router) unreachable(f *wire.Frame, op Op, why string, out []Action) []Action {
	if r.nodes[f.Src] != nil {
		out = append(out, Action{Op: op, ID: f.Src, Handle: f.Handle, Why: why})
	}
	port, ok := r.Port(f.Src)
	answer := wire.Frame{Dst: f.Src, Src: r.me, Auth: r.me}
	if len(r.up) == 0 {
		answer.Src = f.Dst
	}
	switch {
	case !ok:
		return out
	case f.Reply == 0 && f.Handle >= wire.FirstDynamic && (f.Kind == wire.Item || f.Kind == wire.Part):
		answer.Handle, answer.Payload = wire.Credit, wire.AppendCredit(nil, f.Handle, refusal)
	case f.Reply == 0 || f.Kind == wire.Part:
		return out
	default:
		answer.Kind, answer.Handle, answer.Payload = wire.Dead, f.Reply, []byte(why)
	}
	return append(out, Action{Op: Send, Port: port, Frame: answer, Owned: true})
}
