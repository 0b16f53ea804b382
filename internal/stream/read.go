package stream

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// lendFor limits the time without a reader, before Read's goroutine reads again. A frame that no
// goroutine waits for is late by as much.
const lendFor = time.Millisecond

// reading is the part of a Stream that reads.
//
// A waiting goroutine does the I/O: if it makes one call after another, it reads the answers
// itself, in Await. So a call costs no change of goroutine, which on an idle machine takes as long
// as the call. The token passes the right to read from goroutine to goroutine. Read's goroutine has
// it to begin with. It lends the token when a waiting goroutine has got its answer. It takes the
// token back when that wasn't used for a while, or is needed here.
type reading struct {
	scanner  *wire.Scanner         // used by who has the token, as the next three
	handle   func(*wire.Frame)     //
	deadline func(time.Time) error // nil: reads can't be broken off, nothing is lent
	enough   func() bool           // of the Await that has the token; nil: there is none

	token   chan struct{} // holds one while it is to be had
	recall  chan struct{} // holds one: Read's goroutine is to have the token
	lent    atomic.Int64  // Awaits that got the token
	waiting atomic.Int64  // goroutines in Await
	served  atomic.Bool   // one of them has got what it waited for
	blocked atomic.Bool   // an Await is in a read
}

// Read passes frames from r to handle until r ends, which is io.EOF, or breaks, which is a
// *wire.CorruptError. Bytes between frames go to noise. Neither may block, or keep what it is
// given. Both may be called by goroutines that Await.
func (s *Stream) Read(r io.Reader, noise func([]byte), handle func(*wire.Frame)) error {
	s.scanner = wire.NewScanner(counted{r, s})
	s.scanner.Noise = noise
	s.handle = handle
	if d, ok := r.(interface{ SetReadDeadline(time.Time) error }); ok &&
		d.SetReadDeadline(time.Time{}) == nil {
		s.deadline = d.SetReadDeadline
	}
	timer := time.NewTimer(lendFor)
	defer timer.Stop()
	for {
		if err := s.next(); err != nil {
			return err
		}
		if s.deadline != nil && s.served.Swap(false) && s.waiting.Load() <= 1 && !s.scanner.Buffered() {
			s.token <- struct{}{}
			s.takeBack(timer)
		}
	}
}

// next takes one frame. The caller has the token. A read that was broken off is no error.
func (s *Stream) next() error {
	f, err := s.scanner.Next()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return s.deadline(time.Time{})
	}
	if err != nil {
		return err
	}
	s.framesUp.Add(1)
	s.flushes.Store(0)
	s.handle(&f)
	return nil
}

// Buffered reports whether another frame has been read already. It is for what Read calls.
func (s *Stream) Buffered() bool { return s.scanner.Buffered() }

// takeBack waits until no goroutine has asked for the token for a while, or until the token is
// recalled.
func (s *Stream) takeBack(timer *time.Timer) {
	for used := s.lent.Load(); ; used = s.lent.Load() {
		timer.Reset(lendFor)
		idle := false
		select {
		case <-s.recall:
			idle = true
		case <-s.done:
			idle = true
		case <-timer.C:
		}
		if idle || s.lent.Load() == used {
			<-s.token
			return
		}
	}
}

// Await reads in place of Read's goroutine, if that lends the token, until done is closed or ctx
// ends. False: another goroutine reads. Then the goroutine that closes done must say Served.
func (s *Stream) Await(ctx context.Context, done <-chan struct{}) bool {
	s.waiting.Add(1)
	select {
	case <-s.token:
	default:
		return false
	}
	s.lent.Add(1)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, s.Interrupt)()
	}
	s.enough = func() bool {
		select {
		case <-done:
			return true
		default:
			return ctx.Err() != nil
		}
	}
	var err error
	for err == nil && !s.enough() {
		err = s.next()
	}
	s.enough = nil
	if err != nil || s.waiting.Load() > 1 || s.scanner.Buffered() {
		select {
		case s.recall <- struct{}{}:
		default:
		}
	}
	s.token <- struct{}{}
	return true
}

// Awaited ends what a call of Await has begun: its goroutine doesn't wait any more.
func (s *Stream) Awaited() { s.waiting.Add(-1) }

// Served says that what an Await was refused for has come.
func (s *Stream) Served() { s.served.Store(true) }

// Interrupt has a goroutine that reads in Await look whether it still has to.
func (s *Stream) Interrupt() {
	if s.blocked.Load() {
		s.deadline(time.Unix(1, 0))
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	s *Stream
}

func (c counted) Read(p []byte) (int, error) {
	if enough := c.s.enough; enough != nil {
		// First the mark, then a look: the goroutine that ends the wait does it the other way round.
		c.s.blocked.Store(true)
		defer c.s.blocked.Store(false)
		if enough() {
			return 0, os.ErrDeadlineExceeded
		}
	}
	n, err := c.Reader.Read(p)
	c.s.fullOf(&c.s.upPipe, c.Reader, n)
	if n > 0 {
		c.s.bytesUp.Add(int64(n))
		if !onlyMarks(p[:n]) && c.s.down.CompareAndSwap(true, false) {
			c.s.trips.Add(1)
		}
	}
	return n, err
}
