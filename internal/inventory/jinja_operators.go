package inventory

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// shortcut is "or" and "and": the first value, if its truth is until; else the second.
func shortcut(a, b node, until bool) node {
	return func(e *evaluation) any {
		x := a(e)
		if _, ok := x.(undefined); ok || isFalse(x) != until {
			return x
		}
		return b(e)
	}
}

// truth returns whether a value is true, and whether it is known.
func (e *evaluation) truth(n node) (yes, known bool) {
	x := n(e)
	_, unknown := x.(undefined)
	return !isFalse(x), !unknown
}

// binary applies f to two values that are known.
func binary(a, b node, f func(e *evaluation, a, b any) any) node {
	return func(e *evaluation) any {
		x, y := a(e), b(e)
		for _, v := range []any{x, y} {
			if _, ok := v.(undefined); ok {
				return v
			}
		}
		return f(e, x, y)
	}
}

// plus adds two texts, lists or whole numbers.
func (e *evaluation) plus(a, b any) any {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return e.joined(a, b)
		}
	case []any:
		if b, ok := b.([]any); ok && e.fits(len(a)+len(b)) {
			return slices.Concat(a, b)
		}
	case int64:
		if b, ok := b.(int64); ok && a+b > a == (b > 0) {
			return a + b
		}
	}
	return e.fail("adds values of different kinds")
}

// joined puts the texts of two values together.
func (e *evaluation) joined(a, b any) any {
	x, y := e.text(a), e.text(b)
	if !e.fits(len(x) + len(y)) {
		return nil
	}
	return x + y
}

// fits reports whether a text or list may be that long, and makes a failure of a longer one.
func (e *evaluation) fits(length int) bool {
	if length > maxFilledText {
		e.r.fail(e.name, "is filled in with more than %d bytes", maxFilledText)
	}
	return length <= maxFilledText
}

func (e *evaluation) fail(format string, args ...any) any {
	e.r.fail(e.name, "can't be used here: "+format, args...)
	return nil
}

func (e *evaluation) text(x any) string {
	if x == nil {
		return "None"
	}
	return e.r.asText(e.name, x)
}

// is tells whether a value passes a test of Jinja.
func (e *evaluation) is(x any, test string) bool {
	_, unknown := x.(undefined)
	switch test {
	case "defined":
		return !unknown
	case "undefined":
		return unknown
	case "none":
		return x == nil
	case "string":
		switch x.(type) {
		case string, ansiblePython:
			return true
		}
	case "number":
		switch x.(type) {
		case int64, float64, bool, fmt.Stringer: // the last one is a number of any size
			return true
		}
	}
	return false
}

// contains is Python's "in".
func (e *evaluation) contains(all, x any) bool {
	switch all := all.(type) {
	case string:
		text, ok := x.(string)
		if !ok {
			e.fail("in a text is what is no text")
		}
		return ok && strings.Contains(all, text)
	case []any:
		return slices.ContainsFunc(all, func(y any) bool { return e.equal(x, y) })
	case unordered:
		return e.contains([]any(all), x)
	case map[string]any:
		return e.hasKey(x, func(key string) bool { _, ok := all[key]; return ok })
	case allGroups:
		return e.hasKey(x, func(key string) bool {
			_, unknown := e.group(key, "").(undefined)
			return !unknown
		})
	case allHosts:
		return e.hasKey(x, func(key string) bool { return e.host(key) != nil })
	case ownVars:
		return e.hasKey(x, func(key string) bool { _, ok := e.r.vars[key]; return ok })
	case *Host:
		if err := e.r.inventory.unread(all); err != nil {
			e.fail(err.Error())
			return false
		}
		return e.hasKey(x, func(key string) bool { _, ok := e.r.inventory.Vars(all)[key]; return ok })
	}
	e.fail("in what is no list")
	return false
}

// hasKey tells whether a mapping has a key. What is no text may be a key of another type there, of
// which the text alone is known here.
func (e *evaluation) hasKey(x any, has func(key string) bool) bool {
	key, isText := x.(string)
	switch x.(type) {
	case int64, float64, bool, nil, fmt.Stringer:
		key = e.text(x)
	case string:
	default:
		e.fail("in a mapping is what is no text")
		return false
	}
	found := has(key)
	if found && !isText {
		e.fail("in a mapping is what is no text")
	}
	return found
}

// equal is Python's ==. Of what it can't compare it makes a failure.
func (e *evaluation) equal(a, b any) bool {
	a, b = e.nested(a, "an entry"), e.nested(b, "an entry")
	if less, ok := b.(unordered); ok {
		a, b = less, a
	}
	switch x := a.(type) {
	case nil:
		return e.comparable(b) && b == nil
	case string:
		return e.comparable(b) && b == any(x)
	case int64, float64, bool:
		return e.comparable(b) && sameNumber(x, b)
	case fmt.Stringer:
		y, ok := b.(fmt.Stringer)
		return e.comparable(b) && ok && x.String() == y.String()
	case unordered:
		return e.sameMembers(x, b)
	case []any:
		y, ok := b.([]any)
		return e.comparable(b) && ok && len(x) == len(y) && slices.EqualFunc(x, y, e.equal)
	case map[string]any:
		y, ok := b.(map[string]any)
		if !e.comparable(b) || !ok || len(x) != len(y) {
			return false
		}
		for _, key := range sortedKeys(x) {
			if other, has := y[key]; !has || !e.equal(x[key], other) {
				return false
			}
		}
		return true
	}
	e.comparable(a)
	return false
}

// comparable tells whether a value is known as Ansible compares it. Any other value is a failure.
func (e *evaluation) comparable(x any) bool {
	switch x.(type) {
	case nil, string, int64, float64, bool, fmt.Stringer, []any, map[string]any, unordered:
		return true
	}
	e.fail("compares what is known to Ansible only")
	return false
}

// sameMembers compares names whose order isn't known with another value.
func (e *evaluation) sameMembers(names unordered, x any) bool {
	others, ok := x.([]any)
	if more, by := x.(unordered); by {
		others, ok = more, true
	}
	if !e.comparable(x) || !ok || len(others) != len(names) {
		return false
	}
	for _, name := range names {
		if !e.contains(others, name) {
			return false
		}
	}
	if len(names) > 1 {
		e.fail("compares a list whose order ansible-inventory doesn't tell")
	}
	return true
}

// sameNumber is Python's == for a number or boolean a, whatever b is.
func sameNumber(a, b any) bool {
	i, whole := asInteger(a)
	j, other := asInteger(b)
	if whole && other {
		return i == j
	}
	x, isFloat := a.(float64)
	y, otherFloat := b.(float64)
	switch {
	case isFloat && otherFloat:
		return x == y
	case isFloat && other:
		return isInteger(x, j)
	case otherFloat && whole:
		return isInteger(y, i)
	}
	return false
}

func asInteger(x any) (int64, bool) {
	switch x := x.(type) {
	case int64:
		return x, true
	case bool:
		return map[bool]int64{true: 1}[x], true
	}
	return 0, false
}

// isInteger tells whether a float is exactly i.
func isInteger(f float64, i int64) bool {
	return f == math.Trunc(f) && math.Abs(f) < 1<<63 && int64(f) == i
}
