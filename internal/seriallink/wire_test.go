package seriallink

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"
)

// A badWire is one direction of a simulated line, in simulated time.
type badWire struct {
	rng        *rand.Rand
	rate       int     // bytes a second
	flip, drop float64 // of each byte
	twice      float64
	seven      bool // only seven bits pass
	noise      time.Duration
	noiseText  func(i int) []byte
	loud       time.Time
	made       int
	queue      []byte
	credit     float64
	last       time.Time
	passed     int // bytes
}

func (w *badWire) put(line []byte) {
	for _, b := range line {
		if w.rng.Float64() < w.drop {
			continue
		}
		if w.rng.Float64() < w.flip {
			b ^= 1 << w.rng.IntN(8)
		}
		if w.seven {
			b &= 0x7f
		}
		w.queue = append(w.queue, b)
		if w.rng.Float64() < w.twice {
			w.queue = append(w.queue, b)
		}
	}
}

// run returns what has arrived since it was called last.
func (w *badWire) run(now time.Time) []byte {
	w.credit = min(w.credit+now.Sub(w.last).Seconds()*float64(w.rate), float64(len(w.queue)))
	w.last = now
	if w.noise > 0 && now.Sub(w.loud) >= w.noise {
		w.loud = now
		text := w.message()
		at := w.rng.IntN(len(w.queue) + 1)
		w.queue = append(w.queue[:at:at], append(text, w.queue[at:]...)...)
	}
	n := int(w.credit)
	out := bytes.Clone(w.queue[:n])
	w.queue, w.credit, w.passed = w.queue[n:], w.credit-float64(n), w.passed+n
	return out
}

func (w *badWire) message() []byte {
	w.made++
	if w.noiseText != nil {
		return w.noiseText(w.made)
	}
	return fmt.Appendf(nil, "[%12.6f] usb 1-1: device descriptor read/64, error -%d\r\n",
		float64(w.made), w.made)
}

// sim is a link with both ends and both directions.
type sim struct {
	now      time.Time
	near     *Link
	far      *Link
	down, up *badWire
	atNear   map[Kind][]byte
	atFar    map[Kind][]byte
	forge    func(at *Link) []byte // what an attacker adds to what the near end reads
}

func newSim(seed uint64, rate int, change func(w *badWire)) *sim {
	now := time.Unix(1000, 0)
	s := &sim{now: now, atNear: map[Kind][]byte{}, atFar: map[Kind][]byte{}}
	o := Options{Key: 0x1234abcd, Rate: rate, Idle: 30 * time.Second}
	s.near = New(o, now)
	o.Far = true
	s.far = New(o, now)
	wire := func(n uint64) *badWire {
		w := &badWire{rng: rand.New(rand.NewPCG(seed, n)), rate: rate, last: now, loud: now}
		change(w)
		return w
	}
	s.down, s.up = wire(1), wire(2)
	return s
}

// until runs the link till done, or for so long of its own time. It returns whether done was.
func (s *sim) until(limit time.Duration, done func() bool) bool {
	for end := s.now.Add(limit); s.now.Before(end); s.now = s.now.Add(2 * time.Millisecond) {
		if done() {
			return true
		}
		for line := s.near.Take(s.now); line != nil; line = s.near.Take(s.now) {
			s.down.put(line)
		}
		for line := s.far.Take(s.now); line != nil; line = s.far.Take(s.now) {
			s.up.put(line)
		}
		collect(s.atFar, s.far.Feed(s.down.run(s.now), s.now))
		up := s.up.run(s.now)
		if s.forge != nil {
			up = append(up, s.forge(s.near)...)
		}
		collect(s.atNear, s.near.Feed(up, s.now))
	}
	return done()
}

func collect(into map[Kind][]byte, records []Record) {
	for _, r := range records {
		into[r.Kind] = append(into[r.Kind], r.Data...)
	}
}

// feedWhileRoom keeps a link busy with data that is still to go, and returns the rest.
func feedWhileRoom(l *Link, data []byte) []byte {
	for l.Room() && len(data) > 0 {
		n := min(len(data), 1000)
		l.Put(Data, data[:n])
		data = data[n:]
	}
	return data
}
