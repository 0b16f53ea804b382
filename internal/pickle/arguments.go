package pickle

import (
	"fmt"
	"reflect"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// Arguments are those of a call, as AppendCall writes them.
type Arguments struct {
	args   pyvalue.Tuple
	kwargs *pyvalue.Dict // nil: there are none
	room   int           // bytes that Assign may allocate
}

// DecodeCall reads the arguments of a call. No bytes are no arguments.
func DecodeCall(b []byte, lim Limits) (*Arguments, error) {
	if len(b) == 0 {
		return &Arguments{}, nil
	}
	a := &Arguments{room: lim.filled(len(b)).Memory}
	defer lim.enter(len(b))()
	v, err := decode(b, lim, true)
	if err != nil {
		return nil, err
	}
	both, ok := v.(pyvalue.Tuple)
	if ok && len(both) == 2 {
		args, isTuple := both[0].(pyvalue.Tuple)
		kwargs, isDict := both[1].(*pyvalue.Dict)
		if isTuple && isDict {
			a.args, a.kwargs = args, kwargs
			return a, nil
		}
	}
	return nil, fmt.Errorf("decode arguments: %s, not a tuple and a dict", kindOf(v))
}

// Take removes a keyword argument and returns its value as Decode would.
func (a *Arguments) Take(key string) (value any, given bool) {
	if a.kwargs == nil {
		return nil, false
	}
	for i, e := range a.kwargs.Entries {
		if name, _ := asText(e.Key); name == key {
			a.kwargs.Entries = append(a.kwargs.Entries[:i:i], a.kwargs.Entries[i+1:]...)
			return plain(e.Value), true
		}
	}
	return nil, false
}

// Assign stores the only argument in *into, as Unmarshal does. Keyword arguments alone are one
// argument, a dict. Without any argument, *into stays as it is.
func (a *Arguments) Assign(into any) error {
	if len(a.args) == 0 && (a.kwargs == nil || len(a.kwargs.Entries) == 0) {
		return nil
	}
	var v any
	switch n := len(a.args); {
	case n == 0:
		v = a.kwargs
	case n > 1 || len(a.kwargs.Entries) > 0:
		return reasonf("got %d arguments and %d keyword arguments, want one, or keyword arguments alone",
			n, len(a.kwargs.Entries))
	default:
		v = a.args[0]
	}
	target := reflect.ValueOf(into).Elem()
	if err := (&assigner{left: a.room}).assign(target, v); err != nil {
		return fmt.Errorf("decode argument: %w", err)
	}
	return nil
}
