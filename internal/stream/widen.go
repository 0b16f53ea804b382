package stream

import (
	"sync/atomic"
	"syscall"
)

// A pipe that holds 64 KiB takes half a large frame, so that a large value costs thousands of
// changes between processes. The pipes of a stream whose far end is near hold more once they have
// been full. To a far end elsewhere they don't: what lies in them can't be overtaken.
const (
	fullPipe = 64 << 10 // what a pipe holds at first, on Linux
	widePipe = 512 << 10

	// mostWide limits the wide pipes of this process. Unless root has it otherwise, 64 MiB in all
	// pipes of a user are what further ones aren't cut down for: pipe(7).
	mostWide = 16
)

var widePipes atomic.Int64

// widening is the part of a Stream that widens its pipes.
type widening struct {
	near             bool // static
	upPipe, downPipe widenable
}

// widenable is a pipe of a stream's. It is used by the goroutine that reads, or by the writer.
type widenable struct {
	tried bool
	wide  atomic.Bool
}

// Near says that the far end is a process of this machine's. It is called before Attach.
func (s *Stream) Near() { s.near = true }

// fullOf notes that n bytes have passed a pipe at once.
func (s *Stream) fullOf(p *widenable, file any, n int) {
	if n < fullPipe || !s.near || p.tried {
		return
	}
	p.tried = true
	if widePipes.Add(1) > mostWide || !widen(file) {
		widePipes.Add(-1)
		return
	}
	p.wide.Store(true)
	select {
	case <-s.done:
		s.narrow()
	default:
	}
}

// narrow says that the pipes are closed.
func (s *Stream) narrow() {
	for _, p := range []*widenable{&s.upPipe, &s.downPipe} {
		if p.wide.Swap(false) {
			widePipes.Add(-1)
		}
	}
}

// widen has a pipe hold widePipe. False: that can't be, or it is none.
func widen(file any) bool {
	conn, ok := file.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	done := false
	err = raw.Control(func(fd uintptr) { done = setPipeSize(int(fd), widePipe) })
	return err == nil && done
}
