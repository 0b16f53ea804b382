package secret

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// smallest is a size from which on the Go runtime gives an object memory of its own.
const smallest = 32

// Hold returns the text b as a Secret in memory of its own, and wipes b. The memory isn't swapped
// where the platform allows that, and is wiped once nothing refers to the Secret, or to a part of
// it, any more: by the garbage collector, so that nothing can be wiped that is still in use.
func Hold(b []byte) Secret {
	if len(b) == 0 {
		return ""
	}
	size := max(len(b), smallest)
	own := make([]byte, size)
	lock(own)
	copy(own, b)
	clear(b)
	held.Add(1)
	runtime.SetFinalizer(&own[0], func(first *byte) {
		clear(unsafe.Slice(first, size))
		held.Add(-1)
	})
	return Secret(unsafe.String(&own[0], len(b)))
}

// held counts the Secrets of Hold that aren't wiped yet.
var held atomic.Int64

// The pauses before a collection, which double. A busy machine may take longer than the first to
// give a Secret to whom it is for. After the last the Go runtime collects by itself, every 2 min.
const (
	firstPause = time.Second
	lastPause  = 32 * time.Second
)

// wiping plans collections.
var wiping struct {
	sync.Mutex               // protects following
	pause      time.Duration // before the next collection; 0: none is planned
	plan       uint64        // its number; a plan with a lower number is void
}

// Wiped has the garbage collector wipe what nothing refers to any more: within a second what is
// given up now, within a minute what is given up later. It doesn't wait.
func Wiped() {
	wiping.Lock()
	defer wiping.Unlock()
	if wiping.pause != firstPause {
		collectLocked(firstPause)
	}
}

func collectLocked(pause time.Duration) {
	wiping.pause = pause
	wiping.plan++
	plan := wiping.plan
	time.AfterFunc(pause, func() { collect(plan) })
}

// collect has what is left found, and wiped. What is still in use is looked for again.
func collect(plan uint64) {
	wiping.Lock()
	if plan != wiping.plan {
		wiping.Unlock()
		return
	}
	next := 2 * wiping.pause
	if wiping.pause = 0; next <= lastPause && held.Load() > 0 {
		collectLocked(next)
	}
	wiping.Unlock()
	runtime.GC()
}
