package engine

import (
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// A window doubles while half of it passes within a round trip, and not beyond its bounds.
func TestWindowsGrow(t *testing.T) {
	for name, tt := range map[string]struct {
		trip    time.Duration
		down    bool
		widened int // by other flows, on the same stream
		want    int
	}{
		"long link, up":      {longestTrip, false, 0, maxWindow},
		"long link, down":    {longestTrip, true, 0, maxWindow},
		"short link":         {1, false, 0, wire.Window},
		"slow link":          {longestTrip + 1, false, 0, wire.Window},
		"slow link, down":    {longestTrip + 1, true, 0, wire.Window},
		"many others":        {longestTrip, false, maxWidened, wire.Window},
		"room for some only": {longestTrip, true, maxWidened - 3<<20, 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			e, fakes := fakeEngine(t, Options{})
			c, f := connected(t, e, fakes)
			s, err := c.Programs.Session(within(t), SessionSpec{Args: []string{"x"}})
			if err != nil {
				t.Fatal(err)
			}
			g := f.asked()
			e.mu.Lock()
			c.figures.trip, c.conduct.widened = tt.trip, tt.widened
			e.mu.Unlock()
			p := s.up
			if p.down = tt.down; tt.down {
				if _, err := s.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
			} else {
				f.reply(g, wire.Item, []byte("x"))
				s.Read(make([]byte, 1))
			}
			for range 1024 {
				p.moved(s.Tunnel, 64<<10)
			}
			e.mu.Lock()
			got, others := wire.Window+p.widened, c.conduct.widened-p.widened
			e.mu.Unlock()
			if got != tt.want || others != tt.widened {
				t.Errorf("got a window of %d, %d for others, want %d, %d", got, others, tt.want, tt.widened)
			}
			s.narrow()
			if c.conduct.widened != tt.widened {
				t.Errorf("after the end: got %d bytes, want %d", c.conduct.widened, tt.widened)
			}
		})
	}
}

// A context may have as much on the way as it was granted, and no more.
func TestGrantedWindow(t *testing.T) {
	const frames = 2 * wire.Window / wire.MaxPayload // which fill it; a byte before them is owed
	for more, want := range map[int]bool{0: true, 1: false} {
		e, fakes := fakeEngine(t, Options{})
		c, f := connected(t, e, fakes)
		s, err := c.Programs.Session(within(t), SessionSpec{Args: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		g := f.asked()
		f.reply(g, wire.Item, []byte("x"))
		s.Read(make([]byte, 1))
		e.mu.Lock()
		c.figures.trip = longestTrip
		e.mu.Unlock()
		s.up.moved(s.Tunnel, bulkAt+wire.Window/2)
		for credit := uint32(0); credit < wire.Window; {
			_, n, _ := wire.ParseCredit(f.expect(c.id, wire.Credit).Payload)
			credit += n
		}
		for range frames + more {
			f.reply(g, wire.Item, make([]byte, wire.MaxPayload))
		}
		f.reply(g, wire.Data, nil)
		s.End(within(t))
		waitFor(t, "the end", func() bool { return s.p.finished() })
		if lives := c.Err() == nil; lives != want {
			t.Errorf("%d frames too many: the context lives: got %v, want %v", more, lives, want)
		}
	}
}
