package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/mitogen-go/mitogen/report"
)

// ErrStdinInUse says that a program has ended while a Read of its Stdin has not.
var ErrStdinInUse = errors.New("standard input is still being read")

// streamFailure returns the error of a run whose ctx a StreamError has ended, and which then ended
// with err. It is nil if ctx has not ended, or for another reason.
func streamFailure(ctx context.Context, err error) error {
	var failed *report.StreamError
	if !errors.As(context.Cause(ctx), &failed) {
		return nil
	}
	var lost *report.LostError
	switch {
	case errors.Is(err, ErrKilled):
		return joined(failed, ErrKilled)
	case errors.As(err, &lost):
		return joined(failed, lost)
	}
	return failed
}

// joined is err, and more if that isn't nil, on one line.
func joined(err, more error) error {
	if more == nil {
		return err
	}
	return fmt.Errorf("%w; %w", err, more)
}

// errUnread ends feeding a program that takes no more.
var errUnread = errors.New("the program reads no more")

// feeder passes a Reader on to one program, in a goroutine of its own.
type feeder struct {
	r       io.Reader
	cancel  context.CancelFunc // ends a send that waits
	stopped atomic.Bool
	done    chan struct{} // closed when nothing uses r any more
}

// sender takes bytes, which it must not keep, and nil at the end of the input. It returns an error
// if the program takes no more.
type sender func(ctx context.Context, b []byte) error

// feed starts to pass r on to send. fail takes an error of r; then nothing follows. A nil r has
// nothing.
func feed(ctx context.Context, r io.Reader, send sender, fail func(error)) *feeder {
	ctx, cancel := context.WithCancel(ctx)
	f := &feeder{cancel: cancel, done: make(chan struct{})}
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
func (f *feeder) copy(ctx context.Context, send sender) error {
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

// stop ends the feeding. It interrupts a Read where that is possible, and waits for it, at most for
// limit.
func (f *feeder) stop(limit time.Duration) error {
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
		return ErrStdinInUse
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
