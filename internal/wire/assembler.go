package wire

import "fmt"

// What a piece and a value count beyond their bytes, so that many small ones are bounded too.
const (
	partCost  = 64
	valueCost = 256
)

// TooLargeError means that a value in parts exceeds what the receiver keeps.
type TooLargeError struct {
	Src   ContextID
	Limit int // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("value from context %d is larger than %d bytes", e.Src, e.Limit)
}

// An Assembler puts values together that came in PART frames. It keeps at most Limit bytes for a
// value, and twice that for all unfinished values of one source; so a source can't harm another
// one. The zero value's limit is MaxMessage.
//
// Not safe for concurrent use.
type Assembler struct {
	Limit int // bytes of a value; 0: MaxMessage

	values map[ContextID]map[partKey]*parts
	held   map[ContextID]int // cost of what is kept, per source
	count  int               // values that are unfinished
}

type partKey struct{ handle, reply Handle }

type parts struct {
	pieces [][]byte
	size   int // bytes
	cost   int
}

// Add takes a frame. For a PART it keeps a copy of the payload, and done is false. For the frame
// that completes a value it returns f with the whole payload: its own, uncopied, where no parts
// came before it. DEAD, and a PART without payload, drop what was kept.
//
// The error is a *TooLargeError; the value is dropped then, and what comes of it later counts as a
// new one.
func (a *Assembler) Add(f Frame) (whole Frame, done bool, err error) {
	return a.AddUpTo(f, a.limit())
}

// AddUpTo is Add for a value of at most limit bytes, if that is less than the Assembler's.
func (a *Assembler) AddUpTo(f Frame, limit int) (whole Frame, done bool, err error) {
	limit = min(limit, a.limit())
	key := partKey{f.Handle, f.Reply}
	v := a.values[f.Src][key]
	if f.Kind == Part && len(f.Payload) == 0 {
		a.DropValue(f.Src, f.Handle, f.Reply)
		return Frame{}, false, nil
	}
	if f.Kind == Part {
		return Frame{}, false, a.keep(f.Src, key, v, f.Payload, limit)
	}
	if v == nil {
		return f, true, nil
	}
	a.drop(f.Src, key, v)
	if f.Kind == Dead {
		return f, true, nil
	}
	if v.size+len(f.Payload) > limit {
		return Frame{}, false, &TooLargeError{f.Src, limit}
	}
	f.Payload = v.join(f.Payload)
	return f, true, nil
}

// Drop forgets what is kept of the values from src.
func (a *Assembler) Drop(src ContextID) {
	a.count -= len(a.values[src])
	delete(a.values, src)
	delete(a.held, src)
}

// DropValue forgets what is kept of one value.
func (a *Assembler) DropValue(src ContextID, handle, reply Handle) {
	key := partKey{handle, reply}
	if v := a.values[src][key]; v != nil {
		a.drop(src, key, v)
	}
}

// Len returns the number of values that are unfinished.
func (a *Assembler) Len() int { return a.count }

// Held returns what the unfinished values of src cost, in bytes.
func (a *Assembler) Held(src ContextID) int { return a.held[src] }

func (a *Assembler) limit() int {
	if a.Limit > 0 {
		return a.Limit
	}
	return MaxMessage
}

func (a *Assembler) keep(src ContextID, key partKey, v *parts, piece []byte, limit int) error {
	cost := len(piece) + partCost
	if v == nil {
		v = a.begin(src, key)
		cost += valueCost
	}
	v.cost += cost
	a.held[src] += cost
	if v.size+len(piece) > limit || a.held[src] > 2*a.limit()+partCost+valueCost {
		a.drop(src, key, v)
		return &TooLargeError{src, limit}
	}
	v.size += len(piece)
	v.pieces = append(v.pieces, append([]byte(nil), piece...))
	return nil
}

func (a *Assembler) begin(src ContextID, key partKey) *parts {
	if a.values == nil {
		a.values, a.held = map[ContextID]map[partKey]*parts{}, map[ContextID]int{}
	}
	if a.values[src] == nil {
		a.values[src] = map[partKey]*parts{}
	}
	v := &parts{}
	a.values[src][key] = v
	a.count++
	return v
}

func (a *Assembler) drop(src ContextID, key partKey, v *parts) {
	a.count--
	delete(a.values[src], key)
	if len(a.values[src]) == 0 {
		delete(a.values, src)
	}
	if a.held[src] -= v.cost; a.held[src] == 0 {
		delete(a.held, src)
	}
}

func (v *parts) join(last []byte) []byte {
	whole := make([]byte, 0, v.size+len(last))
	for i, p := range v.pieces {
		whole = append(whole, p...)
		v.pieces[i] = nil
	}
	return append(whole, last...)
}
