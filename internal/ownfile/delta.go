package ownfile

import (
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// sums are those of the blocks of an old file, which a new one may have anywhere. A block is known
// by two sums of 32 bits; that the whole file has become what it should be, its digest tells.
type sums struct {
	block  int
	weak   map[uint32]int32 // the first block with that Adler-32
	next   []int32          // the next one with the same; -1: none
	strong []uint32         // CRC-32
	filter []uint64         // a bit for each weak sum, by its hash
	read   int64            // bytes of the new file
	wasted int64            // bytes whose strong sum was taken in vain
	out    [256]uint32      // what a byte that leaves a block takes from the second half of Adler-32
}

// Bounds of a block, in bytes.
const (
	minBlock = 1 << 10
	maxBlock = 1 << 26
)

// most bounds the bytes of a record of blocks.
const most = 1 << 30

const (
	filterBits = 20
	modAdler   = 65521
)

// parseSums reads u32 size of blocks, and for each Adler-32 and CRC-32.
func parseSums(b []byte) (*sums, error) {
	if len(b) < 4 || len(b)%8 != 4 {
		return nil, fmt.Errorf("%w: sums of %d bytes", ErrFormat, len(b))
	}
	block := binary.BigEndian.Uint32(b)
	if block < minBlock || block > maxBlock {
		return nil, fmt.Errorf("%w: blocks of %d bytes", ErrFormat, block)
	}
	n := len(b) / 8
	s := &sums{block: int(block), weak: make(map[uint32]int32, n), next: make([]int32, n),
		strong: make([]uint32, n), filter: make([]uint64, 1<<filterBits/64)}
	for i := n - 1; i >= 0; i-- {
		pair := b[4+8*i:]
		w := binary.BigEndian.Uint32(pair)
		s.strong[i], s.next[i] = binary.BigEndian.Uint32(pair[4:]), -1
		if first, ok := s.weak[w]; ok {
			s.next[i] = first
		}
		s.weak[w] = int32(i)
		h := filterHash(w)
		s.filter[h/64] |= 1 << (h % 64)
	}
	for c := range s.out {
		s.out[c] = uint32(uint64(block) * uint64(c) % modAdler)
	}
	return s, nil
}

func filterHash(w uint32) uint32 { return (w ^ w>>16*0x9e37) & (1<<filterBits - 1) }

// tooHostile tells whether so many strong sums were taken in vain that the other side may have
// chosen its weak sums for that. An honest file of less than 60 GB has fewer.
func (s *sums) tooHostile() bool { return s.wasted > 64<<20+16*s.read }

// find returns the block that b is, the one after last if several are; -1: none.
func (s *sums) find(weak uint32, b []byte, last int) int {
	if h := filterHash(weak); s.filter[h/64]>>(h%64)&1 == 0 {
		return -1
	}
	i, ok := s.weak[weak]
	if !ok || s.tooHostile() {
		return -1
	}
	strong, found := crc32.ChecksumIEEE(b), -1
	for steps := 0; i >= 0 && steps < 64; steps++ { // blocks that are all alike
		if s.strong[i] == strong {
			if found < 0 || int(i) == last+1 {
				found = int(i)
			}
			if int(i) >= last+1 {
				break
			}
		}
		i = s.next[i]
	}
	if found < 0 {
		s.wasted += int64(len(b))
	}
	return found
}

// A delta takes a new file apart: bytes, and blocks of the old file.
type delta interface {
	literal(b []byte) error
	// copied says that b is block i of the old file.
	copied(i int, b []byte) error
}

// scan reads a new file.
func (s *sums) scan(r io.Reader, d delta) error {
	buf := make([]byte, max(16*piece, 2*s.block+piece))
	start, pos, end, last := 0, 0, 0, -1 // of what isn't passed on, of the window, of what is read
	var a, b uint32
	have, eof := false, false
	flush := func(upTo int) error {
		if upTo == start {
			return nil
		}
		err := d.literal(buf[start:upTo])
		start = upTo
		return err
	}
	for {
		if end-pos <= s.block && !eof {
			if err := flush(pos); err != nil {
				return err
			}
			end = copy(buf, buf[pos:end])
			start, pos = 0, 0
			n, err := io.ReadFull(r, buf[end:])
			s.read += int64(n)
			if end += n; err == io.EOF || err == io.ErrUnexpectedEOF {
				eof = true
			} else if err != nil {
				return err
			}
		}
		if end-pos < s.block {
			return flush(end)
		}
		window := buf[pos : pos+s.block]
		if !have {
			sum := adler32.Checksum(window)
			a, b, have = sum&0xffff, sum>>16, true
		}
		if i := s.find(b<<16|a, window, last); i >= 0 {
			if err := flush(pos); err != nil {
				return err
			}
			if err := d.copied(i, window); err != nil {
				return err
			}
			pos += s.block
			start, last, have = pos, i, false
			continue
		}
		if end-pos == s.block { // at the end of the file
			return flush(end)
		}
		a, b, pos = s.roll(buf[:end], a, b, pos, min(end-s.block, start+piece))
		if pos-start >= piece {
			if err := flush(pos); err != nil {
				return err
			}
		}
	}
}

// roll moves the window on, by a byte at least, until there may be a block, or to limit.
func (s *sums) roll(buf []byte, a, b uint32, pos, limit int) (uint32, uint32, int) {
	leaving, coming := buf[pos:limit], buf[pos+s.block:]
	for i, c := range leaving {
		out, in := uint32(c), uint32(coming[i])
		if a += modAdler - out + in; a >= 2*modAdler {
			a -= modAdler
		}
		if a >= modAdler {
			a -= modAdler
		}
		b = (b + 2*modAdler - s.out[out] + a - 1) % modAdler
		pos++
		if h := filterHash(b<<16 | a); s.filter[h/64]>>(h%64)&1 != 0 {
			break
		}
	}
	return a, b, pos
}

// exactly reads as many bytes as a file had when it was opened.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(b[:min(int64(len(b)), e.left)])
	e.left -= int64(n)
	return n, err
}
