package ownfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// sumsOf returns sums as a context sends them.
func sumsOf(old []byte, block int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(block))
	for ; len(old) >= block; old = old[block:] {
		b = binary.BigEndian.AppendUint32(b, adler32.Checksum(old[:block]))
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(old[:block]))
	}
	return b
}

// rebuilt makes the new file of a delta, and counts what had to be sent.
type rebuilt struct {
	t        *testing.T
	old, new []byte
	block    int
	sent     int
}

func (r *rebuilt) literal(b []byte) error {
	r.new, r.sent = append(r.new, b...), r.sent+len(b)
	return nil
}

func (r *rebuilt) copied(i int, b []byte) error {
	old := r.old[i*r.block : (i+1)*r.block]
	if !bytes.Equal(old, b) {
		r.t.Errorf("block %d: got other bytes than those of the new file", i)
	}
	r.new = append(r.new, old...)
	return nil
}

func scanned(t *testing.T, old, new []byte, block int) *rebuilt {
	t.Helper()
	s, err := parseSums(sumsOf(old, block))
	if err != nil {
		t.Fatal(err)
	}
	r := &rebuilt{t: t, old: old, block: block}
	if err := s.scan(iotest.HalfReader(bytes.NewReader(new)), r); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.new, new) {
		t.Errorf("got a file of %d bytes, want the new one of %d", len(r.new), len(new))
	}
	return r
}

// The new file is made of the old one, and what is in both isn't sent but for parts of blocks.
func TestDelta(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	data := func(n int) []byte {
		b := make([]byte, n)
		random.Read(b)
		return b
	}
	old := data(3<<20 + 77)
	const block = 4096
	for name, tt := range map[string]struct {
		new  []byte
		most int
	}{
		"the same":  {old, 77 + block},
		"appended":  {slices.Concat(old, data(1000)), 1077 + 2*block},
		"inserted":  {slices.Concat(old[:1<<20+5], data(10), old[1<<20+5:]), 87 + 2*block},
		"removed":   {slices.Concat(old[:1<<20+5], old[1<<20+900:]), 77 + 2*block},
		"swapped":   {slices.Concat(old[2<<20+9:], old[:2<<20+9]), 77 + 4*block},
		"cut":       {old[:1<<20], block},
		"nothing":   {nil, 0},
		"another":   {data(1 << 20), 1 << 20},
		"twice":     {slices.Concat(old, old), 2*77 + 3*block},
		"a byte":    {[]byte("x"), 1},
		"one block": {old[block : 2*block], 0},
		"all zeros": {make([]byte, 1<<20), 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			if r := scanned(t, old, tt.new, block); r.sent > tt.most {
				t.Errorf("got %d bytes sent, want at most %d", r.sent, tt.most)
			}
		})
	}
	zero := make([]byte, 2<<20) // whose blocks are all alike
	if r := scanned(t, zero, append(zero, 1), block); r.sent > block {
		t.Errorf("zeros: got %d bytes sent, want at most %d", r.sent, block)
	}
}

// Files of few different bytes, with blocks at any place.
func TestDeltaRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		old := make([]byte, 4000+rng.IntN(20_000))
		for i := range old {
			old[i] = byte(rng.IntN(2))
		}
		new := slices.Clone(old)
		for range rng.IntN(5) {
			at, n := rng.IntN(len(new)), rng.IntN(3000)
			switch rng.IntN(3) {
			case 0:
				new = slices.Insert(new, at, old[:min(n, len(old))]...)
			case 1:
				new = slices.Delete(new, at, min(len(new), at+n))
				new = append(new, 0)
			default:
				new[at] ^= 1
			}
		}
		scanned(t, old, new, minBlock+rng.IntN(1000))
	}
}

// Sums that are none are an error, before anything is made of them.
func TestHostileSums(t *testing.T) {
	for name, b := range map[string][]byte{
		"too short": {0, 0, 16}, "half a sum": make([]byte, 10), "blocks of nothing": make([]byte, 12),
		"small blocks": {0, 0, 0, 1}, "large blocks": {0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := parseSums(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want %v", name, err, ErrFormat)
		}
	}
}

// A file isn't read over and over again for weak sums that fit everywhere and strong ones that fit
// nowhere.
func TestWrongStrongSums(t *testing.T) {
	new := make([]byte, 4<<20)
	old := sumsOf(new, 1<<16)
	for i := 8; i < len(old); i += 8 {
		old[i] ^= 1
	}
	s, err := parseSums(old)
	if err != nil {
		t.Fatal(err)
	}
	r := &rebuilt{block: 1 << 16}
	if err := s.scan(bytes.NewReader(new), r); err != nil {
		t.Fatal(err)
	}
	if most := int64(64<<20 + 16*len(new) + 1<<16); s.wasted > most || s.wasted < 1<<20 {
		t.Errorf("got strong sums of %d bytes in vain, want some, and at most %d", s.wasted, most)
	}
	if !bytes.Equal(r.new, new) {
		t.Error("got another file, want the new one")
	}
}

func BenchmarkDelta(b *testing.B) {
	old := make([]byte, 16<<20)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(old)
	other := make([]byte, len(old))
	random.Read(other)
	s, err := parseSums(sumsOf(old, 4096))
	if err != nil {
		b.Fatal(err)
	}
	for name, new := range map[string][]byte{"same": old, "other": other} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(new)))
			for b.Loop() {
				s.scan(bytes.NewReader(new), nothing{})
			}
		})
	}
}

type nothing struct{}

func (nothing) literal([]byte) error     { return nil }
func (nothing) copied(int, []byte) error { return nil }
