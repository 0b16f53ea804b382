package pickle

import (
	"fmt"
	"math/big"
	"reflect"
	"slices"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// check refuses v if it is too deep, has too many nodes, refers to itself, has a key that Python
// couldn't hash, or something that isn't a value. The error is a *ValueError, which says where.
func (d *decoder) check(v any) error {
	c := checker{depth: d.lim.Depth, nodes: d.lim.Nodes}
	return c.value(v, false)
}

type checker struct {
	depth int   // containers that may be inside each other
	nodes int   // values that may still be met
	open  []any // the containers around the value, outermost first
}

// value checks v, which is a key, an item of a set or part of one if key.
func (c *checker) value(v any, key bool) error {
	if c.nodes--; c.nodes < 0 {
		return wrong(ErrTooManyNodes)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, string, []byte, str2, complex128, *big.Int, pyvalue.Ref,
		pyvalue.Sender,
		secret.Secret, pyvalue.Blob:
		return nil
	case pyvalue.Tuple:
		return c.items(nil, v, key, at)
	case *pyvalue.FrozenSet:
		return c.items(v, v.Items, true, member)
	case *global:
		return wrong(&GlobalError{v.module, v.name})
	case *strange:
		return wrong(v.err)
	}
	if key {
		return reasonf("%s as a key of a dict or item of a set", kindOf(v))
	}
	switch v := v.(type) {
	case *pyvalue.List:
		return c.items(v, v.Items, false, at)
	case *pyvalue.Set:
		return c.items(v, v.Items, true, member)
	case *pyvalue.Dict:
		return c.dict(v)
	case *pyvalue.Exception:
		return within(".args", c.items(nil, v.Args, false, at))
	}
	return reasonf("%T is not a value", v)
}

// wrong says that err is wrong with a value.
func wrong(err error) error { return &pyvalue.Error{Reason: err.Error(), Err: err} }

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

// items checks what a container has: container is a pointer to it; nil: it is none, and so can't be
// in itself. step is how a path leads to one of them.
func (c *checker) items(container any, vs []any, key bool, step func(int) string) error {
	if err := c.enter(container); err != nil {
		return err
	}
	for i, v := range vs {
		if err := c.value(v, key); err != nil {
			return within(step(i), err)
		}
	}
	c.leave()
	return nil
}

func (c *checker) dict(d *pyvalue.Dict) error {
	if err := c.enter(d); err != nil {
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
	c.leave()
	return nil
}

// enter notes a container, a pointer or nil.
func (c *checker) enter(container any) error {
	if container != nil && slices.Contains(c.open, container) {
		return wrong(ErrSelfReference)
	}
	if len(c.open) >= c.depth {
		return wrong(ErrTooDeep)
	}
	c.open = append(c.open, container)
	return nil
}

func (c *checker) leave() { c.open = c.open[:len(c.open)-1] }

var kinds = map[reflect.Type]string{
	reflect.TypeFor[bool]():               "bool",
	reflect.TypeFor[int64]():              "int",
	reflect.TypeFor[*big.Int]():           "int",
	reflect.TypeFor[float64]():            "float",
	reflect.TypeFor[complex128]():         "complex",
	reflect.TypeFor[string]():             "text",
	reflect.TypeFor[str2]():               "str",
	reflect.TypeFor[[]byte]():             "bytes",
	reflect.TypeFor[pyvalue.Tuple]():      "tuple",
	reflect.TypeFor[*pyvalue.List]():      "list",
	reflect.TypeFor[*pyvalue.Dict]():      "dict",
	reflect.TypeFor[*pyvalue.Set]():       "set",
	reflect.TypeFor[*pyvalue.FrozenSet](): "frozenset",
	reflect.TypeFor[pyvalue.Ref]():        "mitogen.Context",
	reflect.TypeFor[pyvalue.Sender]():     "mitogen.Sender",
	reflect.TypeFor[secret.Secret]():      "mitogen.Secret",
	reflect.TypeFor[pyvalue.Blob]():       "mitogen.Blob",
	reflect.TypeFor[*pyvalue.Exception](): "mitogen.Error",
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
