package route

import (
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// stepper feeds a router with what a fuzzer says, and knows what must hold.
type stepper struct {
	t  *testing.T
	r  *Router
	in []byte
}

func (s *stepper) byte() byte {
	if len(s.in) == 0 {
		return 0
	}
	b := s.in[0]
	s.in = s.in[1:]
	return b
}

func (s *stepper) id() wire.ContextID { return wire.ContextID(s.byte() % 8) }

func (s *stepper) handle() wire.Handle {
	if b := s.byte(); b < 128 {
		return wire.Handle(b % 26)
	} else {
		return wire.FirstDynamic + wire.Handle(b%16)
	}
}

func (s *stepper) frame() *wire.Frame {
	f := &wire.Frame{Kind: wire.Kind(s.byte() % 5), Dst: s.id(), Src: s.id(), Handle: s.handle(),
		Reply: wire.Handle(s.byte()) * 8}
	f.Auth = f.Src
	b := s.byte()
	if b&1 != 0 {
		f.Auth = s.id()
	}
	if b&2 != 0 {
		f.Dst = 0
	}
	switch f.Payload = make([]byte, int(b)*300); {
	case f.Handle == wire.Lost && b&4 != 0:
		f.Payload = wire.AppendLost(nil, s.id(), "why")
	case f.Handle == wire.Credit && b&4 != 0:
		f.Payload = wire.AppendCredit(nil, s.handle(), uint32(b)*100)
	}
	return f
}

// do takes one event.
func (s *stepper) do() []Action {
	r := s.r
	switch s.byte() % 12 {
	case 0:
		parent := s.id()
		if parent == 0 || r.nodes[parent] != nil {
			if err := r.Add(r.NextID(), parent); err != nil {
				s.t.Fatal(err)
			}
		}
	case 1:
		h, err := r.Request(s.id(), int(s.byte()), "request")
		if b := s.byte(); err == nil && b&1 != 0 {
			r.Expect(h, int(b)*1000, b&2 != 0)
		}
	case 2:
		return r.Forget(s.handle(), nil)
	case 3:
		return r.Lost(s.id(), "lost", nil)
	case 4:
		r.Allow(s.id(), s.id())
	case 5:
		r.Admit(r.Listen("receiver"), s.id())
	case 6:
		return r.Unlisten(s.handle(), nil)
	case 7:
		r.Reserve(s.id(), s.handle(), int(s.byte()))
	default:
		if n := r.nodes[s.id()]; n != nil {
			return r.Step(n.port, s.frame(), nil)
		}
	}
	return nil
}

// check verifies the rules that hold after each event.
func (s *stepper) check(actions []Action) {
	r := s.r
	for i := range actions {
		switch a := &actions[i]; a.Op {
		case Send:
			if n := r.nodes[a.Frame.Dst]; n == nil && !gone(actions, a.Frame.Dst) ||
				n != nil && n.port != a.Port {
				s.t.Fatalf("%s: no such way", a.trace())
			}
		case Broken, Refused, Denied, Late:
			if a.ID == 0 || a.ID > r.newest {
				s.t.Fatalf("%s: there is no such context", a.trace())
			}
		}
	}
	total := 0
	for src, n := range r.held.sources {
		if r.nodes[src] == nil || n < r.parts.Held(src) {
			s.t.Fatalf("%d bytes are accounted for at %d, which holds %d", n, src, r.parts.Held(src))
		}
		total += n
	}
	for src, n := range r.held.wholeSources {
		if r.nodes[src] == nil {
			s.t.Fatalf("%d bytes of answers are accounted for at %d, which is gone", n, src)
		}
		total += n
	}
	ports := 0
	for _, all := range []map[wire.ContextID]int{r.held.ports, r.held.wholePorts} {
		for _, n := range all {
			ports += n
		}
	}
	if total != r.held.total || ports != total {
		s.t.Fatalf("%d bytes of sources, %d of ports, %d in all", total, ports, r.held.total)
	}
}

func gone(actions []Action, id wire.ContextID) bool {
	for _, a := range actions {
		if a.Op == Gone && a.ID == id {
			return true
		}
	}
	return false
}

// FuzzStep checks the router's accounts over whatever contexts say and programs do, and that it
// keeps nothing at the end.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 1, 5, 3, 8, 1, 4, 0, 1, 200, 0, 255, 8, 1, 0, 0, 1, 200, 0, 8, 3, 1})
	f.Add([]byte{0, 0, 0, 0, 4, 1, 2, 8, 1, 0, 2, 1, 1, 125, 0, 8, 2, 0, 1, 2, 201, 0, 0, 3, 2})
	f.Add([]byte{0, 0, 5, 1, 8, 1, 3, 0, 1, 200, 0, 2, 8, 1, 0, 0, 1, 200, 0, 2, 8, 1, 0, 0, 1, 21, 0,
		7, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &stepper{t: t, r: New(0, nil, 100_000), in: in}
		s.r.Bound(150_000, 250_000)
		for len(s.in) > 0 {
			actions := s.do()
			s.check(actions)
			for _, a := range actions {
				if a.Op == Broken {
					s.check(s.r.Lost(a.ID, "broken", nil))
				}
			}
			// by one frame, until the next
			if behind, all := s.r.Held(1); behind > 150_000 || all > 250_000+255*300+1000 {
				t.Fatalf("%d bytes behind 1, %d in all", behind, all)
			}
		}
		for id := range s.r.NextID() {
			s.check(s.r.Lost(id, "end", nil))
		}
		for h := range s.r.receivers {
			s.check(s.r.Unlisten(h, nil))
		}
		if !s.r.Idle() {
			t.Fatalf("something is kept: %+v", s.r)
		}
	})
}
