package engine

import (
	"runtime"
	"sync"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// kept is the router's account of an answer that has come, until the program has taken it or holds
// no Pending any more.
type kept struct {
	e     *Engine
	id    wire.ContextID
	bytes int
	once  sync.Once
}

// account takes over what the router has accounted for p's answer.
func (a *answer) account(bytes int) {
	p := a.p
	if bytes == 0 {
		return
	}
	k := &kept{e: p.c.e, id: p.c.id, bytes: bytes}
	a.mu.Lock()
	a.kept = k
	a.mu.Unlock()
	runtime.AddCleanup(p, (*kept).letGo, k)
}

// settle gives the account of a large answer back that is no result: another one came first, or p
// was given up. Its caller may hold Engine.mu.
func (a *answer) settle(first bool) {
	p := a.p
	a.mu.Lock()
	given := a.given
	a.mu.Unlock()
	switch {
	case !first:
		go p.Taken()
	case given:
		go p.failure() // its exception is a part of p's error
	}
}

// discard lets go of the result of p, which has ended: nothing will take it.
func (a *answer) discard() {
	a.mu.Lock()
	a.payload = nil
	if !a.stream { // else Next may still take them
		a.items = nil
	}
	a.mu.Unlock()
	a.p.Taken()
}

// Taken says that the program has its copy of the answer. The caller of Result or Next calls it
// then.
func (p *Pending) Taken() {
	p.answer.mu.Lock()
	k := p.answer.kept
	p.answer.mu.Unlock()
	if k != nil {
		k.letGo()
	}
}

// letGo gives the account back, once. Its caller doesn't hold Engine.mu.
func (k *kept) letGo() {
	k.once.Do(func() {
		k.e.mu.Lock()
		k.e.router.Taken(k.id, k.bytes)
		k.e.unlock()
	})
}

// workshop bounds what is decoded at the same time: what large values may become waits for room.
type workshop struct {
	mu   sync.Mutex
	room *sync.Cond
	free int // bytes
	most int // bytes
}

func newWorkshop(most int) *workshop {
	w := &workshop{free: most, most: most}
	w.room = sync.NewCond(&w.mu)
	return w
}

// enter waits until n bytes may be used, or all of them if n is more. It returns what gives them
// back.
func (w *workshop) enter(n int) (leave func()) {
	n = min(n, w.most)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.free < n {
		w.room.Wait()
	}
	w.free -= n
	return func() {
		w.mu.Lock()
		w.free += n
		w.mu.Unlock()
		w.room.Broadcast()
	}
}
