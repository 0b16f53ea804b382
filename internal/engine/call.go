package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/internal/route"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// calls has the requests to a context that are open, and what waits for room to send more. Its
// fields are protected by Engine.mu.
type calls struct {
	c       *Context
	open    openRequests                  // without an answer, in the order in which they were sent
	calling int                           // calls and sessions of open
	waiting map[wire.Handle]chan struct{} // closed when there may be room in a flow, or for Call
	turns   map[wire.Handle]turn          // to send to its receivers
}

// Pending is a request on its way. Its answer is one value, or a sequence of them and then an end.
type Pending struct {
	c       *Context
	target  string                      // for messages
	call    bool                        // it is a CALL
	program string                      // that it runs
	done    chan struct{}               // closed with the result
	public  bool                        // as in wire.Frame
	final   bool                        // its context ends with it
	told    func(status int, err error) // tells the audit log of the end; nil: it needs not know
	waited  atomic.Bool                 // a goroutine waits that doesn't read itself
	out     outgoing                    // what is asked
	waiters atomic.Int32                // goroutines in Result
	judged  sync.Once                   // sets verdict, once p has ended
	verdict error                       // see failure

	// Protected by Engine.mu:
	handle wire.Handle
	open   bool // sent, or being sent, and not answered
	queued bool // it is a call or a session, which end before the context does
	sent   bool
	cancel bool
	in     inRequests // of its context

	answer answer
}

// outputPatience limits the time that the calls of a lost context wait for a reader to take the
// output that came before.
const outputPatience = 500 * time.Millisecond

// Go makes a call. ctx bounds the wait for room; errors come with the result. With stream, items
// are to be taken by Next.
func (s *calls) Go(ctx context.Context, target string, args []any, kwargs map[string]any,
	stream bool) *Pending {
	c := s.c
	p := newCall(c, "", target, stream)
	told, err := c.e.audit.begin(ctx, c, report.EventCall, target)
	if err != nil {
		p.answer.finish(wire.Dead, nil, named(p.what(), err))
		return p
	}
	p.told = told
	return p.begin(ctx, args, kwargs)
}

// goAs is Go for a program, which the audit log knows of.
func (s *calls) goAs(ctx context.Context, program, target string, args []any,
	kwargs map[string]any, stream bool) *Pending {
	return newCall(s.c, program, target, stream).begin(ctx, args, kwargs)
}

// Failed returns a call that has ended with err before there was a context for it.
func Failed(err error) *Pending {
	p := newPending(nil, "")
	p.answer.err, p.answer.ended = err, true
	close(p.done)
	return p
}

// newPending returns a request to c that isn't begun.
func newPending(c *Context, target string) *Pending {
	p := &Pending{c: c, target: target, done: make(chan struct{})}
	p.answer.p = p
	return p
}

// newCall returns a call for a program; "": the called module is one.
func newCall(c *Context, program, target string, stream bool) *Pending {
	p := newPending(c, target)
	p.call, p.program, p.answer.stream, p.out.c = true, program, stream, c
	if stream {
		p.answer.more = make(chan struct{}, 1)
	}
	return p
}

// begin sends a call, or ends it.
func (p *Pending) begin(ctx context.Context, args []any, kwargs map[string]any) *Pending {
	err := error(nil)
	if ctx.Err() != nil {
		err = givenUp(ctx, p.what())
	} else {
		err = p.c.Calls.call(ctx, p, args, kwargs)
	}
	if err != nil {
		p.forget()
		p.answer.finish(wire.Dead, nil, named(p.what(), err))
	}
	return p
}

// forget gives p up if it has no answer: none is waited for any more.
func (p *Pending) forget() {
	p.c.e.mu.Lock()
	defer p.c.e.unlock()
	p.forgetLocked()
}

func (p *Pending) forgetLocked() {
	if p.open {
		p.closeLocked()
		p.c.e.traffic.applyLocked(p.c.e.router.Forget(p.handle, nil))
	}
}

// named has an error say which operation it was that ended so.
func named(what string, err error) error {
	if why, ok := err.(*cancelError); ok {
		why.what = what
	}
	if err == ErrClosed {
		return fmt.Errorf("%s: %w", what, err)
	}
	return err
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

func (s *calls) call(ctx context.Context, p *Pending, args []any, kwargs map[string]any) error {
	c := s.c
	module, _, ok := strings.Cut(p.target, ":")
	if !ok || strings.IndexByte(p.target, 0) >= 0 {
		return fmt.Errorf("call %q: not module:function", p.target)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := wire.AppendCall((*buf)[:0], p.target)
	if len(args)+len(kwargs) > 0 {
		var err error
		if b, err = p.out.encoder().AppendCall(b, args, kwargs); err != nil {
			return fmt.Errorf("call %s: %w", p.target, err)
		}
	}
	if cap(b) <= 64<<10 {
		*buf = b
	}
	if !c.launch.golang.is.Load() && !c.Supply.known(module) {
		if err := c.Supply.prepare(ctx, c.e.library.ofCall(module)); err != nil {
			return err
		}
	}
	if p.program == "" {
		p.program = module
	}
	p.public = c.root.launch.callsAhead && !bytes.Contains(b, []byte("Secret"))
	err := s.request(ctx, p, wire.Call, b)
	if err != nil {
		c.root.stream.Kick() // what was queued for it
	}
	return err
}

// request sends b to handle of c, in one frame or in parts, once c has room for it.
func (s *calls) request(ctx context.Context, p *Pending, handle wire.Handle, b []byte) error {
	c := s.c
	e := c.e
	if err := s.roomy(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	for {
		if c.err != nil {
			defer e.mu.Unlock()
			return c.lostAs()
		}
		if (handle == wire.Call || handle == wire.Session) && c.life.closedLocked() {
			e.mu.Unlock()
			return ErrClosed
		}
		size := len(b)
		if handle == wire.Session { // which isn't kept until it has ended
			size = 0
		}
		h, err := e.router.Request(c.id, size, p)
		if err == nil {
			p.handle, p.open = h, true
			if p.queued = handle == wire.Call || handle == wire.Session; p.queued {
				s.calling++
			}
			e.router.Expect(h, p.limit(handle), !p.answer.stream && handle != wire.Open)
			s.open.add(p)
			p.out.admitLocked()
			break
		}
		if !errors.Is(err, route.ErrFull) {
			defer e.mu.Unlock()
			return c.lostAs()
		}
		if err := s.waitLocked(ctx, wire.Call); err != nil {
			e.mu.Unlock()
			return err
		}
	}
	c.figures.count.calls++
	f := wire.Frame{Dst: c.id, Handle: handle, Reply: p.handle, Payload: b, Public: p.public}
	if len(b) <= wire.MaxPayload {
		p.sent = true
		e.traffic.putLocked(c, &f)
		e.flush(c)
		return nil
	}
	e.mu.Unlock()
	return s.sendParts(ctx, p, &f)
}

// limit returns the largest size of a value of p's answer, in bytes.
func (p *Pending) limit(handle wire.Handle) int {
	switch {
	case handle == wire.Ping:
		return oneFrame
	case handle == wire.Open || strings.HasPrefix(p.target, runModule):
		return maxOwn
	}
	return p.c.e.opt.MaxMessage
}

// flush lets Engine.mu go and writes what goes at once to c's stream.
func (e *Engine) flush(c *Context) {
	if len(e.traffic.kicks) == 1 && e.traffic.kicks[0] == c.root.stream {
		e.traffic.kicks = e.traffic.kicks[:0]
		e.mu.Unlock()
		c.root.stream.Flush()
		return
	}
	e.unlock()
}

// sendParts sends a long request, waiting for its window. When ctx ends first, the rest is sent
// nevertheless: half a value can't be taken back.
func (s *calls) sendParts(ctx context.Context, p *Pending, f *wire.Frame) error {
	rest, err := s.parts(ctx, p, f)
	if err == nil {
		p.isSent()
		return nil
	}
	if ctx.Err() == nil {
		return err
	}
	f.Payload = append([]byte(nil), rest...) // the buffer is the caller's
	e := s.c.e
	e.work.jobs.Add(1)
	go func() {
		defer e.work.jobs.Done()
		if _, err := s.parts(e.work.base, p, f); err == nil {
			p.isSent()
		}
	}()
	return nil
}

// errEnded says that a request has got its answer before it was sent.
var errEnded = errors.New("request has ended")

// parts sends frames of f's payload as windows allow, and returns what wasn't sent. Where they are
// request p, and that ends first, the rest is given up.
func (s *calls) parts(ctx context.Context, p *Pending, f *wire.Frame) (rest []byte, err error) {
	c := s.c
	e, flow := c.e, f.Reply
	if f.Handle >= wire.FirstDynamic {
		flow = f.Handle
	}
	for rest = f.Payload; ; {
		part := *f
		part.Payload = rest
		if len(rest) > wire.MaxPayload {
			part.Kind, part.Payload = wire.Part, rest[:wire.MaxPayload]
		}
		if part.Kind == wire.Part || part.Kind == wire.Item {
			err := s.window(ctx, p, flow, len(part.Payload))
			if err == errEnded {
				part.Kind, part.Payload = wire.Part, nil // drops the parts before it
				s.put(&part)
				return nil, nil
			}
			if err != nil {
				return rest, err
			}
		}
		e.mu.Lock()
		if c.err != nil {
			defer e.mu.Unlock()
			return rest, c.lostAs()
		}
		e.traffic.putLocked(c, &part)
		e.unlock()
		rest = rest[len(part.Payload):]
		if part.Kind != wire.Part {
			return nil, nil
		}
	}
}

// window waits until n bytes of a flow to c may be sent. errEnded: p has an answer, so that nothing
// will take them. p may be nil.
func (s *calls) window(ctx context.Context, p *Pending, flow wire.Handle, n int) error {
	c := s.c
	if ctx.Err() != nil {
		return givenUp(ctx, "send to "+c.name)
	}
	e := c.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if p != nil && !p.open {
			return errEnded
		}
		ok, err := e.router.Reserve(c.id, flow, n)
		if errors.Is(err, route.ErrRefused) {
			return errReceiverClosed
		}
		if err != nil {
			return c.lostAs()
		}
		if ok {
			return nil
		}
		if err := s.waitLocked(ctx, flow); err != nil {
			return err
		}
	}
}

// waitLocked lets Engine.mu go until there may be room in a flow, or for calls.
func (s *calls) waitLocked(ctx context.Context, flow wire.Handle) error {
	c := s.c
	room := roomForLocked(c, flow)
	c.e.unlock()
	defer c.e.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return givenUp(ctx, "send to "+c.name)
	}
}

// roomForLocked returns what is closed when there may be room in a flow.
func roomForLocked(c *Context, flow wire.Handle) chan struct{} {
	room := c.Calls.waiting[flow]
	if room == nil {
		room = make(chan struct{})
		c.Calls.waiting[flow] = room
	}
	return room
}

// closeLocked says that p has got its answer, or won't.
func (p *Pending) closeLocked() {
	p.open = false
	p.c.e.traffic.roomLocked(p.c, p.handle) // what is sent of it still is of no use
	if p.queued {
		p.queued = false
		p.c.Calls.calling--
		p.c.life.shutdownLocked()
	}
	p.c.Calls.open.remove(p)
}

func (p *Pending) isSent() {
	e := p.c.e
	e.mu.Lock()
	p.sent = true
	if p.cancel {
		p.sendCancelLocked()
	}
	e.unlock()
}

// lostAs is the error for who used c. Engine.mu is held.
func (c *Context) lostAs() error {
	if c.err == nil {
		return &report.LostError{Context: c.name, Hop: c.name, Reason: "gone"}
	}
	return c.err
}

// deliverLocked takes an answer, behind what the call has written.
func (p *Pending) deliverLocked(e *Engine, c *Context, a *route.Action) {
	f := &a.Frame
	payload := f.Payload
	if !a.Owned {
		payload = append([]byte(nil), payload...)
	}
	if f.Kind != wire.Item {
		if p.final && c != nil {
			c.life.leavesLocked()
		}
		p.closeLocked()
	}
	if c == nil {
		p.c.Calls.failLocked(p, p.c.lostAs())
		return
	}
	if c.figures.count.phases.Result == 0 {
		c.figures.count.phases.Result = time.Since(c.figures.began)
	}
	ev := event{pending: p, kind: f.Kind, data: payload, cost: a.Cost, kept: a.Kept}
	if c.outbox.busy || c.outbox.records.Works() { // also behind records that are being handled
		c.outbox.queueLocked(ev)
		return
	}
	if cost := p.answer.take(ev); cost > 0 {
		e.traffic.applyLocked(e.router.Consumed(c.id, f.Handle, cost, nil))
	}
}

// failLocked ends the call p of c, which is gone. The end comes behind the output so far, unless
// the caller doesn't take that.
func (s *calls) failLocked(p *Pending, err error) {
	c := s.c
	if !c.outbox.busy {
		p.answer.finish(wire.Dead, nil, err)
		return
	}
	c.outbox.queueLocked(event{pending: p, kind: wire.Dead, err: err})
	time.AfterFunc(outputPatience, func() { p.answer.finish(wire.Dead, nil, err) })
}
