package route

import (
	"math"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// refusal, as a number of bytes given back, says that a receiver takes nothing.
const refusal = 0

// refused, as what may still be sent of a flow, says that nothing takes it.
const refused = math.MinInt

// creditAt is the number of consumed bytes that are given back at once.
const creditAt = wire.Window / 4

// flows hold the state of all flows between this node and one peer.
type flows struct {
	in  map[wire.Handle]*inflow // from it, by handle
	out map[wire.Handle]outflow // to it, by flow number
}

// outflow counts the bytes of a flow from us.
type outflow struct {
	left  int // that may still be sent, or refused
	limit int // that may be on the way
}

// peer returns the flows with id, and makes room for them.
func (r *Router) peer(id wire.ContextID) *flows {
	p := r.flows[id]
	if p == nil {
		p = &flows{map[wire.Handle]*inflow{}, map[wire.Handle]outflow{}}
		r.flows[id] = p
	}
	return p
}

// incoming returns the flow from src to handle; nil: there is none.
func (r *Router) incoming(src wire.ContextID, handle wire.Handle) *inflow {
	if p := r.flows[src]; p != nil {
		return p.in[handle]
	}
	return nil
}

// inflow counts the bytes of a flow to us: those of frames that the program hasn't taken, those of
// a value that is not complete, and those that are consumed but not yet given back.
type inflow struct {
	held  int // bytes of frames that the program hasn't taken, and of parts behind them
	part  int // of held: bytes of parts of the value being put together
	owed  int
	items int // that the program hasn't taken; each costs itemCost
	more  int // bytes that it may have on the way beyond wire.Window
}

// take counts a frame of a flow. It fails when the sender has exceeded its window, which frames
// without bytes would not.
func (r *Router) take(f *wire.Frame) (cost int, ok bool) {
	p := r.peer(f.Src)
	in := p.in[f.Handle]
	if in == nil {
		in = &inflow{}
		p.in[f.Handle] = in
	}
	n := len(f.Payload)
	in.held += n
	if n == 0 || in.held+in.owed > wire.Window+in.more+wire.MaxPayload {
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
	in := r.incoming(src, handle)
	if in == nil {
		return out
	}
	if in.items > 0 {
		in.items--
		r.release(src, itemCost)
	}
	return r.consume(src, handle, in, cost, out)
}

// consume turns consumed bytes into credit. Parts are consumed as they come as long as nothing
// complete waits in front of them, so that a value may be larger than the window.
func (r *Router) consume(src wire.ContextID, handle wire.Handle, in *inflow, cost int,
	out []Action) []Action {
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
	return r.credit(src, handle, n, out)
}

// credit gives n bytes of a flow back to its sender.
func (r *Router) credit(to wire.ContextID, flow wire.Handle, n int, out []Action) []Action {
	port, ok := r.Port(to)
	if !ok {
		return out
	}
	return append(out, Action{Op: Send, Port: port, Owned: true,
		Frame: wire.Frame{Dst: to, Src: r.me, Auth: r.me, Handle: wire.Credit,
			Payload: wire.AppendCredit(nil, flow, uint32(n))}})
}

// assemble puts parts together and delivers what is complete to owner. limit bounds a value; q is
// nil for a receiver.
func (r *Router) assemble(f *wire.Frame, q *request, owner any, limit int, out []Action) []Action {
	g := *f
	g.Reply = 0 // an answer asks nothing
	whole, done, err := r.add(g, limit)
	if err != nil {
		return r.broken(f, err.Error(), ValueSize, out)
	}
	switch {
	case f.Kind == wire.Part && len(f.Payload) == 0:
		return r.givenUp(f, out)
	case f.Kind == wire.Part:
		return r.overBudget(f.Src, r.partTaken(f, out))
	}
	if !done {
		return out
	}
	a := Action{Op: Deliver, Frame: whole, Owner: owner, Owned: len(whole.Payload) > len(f.Payload)}
	if f.Kind != wire.Item && q == nil {
		return append(out, a)
	}
	if f.Kind != wire.Item {
		a.Kept = r.keep(q, len(whole.Payload))
		out = append(r.finish(f.Handle, q, out), a)
		if a.Kept > 0 {
			out = r.overBudget(f.Src, out)
		}
		return out
	}
	var ok bool
	if a.Cost, ok = r.take(f); !ok {
		return r.broken(f, "more items than its window", Window, out)
	}
	r.itemTaken(f, q, len(whole.Payload))
	return r.overBudget(f.Src, append(out, a))
}

// partTaken gives the window of a part back, unless something complete waits in front of it.
func (r *Router) partTaken(f *wire.Frame, out []Action) []Action {
	if _, ok := r.take(f); !ok {
		return r.broken(f, "more parts than its window", Window, out)
	}
	return r.consume(f.Src, f.Handle, r.incoming(f.Src, f.Handle), 0, out)
}

// givenUp gives the window of a value back that was dropped.
func (r *Router) givenUp(f *wire.Frame, out []Action) []Action {
	in := r.incoming(f.Src, f.Handle)
	if in == nil {
		return out
	}
	cost := in.part
	in.part = 0
	return r.consume(f.Src, f.Handle, in, cost, out)
}

// broken ends the request that f belongs to and reports its sender.
func (r *Router) broken(f *wire.Frame, why string, rule Rule, out []Action) []Action {
	if q := r.requests[f.Handle]; q != nil {
		out = r.finish(f.Handle, q, out)
		out = append(out, Action{Op: Deliver, Owner: q.owner, Owned: true,
			Frame: wire.Frame{Kind: wire.Dead, Src: f.Src, Dst: r.me, Auth: r.me, Handle: f.Handle,
				Payload: []byte(why)}})
	}
	return append(out, Action{Op: Broken, ID: f.Src, Handle: f.Handle, Why: why, Rule: rule})
}

// Reserve takes n bytes out of the window of a flow to dst. False: there is none left; a Room
// action will say when there is. ErrRefused: there won't be.
func (r *Router) Reserve(dst wire.ContextID, flow wire.Handle, n int) (bool, error) {
	if r.nodes[dst] == nil {
		return false, ErrGone
	}
	p := r.peer(dst)
	o := p.outgoing(flow)
	switch {
	case o.left == refused:
		return false, ErrRefused
	case o.left <= 0:
		return false, nil
	}
	o.left -= n
	p.out[flow] = o
	return true, nil
}

// outgoing returns a flow to the peer, which may be a new one.
func (p *flows) outgoing(flow wire.Handle) outflow {
	if o, ok := p.out[flow]; ok {
		return o
	}
	return outflow{wire.Window, wire.Window}
}

// Widen lets n more bytes of a flow to dst be on the way.
func (r *Router) Widen(dst wire.ContextID, flow wire.Handle, n int) {
	p := r.flows[dst]
	if p == nil || r.nodes[dst] == nil {
		return
	}
	if o := p.outgoing(flow); o.left != refused {
		p.out[flow] = outflow{o.left + n, o.limit + n}
	}
}

// Grant lets src have n more bytes of a flow to a request of ours on the way. Nothing happens if
// nothing has come of that flow, or no more does.
func (r *Router) Grant(src wire.ContextID, handle wire.Handle, n int, out []Action) []Action {
	in := r.incoming(src, handle)
	if in == nil || r.requests[handle] == nil {
		return out
	}
	in.more += n
	return r.credit(src, handle, n, out)
}

// credited takes back what a receiver of ours has consumed. Credit for a flow that has ended, or
// for more than was sent, is of no use.
func (r *Router) credited(f *wire.Frame, out []Action) []Action {
	flow, n, err := wire.ParseCredit(f.Payload)
	if err != nil {
		return r.refuse(f, "bad CREDIT", out)
	}
	if r.shared.owns(flow) || r.shared != nil && flow == wire.Stdin {
		return append(out, Action{Op: Pass, ID: f.Src, Frame: *f})
	}
	p := r.flows[f.Src]
	if q := r.requests[flow]; q != nil && q.dst == f.Src && n == refusal {
		return r.refuse(f, "CREDIT of nothing for what it was asked", out) // it is to be answered
	}
	if p != nil && n == refusal && flow >= wire.FirstDynamic {
		return r.refusedBy(f.Src, p, flow, out)
	}
	if p == nil || n == 0 { // the end of a program's input costs nothing, and is consumed too
		return append(out, Action{Op: Late, ID: f.Src, Handle: wire.Credit})
	}
	o, ok := p.out[flow]
	ok = ok && o.left != refused
	if !ok || int64(o.left)+int64(n) > int64(o.limit) {
		out = append(out, Action{Op: Late, ID: f.Src, Handle: wire.Credit})
	}
	if !ok {
		return out
	}
	o.left = int(min(int64(o.left)+int64(n), int64(o.limit)))
	p.out[flow] = o
	return append(out, Action{Op: Room, ID: f.Src, Handle: flow})
}

// refusedBy notes that id takes nothing more of a flow, and wakes those who wait for it.
func (r *Router) refusedBy(id wire.ContextID, p *flows, flow wire.Handle, out []Action) []Action {
	if o, ok := p.out[flow]; !ok || o.left == refused {
		return append(out, Action{Op: Late, ID: id, Handle: wire.Credit})
	}
	p.out[flow] = outflow{left: refused}
	return append(out, Action{Op: Room, ID: id, Handle: flow})
}

// Sending says whether anything was sent to receiver h of dst.
func (r *Router) Sending(dst wire.ContextID, h wire.Handle) bool {
	p := r.flows[dst]
	if p == nil {
		return false
	}
	_, ok := p.out[h]
	return ok
}

// dropFlow forgets one flow in both directions.
func (r *Router) dropFlow(peer wire.ContextID, h wire.Handle) {
	r.dropValue(peer, h)
	p := r.flows[peer]
	if p == nil {
		return
	}
	if in := p.in[h]; in != nil {
		r.release(peer, in.items*itemCost)
	}
	delete(p.in, h)
	delete(p.out, h)
	if len(p.in)+len(p.out) == 0 {
		delete(r.flows, peer)
	}
}

// Restart gives a flow to dst its whole window back: what was sent before won't be credited.
func (r *Router) Restart(dst wire.ContextID, flow wire.Handle) {
	if p := r.flows[dst]; p != nil {
		delete(p.out, flow)
	}
}
