package route

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

func aValue(to wire.ContextID, h wire.Handle, kind wire.Kind) *wire.Frame {
	return &wire.Frame{Kind: kind, Src: 1, Auth: 1, Dst: to, Handle: h, Payload: []byte("v")}
}

// A permit lets values, ends and credit pass, and nothing else.
func TestPermits(t *testing.T) {
	credit := func(from, to wire.ContextID, h wire.Handle, n uint32) *wire.Frame {
		return &wire.Frame{Src: from, Auth: from, Dst: to, Handle: wire.Credit,
			Payload: wire.AppendCredit(nil, h, n)}
	}
	asking := aValue(2, 1004, wire.Item)
	asking.Reply = 1009
	for _, c := range []struct {
		name string
		port wire.ContextID
		f    *wire.Frame
		want string
	}{
		{"a value", 1, aValue(2, 1004, wire.Item), "send to 2: ITEM 1->2 1004"},
		{"a part", 1, aValue(2, 1004, wire.Part), "send to 2: PART 1->2 1004"},
		{"credit", 2, credit(2, 1, 1004, 1), "send to 1: DATA 2->1 CREDIT"},
		{"an end", 1, aValue(2, 1004, wire.Data), "send to 2: DATA 1->2 1004"},
		{"a value for the program", 1, aValue(0, asks, wire.Item), "pass: ITEM 1->0 1073741824"},
		{"an end for the program", 1, aValue(0, asks, wire.Data), "pass: DATA 1->0 1073741824"},
		{"another handle", 1, aValue(2, 1005, wire.Item), "denied: 1"},
		{"another handle of the program", 1, aValue(0, asks+1, wire.Item), "refused: 1"},
		{"a value that asks", 1, asking, "denied: 1"},
		{"a call", 1, &wire.Frame{Src: 1, Auth: 1, Dst: 2, Handle: wire.Call, Reply: 1009}, "denied: 1"},
		{"back", 2, &wire.Frame{Kind: wire.Item, Src: 2, Auth: 2, Dst: 1, Handle: 1004}, "denied: 2"},
		{"credit of another flow", 2, credit(2, 1, 1005, 1), "denied: 2"},
	} {
		r := sharedRouter(t)
		for _, p := range []permit{{2, 1004}, {0, asks}} {
			if err := r.Permit(1, p.to, p.handle); err != nil {
				t.Fatal(err)
			}
		}
		r.Step(1, aValue(2, 1004, wire.Item), nil) // that credit may be for
		if got := traces(r.Step(c.port, c.f, nil)); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if r.Lost(1, "", nil); len(r.nodes[2].permitted) > 0 {
			t.Errorf("%s: got %v kept of a context that is gone", c.name, r.nodes[2].permitted)
		}
	}
}

// An end uses a permit up, and so does the program's refusal. What crosses them is no offence.
func TestPermitsEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		to   wire.ContextID
		h    wire.Handle
		late string
	}{{"of a context", 2, 1004, "denied: 1"}, {"of the program", 0, asks, "late: 1"}} {
		r := sharedRouter(t)
		for range 2 {
			if err := r.Permit(1, c.to, c.h); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			if got := traces(r.Step(1, aValue(c.to, c.h, wire.Item), nil)); strings.Contains(got, "late") {
				t.Errorf("%s: value after %d ends of 2: got %s, want it passed", c.name, i, got)
			}
			r.Step(1, aValue(c.to, c.h, wire.Data), nil)
		}
		got := traces(r.Step(1, aValue(c.to, c.h, wire.Item), nil))
		if !strings.Contains(got, c.late) || !strings.Contains(got, "CREDIT") {
			t.Errorf("%s: value after the end: got %s, want %s and a refusal", c.name, got, c.late)
		}
	}
	r := sharedRouter(t)
	if err := r.Permit(1, 0, asks); err != nil {
		t.Fatal(err)
	}
	refusal := wire.Frame{Dst: 1, Handle: wire.Credit, Payload: wire.AppendCredit(nil, asks, 0)}
	if ok, _ := r.FromProgram(&refusal, nil); !ok {
		t.Error("a refusal of the program: got it kept, want it sent")
	}
	if got := traces(r.Step(1, aValue(0, asks, wire.Item), nil)); !strings.Contains(got, "late: 1") {
		t.Errorf("value after the program's refusal: got %s, want it late", got)
	}
}

// What can't be permitted.
func TestPermitsRefused(t *testing.T) {
	r := sharedRouter(t)
	for _, p := range []struct {
		from, to wire.ContextID
		h        wire.Handle
	}{
		{1, 2, wire.Call}, {1, 1, 1004}, {1, 7, 1004}, {7, 1, 1004},
		{1, 0, wire.FirstEngineHandle}, {1, 0, 8},
	} {
		if r.Permit(p.from, p.to, p.h) == nil {
			t.Errorf("Permit(%d, %d, %d): got no error, want one", p.from, p.to, p.h)
		}
	}
}

// More than a window for the program ends the sender, and what the program has taken doesn't count.
func TestPermitsHaveWindows(t *testing.T) {
	r := sharedRouter(t)
	if err := r.Permit(1, 0, asks); err != nil {
		t.Fatal(err)
	}
	f := aValue(0, asks, wire.Item)
	f.Payload = make([]byte, wire.MaxPayload)
	for range 20 {
		if got := traces(r.Step(1, f, nil)); !strings.Contains(got, "pass") {
			t.Fatalf("a value that was taken: got %s, want it passed", got)
		}
		taken := wire.Frame{Dst: 1, Handle: wire.Credit,
			Payload: wire.AppendCredit(nil, asks, wire.MaxPayload)}
		r.FromProgram(&taken, nil)
	}
	broken := false
	for range 20 {
		broken = broken || strings.Contains(traces(r.Step(1, f, nil)), "broken")
	}
	if !broken {
		t.Error("20 values that nothing takes: got no offence, want one")
	}
}

// Between contexts the engine holds the sender to its window, and the receiver to what it was sent.
func TestPermitsBetweenContexts(t *testing.T) {
	r := sharedRouter(t)
	if err := r.Permit(1, 2, 1004); err != nil {
		t.Fatal(err)
	}
	value := func(kind wire.Kind, n int) string {
		f := aValue(2, 1004, kind)
		f.Payload = make([]byte, n)
		return traces(r.Step(1, f, nil))
	}
	credit := func(n uint32) []Action {
		return r.Step(2, &wire.Frame{Src: 2, Auth: 2, Dst: 1, Handle: wire.Credit,
			Payload: wire.AppendCredit(nil, 1004, n)}, nil)
	}
	if got := traces(credit(1)); !strings.Contains(got, "late: 2") {
		t.Errorf("credit before a value: got %s, want it late", got)
	}
	if got := value(wire.Item, 0); !strings.Contains(got, "denied: 1") {
		t.Errorf("a value without bytes: got %s, want it denied", got)
	}
	fill := func() (n int) {
		for strings.Contains(value(wire.Part, wire.MaxPayload), "send to 2") {
			if n += wire.MaxPayload; n > 2*wire.Window {
				t.Fatalf("got %d bytes passed without credit, want a window", n)
			}
		}
		return n
	}
	sent := fill()
	if sent < wire.Window || sent > wire.Window+wire.MaxPayload {
		t.Errorf("got %d bytes passed without credit, want %d", sent, wire.Window)
	}
	if got := value(wire.Item, 1); !strings.Contains(got, "denied: 1") ||
		!strings.Contains(got, "CREDIT") {
		t.Errorf("a value beyond the window: got %s, want it denied, and a refusal", got)
	}
	back := credit(1 << 31)
	if _, n, err := wire.ParseCredit(back[0].Frame.Payload); err != nil || int(n) != sent {
		t.Errorf("credit for more than was sent: got %d, %v, want %d", n, err, sent)
	}
	if got := fill(); got != sent {
		t.Errorf("after credit: got %d bytes passed, want %d", got, sent)
	}
	if got := traces(credit(refusal)); !strings.Contains(got, "send to 1") {
		t.Errorf("a refusal: got %s, want it passed", got)
	}
	if got := fill(); got != sent {
		t.Errorf("after a refusal: got %d bytes passed, want %d", got, sent)
	}
}
