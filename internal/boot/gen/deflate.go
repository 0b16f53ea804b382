package main

import (
	"encoding/binary"
	"hash/adler32"
	"math"
	"slices"
)

// Limits of the format (RFC 1951).
const (
	minMatch  = 3
	maxMatch  = 258
	maxBits   = 15 // of a code for literals, lengths and distances
	endSymbol = 256
	passes    = 60
)

// squeeze compresses text in zlib's format, as small as one block can be. It takes its time: each
// pass looks for the cheapest way to write text by what symbols cost in the pass before. text has
// less than the format's window, 32 KiB.
func squeeze(text []byte) []byte {
	found := findMatches(text)
	c := costs{}
	for i := range c.literal {
		c.literal[i] = 8
	}
	var best []byte
	for pass := range passes {
		s := cheapest(text, found, &c)
		if b := block(s); best == nil || len(b) < len(best) {
			best = b
		}
		c.learn(s, pass)
	}
	out := append([]byte{0x78, 0xda}, best...)
	return binary.BigEndian.AppendUint32(out, adler32.Checksum(text))
}

// match says that what begins at a position also stands dist bytes before, length bytes of it.
type match struct{ length, dist int }

// findMatches returns for each position its matches by increasing length: of each the nearest. A
// shorter length has the distance of the next longer one.
func findMatches(text []byte) [][]match {
	found := make([][]match, len(text))
	chains := map[[minMatch]byte][]int{}
	for i := 0; i+minMatch <= len(text); i++ {
		key := [minMatch]byte(text[i:])
		longest := minMatch - 1
		for _, at := range slices.Backward(chains[key]) {
			if longest == maxMatch {
				break
			}
			n := minMatch
			for n < maxMatch && i+n < len(text) && text[at+n] == text[i+n] {
				n++
			}
			if n > longest {
				found[i] = append(found[i], match{n, i - at})
				longest = n
			}
		}
		chains[key] = append(chains[key], i)
	}
	return found
}

// symbol is a literal, if dist is 0, or a match.
type symbol struct{ length, dist int }

// costs are the bits of each symbol.
type costs struct {
	literal [288]float64 // with codes of lengths
	dist    [30]float64
}

func (c *costs) match(length, dist int) float64 {
	l, _, lextra := lengthCode(length)
	d, _, dextra := distCode(dist)
	return c.literal[l] + c.dist[d] + float64(lextra+dextra)
}

// cheapest returns the symbols that write text with the least bits.
func cheapest(text []byte, found [][]match, c *costs) []symbol {
	bits := make([]float64, len(text)+1)
	by := make([]symbol, len(text)+1) // the last symbol on the cheapest way to a position
	for i := range bits[1:] {
		bits[i+1] = math.Inf(1)
	}
	for i := range text {
		if b := bits[i] + c.literal[text[i]]; b < bits[i+1] {
			bits[i+1], by[i+1] = b, symbol{int(text[i]), 0}
		}
		n := minMatch
		for _, m := range found[i] {
			for ; n <= m.length; n++ {
				if b := bits[i] + c.match(n, m.dist); b < bits[i+n] {
					bits[i+n], by[i+n] = b, symbol{n, m.dist}
				}
			}
		}
	}
	var all []symbol
	for i := len(text); i > 0; {
		s := by[i]
		all = append(all, s)
		if s.dist == 0 {
			i--
		} else {
			i -= s.length
		}
	}
	slices.Reverse(all)
	return all
}

// count returns how often each code occurs.
func count(all []symbol) (literals, dists []int) {
	literals, dists = make([]int, 286), make([]int, 30)
	literals[endSymbol] = 1
	for _, s := range all {
		if s.dist == 0 {
			literals[s.length]++
			continue
		}
		l, _, _ := lengthCode(s.length)
		d, _, _ := distCode(s.dist)
		literals[l]++
		dists[d]++
	}
	return literals, dists
}

// learn takes costs from what symbols occur. After some passes it varies them, in a fixed way, to
// leave what is only the best of its neighbourhood.
func (c *costs) learn(all []symbol, pass int) {
	literals, dists := count(all)
	if pass > 10 {
		for _, counts := range [][]int{literals, dists} {
			for i := range counts {
				if (i*7919+pass*104729)%5 == 0 {
					counts[i] = counts[(i*31+pass*17)%len(counts)]
				}
			}
		}
		literals[endSymbol] = 1
	}
	set := func(bits []float64, counts []int) {
		sum := 0
		for _, n := range counts {
			sum += n
		}
		for i, n := range counts {
			bits[i] = math.Log2(float64(sum+1) / max(float64(n), 0.7))
		}
	}
	set(c.literal[:], literals)
	set(c.dist[:], dists)
}

// lengthCode returns the code of a match's length, and the extra bits behind it.
func lengthCode(n int) (code, extra, bits int) {
	if n == maxMatch {
		return 285, 0, 0
	}
	if n < 11 {
		return 254 + n, 0, 0
	}
	n -= 3
	for bits = 1; n>>(bits+3) > 0; bits++ {
	}
	return 257 + 4*bits + n>>bits, n & (1<<bits - 1), bits
}

// distCode returns the code of a match's distance, and the extra bits behind it.
func distCode(d int) (code, extra, bits int) {
	d--
	if d < 4 {
		return d, 0, 0
	}
	for bits = 1; d>>(bits+2) > 0; bits++ {
	}
	return 2*bits + d>>bits, d & (1<<bits - 1), bits
}
