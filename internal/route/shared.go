package route

import (
	"fmt"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// shared is a Router's record of the program that is context 0 together with its engine:
// docs/protocol, section 11. Its methods may be called on nil, which is a router without a program.
type shared struct {
	handle  wire.Handle                 // highest handle that the program has asked with
	newest  wire.ContextID              // highest id that it has claimed
	claimed map[wire.ContextID]struct{} // of these: those without a context yet
}

// ProgramRequest is the owner of what the program has asked.
type ProgramRequest struct{}

// Share makes context 0 a program and an engine. It is called before anything else.
func (r *Router) Share() {
	r.shared = &shared{}
	r.newest = wire.FirstEngineID - 1
	r.HandlesFrom(wire.FirstEngineHandle)
}

// Claim sets id aside for a context that the program makes. Its ids must rise. There has to be a
// program.
func (r *Router) Claim(id wire.ContextID) error {
	s := r.shared
	if id <= s.newest || id >= wire.FirstEngineID {
		return fmt.Errorf("claim context %d: want more than %d, and less than %d",
			id, s.newest, wire.FirstEngineID)
	}
	s.newest = id
	put(&s.claimed, id, struct{}{})
	return nil
}

// Unclaim says that there won't be a context with an id that was claimed.
func (r *Router) Unclaim(id wire.ContextID) { r.shared.take(id) }

// take takes a claim away, and says whether there was one.
func (s *shared) take(id wire.ContextID) bool {
	if s == nil {
		return false
	}
	_, ok := s.claimed[id]
	delete(s.claimed, id)
	return ok
}

// owns says whether a handle of context 0 is the program's.
func (s *shared) owns(h wire.Handle) bool {
	return s != nil && wire.FirstDynamic <= h && h < wire.FirstEngineHandle
}

// used says whether the program has claimed id.
func (s *shared) used(id wire.ContextID) bool { return s != nil && id <= s.newest }

// engines says whether the engine gives out id.
func (s *shared) engines(id wire.ContextID) bool { return s == nil || id >= wire.FirstEngineID }

func (q *request) isProgram() bool {
	_, ok := q.owner.(ProgramRequest)
	return ok
}

// fromProgram are the handles that the program may address in a context, besides those that
// contexts give out. What the engine keeps books of is not among them.
var fromProgram = map[wire.Handle]bool{
	wire.Call: true, wire.Cancel: true, wire.Credit: true, wire.Stdin: true,
	wire.LoadModule: true, wire.Ping: true,
}

// FromProgram takes a frame of the program for a context. True: it is to be sent there as it is.
// Else what comes of it is appended to out.
func (r *Router) FromProgram(f *wire.Frame, out []Action) (bool, []Action) {
	n := r.nodes[f.Dst]
	switch {
	case n == nil:
		return false, r.notSent(f, fmt.Sprintf("no context %d", f.Dst), out)
	case f.Handle < wire.FirstDynamic && !fromProgram[f.Handle]:
		return false, r.notSent(f, fmt.Sprintf("a program may not use handle %v", f.Handle), out)
	case f.Handle == wire.Credit:
		r.programCredit(f)
		return true, out
	case f.Reply == 0 || f.Handle == wire.Stdin:
		return true, out
	case !r.shared.owns(f.Reply):
		return false, r.notSent(f, fmt.Sprintf("reply handle %d is not the program's", f.Reply), out)
	}
	q := r.requests[f.Reply]
	switch {
	case q != nil && q.dst != f.Dst:
		why := fmt.Sprintf("reply handle %d is in use for context %d", f.Reply, q.dst)
		return false, r.notSent(f, why, out)
	case q != nil && f.Kind == wire.Part && len(f.Payload) == 0: // given up, half sent
		n.late.add(f.Reply, true)
		return true, r.finish(f.Reply, q, out)
	case q == nil && f.Reply > n.asked: // else it is the rest of what was answered before it was sent
		r.programAsks(n, f.Reply)
	}
	return true, out
}

// Waits reports whether a request with this reply handle has no answer yet.
func (r *Router) Waits(reply wire.Handle) bool { return r.requests[reply] != nil }

// programAsks notes a request of the program's, which is answered once. The handles that it asks a
// context with rise.
func (r *Router) programAsks(n *node, reply wire.Handle) {
	q := &request{handle: reply, dst: n.id, owner: ProgramRequest{}, limit: r.parts.Limit}
	r.requests[reply] = q
	n.link(q)
	n.asked = reply
	r.shared.handle = max(r.shared.handle, reply)
}

// notSent answers a frame of the program's in the name of the context that it was for.
func (r *Router) notSent(f *wire.Frame, why string, out []Action) []Action {
	answer := wire.Frame{Dst: r.me, Src: f.Dst, Auth: r.me}
	switch {
	case f.Reply == 0 && f.Handle >= wire.FirstDynamic && (f.Kind == wire.Item || f.Kind == wire.Part):
		answer.Handle, answer.Payload = wire.Credit, wire.AppendCredit(nil, f.Handle, refusal)
	case f.Reply == 0 || f.Kind == wire.Part:
		return out
	default:
		answer.Kind, answer.Handle, answer.Payload = wire.Dead, f.Reply, []byte(why)
	}
	return append(out, Action{Op: Pass, ID: f.Dst, Frame: answer, Owned: true})
}

// programCredit notes that the program has consumed bytes of a flow from f.Dst.
func (r *Router) programCredit(f *wire.Frame) {
	flow, n, err := wire.ParseCredit(f.Payload)
	if err == nil && n == refusal {
		r.endPermit(f.Dst, flow)
	}
	if in := r.incoming(f.Dst, flow); err == nil && in != nil {
		in.held = max(0, in.held-int(min(n, wire.Window)))
		in.part = 0
	}
}

// toProgram passes an answer to the program. It is not put together here, but its window is
// watched.
func (r *Router) toProgram(f *wire.Frame, out []Action) []Action {
	q := r.requests[f.Handle]
	switch {
	case q == nil && r.mayValue(r.nodes[f.Src], f):
		return r.valueForProgram(f, out)
	case q == nil:
		return r.discard(f, out)
	case q.dst != f.Src && !(f.Kind == wire.Dead && r.behind(q.dst, f.Src)):
		return r.refuse(f, fmt.Sprintf("answer to a question that context %d was asked", q.dst), out)
	case f.Kind == wire.Item || f.Kind == wire.Part && len(f.Payload) > 0:
		if _, ok := r.take(f); !ok {
			return r.tooMuch(f, q, out)
		}
	case f.Kind != wire.Part:
		out = r.finish(f.Handle, q, out)
	}
	g := *f
	g.Src, g.Reply = q.dst, 0 // a hop on the way may have said that there is none
	return append(out, Action{Op: Pass, ID: f.Src, Frame: g})
}

// tooMuch ends a request of the program's whose answer exceeds its window, and reports its sender.
func (r *Router) tooMuch(f *wire.Frame, q *request, out []Action) []Action {
	const why = "more than its window"
	dead := wire.Frame{
		Kind: wire.Dead, Src: q.dst, Dst: r.me, Auth: r.me, Handle: f.Handle, Payload: []byte(why),
	}
	out = append(r.finish(f.Handle, q, out), Action{Op: Pass, ID: q.dst, Owned: true, Frame: dead})
	return append(out, Action{Op: Broken, ID: f.Src, Handle: f.Handle, Why: why, Rule: Window})
}
