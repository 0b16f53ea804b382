package engine

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/forward"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/stream"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// A Front is the program that an engine is context 0 with: docs/protocol, section 11. What the
// program sends to contexts passes the engine as it is, and so do their answers.
type Front struct {
	e      *Engine
	stream *stream.Stream // to the program. Static

	contexts map[wire.ContextID]*fronted // protected by Engine.mu
	taken    int                         // frames of the program's for contexts; as above
}

// fronted is a context that the program has made. Protected by Engine.mu.
type fronted struct {
	id     wire.ContextID
	reply  wire.Handle              // of the program, for connect; 0: answered
	c      *Context                 // nil until it is started
	begun  chan struct{}            // closed when c is set, or there won't be one
	target string                   // as the program wrote it
	killed error                    // set by Kill if c was nil; the program was told
	jobs   []func()                 // what has to be done before what came behind it
	busy   bool                     // jobs are done by a goroutine
	calls  map[wire.Handle]struct{} // replies that the program waits for
	ends   wire.Handle              // the call of calls that ran when Close came; 0: none
	ended  chan struct{}            // closed when ends is answered; nil before Close
	// passed counts bytes that the program was sent since its stream was last nearly empty.
	passed int
}

// Bounds of what waits for a program that doesn't read, in bytes, of one context.
const (
	frontNearlyEmpty = 64 << 10
	frontMost        = 64 << 20 // then it isn't the windows that the program gave
)

// Attach makes the program behind s part of context 0. It is called once, before any context is
// made. The caller reads s, and hands over what comes by Take.
func (e *Engine) Attach(s *stream.Stream) *Front {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.router.Share()
	e.front = &Front{e: e, stream: s, contexts: map[wire.ContextID]*fronted{}}
	return e.front
}

// writeAfter limits the frames that are written together, of those that were read at once: a
// context begins with the first while the engine reads on.
const writeAfter = 64

// Take takes a frame of the program's for a context. It doesn't block, and keeps nothing of f. With
// more the caller has another frame. left says that Take or Write has to be called for that one.
func (f *Front) Take(fr *wire.Frame, more bool) (left bool) {
	fr.Src, fr.Auth = 0, 0
	e := f.e
	e.mu.Lock()
	f.taken++
	left = more && f.taken%writeAfter != 0
	defer e.unlockBefore(left)
	if x := f.contexts[fr.Dst]; x != nil && x.busy {
		g := *fr
		g.Payload = append([]byte(nil), fr.Payload...)
		x.jobs = append(x.jobs, func() {
			e.mu.Lock()
			f.takeLocked(&g)
			e.unlock()
		})
		return left
	}
	f.takeLocked(fr)
	return left
}

// public reports whether a call of the program's may go ahead of a login's stdin: its arguments may
// not, unless the options say so. The names in it are no more than those of modules, which may.
func public(c *Context, fr *wire.Frame) bool {
	name, args, found := bytes.Cut(fr.Payload, []byte{0})
	if fr.Handle != wire.Call || fr.Kind != wire.Data || !found || len(name) > maxPublicName {
		return false
	}
	return len(args) == 0 || c.root.launch.callsAhead && !bytes.Contains(args, []byte("Secret"))
}

// maxPublicName is the longest name of a function that goes ahead, in bytes.
const maxPublicName = 512

// precedes reports whether f is a call that a program makes before its first one, so that nothing
// waits for its answer. f may be nil.
func (f *Front) precedes(fr *wire.Frame) bool { return f != nil && fr.Reply == 0 }

// preparing reports whether modules are being looked for that a call of the program's in c, or
// behind it, needs. f may be nil.
func (f *Front) preparing(c *Context) bool {
	if f == nil {
		return false
	}
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	for _, x := range f.contexts {
		if x.busy && x.c != nil && x.c.root == c {
			return true
		}
	}
	return false
}

// Write has what Take has left written.
func (f *Front) Write() {
	f.e.mu.Lock()
	f.e.unlock()
}

func (f *Front) takeLocked(fr *wire.Frame) {
	e := f.e
	ok, actions := e.router.FromProgram(fr, nil)
	e.traffic.applyLocked(actions)
	c := e.tree.contexts[fr.Dst]
	if x := f.contexts[fr.Dst]; x != nil && fr.Handle == wire.Call && fr.Reply != 0 {
		if e.router.Waits(fr.Reply) {
			x.calls[fr.Reply] = struct{}{}
		} else { // refused, or given up before it was sent whole
			x.answeredLocked(fr.Reply)
		}
	}
	if !ok || c == nil {
		return
	}
	if fr.Handle == wire.Call {
		c.figures.count.calls++
	}
	fr.Public = public(c, fr)
	e.traffic.putLocked(c, fr)
}

// Answer answers a request of the program's to the engine. kind is Data or Error.
func (f *Front) Answer(reply wire.Handle, kind wire.Kind, value any) {
	f.e.mu.Lock()
	defer f.e.unlock()
	f.answerLocked(reply, kind, value)
}

func (f *Front) answerLocked(reply wire.Handle, kind wire.Kind, value any) {
	if reply != 0 {
		f.sendLocked(&wire.Frame{Kind: kind, Handle: reply, Payload: picklePlain(value)})
	}
}

// Ask sends the program a WANT. The answer comes to reply, a handle that the caller has made.
func (f *Front) Ask(reply wire.Handle, payload []byte) {
	f.e.mu.Lock()
	defer f.e.unlock()
	f.sendLocked(&wire.Frame{Handle: wire.Want, Reply: reply, Payload: payload})
}

// sendLocked queues a frame for the program.
func (f *Front) sendLocked(fr *wire.Frame) {
	f.stream.Put(fr)
	f.e.traffic.kickLocked(f.stream)
}

// picklePlain pickles what is made here, of plain values.
func picklePlain(v any) []byte {
	b, err := pickle.Append(nil, v, pickle.Proto4)
	if err != nil {
		panic(err) // it is ours
	}
	return b
}

// takesLocked reports whether what comes for handle from c is for the program: output and records
// of the contexts that the program has made. Those of hops on the way are the engine's: the program
// doesn't know the hops, and gives them no credit.
func (f *Front) takesLocked(c *Context, handle wire.Handle) bool {
	if f == nil || f.contexts[c.id] == nil {
		return false
	}
	return handle == wire.Stdout || handle == wire.Stderr || handle == wire.Log
}

// passLocked passes a frame of context id on to the program. Of a context that sends more than the
// program has given it room for, nothing more is taken.
func (f *Front) passLocked(id wire.ContextID, fr *wire.Frame) {
	waiting := f.stream.Queued()
	if y := f.contexts[fr.Src]; y != nil && fr.Kind != wire.Item && fr.Kind != wire.Part {
		y.answeredLocked(fr.Handle)
	}
	x := f.contexts[id]
	if x != nil {
		if waiting < frontNearlyEmpty {
			x.passed = 0
		}
		x.passed += fr.Size()
		switch {
		case fr.Handle == wire.Log && x.passed > maxLog:
			return
		case x.passed > frontMost && x.c != nil:
			f.e.traffic.convictLocked(x.c, report.CodeUnread, "it sends more than the program reads")
			return
		}
	}
	f.sendLocked(fr)
}

// Connect makes context id of the program, of what target and o say; via is 0 or a context of the
// program's. DATA for reply, a dict, says that it is up; LOST and then DEAD that it won't be. It
// doesn't block. hop, unless it is nil, returns the context to connect by, and may block.
func (f *Front) Connect(
	id, via wire.ContextID, reply wire.Handle, target string, o ConnectOptions,
	hop func() (*Context, error),
) {
	e := f.e
	e.mu.Lock()
	defer e.unlock()
	if err := e.router.Claim(id); err != nil {
		f.answerLocked(reply, wire.Error, failureDict(err))
		return
	}
	before := f.contexts[via]
	x := &fronted{
		id: id, reply: reply, target: target, begun: make(chan struct{}),
		calls: map[wire.Handle]struct{}{},
	}
	f.contexts[id] = x
	f.doLocked(x, func() {
		err := error(nil)
		if before != nil {
			<-before.begun
			o.Via = before.c
		}
		if via != 0 && (before == nil || before.c == nil) {
			err = fmt.Errorf("connect %s: no context %d to connect by", target, via)
		}
		if err == nil {
			err = f.killed(x)
		}
		if err == nil && hop != nil {
			o.Via, err = hop()
		}
		o.ID = id
		c := (*Context)(nil)
		if err == nil {
			c, err = e.Start(target, o)
		}
		e.mu.Lock()
		if err != nil {
			e.router.Unclaim(id)
			f.lostLocked(id, err)
		} else if x.killed != nil {
			e.tree.loseLocked(c, x.killed, true)
		}
		close(x.begun)
		e.unlock()
	})
}

// killed returns why the program has killed x before x was started, nil if it hasn't.
func (f *Front) killed(x *fronted) error {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return x.killed
}

// startedLocked tells that a context with an id of the program's has been made.
func (f *Front) startedLocked(c *Context) {
	if x := f.contexts[c.id]; x != nil {
		x.c = c
	}
}

// Prepare sends context id what module needs, or text, which is the source of a program of that
// name, before what comes behind. It doesn't block.
func (f *Front) Prepare(id wire.ContextID, module string, text []byte) {
	e := f.e
	p := e.library.ofCall(module)
	if text != nil {
		key := fmt.Sprintf("text %x", sha256.Sum256(text))
		p = program{Program: forward.Program{Name: module, Text: append([]byte(nil), text...)}, key: key}
	}
	e.mu.Lock()
	defer e.unlock()
	x := f.contexts[id]
	if x == nil {
		return
	}
	f.doLocked(x, func() {
		e.mu.Lock()
		c := x.c
		e.unlock()
		if c == nil || c.Supply.known(p.key) {
			return
		}
		if err := c.Supply.prepare(e.work.base, p); err != nil && c.Err() == nil {
			e.log.Warn("modules not sent", "context", c.name, "error", err)
		}
		c.root.stream.Kick()
	})
}

// Close has context id end once the call that runs there has; calls that wait their turn fail. LOST
// says that it has ended.
func (f *Front) Close(id wire.ContextID) {
	e := f.e
	e.mu.Lock()
	defer e.unlock()
	x := f.contexts[id]
	if x == nil {
		return
	}
	f.doLocked(x, func() {
		e.mu.Lock()
		c := x.c
		if c != nil && x.ended == nil {
			x.ended = make(chan struct{})
			x.runsLocked()
		}
		e.unlock()
		if c != nil {
			c.Release()
		}
	})
}

// runsLocked notes the call that runs: calls run in the order of their reply handles.
func (x *fronted) runsLocked() {
	if len(x.calls) == 0 {
		close(x.ended)
		return
	}
	x.ends = slices.Min(slices.Collect(maps.Keys(x.calls)))
}

// answeredLocked notes that a call has its answer.
func (x *fronted) answeredLocked(reply wire.Handle) {
	delete(x.calls, reply)
	if reply != 0 && reply == x.ends {
		x.ends = 0
		close(x.ended)
	}
}

// finish waits for the call that c may finish before it ends, or for the end of c. f may be nil.
func (f *Front) finish(c *Context) {
	if f == nil {
		return
	}
	f.e.mu.Lock()
	ended := (chan struct{})(nil)
	if x := f.contexts[c.id]; x != nil {
		ended = x.ended
	}
	f.e.mu.Unlock()
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-c.done:
	case <-f.e.work.base.Done():
	}
}

// Permit lets context from send values to receiver h of context to, or of the program's, as soon as
// both contexts have begun, and before what comes behind for from. It doesn't block.
func (f *Front) Permit(from, to wire.ContextID, h wire.Handle) {
	e := f.e
	e.mu.Lock()
	defer e.unlock()
	x, y := f.contexts[from], f.contexts[to]
	if x == nil {
		return
	}
	f.doLocked(x, func() {
		if y != nil {
			<-y.begun
		}
		e.mu.Lock()
		defer e.unlock()
		if err := e.router.Permit(from, to, h); err != nil {
			e.log.Debug("not permitted", "error", err)
		}
	})
}

// Kill ends context id now: what runs there, too, and though its connect isn't done or begun.
func (f *Front) Kill(id wire.ContextID, why string) {
	e := f.e
	e.mu.Lock()
	defer e.unlock()
	x := f.contexts[id]
	if x == nil {
		return
	}
	err := &report.LostError{Reason: "killed: " + why}
	if x.c != nil {
		e.tree.loseLocked(x.c, err, true)
		return
	}
	err.Context, err.Hop = x.target, x.target
	x.killed = err // for the job of Connect, which may be at work
	f.lostLocked(id, err)
}

// doLocked has job done, behind those before it. If there are none, a goroutine is begun.
func (f *Front) doLocked(x *fronted, job func()) {
	x.jobs = append(x.jobs, job)
	if x.busy {
		return
	}
	x.busy = true
	e := f.e
	e.work.jobs.Go(func() {
		for {
			e.mu.Lock()
			if len(x.jobs) == 0 {
				x.busy = false
				e.unlock()
				return
			}
			job := x.jobs[0]
			x.jobs[0] = nil
			x.jobs = x.jobs[1:]
			e.unlock()
			job()
		}
	})
}

// upLocked tells the program that c is up.
func (f *Front) upLocked(c *Context) {
	x := f.contexts[c.id]
	if x == nil || x.reply == 0 {
		return
	}
	i := c.hello.info
	f.answerLocked(x.reply, wire.Data, map[string]any{
		"version":        pyvalue.Tuple{i.Version[0], i.Version[1], i.Version[2]},
		"implementation": i.Implementation, "platform": i.Platform, "uid": i.UID, "hostname": i.Hostname,
		"pid": i.PID, "executable": i.Executable, "name": c.name,
	})
	x.reply = 0
}

// lostLocked tells the program why a context is gone, before what it was asked is answered.
func (f *Front) lostLocked(id wire.ContextID, err error) {
	x := f.contexts[id]
	if x == nil {
		return
	}
	delete(f.contexts, id)
	payload := append(wire.AppendU32(nil, id), picklePlain(failureDict(err))...)
	f.sendLocked(&wire.Frame{Src: id, Handle: wire.Lost, Payload: payload})
	if x.reply != 0 {
		f.sendLocked(&wire.Frame{Kind: wire.Dead, Src: id, Handle: x.reply, Payload: []byte("gone")})
	}
}

// failureDict is an error for the program: what a connect.Error or LostError has, and its text.
func failureDict(err error) map[string]any {
	d := map[string]any{"message": printable.Line(err.Error())}
	failed, lost := (*connect.Error)(nil), (*report.LostError)(nil)
	switch {
	case errors.As(err, &failed):
		d["kind"], d["hop"] = failed.Kind.Error(), failed.Hop
		d["phase"], d["method"] = failed.Phase, failed.Method
		d["status"], d["text"], d["hint"] = failed.Status, failed.Text, failed.Hint
	case errors.As(err, &lost):
		d["why"], d["hop"], d["text"], d["code"] = lost.Reason, lost.Hop, lost.Text, lost.Code
	case errors.Is(err, ErrClosed):
		d["closed"] = true
	}
	return d
}
