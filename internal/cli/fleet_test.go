package cli

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// No more targets than --forks are at work at once, but for those that have left their place: the
// last of these waits for the rest.
func TestPlaces(t *testing.T) {
	const forks, all = 2, 7
	s := &state{ui: newUI(io.Discard, io.Discard)}
	s.opt.forks, s.opt.gathers, s.opt.timeout = forks, true, duration(time.Minute)
	s.opt.spots = make([]spot, all)
	f := &fleet{s: s, running: map[*host]bool{}, print: func(*host) {}}
	var working, done atomic.Int32
	last := make(chan struct{})
	f.work(t.Context(), func(ctx context.Context, h *host) error {
		if n := working.Add(1); n > forks {
			t.Errorf("%d targets at work, want at most %d", n, forks)
		}
		time.Sleep(time.Millisecond)
		working.Add(-1)
		h.leave()
		if done.Add(1) == all {
			close(last)
		}
		select {
		case <-last:
			return nil
		case <-ctx.Done():
			t.Error("no other target has begun")
			return ctx.Err()
		}
	})
	if n := done.Load(); n != all || f.finished != all {
		t.Errorf("got %d targets at work, and %d ended, want %d", n, f.finished, all)
	}
}
