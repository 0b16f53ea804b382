package stream

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/mitogen-go/mitogen/internal/wire"
)

// slowLink is a far end behind buffers that take all that a stream writes, as ssh and the kernel
// do, and a link of some bytes a second. It has a clock of its own.
type slowLink struct {
	s       *Stream
	now     time.Duration
	rate    int
	rtt     time.Duration
	buffer  []byte
	scanned []byte        // has arrived
	most    int           // bytes that were in the buffer at once, of late
	lasts   time.Duration // the longest time without an answer, while bytes moved
	heard   time.Duration
	answers []answerAt
	small   []time.Duration // when small frames arrived
}

type answerAt struct {
	at      time.Duration
	payload []byte
}

func newSlowLink(rate int, rtt time.Duration) *slowLink {
	l := &slowLink{s: New(), rate: rate, rtt: rtt}
	l.s.Bound(7)
	l.s.window.now = func() time.Time { return time.Unix(0, 0).Add(l.now) }
	l.s.attached, l.s.open = true, true
	return l
}

// run lets time pass until all that the stream has is through, or until a time.
func (l *slowLink) run(end time.Duration) {
	const step = 10 * time.Millisecond
	for ; l.now < end; l.now += step {
		for len(l.answers) > 0 && l.answers[0].at <= l.now {
			if !l.s.Arrived(l.answers[0].payload) {
				panic("not an answer")
			}
			l.lasts = max(l.lasts, l.now-l.heard)
			l.heard = l.now
			l.answers = l.answers[1:]
		}
		l.s.mu.Lock()
		for l.s.readyLocked() {
			b := l.s.nextLocked()
			l.buffer = append(l.buffer, b...)
			l.s.takenLocked(b)
		}
		l.s.mu.Unlock()
		l.most = max(l.most, len(l.buffer))
		n := min(len(l.buffer), int(int64(l.rate)*int64(step)/int64(time.Second)))
		l.scanned = append(l.scanned, l.buffer[:n]...)
		l.buffer = l.buffer[n:]
		for len(l.scanned) >= wire.HeaderSize {
			size := int(binary.BigEndian.Uint32(l.scanned[24:])) + wire.HeaderSize + wire.TrailerSize
			if len(l.scanned) < size {
				break
			}
			switch wire.Handle(binary.BigEndian.Uint32(l.scanned[16:])) {
			case wire.Ping:
				l.answers = append(l.answers,
					answerAt{l.now + l.rtt, l.scanned[wire.HeaderSize : size-wire.TrailerSize]})
			case wire.Cancel:
				l.small = append(l.small, l.now)
			}
			l.scanned = l.scanned[size:]
		}
		if n == 0 && len(l.answers) == 0 && l.s.queued == 0 {
			return
		}
	}
}

func (l *slowLink) put(n int) {
	for ; n > 0; n -= wire.MaxPayload {
		l.s.Put(&wire.Frame{Dst: 7, Handle: wire.BundlePiece,
			Payload: make([]byte, min(n, wire.MaxPayload))})
	}
}

// TestWindow: on a link of any rate all arrives as soon as it can, something comes up all the time,
// and little waits.
func TestWindow(t *testing.T) {
	for _, test := range []struct {
		name  string
		rate  int // bytes a second
		rtt   time.Duration
		bytes int
		slack time.Duration // that it may take longer than the link needs
		quiet time.Duration // longest time without an answer
		waits int           // most bytes under way, in the end
	}{
		{"19.2 kbit/s", 2400, 300 * time.Millisecond, 600_000, time.Second, 110 * time.Second, 300 << 10},
		{"56 kbit/s", 7000, 300 * time.Millisecond, 600_000, time.Second, 38 * time.Second, 300 << 10},
		{"256 kbit/s", 32_000, 100 * time.Millisecond, 1_800_000, time.Second, 10 * time.Second,
			300 << 10},
		{"1 Mbit/s", 125_000, 100 * time.Millisecond, 8_000_000, time.Second, 4 * time.Second, 500 << 10},
		{"100 Mbit/s, 100 ms, extension modules", 12_500_000, 100 * time.Millisecond, 5_500_000,
			100 * time.Millisecond, time.Second, 8 << 20},
		{"100 Mbit/s, 300 ms", 12_500_000, 300 * time.Millisecond, 40_000_000, 2 * time.Second,
			2 * time.Second, 8 << 20},
		{"1 Gbit/s", 125_000_000, time.Millisecond, 100_000_000, 2 * time.Second, time.Second, 8 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newSlowLink(test.rate, test.rtt)
			least := time.Duration(test.bytes) * time.Second / time.Duration(test.rate)
			l.put(test.bytes)
			l.run(time.Hour)
			if l.s.queued > 0 || len(l.buffer) > 0 || l.now > least+test.rtt+test.slack {
				t.Errorf("got %s and %d bytes left, want at most %s", l.now, l.s.queued+len(l.buffer),
					least+test.rtt+test.slack)
			}
			if l.lasts > test.quiet {
				t.Errorf("longest silence: got %s, want at most %s", l.lasts, test.quiet)
			}
			l.most = 0
			l.put(test.bytes)
			l.run(l.now + time.Hour)
			if l.most > test.waits {
				t.Errorf("under way: got %d bytes, want at most %d", l.most, test.waits)
			}
		})
	}
}

// TestWindowOvertaken: a small frame for another context waits for the frames under way only.
func TestWindowOvertaken(t *testing.T) {
	l := newSlowLink(32_000, 100*time.Millisecond)
	l.put(4_000_000)
	l.run(30 * time.Second)
	put := l.now
	l.s.Put(&wire.Frame{Dst: 8, Handle: wire.Cancel})
	l.run(time.Hour)
	if len(l.small) != 1 || l.small[0]-put > 10*time.Second {
		t.Errorf("a small frame beside bulk: got %v after it was sent at %s, want it within 10 s",
			l.small, put)
	}
}

// TestWindowStalls: what moves again after a stall moves as before, and a stream without a window
// has no marks.
func TestWindowStalls(t *testing.T) {
	l := newSlowLink(32_000, 100*time.Millisecond)
	l.put(1_000_000)
	l.run(10 * time.Second)
	if l.s.Underway() == 0 {
		t.Error("under way: got nothing, want some time")
	}
	rate := l.rate
	l.rate = 0
	l.run(70 * time.Second)
	l.rate = rate
	l.run(time.Hour)
	if l.s.queued > 0 || l.s.Underway() != 0 || l.now > 95*time.Second {
		t.Errorf("after a stall: got %d bytes left and %s under way at %s", l.s.queued, l.s.Underway(),
			l.now)
	}
	if l.s.Arrived([]byte("12345678")) {
		t.Error("an answer to nothing was taken")
	}

	l = newSlowLink(32_000, 0)
	l.s.window.bound = false
	l.put(1_000_000)
	l.run(10 * time.Millisecond)
	if l.most < 1_000_000 || len(l.s.window.marks) > 0 {
		t.Errorf("without a window: got %d bytes written and %d marks, want all and none", l.most,
			len(l.s.window.marks))
	}
}

// TestUnderwayIsBounded: a far end that answers later and later is waited for an hour at most.
func TestUnderwayIsBounded(t *testing.T) {
	for _, test := range []struct {
		name    string
		window  window
		want    time.Duration
		nothing bool // is to be answered
	}{
		{"nothing", window{written: 1 << 50}, 0, true},
		{"little, no answer yet", window{written: 10 << 10}, 10 * time.Second, false},
		{"much, no answer yet", window{written: 1 << 40}, time.Hour, false},
		{"more than a time.Duration has, no answer yet", window{written: 1 << 62}, time.Hour, false},
		{"a quick answer", window{written: 1 << 40, arrived: 1, took: time.Millisecond}, 3 * time.Second,
			false},
		{"an answer after minutes", window{written: 100, arrived: 1, took: 5 * time.Minute},
			15 * time.Minute, false},
		{"an answer after a day", window{written: 100, arrived: 1, took: 24 * time.Hour}, time.Hour,
			false},
		{"an answer after centuries", window{written: 100, arrived: 1, took: 1<<63 - 1}, time.Hour,
			false},
		{"a clock that was set back", window{written: 100, arrived: 1, took: -time.Hour}, 3 * time.Second,
			false},
	} {
		s := &Stream{window: test.window}
		if !test.nothing {
			s.window.marks = []mark{{at: 1}}
		}
		if got := s.Underway(); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
