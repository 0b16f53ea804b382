package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// fanTree plays all contexts behind a fake, hops too, and counts what comes for their sessions.
type fanTree struct {
	f    *fake
	done chan struct{}

	mu     sync.Mutex                          // protects following
	fans   map[wire.FanMember][]wire.FanMember // by the address of the fan
	got    map[wire.FanMember][]byte           // by the address of the session
	owed   map[wire.FanMember]int
	closed map[wire.FanMember]bool
	stuck  map[wire.ContextID]bool // contexts that take nothing
	link   int                     // bytes of FAN frames to the root
	about  []wire.Kind             // of FAN frames to the root that are no ITEM
}

func newFanTree(f *fake) *fanTree {
	tr := &fanTree{f: f, done: make(chan struct{}), fans: map[wire.FanMember][]wire.FanMember{},
		got: map[wire.FanMember][]byte{}, owed: map[wire.FanMember]int{},
		closed: map[wire.FanMember]bool{}, stuck: map[wire.ContextID]bool{}}
	go func() {
		defer close(tr.done)
		for {
			select {
			case g := <-f.frames:
				tr.mu.Lock()
				if g.Handle == wire.Fan && g.Kind == wire.Item {
					tr.link += len(g.Payload)
				} else if g.Handle == wire.Fan {
					tr.about = append(tr.about, g.Kind)
				}
				tr.take(g)
				tr.mu.Unlock()
			case <-f.done:
				return
			}
		}
	}()
	return tr
}

// take plays the context that a frame is for.
func (tr *fanTree) take(g wire.Frame) {
	to := wire.FanMember{Dst: g.Dst, Handle: g.Handle, Reply: g.Reply}
	members := func() []wire.FanMember { return wire.ParseFanMembers(g.Payload) }
	switch {
	case g.Handle == wire.Connect:
		tr.f.hello(wire.ContextID(binary.BigEndian.Uint32(g.Payload)))
	case g.Handle == wire.Fan && g.Kind == wire.Data:
		tr.fans[to] = append(tr.fans[to], members()...)
	case g.Handle == wire.Fan && g.Kind == wire.Error && len(g.Payload) == 0:
		delete(tr.fans, to)
	case g.Handle == wire.Fan && g.Kind == wire.Error:
		tr.fans[to] = slices.DeleteFunc(tr.fans[to], func(m wire.FanMember) bool {
			return slices.Contains(members(), m)
		})
	case g.Handle == wire.Fan && g.Kind == wire.Item:
		for _, m := range tr.fans[to] {
			tr.take(wire.Frame{Kind: wire.Item, Dst: m.Dst, Src: g.Src, Handle: m.Handle,
				Reply: m.Reply, Payload: g.Payload})
		}
	case g.Handle == wire.Session && g.Kind == wire.Item && !tr.stuck[g.Dst]:
		tr.got[to] = append(tr.got[to], g.Payload...)
		if tr.owed[to] += len(g.Payload); tr.owed[to] >= wire.Window/4 {
			tr.f.send(wire.Frame{Src: g.Dst, Handle: wire.Credit,
				Payload: wire.AppendCredit(nil, g.Reply, uint32(tr.owed[to]))})
			tr.owed[to] = 0
		}
	case g.Handle == wire.Session && g.Kind == wire.Error:
		tr.closed[to] = true
	}
}

// childrenOf starts contexts behind those of a target.
func childrenOf(t *testing.T, e *Engine, via *Context, n int) (all []*Context) {
	t.Helper()
	for range n {
		c, err := e.Start("local", ConnectOptions{Via: via})
		if err == nil {
			err = c.Connected(within(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// sessionsIn starts one session in each context.
func sessionsIn(t *testing.T, contexts []*Context) (all []*Session) {
	t.Helper()
	for _, c := range contexts {
		s, err := c.Programs.Session(within(t), SessionSpec{Module: "put"})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// Bytes reach each session once and in order, and each link once, however the sessions are spread
// over the tree.
func TestFan(t *testing.T) {
	for name, spread := range map[string]func(root *Context, e *Engine) []*Context{
		"siblings": func(root *Context, e *Engine) []*Context { return childrenOf(t, e, root, 4) },
		"hop too": func(root *Context, e *Engine) []*Context {
			return append(childrenOf(t, e, root, 2), root)
		},
		"one": func(root *Context, e *Engine) []*Context { return childrenOf(t, e, root, 1) },
		"two in one context": func(root *Context, e *Engine) []*Context {
			c := childrenOf(t, e, root, 1)
			return append(c, c...)
		},
		"behind one hop of the hop": func(root *Context, e *Engine) []*Context {
			return childrenOf(t, e, childrenOf(t, e, root, 1)[0], 3)
		},
		"tiers": func(root *Context, e *Engine) (all []*Context) {
			for _, mid := range childrenOf(t, e, root, 3) {
				all = append(all, childrenOf(t, e, mid, len(all)+1)...)
			}
			return append(all, childrenOf(t, e, root, 1)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			root, f := connected(t, e, fakes)
			tr := newFanTree(f)
			sessions := sessionsIn(t, spread(root, e))
			fan, err := NewFan(within(t), sessions)
			if err != nil {
				t.Fatal(err)
			}
			var sent strings.Builder
			for i := range 40 {
				text := strings.Repeat(fmt.Sprintf("%d ", i), 1+i*i*i)
				sent.WriteString(text)
				if _, err := io.WriteString(fan, text); err != nil {
					t.Fatal(err)
				}
			}
			fan.Close()
			waitFor(t, "all bytes and the fan's end", func() bool {
				tr.mu.Lock()
				defer tr.mu.Unlock()
				for _, s := range sessions {
					m := wire.FanMember{Dst: s.c.id, Handle: wire.Session, Reply: s.p.handle}
					if len(tr.got[m]) < sent.Len() {
						return false
					}
				}
				return len(tr.fans) == 0
			})
			tr.mu.Lock()
			defer tr.mu.Unlock()
			for i, s := range sessions {
				m := wire.FanMember{Dst: s.c.id, Handle: wire.Session, Reply: s.p.handle}
				if string(tr.got[m]) != sent.String() {
					t.Errorf("session %d: got %d bytes, want %d", i, len(tr.got[m]), sent.Len())
				}
			}
			if len(sessions) > 1 && tr.link != sent.Len() {
				t.Errorf("got %d bytes on the first link, want %d", tr.link, sent.Len())
			}
		})
	}
}

// Nothing of a fan overtakes what tells the hop of it, when that is held back still: a context may
// be up while its gate is being opened.
func TestFanBehindGate(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	root, f := connected(t, e, fakes)
	tr := newFanTree(f)
	hop := childrenOf(t, e, root, 1)[0]
	sessions := sessionsIn(t, childrenOf(t, e, hop, 2))
	e.mu.Lock()
	g := &gate{}
	hop.hopStart.gate = g
	e.mu.Unlock()
	data, wrote := strings.Repeat("x", 1000), make(chan error)
	go func() {
		fan, err := NewFan(within(t), sessions)
		if err == nil {
			_, err = io.WriteString(fan, data)
			fan.Close()
		}
		wrote <- err
	}()
	waitFor(t, "the fan to be held back", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return slices.ContainsFunc(g.held, func(h heldBack) bool { return h.sent != nil })
	})
	hop.hopStart.open()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	if g.size != 0 {
		t.Errorf("got %d bytes held back once all has passed, want 0", g.size)
	}
	e.mu.Unlock()
	waitFor(t, "all bytes", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, s := range sessions {
			m := wire.FanMember{Dst: s.c.id, Handle: wire.Session, Reply: s.p.handle}
			if string(tr.got[m]) != data {
				return false
			}
		}
		return len(tr.fans) == 0
	})
}

// A session that takes nothing is cut off, and its hop is told; the rest get all. If none takes
// anything, none is.
func TestFanCutsOff(t *testing.T) {
	for name, stuck := range map[string][]int{"one": {1}, "most": {0, 1, 2}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			root, f := connected(t, e, fakes)
			tr := newFanTree(f)
			contexts := append(childrenOf(t, e, root, 3),
				childrenOf(t, e, childrenOf(t, e, root, 1)[0], 2)...)
			sessions := sessionsIn(t, contexts)
			fan, err := NewFan(within(t), sessions)
			if err != nil {
				t.Fatal(err)
			}
			fan.patience = time.Minute // a busy machine stands still, too
			if len(stuck) > 0 {
				fan.patience = 2 * time.Second
			}
			tr.mu.Lock()
			for _, i := range stuck {
				tr.stuck[contexts[i].id] = true
			}
			tr.mu.Unlock()
			data := make([]byte, 4*wire.Window)
			if n, err := fan.Write(data); n != len(data) || err != nil {
				t.Errorf("got %d, %v, want all written", n, err)
			}
			for i, s := range sessions {
				if cut := slices.Contains(stuck, i); s.Cut() != cut {
					t.Errorf("session %d: got cut off %v, want %v", i, s.Cut(), cut)
				}
				m := wire.FanMember{Dst: s.c.id, Handle: wire.Session, Reply: s.p.handle}
				waitFor(t, "the end of what is sent", func() bool {
					tr.mu.Lock()
					defer tr.mu.Unlock()
					return tr.closed[m] == s.Cut() && (s.Cut() || len(tr.got[m]) == len(data))
				})
				tr.mu.Lock()
				for _, members := range tr.fans {
					if s.Cut() && slices.Contains(members, m) {
						t.Errorf("session %d is sent what comes still", i)
					}
				}
				tr.mu.Unlock()
			}
		})
	}
}

// Time in which the engine itself stood still, and read nothing, cuts no member off: a process that
// was stopped, or a machine that was busy.
func TestFanForgivesOwnStandstill(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	root, f := connected(t, e, fakes)
	newFanTree(f)
	fan, err := NewFan(within(t), sessionsIn(t, childrenOf(t, e, root, 3)))
	if err != nil {
		t.Fatal(err)
	}
	waiting := slices.Clone(fan.members[:1])
	if got := fan.cutOff(waiting, time.Hour); len(got) != 1 || fan.members[0].s.Cut() {
		t.Errorf("after an hour's standstill: got %d members that are waited for, want 1", len(got))
	}
	for range int(fanPatience/fanTick) + 1 {
		waiting = fan.cutOff(waiting, fanTick)
	}
	if len(waiting) != 0 {
		t.Errorf("after as many ticks as a fan has patience: got %d members, want none", len(waiting))
	}
}

// A fan whose members all stand still waits for them, and for ctx: that a link is dead is not its
// to say.
func TestFanWaitsForAll(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	root, f := connected(t, e, fakes)
	tr := newFanTree(f)
	contexts := childrenOf(t, e, root, 3)
	sessions := sessionsIn(t, contexts)
	ctx, cancel := context.WithCancel(within(t))
	fan, err := NewFan(ctx, sessions)
	if err != nil {
		t.Fatal(err)
	}
	fan.patience = fanTick / 2
	tr.mu.Lock()
	for _, c := range contexts {
		tr.stuck[c.id] = true
	}
	tr.mu.Unlock()
	time.AfterFunc(10*fanTick, cancel)
	if n, err := fan.Write(make([]byte, 4*wire.Window)); err == nil || n < wire.Window {
		t.Errorf("got %d, %v, want a window and ctx's error", n, err)
	}
	for i, s := range sessions {
		if s.Cut() {
			t.Errorf("session %d was cut off", i)
		}
	}
}

// A fan that is given up before its hop was sent the code for FAN sends the hop none.
func TestFanGivenUp(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	root, f := connected(t, e, fakes)
	tr := newFanTree(f)
	sessions := sessionsIn(t, childrenOf(t, e, root, 2))
	for _, stays := range []bool{false, true} {
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		if !stays {
			root.Supply.pushing <- struct{}{}
			cancel()
		}
		fan, err := NewFan(ctx, sessions)
		if (err == nil) != stays {
			t.Fatalf("got %v, want an error: %v", err, !stays)
		}
		if !stays {
			root.Supply.pushing.leave()
			continue
		}
		fan.Close()
	}
	waitFor(t, "the end of the second fan", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.about) > 1
	})
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if want := []wire.Kind{wire.Data, wire.Error}; !slices.Equal(tr.about, want) {
		t.Errorf("got frames of kinds %v about fans, want %v", tr.about, want)
	}
}

// Members that end, or whose contexts go, are left out; without any, Write fails.
func TestFanMembersEnd(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	root, f := connected(t, e, fakes)
	tr := newFanTree(f)
	contexts := childrenOf(t, e, root, 3)
	sessions := sessionsIn(t, contexts)
	fan, err := NewFan(within(t), sessions)
	if err != nil {
		t.Fatal(err)
	}
	sessions[0].Close()
	f.send(wire.Frame{Src: root.id, Handle: wire.Lost,
		Payload: append(binary.BigEndian.AppendUint32(nil, uint32(contexts[1].id)), "gone"...)})
	<-contexts[1].Done()
	if n, err := fan.Write(make([]byte, 3*wire.Window)); n != 3*wire.Window || err != nil {
		t.Errorf("got %d, %v, want all written", n, err)
	}
	m := wire.FanMember{Dst: contexts[2].id, Handle: wire.Session, Reply: sessions[2].p.handle}
	waitFor(t, "what is sent", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.got[m]) == 3*wire.Window
	})
	sessions[2].Close()
	if n, err := fan.Write([]byte("x")); n != 0 || err != io.ErrClosedPipe {
		t.Errorf("without members: got %d, %v, want %v", n, err, io.ErrClosedPipe)
	}
}
