// Package pickle reads and writes the values of docs/protocol/wire.md section 4: a closed subset of
// Python's pickles.
//
// Reading is for hostile input: nothing is executed, lengths are checked before anything is
// allocated, and depth, number of nodes, memory and self-reference are bounded. Writing is by
// Append, reading by Decode (into the types below) or Unmarshal (into any Go type that fits).
//
//	Python            Go, from Decode
//	None, bool        nil, bool
//	int, long         int64, or *big.Int where it doesn't fit
//	float, complex    float64, complex128
//	str (text)        string: UTF-8, with lone surrogates as three bytes each (as CPython's
//	                  surrogatepass), so that every text survives; only those texts are not
//	                  valid UTF-8 in Go's eyes
//	bytes, bytearray  []byte
//	str of Python 2   string if it is valid UTF-8, else []byte; Unmarshal lets it fit both
//	tuple             Tuple
//	list, dict        *List, *Dict
//	set, frozenset    *Set, *FrozenSet
//	mitogen's types   Context, Sender, Secret, Blob, *Error
//
// Lists, dicts and sets are pointers, so that what is shared in Python is shared in Go.
package pickle

import (
	"fmt"
	"log/slog"
	"math/big"
	"slices"
)

// Tuple is a Python tuple.
type Tuple []any

// List is a Python list.
type List struct {
	Items []any

	mark bool // being walked
}

// NewList returns a List that owns items.
func NewList(items ...any) *List { return &List{Items: items} }

// Set is a Python set; its items are in no order.
type Set struct {
	Items []any

	mark bool
}

// NewSet returns a Set that owns items. They must differ.
func NewSet(items ...any) *Set { return &Set{Items: items} }

// FrozenSet is a Python frozenset; its items are in no order.
type FrozenSet struct {
	Items []any

	mark bool
}

// NewFrozenSet returns a FrozenSet that owns items. They must differ.
func NewFrozenSet(items ...any) *FrozenSet { return &FrozenSet{Items: items} }

// Entry is a key of a Dict and its value.
type Entry struct{ Key, Value any }

// Dict is a Python dict, in its order. From a child a key may come twice: the last one counts.
type Dict struct {
	Entries []Entry

	mark bool
}

// NewDict returns a Dict of keys and values in turn. It panics if their number is odd.
func NewDict(keysAndValues ...any) *Dict {
	if len(keysAndValues)%2 != 0 {
		panic("pickle: NewDict: key without a value")
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
	case Context:
		b, ok := b.(Context)
		return ok && a.ID == b.ID && a.Name == b.Name
	case nil, bool, int64, float64, complex128, string, Secret:
		return a == b
	}
	return false
}

// Context is a handle to a context (mitogen.Context).
type Context struct {
	ID   uint32
	Name string

	engine uint64 // see EngineOf
}

// NewContext returns a handle to a context of an engine.
func NewContext(engine uint64, id uint32, name string) Context { return Context{id, name, engine} }

// Sender is the way to a receiver (mitogen.Sender).
type Sender struct {
	Context uint32
	Handle  uint32

	engine uint64 // see EngineOf
}

// NewSender returns the way to a receiver in a context of an engine.
func NewSender(engine uint64, context, handle uint32) Sender {
	return Sender{context, handle, engine}
}

// EngineOf returns the identity of the engine that a Context or Sender belongs to. 0: it has none,
// because it was not made by New… nor decoded with Limits.Engine.
func EngineOf(handle any) uint64 {
	switch h := handle.(type) {
	case Context:
		return h.engine
	case Sender:
		return h.engine
	}
	return 0
}

// Blob is bytes that Python code sees as mitogen.Blob.
type Blob []byte

// Secret is text that formatting and encoding don't show (mitogen.Secret).
type Secret string

const masked = "********"

// String hides the text.
func (s Secret) String() string { return masked }

// GoString hides the text.
func (s Secret) GoString() string { return masked }

// Format hides the text, whatever the verb.
func (s Secret) Format(f fmt.State, verb rune) { fmt.Fprint(f, masked) }

// MarshalText hides the text, from JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue hides the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// Error is an exception that was raised elsewhere (mitogen.Error, and the payload of ERROR frames).
// Its text is as it came: not made safe for a terminal.
type Error struct {
	Module    string // of the exception's type
	Type      string // the exception's type
	Text      string // str() of it
	Traceback string
	Args      Tuple // nil: they aren't plain values
}

// Error returns type and text.
func (e *Error) Error() string {
	name := e.Type
	if e.Module != "" && e.Module != "builtins" && e.Module != "exceptions" {
		name = e.Module + "." + e.Type
	}
	if e.Text == "" {
		return name
	}
	return name + ": " + e.Text
}

// str2 is a str of Python 2, which may be text or bytes. It is met inside Unmarshal only.
type str2 string
