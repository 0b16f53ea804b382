package bundle

import (
	"cmp"
	"index/suffixarray"
	"runtime"
	"slices"
)

// Compression in bzip2's format, which is a fifth to a quarter smaller than zlib's for sources, and
// which most Pythons can read. The standard library has a reader only.

const (
	bzBlock      = 900_000 - 20 // bytes of a block, after the run-length step
	bzGroup      = 50           // symbols that one Huffman table is used for
	bzMaxBits    = 17           // of a code
	bzPasses     = 4            // that tables are improved in
	bzMaxRun     = 255          // bytes that a run of four or more is written for at once
	bzRunA       = 0            // symbols of runs of the first byte of the list
	bzRunB       = 1
	bzBlockMagic = 0x314159265359
	bzEndMagic   = 0x177245385090
)

// bzip2 returns text, compressed; nil, if stop says before one of its blocks that it is for
// nothing. All processors sort blocks, each of which needs memory of 16 MiB.
func bzip2(text []byte, stop func() bool) []byte {
	var sorted []chan sortedBlock
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	whole := uint32(0)
	for len(text) > 0 {
		block, n := runLengths(text)
		sum := bzChecksum(text[:n])
		whole = (whole<<1 | whole>>31) ^ sum
		text = text[n:]
		processors <- struct{}{}
		if stop() {
			return nil
		}
		done := make(chan sortedBlock, 1)
		sorted = append(sorted, done)
		go func() {
			done <- sortBlock(block, sum)
			<-processors
		}()
	}
	w := bitWriter{}
	w.out = append(w.out, "BZh9"...)
	for _, done := range sorted {
		w.block(<-done)
	}
	w.put(bzEndMagic, 48)
	w.put(uint64(whole), 32)
	w.flush()
	return w.out
}

// sortedBlock is a block, ready to be written.
type sortedBlock struct {
	sum     uint32
	first   int // the place of the block itself among its rotations
	symbols []uint16
	used    []byte    // the bytes that occur
	tables  [][]uint8 // lengths of codes
	choice  []byte    // which table each group of symbols has
}

func sortBlock(block []byte, sum uint32) (b sortedBlock) {
	last, first := transform(block)
	b.sum, b.first = sum, first
	b.symbols, b.used = moveToFront(last)
	b.tables, b.choice = huffman(b.symbols, len(b.used)+2)
	return b
}

// runLengths returns a block of at most bzBlock bytes for the first n of text: four equal bytes are
// followed by how many more there are.
func runLengths(text []byte) (block []byte, n int) {
	block = make([]byte, 0, min(len(text)+len(text)/4+1, bzBlock+8))
	for n < len(text) && len(block) < bzBlock-5 {
		c, run := text[n], 1
		for n+run < len(text) && run < bzMaxRun && text[n+run] == c {
			run++
		}
		n += run
		for range min(run, 4) {
			block = append(block, c)
		}
		if run >= 4 {
			block = append(block, byte(run-4))
		}
	}
	return block, n
}

var bzTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func bzChecksum(text []byte) uint32 {
	c := ^uint32(0)
	for _, b := range text {
		c = c<<8 ^ bzTable[byte(c>>24)^b]
	}
	return ^c
}

// bitWriter writes bits, the highest first.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint
}

func (w *bitWriter) put(v uint64, n uint) {
	for n > 24 {
		w.put(v>>(n-24)&(1<<24-1), 24)
		n -= 24
		v &= 1<<n - 1
	}
	w.bits = w.bits<<n | v
	w.n += n
	for w.n >= 8 {
		w.n -= 8
		w.out = append(w.out, byte(w.bits>>w.n))
	}
	w.bits &= 1<<w.n - 1
}

func (w *bitWriter) flush() {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
}

// block writes one block.
func (w *bitWriter) block(b sortedBlock) {
	tables, choice := b.tables, b.choice
	w.put(bzBlockMagic, 48)
	w.put(uint64(b.sum), 32)
	w.put(0, 1) // not randomised
	w.put(uint64(b.first), 24)
	w.usedBytes(b.used)
	w.put(uint64(len(tables)), 3)
	w.put(uint64(len(choice)), 15)
	order := []byte{0, 1, 2, 3, 4, 5}
	for _, c := range choice {
		at := slices.Index(order, c)
		w.put(1<<(at+1)-2, uint(at+1))
		copy(order[1:at+1], order[:at])
		order[0] = c
	}
	for _, lengths := range tables {
		w.lengths(lengths)
	}
	codes := make([][]uint32, len(tables))
	for i, lengths := range tables {
		codes[i] = canonical(lengths)
	}
	for i, s := range b.symbols {
		t := choice[i/bzGroup]
		w.put(uint64(codes[t][s]), uint(tables[t][s]))
	}
}

// usedBytes writes which bytes occur.
func (w *bitWriter) usedBytes(used []byte) {
	var rows [16]uint16
	rowsUsed := uint16(0)
	for _, b := range used {
		rows[b>>4] |= 1 << (15 - b&15)
		rowsUsed |= 1 << (15 - b>>4)
	}
	w.put(uint64(rowsUsed), 16)
	for _, row := range rows {
		if row != 0 {
			w.put(uint64(row), 16)
		}
	}
}

// lengths writes a table of lengths, as differences.
func (w *bitWriter) lengths(lengths []uint8) {
	now := lengths[0]
	w.put(uint64(now), 5)
	for _, l := range lengths {
		for ; now < l; now++ {
			w.put(0b10, 2)
		}
		for ; now > l; now-- {
			w.put(0b11, 2)
		}
		w.put(0, 1)
	}
}

// transform sorts the rotations of a block, and returns their last bytes and the place of the block
// itself among them.
//
// A block whose least rotation is itself has its rotations in the order of its suffixes: where one
// suffix is the beginning of another, what follows the shorter one, the block again, is not greater
// than what follows in the longer. So it is turned to begin there, which changes nothing but where
// the block stands among its rotations.
func transform(block []byte) (last []byte, first int) {
	least := leastRotation(block)
	turned := slices.Concat(block[least:], block[:least])
	original := (len(block) - least) % len(block)
	last = make([]byte, 0, len(block))
	index := suffixarray.New(turned)
	for b := range 256 {
		for _, at := range index.Lookup([]byte{byte(b)}, -1) { // in the order of their suffixes
			if at == original {
				first = len(last)
			}
			if at == 0 {
				at = len(turned)
			}
			last = append(last, turned[at-1])
		}
	}
	return last, first
}

// leastRotation returns where the least rotation of a block begins.
func leastRotation(block []byte) int {
	n := len(block)
	at := func(i int) byte {
		if i >= n {
			i -= n
		}
		return block[i]
	}
	// Rotations from a and from b are equal in same bytes. Where the next byte differs, none that
	// begins in these bytes of the greater one can be the least.
	a, b, same := 0, 1, 0
	for a < n && b < n && same < n {
		switch x, y := at(a+same), at(b+same); {
		case x == y:
			same++
			continue
		case x > y:
			a += same + 1
		default:
			b += same + 1
		}
		if a == b {
			b++
		}
		same = 0
	}
	return min(a, b)
}

// moveToFront returns the symbols of a block's last bytes, and the bytes that occur, in order.
func moveToFront(last []byte) (symbols []uint16, used []byte) {
	var seen [256]bool
	for _, b := range last {
		seen[b] = true
	}
	for b := range 256 {
		if seen[b] {
			used = append(used, byte(b))
		}
	}
	list := slices.Clone(used)
	symbols = make([]uint16, 0, len(last)/2)
	run := 0
	endRun := func() {
		for ; run > 0; run = (run - 1) / 2 {
			if run%2 == 1 {
				symbols = append(symbols, bzRunA)
			} else {
				symbols = append(symbols, bzRunB)
			}
		}
	}
	for _, b := range last {
		at := slices.Index(list, b)
		if at == 0 {
			run++
			continue
		}
		if run > 0 {
			endRun()
			run = 0
		}
		symbols = append(symbols, uint16(at+1))
		copy(list[1:at+1], list[:at])
		list[0] = b
	}
	endRun()
	return append(symbols, uint16(len(used)+1)), used
}

// huffman returns tables of code lengths, and which of them each group of symbols has.
func huffman(symbols []uint16, alphabet int) (tables [][]uint8, choice []byte) {
	count := 2
	for _, least := range []int{200, 600, 1200, 2400} {
		if len(symbols) >= least {
			count++
		}
	}
	tables = firstTables(symbols, alphabet, count)
	choice = make([]byte, (len(symbols)+bzGroup-1)/bzGroup)
	for range bzPasses {
		counts := make([][]int, count)
		for i := range counts {
			counts[i] = make([]int, alphabet)
		}
		for g := range choice {
			some := symbols[g*bzGroup : min((g+1)*bzGroup, len(symbols))]
			best := 0
			for t, lengths := range tables {
				cost := 0
				for _, s := range some {
					cost += int(lengths[s])
				}
				if t == 0 || cost < best {
					best, choice[g] = cost, byte(t)
				}
			}
			for _, s := range some {
				counts[choice[g]][s]++
			}
		}
		for t := range tables {
			tables[t] = codeLengths(counts[t])
		}
	}
	return tables, choice
}

// firstTables gives each table a part of the alphabet that occurs about equally often.
func firstTables(symbols []uint16, alphabet, count int) (tables [][]uint8) {
	counts := make([]int, alphabet)
	for _, s := range symbols {
		counts[s]++
	}
	left, start := len(symbols), 0
	for t := range count {
		want, sum, end := left/(count-t), 0, start
		for end < alphabet && (sum < want || t == count-1) {
			sum += counts[end]
			end++
		}
		lengths := make([]uint8, alphabet)
		for i := range lengths {
			lengths[i] = 15
			if start <= i && i < end {
				lengths[i] = 1
			}
		}
		tables = append(tables, lengths)
		left, start = left-sum, end
	}
	return tables
}

// codeLengths returns lengths of codes for symbols that occur so often, each at least once and none
// longer than bzMaxBits.
func codeLengths(counts []int) []uint8 {
	for scale := 0; ; scale++ {
		lengths, longest := treeLengths(counts, scale)
		if longest <= bzMaxBits {
			return lengths
		}
	}
}

func treeLengths(counts []int, scale int) (lengths []uint8, longest uint8) {
	type node struct{ weight, parent int }
	nodes := make([]node, 0, 2*len(counts))
	open := make([]int, 0, len(counts))
	for i, c := range counts {
		nodes = append(nodes, node{weight: max(1, c>>scale)})
		open = append(open, i)
	}
	slices.SortStableFunc(open, func(a, b int) int {
		return cmp.Compare(nodes[a].weight, nodes[b].weight)
	})
	var made []int // in the order of their weights, as the leaves
	take := func() (i int) {
		if len(made) == 0 || len(open) > 0 && nodes[open[0]].weight <= nodes[made[0]].weight {
			i, open = open[0], open[1:]
		} else {
			i, made = made[0], made[1:]
		}
		return i
	}
	for len(open)+len(made) > 1 {
		a, b := take(), take()
		nodes = append(nodes, node{weight: nodes[a].weight + nodes[b].weight, parent: -1})
		nodes[a].parent, nodes[b].parent = len(nodes)-1, len(nodes)-1
		made = append(made, len(nodes)-1)
	}
	depths := make([]uint8, len(nodes))
	for i := len(nodes) - 2; i >= 0; i-- {
		depths[i] = depths[nodes[i].parent] + 1
	}
	lengths = depths[:len(counts)]
	return lengths, slices.Max(lengths)
}

// canonical returns the codes of such lengths.
func canonical(lengths []uint8) []uint32 {
	codes := make([]uint32, len(lengths))
	code := uint32(0)
	for l := uint8(1); l <= bzMaxBits+3; l++ {
		for i, n := range lengths {
			if n == l {
				codes[i] = code
				code++
			}
		}
		code <<= 1
	}
	return codes
}
