package engine

import (
	"errors"
	"slices"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

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
	e.tree.unshareLocked(c)
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
