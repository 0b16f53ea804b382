package route

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/wire"
)

const asks wire.Handle = 1 << 30 // the first handle that the program asks with

// sharedRouter returns a router with a program, and contexts 1 and 2 next to it.
func sharedRouter(t *testing.T) *Router {
	t.Helper()
	r := New(0, nil, 1<<20)
	r.Share()
	for id := wire.ContextID(1); id <= 2; id++ {
		if err := r.Claim(id); err != nil {
			t.Fatal(err)
		}
		if err := r.Add(id, 0); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func traces(actions []Action) string {
	all := []string{}
	for i := range actions {
		all = append(all, actions[i].trace())
	}
	return strings.Join(all, "\n")
}

func call(dst wire.ContextID, reply wire.Handle) *wire.Frame {
	return &wire.Frame{Dst: dst, Handle: wire.Call, Reply: reply, Payload: []byte("m:f\x00")}
}

// What a program may not send, and what it is told. Nothing of it reaches a context.
func TestProgramMayNot(t *testing.T) {
	for _, c := range []struct {
		name string
		f    wire.Frame
		want string
	}{
		{"an engine's handle", wire.Frame{Dst: 1, Handle: wire.Connect, Reply: asks},
			"may not use handle CONNECT"},
		{"KILL", wire.Frame{Dst: 1, Handle: wire.Kill, Reply: asks}, "may not use handle KILL"},
		{"a bundle", wire.Frame{Dst: 1, Handle: wire.BundlePiece, Reply: asks},
			"may not use handle BUNDLE"},
		{"a context that never was", *call(7, asks), "no context 7"},
		{"a reply in the engine's half", *call(1, wire.FirstEngineHandle+4), "is not the program's"},
		{"a fixed handle as reply", *call(1, wire.Ping), "is not the program's"},
		{"a reply in use", *call(2, asks), "is in use for context 1"},
	} {
		r := sharedRouter(t)
		if ok, out := r.FromProgram(call(1, asks), nil); !ok || len(out) > 0 {
			t.Fatalf("a call: got %v, %s, want it sent", ok, traces(out))
		}
		ok, out := r.FromProgram(&c.f, nil)
		if got := traces(out); ok || !strings.Contains(got, "pass: DEAD") ||
			!strings.Contains(got, c.want) {
			t.Errorf("%s: got sent %v, %q, want DEAD with %q", c.name, ok, got, c.want)
		}
	}
}

// An answer is passed once, from who was asked, and within its window.
func TestProgramIsAnsweredOnce(t *testing.T) {
	answer := wire.Frame{Src: 1, Auth: 1, Handle: asks, Payload: []byte("x")}
	item := answer
	item.Kind, item.Payload = wire.Item, make([]byte, wire.MaxPayload)
	other := answer
	other.Src, other.Auth = 2, 2
	never := answer
	never.Handle++
	for _, c := range []struct {
		name   string
		port   wire.ContextID
		frames []wire.Frame
		passed int
		last   string
	}{
		{"an answer", 1, []wire.Frame{answer}, 1, "pass"},
		{"twice", 1, []wire.Frame{answer, answer}, 1, "refused"},
		{"from another", 2, []wire.Frame{other}, 0, "refused"},
		{"never asked", 1, []wire.Frame{never}, 0, "refused"},
		{"more than its window", 1, []wire.Frame{item, item, item, item, item, item, item, item, item,
			item}, 10, "broken"},
	} {
		r := sharedRouter(t)
		r.FromProgram(call(1, asks), nil)
		passed, last := 0, ""
		for i := range c.frames {
			out := r.Step(c.port, &c.frames[i], nil)
			passed += strings.Count(traces(out), "pass:")
			last = traces(out)
		}
		if passed != c.passed || !strings.Contains(last, c.last) {
			t.Errorf("%s: got %d passed, last %q, want %d and %q", c.name, passed, last, c.passed, c.last)
		}
		out := r.Lost(1, "ended", nil)
		ended := c.name != "an answer" && c.name != "twice" && c.last != "broken"
		if got := strings.Contains(traces(out), "pass: DEAD"); got != ended {
			t.Errorf("%s: at the end of the context got DEAD %v, want %v", c.name, got, ended)
		}
	}
}

// The frames for one context may wait in the engine, so that handles don't rise over all contexts.
func TestProgramAsksInAnyOrder(t *testing.T) {
	r := sharedRouter(t)
	for i, f := range []*wire.Frame{call(1, asks+5), call(2, asks+1), call(1, asks+6),
		call(2, asks+2)} {
		if ok, out := r.FromProgram(f, nil); !ok {
			t.Fatalf("call %d: got %s, want it sent", i, traces(out))
		}
	}
	for _, f := range []*wire.Frame{
		{Src: 1, Auth: 1, Handle: asks + 5}, {Src: 2, Auth: 2, Handle: asks + 1},
		{Src: 1, Auth: 1, Handle: asks + 6}, {Src: 2, Auth: 2, Handle: asks + 2},
	} {
		if got := traces(r.Step(f.Src, f, nil)); !strings.HasPrefix(got, "pass: DATA") {
			t.Errorf("answer to %d: got %q, want it passed", f.Handle, got)
		}
	}
}

// An id between those of the program and of the engine was never a context's: a frame from it is an
// offence, and one from a context that is gone is late.
func TestIDsThatNeverWere(t *testing.T) {
	r := sharedRouter(t)
	if err := r.Add(r.NextID(), 1); err != nil {
		t.Fatal(err)
	}
	r.Lost(2, "ended", nil)
	r.Lost(wire.FirstEngineID, "ended", nil)
	for id, want := range map[wire.ContextID]string{
		2: "late", wire.FirstEngineID: "late", 3: "refused", 50: "refused",
		wire.FirstEngineID - 1: "refused", wire.FirstEngineID + 1: "refused", 0: "refused",
	} {
		f := wire.Frame{Src: id, Auth: id, Handle: asks}
		if got := traces(r.Step(1, &f, nil)); !strings.HasPrefix(got, want) {
			t.Errorf("frame from %d: got %q, want it %s", id, got, want)
		}
	}
}

// Credit that the program gives back makes room, and its ends keep nothing.
func TestProgramGivesCredit(t *testing.T) {
	r := sharedRouter(t)
	r.FromProgram(call(1, asks), nil)
	item := wire.Frame{Kind: wire.Item, Src: 1, Auth: 1, Handle: asks,
		Payload: make([]byte, wire.MaxPayload)}
	credit := wire.Frame{Dst: 1, Handle: wire.Credit,
		Payload: wire.AppendCredit(nil, asks, wire.MaxPayload)}
	for i := range 100 {
		if got := traces(r.Step(1, &item, nil)); !strings.HasPrefix(got, "pass") ||
			strings.Contains(got, "broken") {
			t.Fatalf("item %d: got %q, want it passed", i, got)
		}
		if ok, _ := r.FromProgram(&credit, nil); !ok {
			t.Fatal("credit isn't sent")
		}
	}
	r.FromProgram(&wire.Frame{Kind: wire.Part, Dst: 1, Handle: wire.Call, Reply: asks + 1,
		Payload: []byte("half")}, nil)
	// given up
	r.FromProgram(&wire.Frame{Kind: wire.Part, Dst: 1, Handle: wire.Call, Reply: asks + 1}, nil)
	if got := traces(r.Lost(1, "ended", nil)); strings.Count(got, "DEAD") != 1 {
		t.Errorf("end of the context: got %q, want one DEAD", got)
	}
	if r.Lost(2, "ended", nil); !r.Idle() {
		t.Errorf("something is kept: %+v", r)
	}
}
