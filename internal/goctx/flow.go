package goctx

import (
	"context"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// flow is a window: what may still be sent of an answer.
type flow struct {
	left int64
	more chan struct{} // closed when left has become positive; nil: no goroutine waits
}

// reserve takes n bytes of a window, once any of it is left. The error is why ctx has ended.
func (s *served) reserve(ctx context.Context, k key, n int) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.mu.Lock()
		f := s.flows[k]
		if f == nil {
			f = &flow{left: wire.Window}
			s.flows[k] = f
		}
		if f.left > 0 {
			f.left -= int64(n)
			s.mu.Unlock()
			return nil
		}
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// onCredit gives back what a receiver has consumed.
func (s *served) onCredit(f *wire.Frame) {
	handle, n, err := wire.ParseCredit(f.Payload)
	if err != nil {
		return
	}
	if f.Src == 0 && (handle == wire.Stdout || handle == wire.Stderr) {
		s.creditOutput(handle, int(n))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.flows[key{f.Src, handle}]; w != nil {
		w.left += int64(n)
		if w.left > 0 && w.more != nil {
			close(w.more)
			w.more = nil
		}
	}
}
