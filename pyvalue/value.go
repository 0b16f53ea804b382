// Package pyvalue holds values that Python has and Go has not: as arguments and results of calls,
// and inside of these.
//
// A result of type any, or a part of one, is made of Tuple, *List, *Dict, *Set, *FrozenSet, Ref,
// Sender, Blob, *Exception and [secret.Secret], besides nil, bool, int64, *big.Int, float64,
// complex128, string and []byte. Lists, dicts and sets are pointers, so that what is shared in
// Python is shared in Go.
//
// Other types of Python's standard library are sent in their plain forms (docs/json.md, "Other
// types"), for any and for all types that fit these:
//
//   - *Dict: named tuples, struct sequences such as os.stat_result, dataclasses, namespaces, and
//     all mappings. So they fit structs and maps.
//   - *List: ranges, deques, arrays, views of dicts, and other sequences
//   - string: paths, UUIDs, IP addresses, Decimal, Fraction, names of time zones; and datetime,
//     date and time in ISO 8601 (time.Parse reads "2006-01-02T15:04:05Z07:00", with any fraction)
//   - float64: a timedelta, in seconds
//   - []byte: a memoryview
//   - the member of an Enum: its value
//   - *Exception: an exception
//
// A value without a plain form is a TypeError at the caller, whose text names the place in the
// value.
package pyvalue

import (
	"math/big"
	"slices"

	"github.com/mitogen-go/mitogen/secret"
)

// Tuple is a Python tuple.
type Tuple []any

// List is a Python list.
type List struct{ Items []any }

// NewList returns a List that owns items.
func NewList(items ...any) *List { return &List{Items: items} }

// Set is a Python set; its items are in no order.
type Set struct{ Items []any }

// NewSet returns a Set that owns items. They must differ.
func NewSet(items ...any) *Set { return &Set{Items: items} }

// FrozenSet is a Python frozenset; its items are in no order.
type FrozenSet struct{ Items []any }

// NewFrozenSet returns a FrozenSet that owns items. They must differ.
func NewFrozenSet(items ...any) *FrozenSet { return &FrozenSet{Items: items} }

// Entry is a key of a Dict and its value.
type Entry struct{ Key, Value any }

// Dict is a Python dict, in its order. A dict from a context may have a key twice: the last one
// counts.
type Dict struct{ Entries []Entry }

// NewDict returns a Dict of keys and values in turn. It panics if their number is odd.
func NewDict(keysAndValues ...any) *Dict {
	if len(keysAndValues)%2 != 0 {
		panic("pyvalue: NewDict: key without a value")
	}
	d := &Dict{Entries: make([]Entry, 0, len(keysAndValues)/2)}
	for pair := range slices.Chunk(keysAndValues, 2) {
		d.Entries = append(d.Entries, Entry{pair[0], pair[1]})
	}
	return d
}

// Get returns the value of key, in time linear in d's size. Types must agree: an int key is an
// int64.
func (d *Dict) Get(key any) (any, bool) {
	for _, e := range slices.Backward(d.Entries) {
		if sameKey(e.Key, key) {
			return e.Value, true
		}
	}
	return nil, false
}

func sameKey(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && string(a) == string(b)
	case Tuple:
		b, ok := b.(Tuple)
		return ok && slices.EqualFunc(a, b, sameKey)
	case *big.Int:
		b, ok := b.(*big.Int)
		return ok && b != nil && a.Cmp(b) == 0
	case *FrozenSet:
		return false
	case Ref:
		b, ok := b.(Ref)
		return ok && a.ID == b.ID && a.Name == b.Name
	case nil, bool, int64, float64, complex128, string, secret.Secret:
		return a == b
	}
	return false
}

// Ref names a context; mitogen.Context in Python. An argument may be a *mitogen.Context instead.
type Ref struct {
	ID   uint32 // its number in the tree; the engine is 0
	Name string // the target that names it, hops before it included

	// Engine is the identity of the engine that the context belongs to. Other engines refuse the Ref.
	Engine uint64 `json:"-"`
}

// Sender names a mailbox: a mitogen.Receiver of the engine, or a receiver of a context;
// mitogen.Sender in Python.
type Sender struct {
	Context uint32 // the number of the context that has the mailbox; the engine is 0
	Handle  uint32 // the number of the mailbox there

	// Engine is the identity of the engine that the context belongs to. Other engines refuse the
	// Sender.
	Engine uint64 `json:"-"`
}

// Blob is bytes that aren't worth printing; mitogen.Blob in Python.
type Blob []byte
