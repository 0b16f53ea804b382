package secret

import (
	"runtime"
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
	runtime.SetFinalizer(&own[0], func(first *byte) { clear(unsafe.Slice(first, size)) })
	return Secret(unsafe.String(&own[0], len(b)))
}

// wiping says that a collection is to come.
var wiping atomic.Bool

// Wiped has the garbage collector wipe, within a second, what nothing refers to any more. It
// doesn't wait.
func Wiped() {
	if !wiping.Swap(true) {
		time.AfterFunc(time.Second, func() {
			wiping.Store(false)
			runtime.GC() // finds what is left, and has it wiped
		})
	}
}
