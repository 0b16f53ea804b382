package route

import "github.com/mitogen-go/mitogen/internal/wire"

// creditAt is how many consumed bytes are given back at once.
const creditAt = wire.Window / 4

// flowKey names a flow: to us by (sender, handle), from us by (receiver, flow number).
type flowKey struct {
	peer wire.ContextID
	flow wire.Handle
}

// inflow counts the bytes of a flow to us: those of frames that the program hasn't taken, those of a value that
// is not complete, and those that are consumed but not yet given back.
type inflow struct {
	held int // bytes of frames that the program hasn't taken, and of parts behind them
	part int // of held: bytes of parts of the value being put together
	owed int
}

// take counts a frame of a flow. It fails when the sender has exceeded its window, which frames without bytes would not.
func (r *Router) take(f *wire.Frame) (cost int, ok bool) {
	key := flowKey{f.Src, f.Handle}
	in := r.inflow[key]
	if in == nil {
		in = &inflow{}
		r.inflow[key] = in
	}
	n := len(f.Payload)
	in.held += n
	if n == 0 || in.held+in.owed > wire.Window+wire.MaxPayload {
		return 0, false
	}
	if f.Kind == wire.Part {
		in.part += n
		return 0, true
	}
	cost = in.part + n
	in.part = 0
	return cost, true
}

// Consumed says that the program has taken a frame of cost bytes that src sent to handle.
func (r *Router) Consumed(src wire.ContextID, handle wire.Handle, cost int, out []Action) []Action {
	key := flowKey{src, handle}
	in := r.inflow[key]
	if in == nil {
		return out
	}
	return r.release(key, in, cost, out)
}

// release turns consumed bytes into credit. Parts are consumed as they come as long as nothing complete waits in
// front of them, so that a value may be larger than the window.
func (r *Router) release(key flowKey, in *inflow, cost int, out []Action) []Action {
	in.held -= cost
	if in.held == in.part {
		cost += in.part
		in.held, in.part = 0, 0
	}
	in.owed += cost
	if in.owed < creditAt {
		return out
	}
	n := in.owed
	in.owed = 0
	return r.credit(key.peer, key.flow, n, out)
}

// credit gives n bytes of a flow back to its sender.
func (r *Router) credit(to wire.ContextID, flow wire.Handle, n int, out []Action) []Action {
	port, ok := r.Port(to)
	if !ok {
		return out
	}
	return append(out, Action{Op: Send, Port: port, Owned: true,
		Frame: wire.Frame{Dst: to, Src: r.me, Auth: r.me, Handle: wire.Credit, Payload: wire.AppendCredit(nil, flow, uint32(n))}})
}

// assemble puts parts together and delivers what is complete to owner.
func (r *Router) assemble(f *wire.Frame, owner any, out []Action) []Action {
	g := *f
	g.Reply = 0 // nobody is asked anything by an answer
	whole, done, err := r.parts.Add(g)
	if err != nil {
		return r.broken(f, err.Error(), out)
	}
	switch {
	case f.Kind == wire.Part && len(f.Payload) == 0:
		return r.givenUp(f, out)
	case f.Kind == wire.Part:
		return r.partTaken(f, out)
	}
	if !done {
		return out
	}
	a := Action{Op: Deliver, Frame: whole, Owner: owner, Owned: len(whole.Payload) > len(f.Payload)}
	if f.Kind == wire.Item {
		var ok bool
		if a.Cost, ok = r.take(f); !ok {
			return r.broken(f, "more items than its window", out)
		}
	} else if q := r.requests[f.Handle]; q != nil {
		out = r.finish(f.Handle, q, out)
	}
	return append(out, a)
}

// partTaken gives the window of a part back, unless something complete waits in front of it.
func (r *Router) partTaken(f *wire.Frame, out []Action) []Action {
	if _, ok := r.take(f); !ok {
		return r.broken(f, "more parts than its window", out)
	}
	key := flowKey{f.Src, f.Handle}
	return r.release(key, r.inflow[key], 0, out)
}

// givenUp gives the window of a value back that was dropped.
func (r *Router) givenUp(f *wire.Frame, out []Action) []Action {
	key := flowKey{f.Src, f.Handle}
	in := r.inflow[key]
	if in == nil {
		return out
	}
	cost := in.part
	in.part = 0
	return r.release(key, in, cost, out)
}

// broken ends the request that f belongs to and reports its sender.
func (r *Router) broken(f *wire.Frame, why string, out []Action) []Action {
	if q := r.requests[f.Handle]; q != nil {
		out = r.finish(f.Handle, q, out)
		out = append(out, Action{Op: Deliver, Owner: q.owner, Owned: true,
			Frame: wire.Frame{Kind: wire.Dead, Src: f.Src, Dst: r.me, Auth: r.me, Handle: f.Handle, Payload: []byte(why)}})
	}
	return append(out, Action{Op: Broken, ID: f.Src, Handle: f.Handle, Why: why})
}

// Reserve takes n bytes out of the window of a flow to dst. False: there is none left; a Room action will say when there is.
func (r *Router) Reserve(dst wire.ContextID, flow wire.Handle, n int) (bool, error) {
	if r.nodes[dst] == nil {
		return false, ErrGone
	}
	key := flowKey{dst, flow}
	left, ok := r.windows[key]
	if !ok {
		left = wire.Window
	}
	if left <= 0 {
		return false, nil
	}
	r.windows[key] = left - n
	return true, nil
}

// credited takes back what a receiver of ours has consumed.
func (r *Router) credited(f *wire.Frame, out []Action) []Action {
	flow, n, err := wire.ParseCredit(f.Payload)
	if err != nil {
		return r.refuse(f, "bad CREDIT", out)
	}
	key := flowKey{f.Src, flow}
	left, ok := r.windows[key]
	if !ok {
		return out
	}
	r.windows[key] = int(min(int64(left)+int64(n), wire.Window))
	return append(out, Action{Op: Room, ID: key.peer, Handle: key.flow})
}

// dropFlow forgets one flow in both directions.
func (r *Router) dropFlow(peer wire.ContextID, h wire.Handle) {
	delete(r.inflow, flowKey{peer, h})
	delete(r.windows, flowKey{peer, h})
	r.parts.DropValue(peer, h, 0)
}

// dropFlows forgets all flows of contexts that are gone.
func (r *Router) dropFlows(gone map[wire.ContextID]bool) {
	for key := range r.inflow {
		if gone[key.peer] {
			delete(r.inflow, key)
		}
	}
	for key := range r.windows {
		if gone[key.peer] {
			delete(r.windows, key)
		}
	}
	for id := range gone {
		r.parts.Drop(id)
	}
}

// Restart gives a flow to dst its whole window back: what was sent before won't be credited.
func (r *Router) Restart(dst wire.ContextID, flow wire.Handle) {
	delete(r.windows, flowKey{dst, flow})
}
