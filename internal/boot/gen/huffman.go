package main

import "slices"

// lengths returns the lengths of a prefix code for symbols that occur so often, of at most limit
// bits: by package-merge, which finds the best.
func lengths(counts []int, limit int) []int {
	type packet struct {
		weight  int
		symbols []int
	}
	var leaves []packet
	for i, n := range counts {
		if n > 0 {
			leaves = append(leaves, packet{n, []int{i}})
		}
	}
	out := make([]int, len(counts))
	if len(leaves) < 2 {
		for _, p := range leaves {
			out[p.symbols[0]] = 1
		}
		return out
	}
	less := func(a, b packet) int { return a.weight - b.weight }
	slices.SortStableFunc(leaves, less)
	row := slices.Clone(leaves)
	for range limit - 1 {
		next := slices.Clone(leaves)
		for i := 0; i+1 < len(row); i += 2 {
			next = append(next, packet{row[i].weight + row[i+1].weight,
				slices.Concat(row[i].symbols, row[i+1].symbols)})
		}
		slices.SortStableFunc(next, less)
		row = next
	}
	for _, p := range row[:2*len(leaves)-2] {
		for _, s := range p.symbols {
			out[s]++
		}
	}
	return out
}

// codes returns the canonical code of such lengths, the first bit lowest.
func codes(lengths []int) []int {
	out := make([]int, len(lengths))
	code := 0
	for n := 1; n <= maxBits; n++ {
		for i, l := range lengths {
			if l != n {
				continue
			}
			for bit := range n {
				out[i] |= code >> bit & 1 << (n - 1 - bit)
			}
			code++
		}
		code <<= 1
	}
	return out
}

// bitWriter writes bits, the lowest first.
type bitWriter struct {
	out  []byte
	free int // bits of the last byte
}

func (w *bitWriter) bits(v, n int) {
	for i := range n {
		if w.free == 0 {
			w.out = append(w.out, 0)
			w.free = 8
		}
		w.out[len(w.out)-1] |= byte(v>>i&1) << (8 - w.free)
		w.free--
	}
}

// block writes symbols as one block, the last.
func block(all []symbol) []byte {
	literals, dists := count(all)
	ll, dl := lengths(literals, maxBits), lengths(dists, maxBits)
	if !slices.ContainsFunc(dl, func(n int) bool { return n > 0 }) {
		dl[0] = 1
	}
	w := &bitWriter{}
	w.bits(1, 1) // last
	w.bits(2, 2) // with codes of its own
	w.table(trim(ll, endSymbol+1), trim(dl, 1))
	lc, dc := codes(ll), codes(dl)
	for _, s := range append(all, symbol{length: endSymbol}) {
		if s.dist == 0 {
			w.bits(lc[s.length], ll[s.length])
			continue
		}
		l, extra, n := lengthCode(s.length)
		w.bits(lc[l], ll[l])
		w.bits(extra, n)
		d, extra, n := distCode(s.dist)
		w.bits(dc[d], dl[d])
		w.bits(extra, n)
	}
	return w.out
}

// trim returns lengths without zeros at the end, but at least least.
func trim(lengths []int, least int) []int {
	n := len(lengths)
	for n > least && lengths[n-1] == 0 {
		n--
	}
	return lengths[:n]
}

// tableOrder is the order in which the lengths of the table's own code are written.
var tableOrder = []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// table writes both codes, with those forms of repetition that make it smallest.
func (w *bitWriter) table(literals, dists []int) {
	all := slices.Concat(literals, dists)
	var best *bitWriter
	for forms := range 8 {
		try := &bitWriter{}
		try.tableAs(literals, dists, runs(all, forms))
		if best == nil || len(try.out)*8-try.free < len(best.out)*8-best.free {
			best = try
		}
	}
	for i := range len(best.out)*8 - best.free {
		w.bits(int(best.out[i/8]>>(i%8)&1), 1)
	}
}

// run is a symbol of the table's code, with extra bits.
type run struct{ code, extra, bits int }

func (w *bitWriter) tableAs(literals, dists []int, all []run) {
	counts := make([]int, 19)
	for _, r := range all {
		counts[r.code]++
	}
	l := lengths(counts, 7)
	n := len(tableOrder)
	for n > 4 && l[tableOrder[n-1]] == 0 {
		n--
	}
	w.bits(len(literals)-257, 5)
	w.bits(len(dists)-1, 5)
	w.bits(n-4, 4)
	for _, i := range tableOrder[:n] {
		w.bits(l[i], 3)
	}
	c := codes(l)
	for _, r := range all {
		w.bits(c[r.code], l[r.code])
		w.bits(r.extra, r.bits)
	}
}

// runs writes lengths, with repetitions as forms allow: 1 of what was before, 2 of few zeros, 4 of
// many.
func runs(lengths []int, forms int) (all []run) {
	for i := 0; i < len(lengths); {
		v, n := lengths[i], 1
		for i+n < len(lengths) && lengths[i+n] == v {
			n++
		}
		i += n
		for v == 0 && n >= 11 && forms&4 != 0 {
			k := min(n, 138)
			all = append(all, run{18, k - 11, 7})
			n -= k
		}
		for v == 0 && n >= 3 && forms&2 != 0 {
			k := min(n, 10)
			all = append(all, run{17, k - 3, 3})
			n -= k
		}
		if n > 3 && forms&1 != 0 {
			all = append(all, run{v, 0, 0})
			n--
			for n >= 3 {
				k := min(n, 6)
				all = append(all, run{16, k - 3, 2})
				n -= k
			}
		}
		for range n {
			all = append(all, run{v, 0, 0})
		}
	}
	return all
}
