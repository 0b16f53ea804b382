package engine

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/wire"
)

// attacker makes frames of what a fuzzer says, for a context in each state that a context can be
// in.
type attacker struct {
	in      []byte
	ids     []wire.ContextID
	handles []wire.Handle
	left    int // bytes that may still be sent
}

func (a *attacker) byte() int {
	if len(a.in) == 0 {
		return 0
	}
	b := a.in[0]
	a.in = a.in[1:]
	return int(b)
}

func (a *attacker) take(n int) []byte {
	n = min(n, len(a.in))
	b := a.in[:n]
	a.in = a.in[n:]
	return b
}

func (a *attacker) id() wire.ContextID { return a.ids[a.byte()%len(a.ids)] }

func (a *attacker) handle() wire.Handle {
	if b := a.byte(); b < 128 {
		return wire.Handle(b % 27)
	} else {
		return a.handles[b%len(a.handles)]
	}
}

// bytes returns what is to be sent next: a frame, some of them, or anything.
func (a *attacker) bytes() []byte {
	b := a.byte()
	if b == 255 {
		return a.take(a.byte())
	}
	f := wire.Frame{Kind: wire.Kind(b % 5), Src: a.id(), Dst: 0, Handle: a.handle(),
		Reply: wire.Handle(a.byte() % 3 * 1000)}
	f.Auth = f.Src
	c := a.byte()
	if c&1 != 0 {
		f.Dst = a.id()
	}
	if c&2 != 0 {
		f.Auth = a.id()
	}
	switch {
	case c&4 != 0 && f.Handle == wire.Lost:
		f.Payload = wire.AppendLost(nil, a.id(), "why\n\x1b[0m")
	case c&4 != 0 && f.Handle == wire.Credit:
		f.Payload = wire.AppendCredit(nil, a.handle(), uint32(a.byte())<<uint(a.byte()%24))
	case c&4 != 0:
		f.Payload = make([]byte, wire.MaxPayload)
	default:
		f.Payload = a.take(a.byte())
	}
	out := f.Append(nil)
	for range c >> 4 {
		if a.left -= len(out); a.left > 0 {
			out = f.Append(out)
		}
	}
	return out
}

// FuzzHostile has a hop, with a context that it starts, and one next to the engine say what a
// fuzzer makes up, while they are connecting, called, streamed from, fed, and given a receiver. A
// context beside them is answered, nothing panics, and what is kept of it is bounded.
func FuzzHostile(f *testing.F) {
	f.Add([]byte{0, 1, 21, 0, 4, 2, 0, 1, 23, 0, 0, 24, 3, 0, 1, 129, 0, 255, 4, 1, 130, 0, 4})
	f.Add([]byte{2, 0, 131, 0, 0, 169, 128, 3, 93, 46, 3, 1, 130, 0, 2, 1, 9, 255, 9, 241, 77, 71, 99})
	f.Add([]byte("\x00\x01\x13\x00\x00\x20\x80\x02K\x01q\x00h\x00\x86q\x01h\x01\x86q\x02."))
	f.Add([]byte{0, 0, 16, 0, 0, 4, 128, 2, 125, 46, 0, 2, 16, 0, 0, 4, 128, 2, 125, 46})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4<<10 {
			return
		}
		const limit = 1 << 20
		e, fakes := fakeEngine(t, Options{MaxMessage: limit, MaxMemory: 3 * limit,
			Logger: slog.New(blindHandler{})})
		good, goodFake := connected(t, e, fakes)
		bad, badFake := connected(t, e, fakes)
		child := start(t, e, "local+local", ConnectOptions{LogLevel: slog.LevelDebug})
		hop := <-fakes
		hop.hello(child.parent.id)
		if err := child.parent.Connected(within(t)); err != nil {
			t.Fatal(err)
		}
		a := &attacker{in: in, ids: []wire.ContextID{0, bad.id, child.parent.id, child.id, good.id, 77},
			left: 4 * limit}
		a.handles = provoke(t, e, bad, child)
		go badFake.swallow()
		go hop.swallow()
		defer func() {
			for _, f := range []*fake{badFake, hop, goodFake} {
				f.exit(methods.Failure{What: methods.WhatExit}) // no wait for any of them
			}
		}()
		for i := 0; len(a.in) > 0; i++ {
			if b := a.bytes(); i%2 == 0 {
				badFake.out.Write(b)
			} else {
				hop.out.Write(b)
			}
		}
		works(t, good, goodFake)
		e.mu.Lock()
		_, held := e.router.Held(0)
		for _, c := range []*Context{bad, child, child.parent} {
			if n := len(c.outbox.queue); n > 10_000 {
				t.Errorf("%d events are kept of %s", n, c.name)
			}
		}
		e.mu.Unlock()
		if held > 3*limit+2*wire.MaxPayload {
			t.Errorf("%d bytes of values are kept", held)
		}
		if err := good.Err(); err != nil {
			t.Error(err)
		}
	})
}

// provoke has the engine ask two contexts for something of each kind, and returns the handles of
// that.
func provoke(t *testing.T, e *Engine, bad, child *Context) (handles []wire.Handle) {
	t.Helper()
	r := e.Receiver()
	r.Admit(bad)
	r.Admit(child.parent)
	handles = append(handles, r.handle, 1_000_000)
	stream := bad.Calls.Go(context.Background(), "m:g", nil, nil, true)
	for _, p := range []*Pending{call(bad, "m:f"), call(child, "m:f"), call(child.parent, "m:f"),
		stream} {
		e.mu.Lock()
		handles = append(handles, p.handle)
		e.mu.Unlock()
	}
	tunnel, err := bad.Tunnels.Fork(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, tunnel)
	given := call(bad, "m:late")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.traffic.applyLocked(e.router.Forget(given.handle, nil))
	return append(handles, tunnel.p.handle, given.handle, child.hopStart.connect)
}

// blindHandler takes all records and shows none.
type blindHandler struct{}

func (blindHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (blindHandler) Handle(context.Context, slog.Record) error { return nil }
func (h blindHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h blindHandler) WithGroup(string) slog.Handler           { return h }
