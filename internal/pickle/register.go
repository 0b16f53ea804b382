package pickle

import (
	"fmt"
	"reflect"
	"sync"
)

type conversion struct {
	encode   func(any) (any, error)
	decode   func(any) (any, error)
	hashable bool
}

var conversions sync.Map // reflect.Type: *conversion

// Register makes a type of another package known: Append sends a T as what encode makes of it, and
// Unmarshal makes a T of a P with decode (nil: it can't). P is one of the types that Decode
// returns. Call it from init; of two for one T the later counts.
func Register[T, P any](encode func(T) (P, error), decode func(P) (T, error)) {
	c := &conversion{encode: func(v any) (any, error) { return encode(v.(T)) }}
	if decode != nil {
		c.decode = func(v any) (any, error) {
			p, ok := v.(P)
			if !ok {
				return nil, fmt.Errorf("%s does not fit in %v", kindOf(v), reflect.TypeFor[T]())
			}
			return decode(p)
		}
	}
	var zero P
	c.hashable = hashable(zero, maxDepth)
	conversions.Store(reflect.TypeFor[T](), c)
}

func conversionOf(t reflect.Type) (*conversion, bool) {
	c, ok := conversions.Load(t)
	if !ok {
		return nil, false
	}
	return c.(*conversion), true
}
