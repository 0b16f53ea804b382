package pickle

import (
	"fmt"
	"math/big"
	"reflect"
)

// check refuses v if it is too deep, has too many nodes, refers to itself, has a key that Python
// couldn't hash, or something that isn't a value. The error is a *ValueError, which says where.
func (d *decoder) check(v any) error {
	c := checker{depth: d.lim.Depth, nodes: d.lim.Nodes}
	return c.value(v, false)
}

type checker struct {
	depth int // containers that may still be entered
	nodes int // values that may still be met
}

// value checks v, which is a key, an item of a set or part of one if key.
func (c *checker) value(v any, key bool) error {
	if c.nodes--; c.nodes < 0 {
		return wrong(ErrTooManyNodes)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, string, []byte, str2, complex128, *big.Int, Context, Sender,
		Secret, Blob:
		return nil
	case Tuple:
		return c.items(v, new(bool), key, at)
	case *FrozenSet:
		return c.items(v.Items, &v.mark, true, member)
	case *global:
		return wrong(&GlobalError{v.module, v.name})
	case *strange:
		return wrong(v.err)
	}
	if key {
		return reasonf("%s as a key of a dict or item of a set", kindOf(v))
	}
	switch v := v.(type) {
	case *List:
		return c.items(v.Items, &v.mark, false, at)
	case *Set:
		return c.items(v.Items, &v.mark, true, member)
	case *Dict:
		return c.dict(v)
	case *Error:
		return within(".args", c.items(v.Args, new(bool), false, at))
	}
	return reasonf("%T is not a value", v)
}

// wrong says that err is wrong with a value.
func wrong(err error) error { return &ValueError{Reason: err.Error(), Err: err} }

// What a path has for what no expression of Python leads to.
const (
	keyPart  = " (a key)"
	itemPart = " (an item)"
)

// keyed is the step to what a dict has under key.
func keyed(key any) string {
	if s, ok := asText(key); ok {
		return fmt.Sprintf("[%+q]", s[:min(len(s), 80)])
	}
	return keyStep(key)
}

func member(int) string { return itemPart }

// items checks what a container has. step is how a path leads to one of them.
func (c *checker) items(vs []any, mark *bool, key bool, step func(int) string) error {
	if err := c.enter(mark); err != nil {
		return err
	}
	for i, v := range vs {
		if err := c.value(v, key); err != nil {
			return within(step(i), err)
		}
	}
	c.leave(mark)
	return nil
}

func (c *checker) dict(d *Dict) error {
	if err := c.enter(&d.mark); err != nil {
		return err
	}
	for _, e := range d.Entries {
		if err := c.value(e.Key, true); err != nil {
			return within(keyPart, err)
		}
		if err := c.value(e.Value, false); err != nil {
			return within(keyed(e.Key), err)
		}
	}
	c.leave(&d.mark)
	return nil
}

func (c *checker) enter(mark *bool) error {
	if *mark {
		return wrong(ErrSelfReference)
	}
	if c.depth--; c.depth < 0 {
		return wrong(ErrTooDeep)
	}
	*mark = true
	return nil
}

func (c *checker) leave(mark *bool) {
	*mark = false
	c.depth++
}

var kinds = map[reflect.Type]string{
	reflect.TypeFor[bool]():       "bool",
	reflect.TypeFor[int64]():      "int",
	reflect.TypeFor[*big.Int]():   "int",
	reflect.TypeFor[float64]():    "float",
	reflect.TypeFor[complex128](): "complex",
	reflect.TypeFor[string]():     "text",
	reflect.TypeFor[str2]():       "str",
	reflect.TypeFor[[]byte]():     "bytes",
	reflect.TypeFor[Tuple]():      "tuple",
	reflect.TypeFor[*List]():      "list",
	reflect.TypeFor[*Dict]():      "dict",
	reflect.TypeFor[*Set]():       "set",
	reflect.TypeFor[*FrozenSet](): "frozenset",
	reflect.TypeFor[Context]():    "mitogen.Context",
	reflect.TypeFor[Sender]():     "mitogen.Sender",
	reflect.TypeFor[Secret]():     "mitogen.Secret",
	reflect.TypeFor[Blob]():       "mitogen.Blob",
	reflect.TypeFor[*Error]():     "mitogen.Error",
}

// kindOf names v's type as Python does.
func kindOf(v any) string {
	if v == nil {
		return "None"
	}
	if name, ok := kinds[reflect.TypeOf(v)]; ok {
		return name
	}
	return fmt.Sprintf("%T", v)
}
