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

// forged reports a frame with a source or authority that isn't behind its port. What a context sent before it was taken
// for gone may still be on its way; that is no offence.
func (r *Router) forged(port wire.ContextID, f *wire.Frame, out []Action) []Action {
	late := func(id wire.ContextID) bool { return r.nodes[id] == nil && 0 < id && id <= r.newest }
	if late(f.Src) || late(f.Auth) {
		return out
	}
	return append(out, Action{Op: Refused, ID: port,
		Why: fmt.Sprintf("frame from %d with authority of %d came from %d", f.Src, f.Auth, port)})
}

// fromAbove is the way down in a hop.
func (r *Router) fromAbove(f *wire.Frame, out []Action) []Action {
	if f.Dst == r.me {
		if f.Handle < wire.FirstDynamic && !slices.Contains(r.up, f.Auth) && f.Handle != wire.Credit && f.Handle != wire.Ping {
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
			return append(out, Action{Op: Broken, ID: f.Src, Why: "more output than its window"})
		}
		return append(out, Action{Op: Deliver, Frame: *f, Cost: cost})
	case wire.Credit:
		return r.credited(f, out)
	case wire.Lost:
		id, why, err := wire.ParseLost(f.Payload)
		if err != nil || id == f.Src || r.nodes[id] != nil && !r.behind(id, f.Src) {
			return r.refuse(f, "LOST for a context that is not behind it", out)
		}
		return r.Lost(id, why, out)
	case wire.Log, wire.GetModule, wire.GetFile, wire.Lacks, wire.Dropped, wire.Ping:
	default:
		return r.refuse(f, "not accepted from below", out)
	}
	return append(out, Action{Op: Deliver, Frame: *f})
}

// relay is for frames from one context to another, by way of the engine.
func (r *Router) relay(src *node, f *wire.Frame, out []Action) []Action {
	dst := r.nodes[f.Dst]
	if dst == nil {
		return r.refuse(f, fmt.Sprintf("no route to context %d", f.Dst), out)
	}
	_, there := r.allowed[pair{f.Src, f.Dst}]
	_, back := r.allowed[pair{f.Dst, f.Src}]
	high := f.Handle >= wire.FirstDynamic
	switch {
	case there && (high || f.Handle == wire.Call || f.Handle == wire.Cancel || f.Handle == wire.Credit || f.Handle == wire.Ping):
		if f.Reply != 0 && !r.remember(src, f) {
			return r.refuse(f, "too many open requests", out)
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
	}
	return r.refuse(f, fmt.Sprintf("context %d is not allowed to reach context %d", f.Src, f.Dst), out)
}

// remember notes a request of one context to another, so that it is answered if that one goes.
func (r *Router) remember(src *node, f *wire.Frame) bool {
	key := asked{f.Src, f.Reply}
	to, known := r.relayed[key]
	if known {
		return to == f.Dst
	}
	if src.relays >= maxRelays || f.Reply < wire.FirstDynamic {
		return false
	}
	src.relays++
	r.relayed[key] = f.Dst
	return true
}

// forget is for a request that was given up half sent.
func (r *Router) forget(src *node, reply wire.Handle) {
	key := asked{src.id, reply}
	if _, open := r.relayed[key]; open {
		delete(r.relayed, key)
		src.relays--
	}
}

// answered forgets the request that f ends, if it does.
func (r *Router) answered(f *wire.Frame) {
	key := asked{f.Dst, f.Handle}
	if f.Kind == wire.Item || f.Kind == wire.Part || r.relayed[key] != f.Src {
		return
	}
	delete(r.relayed, key)
	if n := r.nodes[f.Dst]; n != nil {
		n.relays--
	}
}

// dropRelays answers those who asked a context that is gone.
func (r *Router) dropRelays(gone map[wire.ContextID]bool, why string, out []Action) []Action {
	var open []asked
	for key, to := range r.relayed {
		if gone[key.by] {
			delete(r.relayed, key)
		} else if gone[to] {
			open = append(open, key)
		}
	}
	slices.SortFunc(open, func(a, b asked) int {
		return cmp.Or(cmp.Compare(a.by, b.by), cmp.Compare(a.handle, b.handle))
	})
	for _, key := range open {
		n := r.nodes[key.by]
		n.relays--
		out = append(out, Action{Op: Send, Port: n.port, Frame: wire.Frame{Kind: wire.Dead, Dst: key.by, Src: r.relayed[key],
			Auth: r.me, Handle: key.handle, Payload: []byte(why)}, Owned: true})
		delete(r.relayed, key)
	}
	return out
}

// refuse answers f with DEAD where it wants an answer, and reports it where it came from below. The engine answers in the
// name of the context that was asked, since only that one's answer is taken.
func (r *Router) refuse(f *wire.Frame, why string, out []Action) []Action {
	if r.nodes[f.Src] != nil {
		out = append(out, Action{Op: Refused, ID: f.Src, Handle: f.Handle, Why: why})
	}
	port, ok := r.Port(f.Src)
	if f.Reply == 0 || f.Kind == wire.Part || !ok {
		return out
	}
	src := r.me
	if len(r.up) == 0 {
		src = f.Dst
	}
	return append(out, Action{Op: Send, Port: port, Frame: wire.Frame{Kind: wire.Dead, Dst: f.Src, Src: src, Auth: r.me,
		Handle: f.Reply, Payload: []byte(why)}, Owned: true})
}
