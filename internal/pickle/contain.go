package pickle

import (
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strconv"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// This file writes containers and named types.

// global writes the name of one of Python's builtins.
func (e *encoder) global(name string) {
	module := "builtins"
	if e.mode == Proto2Both || e.mode == Proto2 {
		module = "__builtin__" // Python 3 knows it by this name too in protocol 2
	}
	e.buf = fmt.Appendf(e.buf, "%c%s\n%s\n", opGlobal, module, name)
}

// named writes one of mitogen's types.
func (e *encoder) named(name string, args ...any) error {
	e.buf = append(e.buf, opGlobal)
	e.buf = append(e.buf, "mitogen\n"...)
	e.buf = append(append(e.buf, name...), '\n')
	if err := e.tuple(args); err != nil {
		return err
	}
	e.buf = append(e.buf, opReduce)
	return nil
}

func (e *encoder) tuple(vs []any) error {
	if len(vs) == 0 {
		e.buf = append(e.buf, opEmptyTuple)
		return nil
	}
	if len(vs) > 3 {
		e.buf = append(e.buf, opMark)
	}
	if err := e.items(vs); err != nil {
		return err
	}
	e.buf = append(e.buf, [...]byte{opTuple1, opTuple2, opTuple3, opTuple}[min(len(vs), 4)-1])
	return nil
}

func (e *encoder) list(vs []any) error {
	e.buf = append(e.buf, opEmptyList)
	if len(vs) == 0 {
		return nil
	}
	e.buf = append(e.buf, opMark)
	if err := e.items(vs); err != nil {
		return err
	}
	e.buf = append(e.buf, opAppends)
	return nil
}

func (e *encoder) items(vs []any) error {
	if err := e.enter(); err != nil {
		return err
	}
	for i, v := range vs {
		if err := e.value(v); err != nil {
			return within(at(i), err)
		}
	}
	e.leave()
	return nil
}

func at(i int) string { return "[" + strconv.Itoa(i) + "]" }

func (e *encoder) strings(vs []string) error {
	e.buf = append(e.buf, opEmptyList)
	if len(vs) == 0 {
		return nil
	}
	e.buf = append(e.buf, opMark)
	for i, s := range vs {
		if err := e.text(s); err != nil {
			return within(at(i), err)
		}
	}
	e.buf = append(e.buf, opAppends)
	return nil
}

// kwargs writes a dict with its keys sorted.
func (e *encoder) kwargs(m map[string]any) error {
	e.buf = append(e.buf, opEmptyDict)
	if len(m) == 0 {
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.buf = append(e.buf, opMark)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if err := e.text(k); err != nil {
			return within(keyStep(k), err)
		}
		if err := e.value(m[k]); err != nil {
			return within(keyStep(k), err)
		}
	}
	e.buf = append(e.buf, opSetItems)
	e.leave()
	return nil
}

func (e *encoder) dict(entries []pyvalue.Entry) error {
	e.buf = append(e.buf, opEmptyDict)
	if len(entries) == 0 {
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.buf = append(e.buf, opMark)
	for _, entry := range entries {
		if err := e.entry(entry.Key, entry.Value); err != nil {
			return within(keyStep(entry.Key), err)
		}
	}
	e.buf = append(e.buf, opSetItems)
	e.leave()
	return nil
}

func (e *encoder) entry(key, value any) error {
	if err := e.key(key); err != nil {
		return err
	}
	return e.value(value)
}

// keyStep shows a dict's key in a path.
func keyStep(key any) string {
	switch key := key.(type) {
	case string:
		if isName(key) {
			return key
		}
		return fmt.Sprintf("[%+q]", key[:min(len(key), 80)])
	case bool, int64, float64, int, *big.Int:
		return fmt.Sprintf("[%v]", key)
	}
	return "[" + kindOf(key) + "]"
}

func isName(s string) bool {
	if s == "" || len(s) > 80 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// key writes v if Python can hash it.
func (e *encoder) key(v any) error {
	if err := checkKey(v); err != nil {
		return err
	}
	return e.value(v)
}

func checkKey(v any) error {
	if !hashable(v, maxDepth) {
		return reasonf("%T can't be the key of a dict or item of a set", v)
	}
	return nil
}

// hashable says whether Python can hash v. What is deeper than depth can't be sent anyway.
func hashable(v any, depth int) bool {
	if depth--; depth < 0 {
		return false
	}
	switch v := v.(type) {
	case nil, []byte, *big.Int, *pyvalue.FrozenSet, pyvalue.Ref, pyvalue.Sender, pyvalue.Blob:
		return true
	case pyvalue.Tuple:
		return !slices.ContainsFunc(v, func(item any) bool { return !hashable(item, depth) })
	}
	t := reflect.TypeOf(v)
	if c, ok := conversionOf(t); ok {
		return c.hashable
	}
	switch t.Kind() {
	case reflect.Array, reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8
	case reflect.Pointer:
		e := reflect.ValueOf(v)
		return e.IsNil() || t.Elem().Kind() != reflect.Struct &&
			hashable(e.Elem().Interface(), depth)
	case reflect.Map, reflect.Struct, reflect.Chan, reflect.Func:
		return false
	}
	return true
}

// keys writes what a set holds, as the items of a list or behind a mark.
func (e *encoder) keys(vs []any) error {
	if err := e.enter(); err != nil {
		return err
	}
	for _, v := range vs {
		if err := e.key(v); err != nil {
			return err
		}
	}
	e.leave()
	return nil
}

func (e *encoder) set(vs []any) error {
	if e.mode != Proto4 {
		return e.setOf("set", vs)
	}
	e.buf = append(e.buf, opEmptySet, opMark)
	if err := e.keys(vs); err != nil {
		return err
	}
	e.buf = append(e.buf, opAddItems)
	return nil
}

func (e *encoder) frozenSet(vs []any) error {
	if e.mode != Proto4 {
		return e.setOf("frozenset", vs)
	}
	e.buf = append(e.buf, opMark)
	if err := e.keys(vs); err != nil {
		return err
	}
	e.buf = append(e.buf, opFrozenSet)
	return nil
}

// setOf writes a call of a set type with a list.
func (e *encoder) setOf(name string, vs []any) error {
	e.global(name)
	e.buf = append(e.buf, opEmptyList, opMark)
	if err := e.keys(vs); err != nil {
		return err
	}
	e.buf = append(e.buf, opAppends, opTuple1, opReduce)
	return nil
}
