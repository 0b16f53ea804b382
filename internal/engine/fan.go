package engine

import (
	"bytes"
	"context"
	"io"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

const fanModule = "_mitogen_fan"

// A member that has no room in its window holds all up. It is cut off after fanPatience in which
// half of the members had room, and a quarter of the time beyond that; or in which it took nothing
// at all, and any other member had room.
const fanPatience = 10 * time.Second

// Fan writes the same bytes to the stdin of several sessions whose contexts are next to or behind
// one context, the root. Each link on the way carries them once: hops send them on (FAN, section 9
// of the protocol). One goroutine uses it, and nothing else writes to the sessions meanwhile.
type Fan struct {
	e       *Engine
	root    *Context
	ctx     context.Context
	first   wire.FanMember // what the root is sent
	members []*fanMember   // that are written to still
	hops    []*fanHop
	began   time.Time

	patience time.Duration
	down     *pace // of all windows, which are one to the stream, as hops keep one copy
}

// fanMember is a session of a Fan.
type fanMember struct {
	s     *Session
	hop   *fanHop       // that sends to it; nil: what the root is sent is addressed to it
	held  time.Duration // for which it held the fan up, with half of the members at most
	stuck time.Duration // for which it has had no room by now
}

// fanHop is a hop that sends on what comes for its number.
type fanHop struct {
	c       *Context
	number  wire.Handle
	members []wire.FanMember
	begun   bool // it was sent its members, and the code that takes FAN before them
}

// NewFan returns a Fan for sessions whose contexts were up, and have the same root. Their programs
// have said that they have read all that was written to them, if anything was. ctx ends Write.
func NewFan(ctx context.Context, sessions []*Session) (*Fan, error) {
	root := sessions[0].c.root
	f := &Fan{e: root.e, root: root, ctx: ctx, began: time.Now(), patience: fanPatience,
		down: &pace{down: true}}
	for _, s := range sessions {
		f.members = append(f.members, &fanMember{s: s})
	}
	f.first = f.place(root, f.members)
	for _, h := range f.hops {
		// If the hop is gone, so are the members behind it, which Write leaves out.
		if err := h.begin(ctx); err != nil && h.c.Err() == nil {
			f.Close()
			return nil, err
		}
	}
	// Write puts pieces on the stream directly.
	for _, s := range sessions {
		if err := passed(ctx, s.c); err != nil && s.c.Err() == nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// passed waits until all that was put for c so far is on its stream, or c is gone. What is written
// to the stream directly would overtake what a gate holds back: a context may say HELLO while its
// gate is being opened.
func passed(ctx context.Context, c *Context) error {
	c.e.mu.Lock()
	g := c.gateLocked()
	if g == nil || c.err != nil {
		defer c.e.mu.Unlock()
		return c.err
	}
	sent := make(chan struct{})
	g.add(heldBack{c: c, sent: sent})
	c.e.mu.Unlock()
	select {
	case <-sent:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return givenUp(ctx, "send to "+c.name)
	}
	return nil
}

// place returns where frames for members go that are c's or behind it: to c as a hop if there are
// several, else to the only one.
func (f *Fan) place(c *Context, members []*fanMember) wire.FanMember {
	if len(members) == 1 {
		return members[0].address()
	}
	h := &fanHop{c: c, number: f.e.traffic.nextFan()}
	var children []*Context
	behind := map[*Context][]*fanMember{}
	for _, m := range members {
		next := childOf(c, m.s.c)
		switch {
		case next == nil: // c's own session
			h.add(m.address(), m)
		case behind[next] == nil:
			children = append(children, next)
			fallthrough
		default:
			behind[next] = append(behind[next], m)
		}
	}
	for _, next := range children {
		h.add(f.place(next, behind[next]), behind[next]...)
	}
	if len(h.members) == 1 { // what c would send on comes to that one as well
		for _, m := range members {
			if m.hop == h {
				m.hop = nil
			}
		}
		return h.members[0]
	}
	f.hops = append(f.hops, h)
	return wire.FanMember{Dst: c.id, Handle: wire.Fan, Reply: h.number}
}

// add has h send to to, which is one of members, or a hop on the way to them.
func (h *fanHop) add(to wire.FanMember, members ...*fanMember) {
	h.members = append(h.members, to)
	for _, m := range members {
		if m.address() == to {
			m.hop = h
		}
	}
}

func (m *fanMember) address() wire.FanMember {
	return wire.FanMember{Dst: m.s.c.id, Handle: wire.Session, Reply: m.s.p.handle}
}

// childOf returns the context next to hop on the way from it to c; nil: c is hop.
func childOf(hop, c *Context) *Context {
	if c == hop {
		return nil
	}
	for c.parent != hop {
		c = c.parent
	}
	return c
}

// nextFan returns a number that no other fan of the engine has.
func (t *traffic) nextFan() wire.Handle {
	e := t.e
	e.mu.Lock()
	defer e.mu.Unlock()
	t.fans++
	return t.fans
}

// begin tells the hop whom it sends to.
func (h *fanHop) begin(ctx context.Context) error {
	if err := h.c.Supply.pushing.take(ctx, h.c, nil); err != nil {
		return err
	}
	err := h.c.Supply.push(ctx, fanModule)
	h.c.Supply.pushing.leave()
	if err != nil {
		return err
	}
	h.begun = true
	for some := range slices.Chunk(h.members, wire.MaxPayload/wire.FanMemberSize) {
		h.put(wire.Data, wire.AppendFanMembers(nil, some))
	}
	return nil
}

// put sends the hop a frame about its members.
func (h *fanHop) put(kind wire.Kind, payload []byte) {
	e := h.c.e
	e.mu.Lock()
	defer e.unlock()
	if h.c.err == nil {
		e.traffic.putLocked(h.c, &wire.Frame{Kind: kind, Dst: h.c.id, Handle: wire.Fan, Reply: h.number,
			Payload: payload})
	}
}

// Write writes b to all sessions that take it. It waits for their windows. A session that has
// ended, whose context is gone or that was cut off isn't waited for: its End says why. The error is
// io.ErrClosedPipe if none is left, or ctx's.
func (f *Fan) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		// Hops' streams keep it until it is written.
		piece := bytes.Clone(b[sent:min(len(b), sent+wire.MaxPayload)])
		if err := f.reserve(len(piece)); err != nil {
			return sent, err
		}
		f.members[0].s.room(f.ctx)
		f.put(piece)
		sent += len(piece)
		f.moved(len(piece))
	}
	return len(b), nil
}

// moved notes that n bytes were sent.
func (f *Fan) moved(n int) {
	if !f.down.bulk(n) {
		return
	}
	f.e.mu.Lock()
	defer f.e.unlock()
	more := f.down.moreLocked(f.members[0].s.Tunnel, n)
	if more == 0 {
		return
	}
	for _, m := range f.members {
		f.e.router.Widen(m.s.c.id, m.s.p.handle, more)
	}
}

// put sends the root a piece.
func (f *Fan) put(piece []byte) {
	e, to := f.e, f.first
	e.mu.Lock()
	defer e.unlock()
	c := e.tree.contexts[to.Dst]
	if c == nil || f.root.err != nil {
		return
	}
	g := &wire.Frame{Kind: wire.Item, Dst: to.Dst, Handle: to.Handle, Reply: to.Reply}
	c.figures.count.framesDown++
	c.figures.count.bytesDown += int64(g.Size() + len(piece))
	c.figures.count.down = true
	f.root.stream.PutShared(g, piece)
	e.traffic.kickLocked(f.root.stream)
}

// fanTick separates two looks at the members that have no room.
const fanTick = 50 * time.Millisecond

// reserve takes n bytes out of the window of each member, and drops those that take nothing more.
func (f *Fan) reserve(n int) error {
	for waiting := slices.Clone(f.members); ; {
		var room chan struct{}
		f.e.mu.Lock()
		waiting, room = f.withoutLocked(waiting, n)
		f.e.unlock()
		if len(waiting) == 0 {
			break
		}
		began, tick := time.Now(), time.NewTimer(fanTick)
		select {
		case <-room:
		case <-tick.C:
		case <-f.ctx.Done():
			tick.Stop()
			return givenUp(f.ctx, "send to "+waiting[0].s.c.name)
		}
		tick.Stop()
		waiting = f.cutOff(waiting, time.Since(began))
	}
	if len(f.members) == 0 {
		return io.ErrClosedPipe
	}
	return nil
}

// withoutLocked returns those of waiting that have no room for n bytes, and what is closed when the
// first of them may have some. It takes the bytes of those that have, and drops members that
// have ended.
func (f *Fan) withoutLocked(waiting []*fanMember, n int) (left []*fanMember, room chan struct{}) {
	for _, m := range waiting {
		c, p := m.s.c, m.s.p
		ok := false
		ended := !p.open || c.err != nil
		if !ended {
			var err error
			ok, err = f.e.router.Reserve(c.id, p.handle, n)
			ended = err != nil
		}
		switch {
		case ended:
			f.drop(m)
		case ok:
			m.stuck = 0
		default:
			left = append(left, m)
		}
	}
	if len(left) > 0 {
		room = roomForLocked(left[0].s.c, left[0].s.p.handle)
	}
	return left, room
}

func (f *Fan) drop(m *fanMember) {
	f.members = slices.DeleteFunc(f.members, func(x *fanMember) bool { return x == m })
}

// cutOff notes that waiting have had no room for some time more, and returns those that are waited
// for still.
func (f *Fan) cutOff(waiting []*fanMember, waited time.Duration) []*fanMember {
	few := 2*len(waiting) <= len(f.members)
	all := len(waiting) == len(f.members)
	most := f.patience + time.Since(f.began)/4
	// What exceeds a tick is time in which this process stood still and took no credit from members.
	waited = min(waited, fanTick)
	return slices.DeleteFunc(waiting, func(m *fanMember) bool {
		if m.stuck += waited; few {
			m.held += waited
		}
		if m.held < most && (all || m.stuck < f.patience) {
			return false
		}
		f.drop(m)
		f.leave(m)
		return true
	})
}

// leave ends the session of a member that is dropped, and has its hop send it no more.
func (f *Fan) leave(m *fanMember) {
	m.s.CutOff()
	if m.hop != nil {
		m.hop.put(wire.Error, wire.AppendFanMembers(nil, []wire.FanMember{m.address()}))
	}
}

// CutOff ends a session because further sessions wait for it.
func (s *Session) CutOff() {
	s.cut.Store(true)
	s.Close()
}

// Cut tells whether the session was ended by CutOff, such as by a Fan.
func (s *Session) Cut() bool { return s.cut.Load() }

// Close has hops forget the fan. The sessions go on, with windows as they were before it. If their
// programs have said that they have read all that was written, they may be written to otherwise.
func (f *Fan) Close() {
	for _, h := range f.hops {
		if h.begun {
			h.put(wire.Error, nil)
		}
	}
	f.e.mu.Lock()
	for _, m := range f.members {
		if m.s.p.open {
			f.e.router.Widen(m.s.c.id, m.s.p.handle, -f.down.widened)
		}
	}
	f.root.conduct.widened -= f.down.widened
	f.down.widened = 0
	f.e.unlock()
}
