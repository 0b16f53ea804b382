package stream

import (
	"sync/atomic"
	"syscall"
)

const (
	// bulkSize is the number of bytes that pass a pipe before it is widened.
	bulkSize = 4 << 20

	// widePipe is the size of a widened pipe in bytes. The usual one has room for one frame, so that
	// both of its ends wake each other at each; four frames take half of the wake-ups.
	widePipe = 256 << 10

	// maxWide bounds the pipes that a process has widened: Linux gives an account 64 MiB for all of
	// its pipes, and small ones beyond that.
	maxWide = 64
)

// widened counts the pipes of this process that are wide.
var widened atomic.Int32

// passed notes that n bytes have passed pipe, with which its direction has had total bytes.
func (s *Stream) passed(pipe any, total int64, n int) {
	if total < bulkSize || total-int64(n) >= bulkSize {
		return
	}
	file, ok := pipe.(syscall.Conn)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if widened.Add(1) > maxWide || !widen(file, widePipe) {
		widened.Add(-1)
		return
	}
	s.wide++
}
