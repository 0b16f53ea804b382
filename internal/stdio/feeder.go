package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// ErrInUse says that a program has ended while a Read of its Stdin has not.
var ErrInUse = errors.New("standard input is still being read")

// Feeder passes a Reader on to one program, in a goroutine of its own.
type Feeder struct {
	r       io.Reader
	cancel  context.CancelFunc // ends a send that waits
	stopped atomic.Bool
	done    chan struct{} // closed when nothing uses r any more
}

// Sender takes bytes, which it must not keep, and nil at the end of the input. It returns an error
// if the program takes no more.
type Sender func(ctx context.Context, b []byte) error

// Feed starts to pass r on to send. fail takes an error of r; then nothing follows. A nil r has
// nothing.
func Feed(ctx context.Context, r io.Reader, send Sender, fail func(error)) *Feeder {
	ctx, cancel := context.WithCancel(ctx)
	f := &Feeder{cancel: cancel, done: make(chan struct{})}
	if r == nil {
		close(f.done)
		return f
	}
	f.r = interruptible(r)
	go func() {
		defer close(f.done)
		if p, ok := f.r.(*polled); ok {
			defer p.Close()
		}
		if err := f.copy(ctx, send); err != nil {
			fail(err)
		}
	}()
	return f
}

// copy returns r's error; nil: r has come to its end.
func (f *Feeder) copy(ctx context.Context, send Sender) error {
	buf := make([]byte, 32<<10)
	for !f.stopped.Load() && ctx.Err() == nil {
		n, err := f.r.Read(buf)
		switch {
		case n < 0 || n > len(buf):
			return fmt.Errorf("invalid count of %d bytes", n)
		case f.stopped.Load() && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case n > 0 && send(ctx, buf[:n]) != nil:
			return nil
		case errors.Is(err, io.EOF):
			send(ctx, nil)
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// deadliner is a Reader whose Read can be interrupted.
type deadliner interface{ SetReadDeadline(time.Time) error }

// Stop ends the feeding. It interrupts a Read where that is possible, and waits for it, at most for
// limit.
func (f *Feeder) Stop(limit time.Duration) error {
	f.stopped.Store(true)
	f.cancel()
	select {
	case <-f.done:
		return nil
	default:
	}
	d, ok := f.r.(deadliner)
	if ok = ok && d.SetReadDeadline(time.Unix(1, 0)) == nil; ok {
		defer d.SetReadDeadline(time.Time{})
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-f.done:
		return nil
	case <-t.C:
		return ErrInUse
	}
}

// interruptible returns r, or what reads a file without deadlines so that a Read can be
// interrupted.
func interruptible(r io.Reader) io.Reader {
	f, ok := r.(*os.File)
	if !ok || f.SetReadDeadline(time.Time{}) == nil && !blocks(f) {
		return r
	}
	if st, err := f.Stat(); err != nil || st.Mode().IsRegular() {
		return r
	}
	if p, err := newPolled(f); err == nil {
		return p
	}
	return r
}
