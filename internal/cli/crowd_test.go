package cli

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// Targets that find no room wait for other targets to end, and all are done. A target that finds no
// room alone has its error.
func TestCrowd(t *testing.T) {
	for _, c := range []struct{ targets, most, room, want int }{
		{20, 20, 3, 20}, // too many at first
		{20, 2, 3, 20},  // few enough
		{5, 5, 1, 5},
		{5, 5, 0, 0}, // no room for anyone
		{1, 1, 0, 0},
	} {
		crowd := &crowd{most: c.most, left: make(chan struct{})}
		var mu sync.Mutex
		inside, well := 0, 0
		job := func() bool {
			mu.Lock()
			fits := inside < c.room
			if fits {
				inside++
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
			if fits {
				mu.Lock()
				inside--
				well++
				mu.Unlock()
			}
			return fits
		}
		var all sync.WaitGroup
		for range c.targets {
			all.Go(func() {
				defer crowd.leave()
				if !crowd.enter(t.Context()) {
					return
				}
				for alone := 0; !job() && crowd.retry(t.Context(), &alone); {
				}
			})
		}
		all.Wait()
		if well != c.want || crowd.inside != 0 {
			t.Errorf("%d targets, room for %d: got %d well and %d inside, want %d and 0", c.targets, c.room,
				well, crowd.inside, c.want)
		}
	}
}

// A crowd that is full lets a target go when its time ends.
func TestCrowdEnds(t *testing.T) {
	crowd := &crowd{most: 1, left: make(chan struct{})}
	if !crowd.enter(t.Context()) {
		t.Fatal("enter an empty crowd: got false")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if crowd.enter(ctx) {
		t.Error("enter a full crowd with an ended context: got true, want false")
	}
	crowd.leave()
	crowd.leave()
	if crowd.inside != 0 {
		t.Errorf("inside: got %d after all have left, want 0", crowd.inside)
	}
}

// A login that was given a password is not tried again, whatever it lacked.
func TestNoRoomAfterPassword(t *testing.T) {
	for _, c := range []struct {
		err  *connect.Error
		want bool
	}{
		{&connect.Error{Kind: connect.ErrExhausted, Err: methods.ShortageOf("EMFILE")}, true},
		{&connect.Error{Kind: connect.ErrExhausted, Err: methods.ShortageOf("EAGAIN")}, true},
		{&connect.Error{Kind: connect.ErrExhausted, Err: methods.ShortageOf("EMFILE"),
			Given: true}, false},
		{&connect.Error{Kind: connect.ErrAuth}, false},
	} {
		if got := (&host{err: c.err}).foundNoRoom(); got != c.want {
			t.Errorf("%+v: got %t, want %t", c.err, got, c.want)
		}
	}
}
