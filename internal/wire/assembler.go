package wire

import "fmt"

// partCost is what a part counts beyond its bytes, so that many small ones are bounded too.
const partCost = 64

// TooLargeError means that a value in parts exceeds what the receiver keeps.
type TooLargeError struct {
	Src   ContextID
	Limit int // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("value from context %d is larger than %d bytes", e.Src, e.Limit)
}

// An Assembler puts values together that came in PART frames. It keeps at most Limit bytes for a value, and twice that
// for all unfinished values of one source; so a source can't harm another one. The zero value's limit is MaxMessage.
//
// Not safe for concurrent use.
type Assembler struct {
	Limit int // bytes of a value; 0: MaxMessage

	values map[partKey]*parts
	held   map[ContextID]int // cost of what is kept, per source
}

type partKey struct {
	src           ContextID
	handle, reply Handle
}

type parts struct {
	pieces [][]byte
	size   int // bytes
	cost   int
}

// Add takes a frame. For a PART it keeps a copy of the payload, and done is false. For the frame that completes a value
// it returns f with the whole payload: its own, uncopied, where no parts came before it. DEAD, and a PART without payload,
// drop what was kept.
//
// The error is a *TooLargeError; the value is dropped then, and what comes of it later counts as a new one.
func (a *Assembler) Add(f Frame) (whole Frame, done bool, err error) {
	key := partKey{f.Src, f.Handle, f.Reply}
	v := a.values[key]
	if f.Kind == Part && len(f.Payload) == 0 {
		a.DropValue(f.Src, f.Handle, f.Reply)
		return Frame{}, false, nil
	}
	if f.Kind == Part {
		return Frame{}, false, a.keep(key, v, f.Payload)
	}
	if v == nil {
		return f, true, nil
	}
	a.drop(key, v)
	if f.Kind == Dead {
		return f, true, nil
	}
	if v.size+len(f.Payload) > a.limit() {
		return Frame{}, false, &TooLargeError{f.Src, a.limit()}
	}
	f.Payload = v.join(f.Payload)
	return f, true, nil
}

// Drop forgets what is kept of the values from src.
func (a *Assembler) Drop(src ContextID) {
	for key, v := range a.values {
		if key.src == src {
			a.drop(key, v)
		}
	}
}

// DropValue forgets what is kept of one value.
func (a *Assembler) DropValue(src ContextID, handle, reply Handle) {
	key := partKey{src, handle, reply}
	if v := a.values[key]; v != nil {
		a.drop(key, v)
	}
}

// Len returns the number of values that are unfinished.
func (a *Assembler) Len() int { return len(a.values) }

func (a *Assembler) limit() int {
	if a.Limit > 0 {
		return a.Limit
	}
	return MaxMessage
}

func (a *Assembler) keep(key partKey, v *parts, piece []byte) error {
	if a.values == nil {
		a.values, a.held = map[partKey]*parts{}, map[ContextID]int{}
	}
	if v == nil {
		v = &parts{}
		a.values[key] = v
	}
	cost := len(piece) + partCost
	v.cost += cost
	a.held[key.src] += cost
	if v.size+len(piece) > a.limit() || a.held[key.src] > 2*a.limit()+partCost {
		a.drop(key, v)
		return &TooLargeError{key.src, a.limit()}
	}
	v.size += len(piece)
	v.pieces = append(v.pieces, append([]byte(nil), piece...))
	return nil
}

func (a *Assembler) drop(key partKey, v *parts) {
	delete(a.values, key)
	if a.held[key.src] -= v.cost; a.held[key.src] == 0 {
		delete(a.held, key.src)
	}
}

func (v *parts) join(last []byte) []byte {
	whole := make([]byte, 0, v.size+len(last))
	for _, p := range v.pieces {
		whole = append(whole, p...)
	}
	return append(whole, last...)
}
