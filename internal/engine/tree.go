package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// tree is the registry of an engine's contexts. addLocked adds one, and goneLocked removes one,
// once the router has dropped it. Its fields are protected by Engine.mu.
type tree struct {
	e        *Engine
	contexts map[wire.ContextID]*Context
	shared   map[string]*Context // usable as a hop, by what made them
	beating  bool                // beats runs
	closed   bool
	empty    chan struct{} // closed when closed and no context is left
}

// addLocked adds c behind parent; nil: next to the engine.
func (tr *tree) addLocked(c, parent *Context) {
	e, behind := tr.e, wire.ContextID(0)
	if parent != nil {
		behind = parent.id
		parent.life.children++
	}
	if err := e.router.Add(c.id, behind); err != nil {
		panic(err) // ids and parents are ours
	}
	tr.contexts[c.id] = c
	if e.front != nil {
		e.front.startedLocked(c)
	}
	if tr.shared[c.launch.key] == nil {
		tr.shared[c.launch.key] = c
	}
}

// unshareLocked has no other start get c.
func (tr *tree) unshareLocked(c *Context) {
	if tr.shared[c.launch.key] == c {
		delete(tr.shared, c.launch.key)
	}
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
	tr.unshareLocked(c)
	e.audit.goneLocked(c)
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
	for flow := range c.Calls.waiting {
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

// owns returns the error of using c with e, nil if c is e's.
func (tr *tree) owns(c *Context) error {
	switch {
	case c == nil:
		return errors.New("nil Context")
	case c.e != tr.e:
		return fmt.Errorf("context %s: %w", c.name, ErrOtherEngine)
	}
	return nil
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

// loseCarriedLocked loses those whose connections c has made.
func (tr *tree) loseCarriedLocked(c *Context) {
	if c.life.children == 0 {
		return
	}
	var carried []*Context
	for _, x := range tr.contexts {
		if x.launch.carrier == c || x.launch.beside == c {
			carried = append(carried, x)
		}
	}
	for _, x := range carried {
		err := c.err
		if lost := (*report.LostError)(nil); errors.As(err, &lost) {
			m := *lost
			m.Context = x.name
			err = &m
		}
		tr.loseLocked(x, err, true)
	}
}
