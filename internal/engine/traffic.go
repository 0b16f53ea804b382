package engine

import (
	"log/slog"

	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// traffic carries out what the router says about frames, and queues frames for streams. Its fields
// are protected by Engine.mu.
type traffic struct {
	e       *Engine
	actions []route.Action   // for step, used again
	after   []func()         // see afterLocked
	kicks   []*stream.Stream // have got frames since the lock was taken
	fans    wire.Handle      // numbers of fans that were given out
}

// step takes a frame from the stream of child port. With more another one follows at once.
func (t *traffic) step(port *Context, f *wire.Frame, more bool) {
	e := t.e
	e.mu.Lock()
	if c := e.tree.contexts[f.Src]; c != nil {
		c.figures.countUp(f)
	}
	t.actions = e.router.Step(port.id, f, t.actions[:0])
	t.applyLocked(t.actions)
	clear(t.actions) // they refer to what may be forgotten
	after := t.takeAfterLocked()
	e.unlockBefore(more)
	for _, do := range after {
		do()
	}
}

// applyLocked carries out what the router says.
func (t *traffic) applyLocked(actions []route.Action) {
	e := t.e
	for i := range actions {
		a := &actions[i]
		switch a.Op {
		case route.Send:
			t.forwardLocked(a)
		case route.Deliver:
			t.deliverLocked(a)
		case route.Left:
			a.Owner.(*Receiver).put(Message{From: e.tree.contexts[a.ID], end: endGone})
		case route.Gone:
			e.tree.goneLocked(e.tree.contexts[a.ID], a.Why)
		case route.Refused:
			t.refusedLocked(e.tree.contexts[a.ID], a)
		case route.Denied:
			t.deniedLocked(e.tree.contexts[a.ID], a)
		case route.Broken:
			t.convictLocked(e.tree.contexts[a.ID], string(a.Rule), "it sent "+a.Why)
		case route.Late:
			t.lateLocked(e.tree.contexts[a.ID], a)
		case route.Pass:
			e.front.passLocked(a.ID, &a.Frame)
		case route.Room:
			t.roomLocked(e.tree.contexts[a.ID], a.Handle)
		}
	}
}

// forwardLocked queues a frame that the router made, or lets pass from one context to another.
func (t *traffic) forwardLocked(a *route.Action) {
	e := t.e
	f := &a.Frame
	c := e.tree.contexts[f.Dst]
	if c == nil {
		return
	}
	waiting := c.root.stream.Queued()
	if g := c.gateLocked(); g != nil {
		waiting += g.size
	}
	switch src := e.tree.contexts[f.Src]; {
	case a.Owned: // made here; its Src is who was asked and not who is to blame
		if waiting > 2*floodLimit {
			t.convictLocked(c, report.CodeUnread, "it doesn't read the answers to what it asks")
			return
		}
	case src == nil:
		return
	default:
		c.conduct.relayedLocked(src, waiting, f.Size())
		if waiting <= floodLimit {
			break
		}
		most := c.conduct.floodingLocked()
		if most == nil {
			break // the waiting frames are of a context that was ended for it
		}
		t.convictLocked(most, report.CodeFlood, "it sent more than "+c.name+" takes")
		if most == src {
			return
		}
	}
	src := e.tree.contexts[f.Src]
	if f.Handle == wire.Call && src != nil && !a.Owned && !c.launch.golang.is.Load() {
		c.Supply.lendLocked(src, f)
	}
	t.putLocked(c, f)
}

// putLocked queues a frame for c, behind what is held back for it.
func (t *traffic) putLocked(c *Context, f *wire.Frame) {
	if g := c.gateLocked(); g != nil {
		g.hold(c, f)
		return
	}
	t.sendLocked(c, f)
}

// sendLocked queues a frame for c without looking for gates.
func (t *traffic) sendLocked(c *Context, f *wire.Frame) {
	c.figures.countDown(f)
	c.root.stream.Put(f)
	if c.root.launch.ahead != nil && (f.Handle == wire.Call || f.Handle == wire.Open ||
		f.Handle == wire.Session) && !t.e.front.precedes(f) {
		c.root.stream.Seal() // what was waited for
	}
	t.kickLocked(c.root.stream)
}

// kickLocked notes that s has something to write.
func (t *traffic) kickLocked(s *stream.Stream) {
	if n := len(t.kicks); n == 0 || t.kicks[n-1] != s {
		t.kicks = append(t.kicks, s)
	}
}

// deliverLocked hands a frame to who waits for it.
func (t *traffic) deliverLocked(a *route.Action) {
	e := t.e
	f := &a.Frame
	c := e.tree.contexts[f.Src]
	if a.Owner != nil {
		a.Owner.(owner).deliverLocked(e, c, a)
		return
	}
	if c == nil {
		return
	}
	if e.front.takesLocked(c, f.Handle) {
		e.front.passLocked(c.id, f)
		return
	}
	switch f.Handle {
	case wire.Hello:
		t.helloLocked(c, f)
	case wire.Stdout, wire.Stderr:
		c.outbox.queueOutputLocked(f, a.Cost)
	case wire.Log:
		c.outbox.queueLogLocked(f.Payload)
	case wire.GetModule:
		c.Supply.requests.askLocked(f.Payload)
	case wire.GetFile:
		c.Supply.requests.getFileLocked(f)
	case wire.Lacks:
		c.Supply.requests.lacksLocked(f.Payload)
	case wire.Dropped:
		c.Supply.requests.droppedLocked(f.Payload)
	case wire.Ping:
		t.pongLocked(c, f)
	}
}

// owner takes the frames of a request or receiver. c is nil when the context is gone.
type owner interface {
	deliverLocked(e *Engine, c *Context, a *route.Action)
}

func (t *traffic) pongLocked(c *Context, f *wire.Frame) {
	s := c.root.stream
	if f.Reply == 0 && c == c.root && s.Arrived(f.Payload) {
		t.kickLocked(s)
		return
	}
	if !t.offendLocked(c, offence) || f.Reply == 0 || len(f.Payload) > 64 || s.Queued() > floodLimit {
		return
	}
	s.PutUrgent(&wire.Frame{Dst: c.id, Handle: f.Reply, Payload: f.Payload})
	t.kickLocked(s)
}

// refusedLocked reports a frame that was dropped.
func (t *traffic) refusedLocked(c *Context, a *route.Action) {
	if c != nil {
		c.conduct.reportLocked("frame refused", slog.String("why", a.Why),
			slog.String("handle", a.Handle.String()))
	}
}

// roomLocked wakes those who wait for a flow to c.
func (t *traffic) roomLocked(c *Context, flow wire.Handle) {
	if c == nil || c.Calls.waiting[flow] == nil {
		return
	}
	close(c.Calls.waiting[flow])
	delete(c.Calls.waiting, flow)
}

// consumed gives back what was taken of a flow from c.
func (t *traffic) consumed(c *Context, flow wire.Handle, cost int) {
	e := t.e
	if cost == 0 {
		return
	}
	e.mu.Lock()
	t.applyLocked(e.router.Consumed(c.id, flow, cost, nil))
	e.unlock()
}

// afterLocked has do called by the goroutine that reads the frame's stream, before its next frame
// and outside of Engine.mu: so decoding costs only those behind that stream.
func (t *traffic) afterLocked(do func()) { t.after = append(t.after, do) }

// takeAfterLocked returns what is to be done once Engine.mu is let go.
func (t *traffic) takeAfterLocked() []func() {
	if len(t.after) == 0 {
		return nil
	}
	after := t.after
	t.after = nil
	return after
}
