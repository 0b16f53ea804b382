package pysource

import "strings"

// Truth is the known value of a condition.
type Truth int8

// What can be known.
const (
	No      Truth = -1
	Unknown Truth = 0
	Yes     Truth = 1
)

func truth(b bool) Truth {
	if b {
		return Yes
	}
	return No
}

// value is a Python object as far as it is known. The zero value is not known at all.
type value struct {
	kind  valueKind
	n     int     // number, or what is known of sys.hexversion: all but the last byte
	s     string  // text, or its known beginning
	elems []value // tuple or list
}

type valueKind uint8

const (
	anything valueKind = iota
	number             // bool too
	none
	text
	textFrom // a text that begins with s; the rest isn't known
	tuple
	list
	hexversion
	notMain // a text that isn't __main__
)

func boolean(t Truth) value {
	switch t {
	case Yes:
		return value{kind: number, n: 1}
	case No:
		return value{kind: number}
	}
	return value{}
}

// truth is bool(v).
func (v value) truth() Truth {
	switch v.kind {
	case number:
		return truth(v.n != 0)
	case none:
		return No
	case text:
		return truth(v.s != "")
	case tuple, list:
		return truth(len(v.elems) > 0)
	case textFrom, hexversion, notMain:
		return Yes
	}
	return Unknown
}

// order is the known part of a comparison of two values.
type order uint8

const (
	less order = 1 << iota
	equal
	greater
	incomparable = order(0) // an error, or by version: Python 2 orders everything
	undecided    = less | equal | greater
)

// orders is a compare b for what comparisons mean; kinds that can't be ordered differ.
func (v value) orders(w value) order {
	if v.kind == anything || w.kind == anything {
		return undecided
	}
	if v.kind > w.kind {
		return w.orders(v).reversed()
	}
	switch {
	case v.kind == number && w.kind == number:
		return compareInts(v.n, w.n)
	case v.kind == number && w.kind == hexversion:
		if o := compareInts(v.n>>8, w.n); o != equal {
			return o
		}
		return undecided
	case v.kind == text && w.kind == text:
		return compareInts(strings.Compare(v.s, w.s), 0)
	case v.kind == text && w.kind == textFrom:
		return beginning(w.s, v.s).reversed()
	case v.kind == text && w.kind == notMain:
		if v.s == "__main__" {
			return less | greater
		}
		return undecided
	case v.kind == w.kind && (v.kind == tuple || v.kind == list):
		return lexical(v.elems, w.elems)
	case v.kind == none && w.kind == none:
		return equal
	case v.kind == w.kind || v.kind >= textFrom && w.kind == notMain:
		return undecided
	}
	return incomparable
}

func (o order) reversed() order { return o&equal | o&less<<2 | o&greater>>2 }

func compareInts(a, b int) order {
	switch {
	case a < b:
		return less
	case a > b:
		return greater
	}
	return equal
}

// beginning compares a text of which only the beginning is known.
func beginning(known, other string) order {
	n := min(len(known), len(other))
	if o := compareInts(strings.Compare(known[:n], other[:n]), 0); o != equal {
		return o
	}
	if len(other) <= len(known) {
		return greater // or equal in length, and there is more
	}
	return undecided
}

func lexical(a, b []value) order {
	seen := order(0)
	for i := range min(len(a), len(b)) {
		o := a[i].orders(b[i])
		if o == incomparable {
			return undecided
		}
		if seen |= o &^ equal; o&equal == 0 {
			return seen
		}
	}
	return seen | compareInts(len(a), len(b))
}

// outcomes says for which orders a comparison holds.
var outcomes = map[string]order{
	"<": less, "<=": less | equal, ">": greater, ">=": greater | equal,
	"==": equal, "is": equal, "!=": less | greater, "<>": less | greater, "is not": less | greater,
}

// relate evaluates `v op w`.
func relate(op string, v, w value) Truth {
	switch op {
	case "in":
		return contains(w, v)
	case "not in":
		return -contains(w, v)
	case "is", "is not":
		if max(v.kind, w.kind) > none {
			return Unknown // equal ones need not be the same
		}
	}
	o := v.orders(w)
	if o == incomparable {
		if outcomes[op] == equal || outcomes[op] == less|greater {
			return truth(outcomes[op] != equal)
		}
		return Unknown
	}
	switch holds := outcomes[op]; {
	case o&^holds == 0:
		return Yes
	case o&holds == 0:
		return No
	}
	return Unknown
}

// contains evaluates `v in w`.
func contains(w, v value) Truth {
	switch {
	case w.kind == text && v.kind == text:
		return truth(strings.Contains(w.s, v.s))
	case w.kind == textFrom && v.kind == text && strings.Contains(w.s, v.s):
		return Yes
	case w.kind != tuple && w.kind != list:
		return Unknown
	}
	found := No
	for _, e := range w.elems {
		found = max(found, relate("==", v, e))
	}
	return found
}

// index evaluates v[i].
func (v value) index(i int) value {
	n := v.len()
	if i < 0 && v.kind != textFrom {
		i += n
	}
	if i < 0 || i >= n {
		return value{}
	}
	if v.kind == text || v.kind == textFrom {
		return value{kind: text, s: v.s[i : i+1]}
	}
	return v.elems[i]
}

func (v value) len() int {
	if v.kind == tuple || v.kind == list {
		return len(v.elems)
	}
	return len(v.s)
}

// slice evaluates v[from:to]; to is open when it is maxInt.
func (v value) slice(from, to int) value {
	n := v.len()
	if v.kind == textFrom && (from < 0 || to < 0 || to > n) {
		return value{}
	}
	from, to = clamp(from, n), clamp(to, n)
	to = max(from, to)
	switch v.kind {
	case tuple, list:
		return value{kind: v.kind, elems: v.elems[from:to]}
	case text, textFrom:
		return value{kind: text, s: v.s[from:to]}
	}
	return value{}
}

// clamp returns an index as a slice uses it.
func clamp(i, n int) int {
	if i < 0 {
		i += n
	}
	return min(max(i, 0), n)
}

// starts evaluates v.startswith(w), ends v.endswith(w).
func (v value) starts(w value) Truth {
	switch {
	case w.kind == tuple:
		return anyOf(w.elems, v.starts)
	case w.kind != text:
		return Unknown
	case v.kind == text:
		return truth(strings.HasPrefix(v.s, w.s))
	case v.kind != textFrom:
		return Unknown
	case len(w.s) <= len(v.s):
		return truth(strings.HasPrefix(v.s, w.s))
	case !strings.HasPrefix(w.s, v.s):
		return No
	}
	return Unknown
}

func (v value) ends(w value) Truth {
	switch {
	case w.kind == tuple:
		return anyOf(w.elems, v.ends)
	case v.kind == text && w.kind == text:
		return truth(strings.HasSuffix(v.s, w.s))
	}
	return Unknown
}

func anyOf(vs []value, test func(value) Truth) Truth {
	found := No
	for _, v := range vs {
		found = max(found, test(v))
	}
	return found
}
