package route

import (
	"encoding/binary"
	"fmt"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// creditAt is how many consumed bytes are given back at once.
const creditAt = wire.Window / 4

// flowKey names a flow: to us by (sender, handle), from us by (receiver, flow number).
type flowKey struct {
	peer wire.ContextID
	flow wire.Handle
}

type partKey struct {
	src           wire.ContextID
	handle, reply wire.Handle
}

// inflow counts the bytes of a flow to us: those of frames that the program hasn't taken, those of a value that
// is not complete, and those that are consumed but not yet given back.
type inflow struct {
	items int // frames that the program hasn't taken
	held  int // their bytes, and those of parts behind them
	part  int // of held: bytes of parts of the value being put together
	owed  int
}

// take counts a frame of a flow. It fails when the sender has exceeded its window.
func (r *Router) take(f *wire.Frame) (cost int, ok bool) {
	key := flowKey{f.Src, f.Handle}
	in := r.inflow[key]
	if in == nil {
		in = &inflow{}
		r.inflow[key] = in
	}
	n := len(f.Payload)
	in.held += n
	if in.held+in.owed > wire.Window+wire.MaxPayload {
		return 0, false
	}
	if f.Kind == wire.Part {
		in.part += n
		return 0, true
	}
	cost = in.part + n
	in.part = 0
	in.items++
	return cost, true
}

// Consumed says that the program has taken a frame of cost bytes that src sent to handle.
func (r *Router) Consumed(src wire.ContextID, handle wire.Handle, cost int, out []Action) []Action {
	key := flowKey{src, handle}
	in := r.inflow[key]
	if in == nil {
		return out
	}
	in.items--
	return r.release(key, in, cost, out)
}

// release turns consumed bytes into credit. Parts are consumed as they come as long as nothing complete waits in
// front of them, so that a value may be larger than the window.
func (r *Router) release(key flowKey, in *inflow, cost int, out []Action) []Action {
	if in.items == 0 {
		cost += in.part
		in.part = 0
	}
	in.held -= cost
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
	p := binary.BigEndian.AppendUint32(nil, uint32(flow))
	p = binary.BigEndian.AppendUint32(p, uint32(n))
	return append(out, Action{Op: Send, Port: port, Owned: true,
		Frame: wire.Frame{Dst: to, Src: r.me, Auth: r.me, Handle: wire.Credit, Payload: p}})
}

// assemble puts parts together and delivers what is complete to owner.
func (r *Router) assemble(f *wire.Frame, owner any, out []Action) []Action {
	key := partKey{f.Src, f.Handle, f.Reply}
	n, have := r.nodes[f.Src], r.parts[key]
	if f.Kind == wire.Part {
		return r.addPart(key, n, f, owner, out)
	}
	a := Action{Op: Deliver, Frame: *f, Owner: owner}
	if have != nil {
		a.Frame.Payload = append(have, f.Payload...)
		a.Owned = true
		delete(r.parts, key)
		n.held -= len(have)
	}
	if f.Kind == wire.Item {
		var ok bool
		if a.Cost, ok = r.take(f); !ok {
			return r.broken(f, "more items than its window", out)
		}
	}
	if q := r.requests[f.Handle]; q != nil && f.Kind != wire.Item {
		out = r.finish(f.Handle, q, out)
	}
	return append(out, a)
}

func (r *Router) addPart(key partKey, n *node, f *wire.Frame, owner any, out []Action) []Action {
	if n == nil {
		return r.refuse(f, "parts from an ancestor", out)
	}
	if n.held+len(f.Payload) > r.limit {
		return r.broken(f, fmt.Sprintf("value of more than %d bytes", r.limit), out)
	}
	if _, ok := r.take(f); !ok {
		return r.broken(f, "more parts than its window", out)
	}
	n.held += len(f.Payload)
	r.parts[key] = append(r.parts[key], f.Payload...)
	in := r.inflow[flowKey{f.Src, f.Handle}]
	if in.items > 0 {
		return out
	}
	return r.release(flowKey{f.Src, f.Handle}, in, 0, out)
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
	if len(f.Payload) != 8 {
		return r.refuse(f, "bad CREDIT", out)
	}
	key := flowKey{f.Src, wire.Handle(binary.BigEndian.Uint32(f.Payload))}
	left, ok := r.windows[key]
	if !ok {
		return out
	}
	n := int64(binary.BigEndian.Uint32(f.Payload[4:]))
	r.windows[key] = int(min(int64(left)+n, wire.Window))
	return append(out, Action{Op: Room, ID: key.peer, Handle: key.flow})
}

// dropFlow forgets one flow in both directions.
func (r *Router) dropFlow(peer wire.ContextID, h wire.Handle) {
	delete(r.inflow, flowKey{peer, h})
	delete(r.windows, flowKey{peer, h})
	if len(r.parts) == 0 {
		return
	}
	for key, have := range r.parts {
		if key.src == peer && key.handle == h {
			delete(r.parts, key)
			if n := r.nodes[peer]; n != nil {
				n.held -= len(have)
			}
		}
	}
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
	for key := range r.parts {
		if gone[key.src] {
			delete(r.parts, key)
		}
	}
}

// Restart gives a flow to dst its whole window back: what was sent before won't be credited.
func (r *Router) Restart(dst wire.ContextID, flow wire.Handle) {
	delete(r.windows, flowKey{dst, flow})
}
