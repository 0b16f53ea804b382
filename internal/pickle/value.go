// Package pickle reads and writes the values of docs/protocol/wire.md section 4: a closed subset of
// Python's pickles.
//
// Reading is for hostile input: nothing is executed, lengths are checked before anything is
// allocated, and depth, number of nodes, memory and self-reference are bounded. Writing is by
// Append, reading by Decode (into the types of package pyvalue) or Unmarshal (into any Go type
// that fits).
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
//	tuple             pyvalue.Tuple
//	list, dict        *pyvalue.List, *pyvalue.Dict
//	set, frozenset    *pyvalue.Set, *pyvalue.FrozenSet
//	mitogen's types   pyvalue.Ref, pyvalue.Sender, secret.Secret, pyvalue.Blob, *pyvalue.Exception
//
// Lists, dicts and sets are pointers, so that what is shared in Python is shared in Go.
package pickle

import "github.com/mitogen-go/mitogen/pyvalue"

// NewContext returns a handle to a context of an engine.
func NewContext(engine uint64, id uint32, name string) pyvalue.Ref {
	return pyvalue.Ref{ID: id, Name: name, Engine: engine}
}

// NewSender returns the way to a receiver in a context of an engine.
func NewSender(engine uint64, context, handle uint32) pyvalue.Sender {
	return pyvalue.Sender{Context: context, Handle: handle, Engine: engine}
}

// EngineOf returns the identity of the engine that a Ref or Sender belongs to. 0: it has none,
// because it was not made by New… nor decoded with Limits.Engine.
func EngineOf(handle any) uint64 {
	switch h := handle.(type) {
	case pyvalue.Ref:
		return h.Engine
	case pyvalue.Sender:
		return h.Engine
	}
	return 0
}

// str2 is a str of Python 2, which may be text or bytes. It is met inside Unmarshal only.
type str2 string
