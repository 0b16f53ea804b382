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
func (e *Engine) helloLocked(c *Context, f *wire.Frame) {
	payload := f.Payload
	e.afterLocked(func() {
		h, err := parseHello(payload)
		e.mu.Lock()
		defer e.unlock()
		switch {
		case c.err != nil:
		case err != nil:
			e.loseLocked(c, failure(c, methods.Failure{What: methods.WhatForeign, Text: "bad HELLO"}), true)
		default:
			e.upLocked(c, h)
		}
	})
}

// upLocked takes a context's first message.
func (e *Engine) upLocked(c *Context, h *hello) {
	c.info = report.Info{Implementation: oneLine(h.Implementation), Platform: oneLine(h.Platform),
		UID:      h.UID,
		Hostname: oneLine(h.Hostname), PID: h.PID, Executable: oneLine(h.Executable)}
	for i := range c.info.Version {
		n, _ := h.Version[i].(int64)
		c.info.Version[i] = int(n)
	}
	if c.mode = pickle.Proto4; !c.golang.is.Load() {
		c.mode = modeOf(c.info.Version[0], h.Pickle)
	}
	c.info.Machine, c.info.Functions = oneLine(h.Machine), oneLine(h.Functions)
	c.up = true
	// which hold what only its start needed
	c.answerer, c.talk, c.prompt, c.secrets = nil, nil, nil, nil
	c.count.phases.Hello = time.Since(c.began)
	if c.proc != nil {
		c.proc.Connected()
	}
	if c.connect != 0 {
		e.applyLocked(e.router.Forget(c.connect, nil))
	}
	c.auditUpLocked()
	close(c.ready)
	if e.front != nil {
		e.front.upLocked(c)
	}
	c.shutdownLocked()
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

// lose takes c, and all behind it, out of the tree because of err. With kill its process is ended
// at once.
func (e *Engine) lose(c *Context, err error, kill bool) {
	e.mu.Lock()
	e.loseLocked(c, err, kill)
	e.unlock()
}

func (e *Engine) loseLocked(c *Context, err error, kill bool) {
	if c == nil || c.err != nil {
		return
	}
	if l := (*report.LostError)(nil); errors.As(err, &l) && l.Hop == "" {
		l.Context, l.Hop = c.name, c.name
	}
	err = e.hide(err)
	// else the hop hasn't heard of it
	if c.parent != nil && kill && c.parent.err == nil && c.connect != 0 {
		e.putLocked(c.parent, &wire.Frame{Dst: c.parent.id, Handle: wire.Kill,
			Payload: wire.AppendU32(nil, c.id)})
	}
	c.err, c.killNow = err, kill
	e.refused.note(c.place, err)
	if c.golang.later && errors.Is(err, connect.ErrNoPython) {
		e.pythonless.Store(c.key, true)
	}
	e.applyLocked(e.router.Lost(c.id, err.Error(), nil))
}

// goneLocked is the end of c as the tree sees it. The router has dropped it; what it was asked is
// answered next.
func (e *Engine) goneLocked(c *Context, why string) {
	if c.err == nil {
		c.err = e.reasonLocked(c, why)
	}
	delete(e.contexts, c.id)
	if e.shared[c.key] == c {
		delete(e.shared, c.key)
	}
	c.auditGoneLocked()
	close(c.done)
	if e.front != nil {
		e.front.lostLocked(c.id, c.err)
	}
	if c.stopAsking != nil {
		c.stopAsking()
	}
	c.closeLocked()
	c.gate = nil
	c.open.clear()
	if c.forwarding {
		e.jobs.Add(1)
		go func() {
			defer e.jobs.Done()
			e.forward.Gone(c.id)
		}()
	}
	for flow := range c.rooms {
		e.roomLocked(c, flow)
	}
	if c.stream != nil {
		// Its bytes are of no use any more. Closing blocks for nothing, but it is I/O.
		s, err := c.stream, c.err
		e.jobs.Add(1)
		go func() {
			defer e.jobs.Done()
			s.Close(err)
		}()
	}
	e.loseCarriedLocked(c)
	for _, p := range []*Context{c.parent, c.carrier, c.beside} {
		if p != nil {
			p.children--
			e.releaseLocked(p)
		}
	}
	e.emptyLocked()
}

// emptyLocked tells Close when the last context is gone. Losing one can lose its parent, so it may
// come twice.
func (e *Engine) emptyLocked() {
	if !e.closed || len(e.contexts) > 0 {
		return
	}
	select {
	case <-e.empty:
	default:
		close(e.empty)
	}
}

// reasonLocked returns the error of c if the loss had no reason yet. If a context before c is gone,
// c has its error. Else why is the report of a hop.
func (e *Engine) reasonLocked(c *Context, why string) error {
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
	if c.ending {
		return ErrClosed
	}
	l := &report.LostError{Context: c.name, Hop: c.name}
	l.Reason, l.Text = e.reported(why)
	if strings.HasPrefix(l.Reason, "heard nothing from it ") { // a hop's words
		l.Code = report.CodeSilent
	}
	return l
}

// reported makes of what a hop says of a loss the reason, its first line, and the last lines of the
// connection. A secret may stand in both, so lines are told apart behind the mask, which gets no
// more than it can read quickly.
func (e *Engine) reported(said string) (why, text string) {
	why, _, _ = strings.Cut(e.mask.Hide(said[:min(len(said), methods.TextLimit-1)]), "\n")
	from := max(0, len(said)-methods.TextLimit)
	text = e.mask.Hide(said[from:])
	if from <= strings.IndexByte(said+"\n", '\n') {
		_, text, _ = strings.Cut(text, "\n")
	}
	return oneLine(why), printable.Text(methods.PlainWords(text))
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
	c.owned = false
	c.closeLocked()
	e.releaseLocked(c)
	return c.ending || c.err != nil || e.dismissCompanionLocked(c)
}

// closeLocked has c refuse calls from now on.
func (c *Context) closeLocked() {
	if !c.closedLocked() {
		close(c.closing)
	}
}

func (c *Context) closedLocked() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// releaseLocked ends c if no caller or context needs it.
func (e *Engine) releaseLocked(c *Context) {
	if e.dismissCompanionLocked(c) {
		return
	}
	if c.owned || c.children > 0 || c.ending || c.err != nil {
		return
	}
	c.ending = true
	c.closeLocked()
	if e.shared[c.key] == c {
		delete(e.shared, c.key)
	}
	if !c.up && c.calling == 0 { // it has run nothing that would have to end in order
		e.loseLocked(c, ErrClosed, true)
		return
	}
	c.shutdownLocked()
	e.jobs.Go(func() {
		ends := c.endsWithin(c.leaving, shutdownPatience)
		e.front.finish(c)
		if !ends || !c.endsWithin(nil, shutdownPatience) {
			e.lose(c, ErrClosed, true)
		}
	})
}

// endsWithin waits for the end of c, or for what comes before it. False: there was neither in time.
func (c *Context) endsWithin(before <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-before:
	case <-c.done:
	case <-c.e.base.Done():
	case <-t.C:
		return false
	}
	return true
}

// shutdownLocked sends SHUTDOWN to a context that is to end, once its calls have ended.
func (c *Context) shutdownLocked() {
	if c.ending && c.up && c.calling == 0 {
		c.dismissLocked()
	}
}

// leavesLocked notes that c ends by itself, because its last session has.
func (c *Context) leavesLocked() {
	if c.told || c.err != nil {
		return
	}
	c.told = true
	close(c.leaving)
	if c.ending { // and so is watched
		return
	}
	c.ending = true
	c.closeLocked()
	c.e.jobs.Go(func() {
		if !c.endsWithin(nil, shutdownPatience) {
			c.e.lose(c, ErrClosed, true)
		}
	})
}

// dismissLocked sends SHUTDOWN, once.
func (c *Context) dismissLocked() {
	if c.told || c.err != nil {
		return
	}
	c.told = true
	close(c.leaving)
	c.e.putLocked(c, &wire.Frame{Dst: c.id, Handle: wire.Shutdown})
}

// farewellLocked tells c to end. Unlike releaseLocked it doesn't wait for calls, nor for those
// behind it, which were told before: a hop that has been told waits for its own children.
func (e *Engine) farewellLocked(c *Context) {
	c.ending = true
	c.closeLocked()
	if c.up {
		c.dismissLocked()
	} else { // it has run nothing that would have to end in order
		e.loseLocked(c, ErrClosed, true)
	}
}

// letGo waits until no context is left, d at most, and then ends those next to the engine for which
// which holds.
func (e *Engine) letGo(d time.Duration, which func(*Context) bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-e.empty:
	case <-t.C:
		e.mu.Lock()
		for _, c := range sortedContexts(e.contexts) {
			if c.parent == nil && which(c) {
				e.loseLocked(c, ErrClosed, true)
			}
		}
		e.unlock()
	}
}

// Close ends all contexts and returns when no process is left here.
func (e *Engine) Close() error {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		e.emptyLocked()
		for _, c := range slices.Backward(sortedContexts(e.contexts)) {
			c.owned = false
			e.farewellLocked(c)
		}
	}
	e.unlock()
	e.letGo(farewell, func(c *Context) bool { return c.alone })
	e.letGo(closePatience, func(*Context) bool { return true })
	e.stop()
	e.jobs.Wait()
	if err := e.forward.Save(); err != nil {
		e.log.Info(err.Error())
	}
	err := errors.Join(e.askpass.Close(), e.proxy.Close())
	drained := make(chan struct{})
	go func() {
		e.drains.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainPatience): // a Writer doesn't take the contexts' output
	}
	return errors.Join(err, e.auditor.close())
}
