package secret

import (
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// What is given up after the first collection is wiped as well: on a busy machine a secret may take
// longer than that to get to whom it is for.
func TestWipedLater(t *testing.T) {
	const text = "given up after the first collection"
	s := Hold([]byte(text))
	at := uintptr(unsafe.Pointer(unsafe.StringData(string(s)))) // a number keeps nothing alive
	Wiped()
	for later := false; !later; { // until the first has been
		time.Sleep(10 * time.Millisecond)
		wiping.Lock()
		later = wiping.pause != firstPause
		wiping.Unlock()
	}
	if peek(at, len(text)) != text {
		t.Error("a secret in use was wiped")
	}
	runtime.KeepAlive(s)
	for range 600 { // 60 s: the runtime collects by itself every 2 min
		if peek(at, len(text)) != text {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the secret is still in memory")
}
