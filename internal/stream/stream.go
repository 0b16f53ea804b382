// Package stream does framed I/O on a pair of byte pipes: docs/protocol/wire.md, section 1, and
// docs/protocol/bootstrap.md, section 5. One goroutine reads (in Read, the caller's; but see
// reading), one writes. A caller queues a frame with Put, which never blocks, and then calls Flush.
// If no goroutine is writing, the caller writes as much as the pipe takes at once. So a short
// message costs no change of goroutine. The rest is left to the writer.
//
//	Put ──► urgent ─┐
//	    ──► small  ─┼─► Flush (caller, as much as goes at once) or writer (blocking) ──► w
//	    ──► bulk   ─┘
//
// A queue exists from New on; bytes pass once Attach has given the stream its pipes and Release has
// opened it.
package stream

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// Limits of the queue, in bytes.
const (
	smallFrame = 4 << 10 // payload of frames that may overtake large ones
	batch      = 64 << 10
	highWater  = 4 << 20 // Full from here on
)

// ErrClosed is the error of a stream that was closed without another reason.
var ErrClosed = errors.New("stream closed")

// Counters count what passed since New.
type Counters struct {
	BytesDown, BytesUp, FramesDown, FramesUp int64
	// times that something came up after something had gone down
	RoundTrips int64
}

// Stream is one framed connection. Its methods may be called from any goroutine, Read from one.
type Stream struct {
	bytesDown, bytesUp, framesDown, framesUp, trips atomic.Int64
	// something went down since something came up
	down atomic.Bool
	// Flushes since a frame came up
	flushes atomic.Int32

	done chan struct{} // closed by Close
	reading
	widening

	mu     sync.Mutex // protects following
	urgent []byte
	small  []byte
	bulk   []bulky
	pairs  map[pair]int // frames in bulk, by (src, dst)
	window
	bundles int // frames in bulk that BUNDLE and FORWARD don't overtake
	// CONNECTs in bulk, which nothing overtakes: it may be for the context that they make
	connects int
	// OPENs in bulk, which other OPENs don't overtake: the effect of one may be there for the next,
	// elsewhere
	opens    int
	shared   int  // bytes in bulk that PutShared brought
	secret   bool // what is queued, or has just been written, holds secrets: no copy stays
	spare    []byte
	queued   int
	writing  bool // a goroutine is in write, or the writer has been told to
	open     bool // released
	attached bool
	room     chan struct{} // closed when the queue is no longer full; nil: no goroutine waits
	wake     chan struct{} // to the writer; holds one
	w        io.Writer
	try      func([]byte) (int, bool) // writes without blocking; nil: can't
	closers  []io.Closer
	sealed   chan struct{} // closed when nothing more goes ahead; nil: nothing does
	limit    int           // of what goes ahead; 0: sealed
	ahead    []byte
	failed   bool  // nothing can be written any more
	err      error // why it was closed
}

type pair struct{ src, dst wire.ContextID }

// bulky is a frame in bulk: its bytes, or what comes before its last bytes, which are not ours.
type bulky struct {
	head    []byte
	shared  []byte // the rest but for the trailer
	pair    pair
	bundle  bool
	connect bool
	open    bool
}

// New returns a stream without pipes. What is put into it waits.
func New() *Stream {
	return &Stream{done: make(chan struct{}), pairs: map[pair]int{}, wake: make(chan struct{}, 1),
		reading: reading{token: make(chan struct{}, 1), recall: make(chan struct{}, 1)}}
}

// Attach gives the stream what it writes to, and starts its writer. Close closes w, and closers in
// their order. On a closed stream they are closed at once.
func (s *Stream) Attach(w io.WriteCloser, closers ...io.Closer) {
	s.mu.Lock()
	s.w, s.try, s.attached = w, nonblocking(w), true
	s.closers = append([]io.Closer{w}, closers...)
	closed := s.err != nil
	s.mu.Unlock()
	if closed {
		s.closePipes()
		return
	}
	go s.writer()
	s.Kick()
}

// Release lets bytes pass.
func (s *Stream) Release() {
	s.mu.Lock()
	s.open = true
	s.mu.Unlock()
	s.Kick()
}

// Gather has frames that are put next kept for Ahead, up to limit bytes, until the first that isn't
// public.
func (s *Stream) Gather(limit int) {
	s.sealed, s.limit = make(chan struct{}), limit
}

// Sealed returns a channel that is closed when nothing more goes ahead.
func (s *Stream) Sealed() <-chan struct{} { return s.sealed }

// Seal says that nothing put from now on goes ahead.
func (s *Stream) Seal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealLocked()
}

func (s *Stream) sealLocked() {
	if s.limit == 0 {
		return
	}
	s.limit = 0
	for s.queued > 0 {
		b := s.nextLocked()
		s.ahead = append(s.ahead, b...)
		s.takenLocked(b)
	}
	close(s.sealed)
}

// gatherLocked is told what is put next, and its size.
func (s *Stream) gatherLocked(f *wire.Frame, size int) {
	if s.limit > 0 && (!f.Public || s.queued+size > s.limit) {
		s.sealLocked()
	}
}

// Ahead seals, and returns the frames that go ahead. They won't be written.
func (s *Stream) Ahead() []byte {
	s.Seal()
	b := s.ahead
	s.ahead = nil
	return b
}

// Sent says that n bytes have gone down by another way.
func (s *Stream) Sent(n int) {
	s.down.Store(true)
	s.bytesDown.Add(int64(n))
}

// PutRaw queues bytes that are not a frame, before all else: what boots the context.
func (s *Stream) PutRaw(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return
	}
	s.urgent = append(slices.Clip(b), s.urgent...)
	s.queued += len(b)
}

// Put queues a frame, whose payload is copied. It never blocks; those who can wait look at Full
// first.
func (s *Stream) Put(f *wire.Frame) {
	s.framesDown.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return
	}
	s.gatherLocked(f, f.Size())
	p := pair{f.Src, f.Dst}
	s.secret = s.secret || f.Secret
	switch {
	case urgent(f):
		s.urgent = f.Append(s.urgent)
	case len(f.Payload) <= smallFrame && !f.Secret && s.mayOvertakeLocked(f, p):
		s.small = f.Append(s.small)
	default:
		b := f.Append(s.bufferLocked(f.Size()))
		s.putBulkLocked(bulky{head: b, pair: p, bundle: bundles(f), connect: f.Handle == wire.Connect,
			open: opens(f)})
	}
	s.queued += f.Size()
}

// PutShared queues a frame whose payload is f's and then rest, which is not copied and must not be
// changed.
func (s *Stream) PutShared(f *wire.Frame, rest []byte) {
	if len(f.Payload)+len(rest) <= smallFrame {
		g := *f
		g.Payload = append(append(make([]byte, 0, len(f.Payload)+len(rest)), f.Payload...), rest...)
		s.Put(&g)
		return
	}
	s.framesDown.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return
	}
	s.gatherLocked(f, f.Size()+len(rest))
	head := f.AppendHead(make([]byte, 0, wire.HeaderSize+len(f.Payload)), len(rest))
	s.putBulkLocked(bulky{head, rest, pair{f.Src, f.Dst}, bundles(f), f.Handle == wire.Connect,
		opens(f)})
	s.shared += len(rest)
	s.queued += f.Size() + len(rest)
}

func (s *Stream) putBulkLocked(b bulky) {
	s.bulk = append(s.bulk, b)
	s.pairs[b.pair]++
	if b.bundle {
		s.bundles++
	}
	if b.connect {
		s.connects++
	}
	if b.open {
		s.opens++
	}
}

// mayOvertakeLocked says whether f may be sent before the frames in bulk. The frames of a pair keep
// their order. BUNDLE and FORWARD frames keep their order across all contexts, also behind the
// COMING that announces them. Nothing may overtake an earlier CONNECT, because it may be addressed
// to the context that CONNECT creates. OPEN frames keep their order across all contexts; ITEM
// frames on an OPEN handle need not. FAN overtakes nothing: its members' sessions were begun by
// frames for their contexts.
func (s *Stream) mayOvertakeLocked(f *wire.Frame, p pair) bool {
	if len(s.bulk) == 0 {
		return true
	}
	if f.Handle == wire.Fan {
		return false
	}
	ordered := f.Handle == wire.BundlePiece || f.Handle == wire.Forward
	return s.connects == 0 && s.pairs[p] == 0 && (s.bundles == 0 || !ordered) &&
		(s.opens == 0 || !opens(f))
}

// bundles says whether BUNDLE and FORWARD stay behind f.
func bundles(f *wire.Frame) bool {
	return f.Handle == wire.BundlePiece || f.Handle == wire.Forward || f.Handle == wire.Coming
}

// opens says whether f asks for something; not what is fed to it.
func opens(f *wire.Frame) bool { return f.Handle == wire.Open && f.Kind != wire.Item }

// urgent frames overtake all other frames. An answer to PING looks like any other answer, so its
// sender uses PutUrgent.
func urgent(f *wire.Frame) bool { return f.Handle == wire.Credit || f.Handle == wire.Ping }

// PutUrgent queues a frame before all that aren't urgent.
func (s *Stream) PutUrgent(f *wire.Frame) {
	s.framesDown.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failed {
		s.gatherLocked(f, f.Size())
		s.urgent = f.Append(s.urgent)
		s.queued += wire.HeaderSize + len(f.Payload) + wire.TrailerSize
	}
}

// Full returns nil while the queue has room, else a channel that is closed when it has again, or
// the stream is closed.
func (s *Stream) Full() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued < highWater || s.failed {
		return nil
	}
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

// Queued returns the bytes that wait and are kept for this stream alone.
func (s *Stream) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued - s.shared
}

// Flush writes what is queued if that goes without blocking, and leaves the rest to the writer.
func (s *Stream) Flush() {
	s.mu.Lock()
	if s.writing || !s.attached || !s.open || s.failed {
		s.mu.Unlock()
		return
	}
	s.writing = true
	if s.try == nil || s.flushes.Add(1) > burst {
		s.mu.Unlock()
		s.wakeWriter()
		return
	}
	b := s.nextLocked()
	s.mu.Unlock()
	n, ok := 0, true
	if len(b) > 0 {
		had := s.down.Swap(true) // before the write: the answer may be there before it returns
		n, ok = s.try(b)
		if n == 0 && !had {
			s.down.Store(false)
		}
		s.bytesDown.Add(int64(n))
	}
	s.mu.Lock()
	if ok && n < len(b) {
		// The writer goes on with what is left.
		s.queued -= n
		s.window.written -= int64(len(b) - n)
		s.urgent = append(append(make([]byte, 0, len(b)-n+len(s.urgent)), b[n:]...), s.urgent...)
		if s.secret {
			clear(b)
		}
	} else {
		s.takenLocked(b)
	}
	more := !ok || s.readyLocked()
	s.writing = more
	s.mu.Unlock()
	if more {
		s.wakeWriter()
	}
}

// burst is the most Flushes in a row, without a frame from the other end, that write themselves.
// Behind them the writer does it: frames of many calls go in few writes. The number is a guess:
// with a smaller one, calls of a few goroutines would wait for the writer.
const burst = 8

// Kick leaves what is queued to the writer. Readers of streams use it: they must not wait for
// another one's pipe.
func (s *Stream) Kick() {
	s.mu.Lock()
	start := !s.writing && s.attached && s.open && s.readyLocked() && !s.failed
	if start {
		s.writing = true
	}
	s.mu.Unlock()
	if start {
		s.wakeWriter()
	}
}

func (s *Stream) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// bufferLocked returns a buffer for a frame of n bytes.
func (s *Stream) bufferLocked(n int) []byte {
	if n < batch || cap(s.spare) < n {
		return make([]byte, 0, n)
	}
	b := s.spare[:0]
	s.spare = nil
	return b
}

// wholeLocked takes a large frame that is next off the queue, without a copy. Nil: there is none.
func (s *Stream) wholeLocked() []byte {
	if s.secret || len(s.urgent)+len(s.small) > 0 || len(s.bulk) == 0 || !s.roomLocked(0) {
		return nil
	}
	next := s.bulk[0]
	if len(next.head) < batch || next.shared != nil {
		return nil
	}
	s.forgetLocked(next)
	s.bulk[0] = bulky{}
	s.bulk = s.bulk[1:]
	return next.head
}

// nextLocked takes the next bytes to write off the queue.
func (s *Stream) nextLocked() []byte {
	if b := s.wholeLocked(); b != nil {
		return s.markLocked(b, true)
	}
	b := s.spare[:0]
	if s.secret {
		most := len(s.urgent) + len(s.small) + batch + wire.HeaderSize + wire.MaxPayload +
			wire.TrailerSize + markSize
		b = make([]byte, 0, min(s.queued+markSize, most)) // which never grows, and so leaves no copy
	}
	b = append(b, s.urgent...)
	if s.secret {
		clear(s.urgent)
	}
	s.urgent = s.urgent[:0]
	if len(b) == 0 && !s.secret {
		b, s.small = s.small, b
	} else if len(b) < batch {
		b = append(b, s.small...)
		s.small = s.small[:0]
	}
	s.spare = nil
	more := false
	for len(s.bulk) > 0 && len(b) < batch && s.roomLocked(len(b)) {
		more = true
		next := s.bulk[0]
		if b = append(b, next.head...); s.secret {
			clear(next.head)
		}
		if next.shared != nil {
			b = wire.AppendTrailer(append(b, next.shared...))
		}
		s.forgetLocked(next)
		s.bulk[0] = bulky{}
		s.bulk = s.bulk[1:]
	}
	return s.markLocked(b, more)
}

// takenLocked says that b, from nextLocked, has been written.
func (s *Stream) takenLocked(b []byte) {
	s.queued -= len(b)
	if s.secret {
		clear(b)
		s.secret = s.queued > 0
	}
	if cap(b) <= 4*batch {
		s.spare = b[:0]
	}
	if s.room != nil && s.queued < highWater/2 {
		close(s.room)
		s.room = nil
	}
}

func (s *Stream) forgetLocked(b bulky) {
	if s.pairs[b.pair]--; s.pairs[b.pair] == 0 {
		delete(s.pairs, b.pair)
	}
	if b.bundle {
		s.bundles--
	}
	if b.connect {
		s.connects--
	}
	if b.open {
		s.opens--
	}
	s.shared -= len(b.shared)
}

// writer writes the frames that callers leave to it, blocking, until the stream is closed.
func (s *Stream) writer() {
	for {
		select {
		case <-s.done:
			return
		case <-s.wake:
		}
		for s.writeOne() {
		}
	}
}

// writeOne writes one batch and says whether there is more to do.
func (s *Stream) writeOne() bool {
	s.mu.Lock()
	if !s.writing || s.failed {
		s.mu.Unlock()
		return false
	}
	b := s.nextLocked()
	if len(b) == 0 {
		s.takenLocked(b)
		s.writing = false
		s.mu.Unlock()
		return false
	}
	s.mu.Unlock()
	s.down.Store(true) // before the write: an answer may be there before it returns
	n, err := s.w.Write(b)
	s.fullOf(&s.downPipe, s.w, n)
	s.bytesDown.Add(int64(n))
	s.mu.Lock()
	s.takenLocked(b)
	s.writing = s.readyLocked() && err == nil
	more := s.writing
	s.mu.Unlock()
	if err != nil {
		// The reader finds the end and knows more about it: what is left unread is not lost by this.
		s.drop()
		return false
	}
	return more
}

// drop forgets what is queued, and what will be.
func (s *Stream) drop() {
	s.mu.Lock()
	s.failed = true
	s.urgent, s.small, s.bulk, s.queued = nil, nil, nil, 0
	s.bundles, s.connects, s.opens, s.shared = 0, 0, 0, 0
	clear(s.pairs)
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	s.mu.Unlock()
}

// Close ends the stream: both pipes are closed, which ends Read and the writer. The first err
// counts. It may be called again, and does not wait.
func (s *Stream) Close(err error) {
	if err == nil {
		err = ErrClosed
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	s.mu.Unlock()
	close(s.done)
	s.drop()
	s.closePipes()
	s.narrow()
}

func (s *Stream) closePipes() {
	s.mu.Lock()
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()
	for _, c := range closers {
		c.Close()
	}
}

// Err returns why the stream was closed; nil: it wasn't.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Counters returns what has passed so far.
func (s *Stream) Counters() Counters {
	return Counters{s.bytesDown.Load(), s.bytesUp.Load(), s.framesDown.Load(), s.framesUp.Load(),
		s.trips.Load()}
}
