package seriallink

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// serialRate is the rate of a line of 115,200 baud, in bytes a second.
const serialRate = 11520

func randomBytes(n int) []byte {
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestLines: what is written as a line is read back, in both codings, behind noise, and in one
// direction only.
func TestLines(t *testing.T) {
	for _, size := range []int{0, 1, 2, 3, 100, MaxPayload, 256} {
		for _, eight := range []bool{false, true} {
			f := frame{kind: Data, heard: eight, seq: uint8(size), ack: 37,
				payload: randomBytes(size)}
			line := appendLine(nil, f, 99, eight)
			if n := bytes.Count(line, []byte{'\n'}); n != 1 || line[len(line)-1] != '\n' {
				t.Fatalf("payload of %d: got %d line ends in %q", size, n, line)
			}
			noisy := append([]byte("[ 1.5] 100% & more"), line[:len(line)-1]...)
			for _, text := range [][]byte{line[:len(line)-1], noisy,
				append(bytes.Clone(line[:len(line)-1]), '\r')} {
				got, wasEight, ok := parseLine(text, 99)
				if !ok || wasEight != eight || fmt.Sprint(got) != fmt.Sprint(f) {
					t.Errorf("payload of %d, 8-bit %v: got %v %v, want %v", size, eight, got, ok, f)
				}
			}
			if _, _, ok := parseLine(line[:len(line)-1], ^uint32(99)); ok {
				t.Errorf("payload of %d: read by the other direction, want not", size)
			}
		}
	}
}

// TestEscaped: no byte that a console keeps for itself is on the wire, and each escape is one byte
// that isn't kept either.
func TestEscaped(t *testing.T) {
	line := appendLine(nil, frame{kind: probe, payload: allBytes()}, 1, true)
	for _, b := range []byte{0, 5, 10, 13, 0x11, 0x13, 0x1d, '~', '%', 0xff} {
		if bytes.IndexByte(line[:len(line)-1], b) >= 0 {
			t.Errorf("byte %#x is on the wire, want it escaped", b)
		}
	}
	if bytes.Count(line, []byte("&")) != 1 {
		t.Error("the mark is in the text, want it escaped")
	}
}

func allBytes() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

// TestBadLines: nothing is lost, changed, doubled or put in another order, on lines of all kinds,
// in
// both directions at once.
func TestBadLines(t *testing.T) {
	for name, c := range map[string]struct {
		rate   int
		size   int
		change func(*badWire)
	}{
		"clean": {serialRate, 60000, func(*badWire) {}},
		"1 in 2,000 damaged": {serialRate, 60000, func(w *badWire) {
			w.flip,
				w.noise = 1/2000., time.Second
		}},
		"1 in 500 lost or damaged": {serialRate, 40000, func(w *badWire) {
			w.flip, w.drop = .001,
				.001
		}},
		"doubled":    {serialRate, 40000, func(w *badWire) { w.twice = .001 }},
		"seven bits": {serialRate, 40000, func(w *badWire) { w.seven = true }},
		"seven bits, damaged": {serialRate, 40000, func(w *badWire) {
			w.seven, w.flip = true,
				1/1000.
		}},
		"9,600 baud": {960, 6000, func(w *badWire) { w.flip = 1 / 2000. }},
		"much noise": {serialRate, 20000,
			func(w *badWire) { w.noise = 50 * time.Millisecond }},
		"noise without line ends": {serialRate, 20000, func(w *badWire) {
			w.noise, w.noiseText = time.Second,
				func(int) []byte { return bytes.Repeat([]byte("x%&="), 700) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(3, c.rate, c.change)
			there, back := randomBytes(c.size), randomBytes(c.size-1)
			a, b := there, back
			s.far.Put(Error, []byte("on stderr"))
			done := s.until(10*time.Minute, func() bool {
				a, b = feedWhileRoom(s.near, a), feedWhileRoom(s.far, b)
				return len(a)+len(b) == 0 && s.near.Drained() && s.far.Drained()
			})
			if !done || !bytes.Equal(s.atFar[Data], there) || !bytes.Equal(s.atNear[Data], back) {
				t.Errorf("got %d of %d bytes there, %d of %d back, or other ones",
					len(s.atFar[Data]), len(there), len(s.atNear[Data]), len(back))
			}
			if got := string(s.atNear[Error]); got != "on stderr" {
				t.Errorf("stderr: got %q", got)
			}
			if want := !s.down.seven; s.near.Stats().Eight != want {
				t.Errorf("8-bit coding: got %v, want %v", !want, want)
			}
		})
	}
}

// TestGoodput: what a line of 115,200 baud carries besides the link's own bytes.
func TestGoodput(t *testing.T) {
	for name, c := range map[string]struct {
		least  float64
		change func(*badWire)
	}{
		"8-bit":               {.88, func(*badWire) {}},
		"base64":              {.70, func(w *badWire) { w.seven = true }},
		"8-bit, 1 in 2,000":   {.65, func(w *badWire) { w.flip, w.noise = 1/2000., time.Second }},
		"8-bit, a lost byte":  {.65, func(w *badWire) { w.drop, w.noise = 1/2000., time.Second }},
		"8-bit, doubled byte": {.65, func(w *badWire) { w.twice, w.noise = 1/2000., time.Second }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(5, serialRate, c.change)
			s.until(2*time.Second, func() bool { return false }) // the coding is found
			data := randomBytes(100000)
			rest, began := data, s.now
			done := s.until(5*time.Minute, func() bool {
				rest = feedWhileRoom(s.far, rest)
				return len(s.atNear[Data]) == len(data)
			})
			part := float64(len(data)) / s.now.Sub(began).Seconds() / serialRate
			t.Logf("%.1f %% of the line, %+v", 100*part, s.far.Stats())
			if !done || !bytes.Equal(s.atNear[Data], data) || part < c.least {
				t.Errorf("got %.1f %% of the line, whole %v, want %.0f %%", 100*part, done,
					100*c.least)
			}
		})
	}
}

// TestSmallTalk: a message of a few bytes each way costs little more than its bytes on the line.
func TestSmallTalk(t *testing.T) {
	s := newSim(1, serialRate, func(*badWire) {})
	s.until(2*time.Second, func() bool { return false })
	for range 50 {
		began, had := s.now, len(s.atNear[Data])
		s.near.Put(Data, []byte("0123456789"))
		s.until(time.Second, func() bool { return len(s.atFar[Data]) > had })
		s.far.Put(Data, []byte("0123456789"))
		if !s.until(time.Second, func() bool { return len(s.atNear[Data]) > had }) ||
			s.now.Sub(began) > 20*time.Millisecond {
			t.Fatalf("got a round trip of %v, want at most 20 ms", s.now.Sub(began))
		}
	}
}

// TestForged: what another program writes among what comes, in the form of frames, is noise: frames
// without the key's check, echoes of our own, farewells, and random ones.
func TestForged(t *testing.T) {
	for name, forge := range map[string]func(l *Link, rng *rand.Rand) []byte{
		"without the key": func(l *Link, _ *rand.Rand) []byte {
			return appendLine(nil, frame{kind: Data, seq: uint8(l.want), payload: []byte("forged")},
				0, false)
		},
		"with the key of the other direction": func(l *Link, _ *rand.Rand) []byte {
			return appendLine(nil, frame{kind: Data, seq: uint8(l.want), payload: []byte("forged")},
				l.mine, true)
		},
		"a farewell": func(*Link, *rand.Rand) []byte { return []byte(Farewell) },
		"guessed": func(l *Link, rng *rand.Rand) []byte {
			return appendLine(nil, frame{kind: Data, seq: uint8(l.want), payload: []byte("forged")},
				rng.Uint32(), false)
		},
		"escape sequences": func(*Link,
			*rand.Rand) []byte {
			return []byte("\x1b[2J\x1b]0;x\a\x1bP%\x1b\\&\x1b[6n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 1))
			s := newSim(1, serialRate, func(*badWire) {})
			turn := 0
			s.forge = func(l *Link) []byte {
				if turn++; turn%100 != 0 {
					return nil
				}
				return append([]byte("\n"), append(forge(l, rng), '\n')...)
			}
			s.far.Put(Data, randomBytes(5000))
			s.until(3*time.Second, func() bool { return s.near.Left() })
			if s.near.Left() || !bytes.Equal(s.atNear[Data], randomBytes(5000)) {
				t.Errorf("left %v, got %d bytes, want the 5000 that were sent", s.near.Left(),
					len(s.atNear[Data]))
			}
			if len(s.near.held) > maxWindow || len(s.near.noise) > maxNoise ||
				len(s.near.scan.held) > maxLine {
				t.Error("what came is kept without a bound")
			}
		})
	}
}

// TestEndless: output without an end keeps bounded room, and ends no link by itself.
func TestEndless(t *testing.T) {
	now := time.Unix(1000, 0)
	l := New(Options{Key: 1}, now)
	for _, text := range []string{"y", "%", "&=", "\n", "%AAAA", "\x1b[A"} {
		l.Feed(bytes.Repeat([]byte(text), 1<<20/len(text)), now)
		if len(l.scan.held) > maxLine || len(l.noise) > maxNoise || len(l.held) > 0 {
			t.Errorf("%q for a mebibyte: %d bytes are kept as a line, %d as noise", text,
				len(l.scan.held), len(l.noise))
		}
	}
}

// TestLeaving: the end of one link ends the other, and so does the farewell of a client that has
// no key, but only at the far end.
func TestLeaving(t *testing.T) {
	now := time.Unix(1000, 0)
	near, far := New(Options{Key: 5}, now), New(Options{Key: 5, Far: true}, now)
	if far.Feed(near.Goodbye(), now); !far.Left() {
		t.Error("goodbye of the near end: got no end at the far one")
	}
	if near.Feed(far.Goodbye(), now); !near.Left() {
		t.Error("goodbye of the far end: got no end at the near one")
	}
	near, far = New(Options{Key: 6}, now), New(Options{Key: 6, Far: true}, now)
	if far.Feed([]byte(Farewell[1:]), now); far.Left() {
		t.Error("half a line has ended the link")
	}
	if far.Feed([]byte(Farewell[1:]+"x"+Farewell), now); !far.Left() {
		t.Error("farewell of another client: got no end at the far end")
	}
	if near.Feed([]byte(Farewell+"\n"), now); near.Left() {
		t.Error("farewell without a key has ended the near end")
	}
}

// TestSilence: an end that hears nothing says so, and one with nothing to say is heard all the
// same.
func TestSilence(t *testing.T) {
	s := newSim(1, 960, func(*badWire) {})
	s.until(5*time.Minute, func() bool { return s.near.Silent(s.now) || s.far.Silent(s.now) })
	if s.near.Silent(s.now) || s.far.Silent(s.now) {
		t.Error("an idle link: got silence, want heartbeats")
	}
	s.up.drop = 1
	if !s.until(time.Minute, func() bool { return s.near.Silent(s.now) }) {
		t.Error("a line that is cut: got no silence")
	}
}

// TestNext: Take has a line at the time of Next, so that no wait is in vain.
func TestNext(t *testing.T) {
	s := newSim(9, serialRate, func(w *badWire) { w.drop = .002 })
	s.near.Put(Data, randomBytes(3000))
	idle := 0
	s.until(20*time.Second, func() bool {
		if next := s.near.Next(s.now); next.After(s.now) && s.near.Take(s.now) != nil {
			t.Fatalf("a line %v before Next", next.Sub(s.now))
		} else if next.After(s.now) {
			idle++
		}
		return s.near.Drained()
	})
	if idle == 0 {
		t.Error("Next is always now")
	}
}

func FuzzFeed(f *testing.F) {
	f.Add([]byte("%AAAA\n"), uint32(0))
	f.Add(appendLine(nil, frame{kind: Data, payload: []byte("x")}, ^uint32(5), true), uint32(5))
	f.Add(appendLine(nil, frame{kind: ack, ack: 200, payload: []byte{255, 255}}, ^uint32(5), false),
		uint32(5))
	f.Add([]byte("%"+base64.StdEncoding.EncodeToString(make([]byte, 300))+"\n"), uint32(1))
	f.Fuzz(func(t *testing.T, text []byte, key uint32) {
		now := time.Unix(1000, 0)
		l := New(Options{Key: key, Idle: time.Second}, now)
		l.Put(Data, []byte("abc"))
		l.Take(now)
		l.Feed(text, now)
		for range 20 {
			now = now.Add(100 * time.Millisecond)
			l.Take(now)
			l.Next(now)
		}
		if len(l.held) > maxWindow || len(l.scan.held) > maxLine {
			t.Errorf("keeps %d frames and %d bytes", len(l.held), len(l.scan.held))
		}
	})
}

// FuzzAuthentic feeds frames with the right check and any content.
func FuzzAuthentic(f *testing.F) {
	f.Add(byte(1), byte(3), byte(0), []byte("x"), true)
	f.Add(byte(4), byte(0), byte(1), []byte{255, 255}, false)
	f.Add(byte(0x46), byte(0), byte(0), []byte{}, false)
	f.Fuzz(func(t *testing.T, kind, seq, acks byte, payload []byte, eight bool) {
		now := time.Unix(1000, 0)
		l := New(Options{Key: 5}, now)
		l.Put(Data, randomBytes(2000))
		for range 8 {
			l.Take(now)
			now = now.Add(time.Second)
		}
		f := frame{kind: Kind(kind &^ heard), heard: kind&heard != 0, seq: seq, ack: acks,
			payload: payload[:min(len(payload), 256)]}
		l.Feed(appendLine(nil, f, l.theirs, eight), now)
		if n := l.base + uint64(len(l.sent)); l.base > n || len(l.held) > maxWindow {
			t.Errorf("base %d of %d, %d held", l.base, n, len(l.held))
		}
	})
}
