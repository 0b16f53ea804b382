package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// maxText bounds each text of a HELLO, in bytes.
const maxText = 255

// limits of what is decoded; the size is bounded by Options.MaxMessage already.
var limits = pickle.Limits{}

// hello is a context's first message.
type hello struct {
	Version        []any  `py:"version"`
	Implementation string `py:"implementation"`
	Platform       string `py:"platform"`
	UID            int    `py:"uid"`
	Hostname       string `py:"hostname"`
	PID            int    `py:"pid"`
	Executable     string `py:"executable"`
	Pickle         int    `py:"pickle"`
	Machine        string `py:"machine"`
	Functions      string `py:"functions"`
}

// parseHello reads a HELLO.
func parseHello(b []byte) (*hello, error) {
	h := &hello{}
	if len(b) > maxHello {
		return nil, fmt.Errorf("read HELLO: got %d bytes, want at most %d", len(b), maxHello)
	}
	if err := pickle.Unmarshal(b, helloLimits, h); err != nil {
		return nil, fmt.Errorf("read HELLO: %w", err)
	}
	if len(h.Version) < 3 {
		return nil, fmt.Errorf("read HELLO: got a version of %d parts, want 3", len(h.Version))
	}
	return h, nil
}

// helloLocked has a HELLO read and taken. The frame is valid until then.
func (t *traffic) helloLocked(c *Context, f *wire.Frame) {
	e := t.e
	payload := f.Payload
	t.afterLocked(func() {
		h, err := parseHello(payload)
		e.mu.Lock()
		defer e.unlock()
		switch {
		case c.err != nil:
		case err != nil:
			bad := methods.Failure{What: methods.WhatForeign, Text: "bad HELLO"}
			e.tree.loseLocked(c, failure(c, bad), true)
		default:
			t.upLocked(c, h)
		}
	})
}

// upLocked takes a context's first message.
func (t *traffic) upLocked(c *Context, h *hello) {
	e := t.e
	c.hello.info = report.Info{Implementation: oneLine(h.Implementation),
		Platform: oneLine(h.Platform), UID: h.UID, Hostname: oneLine(h.Hostname), PID: h.PID,
		Executable: oneLine(h.Executable)}
	for i := range c.hello.info.Version {
		n, _ := h.Version[i].(int64)
		c.hello.info.Version[i] = int(n)
	}
	if c.hello.mode = pickle.Proto4; !c.launch.golang.is.Load() {
		c.hello.mode = modeOf(c.hello.info.Version[0], h.Pickle)
	}
	c.hello.info.Machine, c.hello.info.Functions = oneLine(h.Machine), oneLine(h.Functions)
	c.hello.up = true
	// which hold what only its start needed
	c.hopStart.answerer, c.hopStart.talk, c.launch.prompt, c.launch.secrets = nil, nil, nil, nil
	c.figures.count.phases.Hello = time.Since(c.figures.began)
	if c.launch.proc != nil {
		c.launch.proc.Connected()
	}
	if c.hopStart.connect != 0 {
		t.applyLocked(e.router.Forget(c.hopStart.connect, nil))
	}
	c.e.audit.upLocked(c)
	close(c.hello.ready)
	if e.front != nil {
		e.front.upLocked(c)
	}
	c.life.shutdownLocked()
}

// modeOf returns the encoding of values for an interpreter.
func modeOf(version, protocol int) pickle.Mode {
	switch {
	case version < 3:
		return pickle.Proto2
	case protocol >= 4:
		return pickle.Proto4
	}
	return pickle.Proto3
}

func bounded(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// oneLine returns what a context says for people: short, on one line and safe for a terminal.
func oneLine(s string) string { return bounded(printable.Line(bounded(s))) }

// tree is the registry of an engine's contexts. Contexts are added by starts.addLocked, and go by
// goneLocked, once the router has dropped them. Its fields are protected by Engine.mu.
type tree struct {
	e        *Engine
	contexts map[wire.ContextID]*Context
	shared   map[string]*Context // usable as a hop, by what made them
	beating  bool                // beats runs
	closed   bool
	empty    chan struct{} // closed when closed and no context is left
}

// lose takes c, and all behind it, out of the tree because of err. With kill its process is ended
// at once.
func (tr *tree) lose(c *Context, err error, kill bool) {
	e := tr.e
	e.mu.Lock()
	tr.loseLocked(c, err, kill)
	e.unlock()
}

func (tr *tree) loseLocked(c *Context, err error, kill bool) {
	e := tr.e
	if c == nil || c.err != nil {
		return
	}
	if l := (*report.LostError)(nil); errors.As(err, &l) && l.Hop == "" {
		l.Context, l.Hop = c.name, c.name
	}
	err = e.dialogues.hide(err)
	// else the hop hasn't heard of it
	if c.parent != nil && kill && c.parent.err == nil && c.hopStart.connect != 0 {
		e.traffic.putLocked(c.parent, &wire.Frame{Dst: c.parent.id, Handle: wire.Kill,
			Payload: wire.AppendU32(nil, c.id)})
	}
	c.err, c.launch.killNow = err, kill
	e.starts.refused.note(c.launch.place, err)
	if c.launch.golang.later && errors.Is(err, connect.ErrNoPython) {
		e.starts.pythonless.Store(c.launch.key, true)
	}
	e.traffic.applyLocked(e.router.Lost(c.id, err.Error(), nil))
}

// goneLocked is the end of c as the tree sees it. The router has dropped it; what it was asked is
// answered next.
func (tr *tree) goneLocked(c *Context, why string) {
	e := tr.e
	if c.err == nil {
		c.err = tr.reasonLocked(c, why)
	}
	delete(tr.contexts, c.id)
	if tr.shared[c.launch.key] == c {
		delete(tr.shared, c.launch.key)
	}
	c.e.audit.goneLocked(c)
	close(c.done)
	if e.front != nil {
		e.front.lostLocked(c.id, c.err)
	}
	if c.launch.stopAsking != nil {
		c.launch.stopAsking()
	}
	c.life.closeLocked()
	c.hopStart.gate, c.Calls.open = nil, nil
	if c.Supply.forwarding {
		e.work.jobs.Add(1)
		go func() {
			defer e.work.jobs.Done()
			e.library.forward.Gone(c.id)
		}()
	}
	for flow := range c.Calls.rooms {
		e.traffic.roomLocked(c, flow)
	}
	if c.stream != nil {
		// Its bytes are of no use any more. Closing blocks for nothing, but it is I/O.
		s, err := c.stream, c.err
		e.work.jobs.Add(1)
		go func() {
			defer e.work.jobs.Done()
			s.Close(err)
		}()
	}
	tr.loseCarriedLocked(c)
	for _, p := range []*Context{c.parent, c.launch.carrier, c.launch.beside} {
		if p != nil {
			p.life.children--
			p.life.releaseLocked()
		}
	}
	tr.emptyLocked()
}

// emptyLocked tells Close when the last context is gone. Losing one can lose its parent, so it may
// come twice.
func (tr *tree) emptyLocked() {
	if !tr.closed || len(tr.contexts) > 0 {
		return
	}
	select {
	case <-tr.empty:
	default:
		close(tr.empty)
	}
}

// reasonLocked returns the error of c if the loss had no reason yet. If a context before c is gone,
// c has its error. Else why is the report of a hop.
func (tr *tree) reasonLocked(c *Context, why string) error {
	for p := c.parent; p != nil; p = p.parent {
		if l := (*report.LostError)(nil); errors.As(p.err, &l) {
			m := *l
			m.Context = c.name
			return &m
		}
		if p.err != nil {
			return p.err
		}
	}
	if c.life.ending {
		return ErrClosed
	}
	l := &report.LostError{Context: c.name, Hop: c.name}
	l.Reason, l.Text = tr.e.dialogues.reported(why)
	if strings.HasPrefix(l.Reason, "heard nothing from it ") { // a hop's words
		l.Code = report.CodeSilent
	}
	return l
}

// reported makes of what a hop says of a loss the reason, its first line, and the last lines of the
// connection. A secret may stand in both, so lines are told apart behind the mask, which gets no
// more than it can read quickly.
func (d *dialogues) reported(said string) (why, text string) {
	why, _, _ = strings.Cut(d.mask.Hide(said[:min(len(said), methods.TextLimit-1)]), "\n")
	from := max(0, len(said)-methods.TextLimit)
	text = d.mask.Hide(said[from:])
	if from <= strings.IndexByte(said+"\n", '\n') {
		_, text, _ = strings.Cut(text, "\n")
	}
	return oneLine(why), printable.Text(methods.PlainWords(text))
}

// life knows who needs a context, and ends it when nothing does: it refuses further calls
// (closing), waits for those that run, sends SHUTDOWN (told, leaving), and has the context killed
// if that doesn't help. Its fields are protected by Engine.mu.
type life struct {
	c        *Context
	owned    bool // a caller holds it, besides its children
	children int
	// closing is closed by Close. A caller that shares the context anew opens it again.
	closing chan struct{}
	ending  bool          // it is to end: SHUTDOWN was sent, or will be once its calls have ended
	told    bool          // SHUTDOWN was sent
	leaving chan struct{} // closed when told
}

// Close gives c up: calls in it that were made before are finished, later ones refused. It ends
// when no context is behind it any more; Close then returns once it is gone.
func (c *Context) Close() error {
	if c.Release() {
		<-c.done
	}
	return nil
}

// Release is Close without the wait. It tells whether c ends.
func (c *Context) Release() (ends bool) {
	e := c.e
	e.mu.Lock()
	defer e.unlock()
	c.life.owned = false
	c.life.closeLocked()
	c.life.releaseLocked()
	return c.life.ending || c.err != nil || c.life.dismissCompanionLocked()
}

// closeLocked has c refuse calls from now on.
func (l *life) closeLocked() {
	if !l.closedLocked() {
		close(l.closing)
	}
}

func (l *life) closedLocked() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// releaseLocked ends c if no caller or context needs it.
func (l *life) releaseLocked() {
	c, e := l.c, l.c.e
	if l.dismissCompanionLocked() {
		return
	}
	if l.owned || l.children > 0 || l.ending || c.err != nil {
		return
	}
	l.ending = true
	l.closeLocked()
	if e.tree.shared[c.launch.key] == c {
		delete(e.tree.shared, c.launch.key)
	}
	if !c.hello.up && c.Calls.calling == 0 { // it has run nothing that would have to end in order
		e.tree.loseLocked(c, ErrClosed, true)
		return
	}
	l.shutdownLocked()
	e.work.jobs.Go(func() {
		ends := l.endsWithin(l.leaving, shutdownPatience)
		e.front.finish(c)
		if !ends || !l.endsWithin(nil, shutdownPatience) {
			e.tree.lose(c, ErrClosed, true)
		}
	})
}

// endsWithin waits for the end of c, or for what comes before it. False: there was neither in time.
func (l *life) endsWithin(before <-chan struct{}, d time.Duration) bool {
	c := l.c
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-before:
	case <-c.done:
	case <-c.e.work.base.Done():
	case <-t.C:
		return false
	}
	return true
}

// shutdownLocked sends SHUTDOWN to a context that is to end, once its calls have ended.
func (l *life) shutdownLocked() {
	c := l.c
	if l.ending && c.hello.up && c.Calls.calling == 0 {
		l.dismissLocked()
	}
}

// leavesLocked notes that c ends by itself, because its last session has.
func (l *life) leavesLocked() {
	c := l.c
	if l.told || c.err != nil {
		return
	}
	l.told = true
	close(l.leaving)
	if l.ending { // and so is watched
		return
	}
	l.ending = true
	l.closeLocked()
	c.e.work.jobs.Go(func() {
		if !l.endsWithin(nil, shutdownPatience) {
			c.e.tree.lose(c, ErrClosed, true)
		}
	})
}

// dismissLocked sends SHUTDOWN, once.
func (l *life) dismissLocked() {
	c := l.c
	if l.told || c.err != nil {
		return
	}
	l.told = true
	close(l.leaving)
	c.e.traffic.putLocked(c, &wire.Frame{Dst: c.id, Handle: wire.Shutdown})
}

// farewellLocked tells c to end. Unlike releaseLocked it doesn't wait for calls, nor for those
// behind it, which were told before: a hop that has been told waits for its own children.
func (l *life) farewellLocked() {
	c := l.c
	l.ending = true
	l.closeLocked()
	if c.hello.up {
		l.dismissLocked()
	} else { // it has run nothing that would have to end in order
		c.e.tree.loseLocked(c, ErrClosed, true)
	}
}

// letGo waits until no context is left, d at most, and then ends those next to the engine for which
// which holds.
func (tr *tree) letGo(d time.Duration, which func(*Context) bool) {
	e := tr.e
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-tr.empty:
	case <-t.C:
		e.mu.Lock()
		for _, c := range sortedContexts(tr.contexts) {
			if c.parent == nil && which(c) {
				tr.loseLocked(c, ErrClosed, true)
			}
		}
		e.unlock()
	}
}

// Close ends all contexts and returns when no process is left here.
func (e *Engine) Close() error {
	e.mu.Lock()
	if !e.tree.closed {
		e.tree.closed = true
		e.tree.emptyLocked()
		for _, c := range slices.Backward(sortedContexts(e.tree.contexts)) {
			c.life.owned = false
			c.life.farewellLocked()
		}
	}
	e.unlock()
	e.tree.letGo(farewell, func(c *Context) bool { return c.launch.alone })
	e.tree.letGo(closePatience, func(*Context) bool { return true })
	e.work.stop()
	e.work.jobs.Wait()
	if err := e.library.forward.Save(); err != nil {
		e.log.Info(err.Error())
	}
	err := errors.Join(e.dialogues.askpass.Close(), e.starts.proxy.Close())
	drained := make(chan struct{})
	go func() {
		e.work.drains.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainPatience): // a Writer doesn't take the contexts' output
	}
	return errors.Join(err, e.audit.auditor.close())
}
