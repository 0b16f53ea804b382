package stream

import (
	"bytes"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// The window of a stream bounds what lies between its two ends: in pipes, in ssh and in the
// network. It is for large frames only; small frames pass it. A mark is a PING behind them whose
// answer says that all before it has arrived.
//
// The window grows while the answers come soon, so that it limits nothing on a fast link, and
// shrinks to what a slow one moves in some seconds: a small frame that is sent later isn't held up
// for longer, and something comes up all the time.
const (
	firstWindow = 512 << 10
	minWindow   = 64 << 10
	maxWindow   = 4 << 20
	// batches that may be under way whatever their size, so that the link has the next while the first
	// is answered
	leastMarks = 2

	soon = time.Second     // an answer within this time lets the window grow
	late = 2 * time.Second // a later answer lets it shrink

	markSize  = wire.HeaderSize + 8 + wire.TrailerSize
	slowest   = 1 << 10 // bytes a second, until an answer has shown the rate
	tolerance = 3       // times what the last answer took may pass until the next
)

// window is protected by Stream.mu.
type window struct {
	bound bool
	dst   wire.ContextID

	size    int
	written int64 // bytes given to the pipe
	marked  int64 // of these, up to the last mark
	arrived int64 // up to the last answered mark
	shrunk  int64 // written when the window last shrank: what was under way then says nothing new
	marks   []mark
	took    time.Duration    // from the last answered mark to its answer
	now     func() time.Time // a test's; nil: time.Now
}

type mark struct {
	at   int64
	text []byte // its payload, which the answer has, too
	sent time.Time
}

// Bound gives the stream a window. dst is the context at its far end, which answers the marks. It
// is called before Attach.
func (s *Stream) Bound(dst wire.ContextID) {
	s.window.bound, s.window.dst, s.window.size = true, dst, firstWindow
}

func (w *window) time() time.Time {
	if w.now != nil {
		return w.now()
	}
	return time.Now()
}

// underway returns the bytes whose arrival isn't known.
func (w *window) underway() int { return int(w.written - w.arrived) }

// roomLocked says whether another large frame may follow n bytes that are about to be written.
func (s *Stream) roomLocked(n int) bool {
	w := &s.window
	return !w.bound || !s.attached || w.underway()+n < w.size || len(w.marks) < leastMarks
}

// readyLocked says whether there is something that may be written now.
func (s *Stream) readyLocked() bool {
	return len(s.urgent)+len(s.small) > 0 || len(s.bulk) > 0 && s.roomLocked(0)
}

// markLocked counts b, which is about to be written, and appends a mark if there has been none for
// a while. bulk tells whether b has large frames.
func (s *Stream) markLocked(b []byte, bulk bool) []byte {
	w := &s.window
	if !w.bound || !s.attached {
		return b
	}
	w.written += int64(len(b))
	if !bulk || w.written-w.marked < int64(w.size/4) {
		return b
	}
	w.written += markSize
	w.marked = w.written
	m := mark{w.written, wire.AppendU32(wire.AppendU32(nil, uint32(w.written>>32)), uint32(w.written)),
		w.time()}
	w.marks = append(w.marks, m)
	s.queued += markSize
	f := wire.Frame{Dst: w.dst, Handle: wire.Ping, Reply: wire.Ping, Payload: m.text}
	return f.Append(b)
}

// Arrived takes the answer to a mark. False: that is none. The caller then calls Kick.
func (s *Stream) Arrived(answer []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.window
	if len(w.marks) == 0 || !bytes.Equal(answer, w.marks[0].text) {
		return false
	}
	m := w.marks[0]
	w.marks = w.marks[1:]
	w.took = w.time().Sub(m.sent)
	switch n := m.at - w.arrived; {
	case w.took <= soon/4: // four times as much will be there soon, too
		w.size = min(w.size+3*int(n), maxWindow)
	case w.took <= soon:
		w.size = min(w.size+int(n), maxWindow)
	case w.took > late && m.at > w.shrunk:
		w.size = max(minWindow, int(float64(w.size)*float64(soon)/float64(w.took)))
		w.shrunk = w.written
	}
	w.arrived = m.at
	return true
}

// longest bounds what a far end that answers later and later may make of it; child.py has the same.
const longest = time.Hour

// Underway returns how long the far end may be silent because of what is on its way to it; 0:
// nothing is that must be answered.
func (s *Stream) Underway() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.window
	switch {
	case len(w.marks) == 0:
		return 0
	case w.arrived == 0:
		return time.Duration(min(w.underway(), int(longest/time.Second)*slowest)) * time.Second / slowest
	}
	return tolerance * min(max(w.took, time.Second), longest/tolerance)
}

// onlyMarks says whether b has nothing but answers to marks. They are no round trip: no caller
// waits for them.
func onlyMarks(b []byte) bool {
	for ; len(b) >= markSize; b = b[markSize:] {
		if !bytes.Equal(b[16:20], pingHandle) || !bytes.Equal(b[24:28], markLength) {
			return false
		}
	}
	return len(b) == 0
}

// Fields of the header of an answer to a mark.
var (
	pingHandle = wire.AppendU32(nil, uint32(wire.Ping))
	markLength = wire.AppendU32(nil, uint32(8))
)
