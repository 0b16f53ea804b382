package goctx

import "sync"

// maxIdle bounds the goroutines that wait for calls.
const maxIdle = 16

// workers run calls, in goroutines that are used again. A call that waits in the queue wakes a
// worker, and a worker that has taken one wakes the next: so a call that blocks holds up no other,
// and short ones cost no goroutine each.
type workers struct {
	wake chan struct{} // holds maxIdle; sent to an idle worker

	mu     sync.Mutex // protects following
	queue  []*Call
	idle   int
	waking bool // a worker was started or woken, and has not taken a call yet
}

// add has a worker run c.
func (w *workers) add(c *Call) {
	w.mu.Lock()
	w.queue = append(w.queue, c)
	w.wakeLocked()
	w.mu.Unlock()
}

func (w *workers) wakeLocked() {
	switch {
	case w.waking || len(w.queue) == 0:
		return
	case w.idle > 0:
		w.idle--
		w.wake <- struct{}{}
	default:
		go w.work()
	}
	w.waking = true
}

// work is the life of a worker. It begins woken.
func (w *workers) work() {
	w.mu.Lock()
	w.waking = false
	for {
		for len(w.queue) == 0 {
			if w.idle == maxIdle {
				w.mu.Unlock()
				return
			}
			w.idle++
			w.mu.Unlock()
			<-w.wake
			w.mu.Lock()
			w.waking = false
		}
		c := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		w.wakeLocked()
		w.mu.Unlock()
		c.run()
		w.mu.Lock()
	}
}
