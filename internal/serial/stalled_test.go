package serial

import (
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/methods"
	"github.com/mitogen-go/mitogen/internal/seriallink"
)

// stalled is a line that takes nothing. A Write lasts until its deadline, for which nothing waits
// here, and without one until the end of the test.
type stalled struct {
	mu    sync.Mutex // protects following
	limit time.Time
	over  chan struct{} // closed at the end of the test
}

func (s *stalled) Read([]byte) (int, error) { return 0, io.EOF }

func (s *stalled) Write([]byte) (int, error) {
	s.mu.Lock()
	limit := s.limit
	s.mu.Unlock()
	if limit.IsZero() {
		<-s.over
	}
	return 0, os.ErrDeadlineExceeded
}

func (s *stalled) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = t
	return nil
}

func (s *stalled) SetReadDeadline(time.Time) error { return nil }
func (s *stalled) Close() error                    { return nil }

// TestStalledLines: a line that takes nothing any more ends the process, as silence does.
func TestStalledLines(t *testing.T) {
	w := &stalled{over: make(chan struct{})}
	p := &Process{
		w: w, mask: &methods.Mask{}, in: newPipe(), done: make(chan struct{}),
		link: seriallink.New(seriallink.Options{Idle: Idle}, time.Now()),
		wake: make(chan struct{}, 1),
	}
	p.room = sync.NewCond(&p.mu)
	written := make(chan struct{})
	go func() {
		p.write()
		close(written)
	}()
	select {
	case <-written:
	case <-time.After(10 * time.Second):
		t.Error("got a write without a deadline, want one")
	}
	close(w.over)
	<-p.Done()
	if f := p.Failure(); f.Status != 255 {
		t.Errorf("got %+v, want status 255", f)
	}
}
