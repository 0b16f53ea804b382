package pickle

import (
	"cmp"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// refused are types whose meaning in Python isn't obvious, and what to do instead.
var refused = map[reflect.Type]string{
	reflect.TypeFor[time.Time]():         "time.Time has no plain counterpart (send seconds or text)",
	reflect.TypeFor[time.Duration]():     "time.Duration has no plain counterpart (send seconds)",
	reflect.TypeFor[big.Int]():           "big.Int is sent as *big.Int",
	reflect.TypeFor[pyvalue.List]():      "List is sent as *List",
	reflect.TypeFor[pyvalue.Dict]():      "Dict is sent as *Dict",
	reflect.TypeFor[pyvalue.Set]():       "Set is sent as *Set",
	reflect.TypeFor[pyvalue.FrozenSet](): "FrozenSet is sent as *FrozenSet",
	reflect.TypeFor[pyvalue.Exception](): "Error is sent as *Error",
}

// reflected writes what no type switch knows.
func (e *encoder) reflected(v reflect.Value) error {
	if why, ok := refused[v.Type()]; ok {
		return reasonf("%s", why)
	}
	switch v.Kind() {
	case reflect.Bool:
		e.bool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.int(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.uint(v.Uint())
	case reflect.Float32, reflect.Float64:
		e.float(v.Float())
	case reflect.Complex64, reflect.Complex128:
		return e.value(v.Complex())
	case reflect.String:
		return e.text(v.String())
	case reflect.Pointer, reflect.Interface:
		return e.pointee(v)
	case reflect.Slice, reflect.Array:
		return e.sequence(v)
	case reflect.Map:
		return e.mapping(v)
	case reflect.Struct:
		return e.structure(v)
	default:
		return reasonf("%v has no Python counterpart", v.Type())
	}
	return nil
}

func (e *encoder) pointee(v reflect.Value) error {
	if v.IsNil() {
		return e.value(nil)
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.value(v.Elem().Interface())
}

func (e *encoder) sequence(v reflect.Value) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return e.bytes(bytesOf(v))
	}
	e.buf = append(e.buf, opEmptyList)
	if v.Len() == 0 {
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.buf = append(e.buf, opMark)
	for i := range v.Len() {
		if err := e.value(v.Index(i).Interface()); err != nil {
			return within(at(i), err)
		}
	}
	e.buf = append(e.buf, opAppends)
	e.leave()
	return nil
}

// bytesOf returns the bytes of a slice or array of them.
func bytesOf(v reflect.Value) []byte {
	if v.Kind() == reflect.Slice || v.CanAddr() {
		return v.Bytes()
	}
	b := make([]byte, v.Len())
	reflect.Copy(reflect.ValueOf(b), v)
	return b
}

func (e *encoder) mapping(v reflect.Value) error {
	keys := v.MapKeys()
	for _, k := range keys { // before any is compared
		if key := k.Interface(); checkKey(key) != nil {
			return within(keyStep(key), checkKey(key))
		}
	}
	slices.SortFunc(keys, compareKeys)
	entries := make([]pyvalue.Entry, len(keys))
	for i, k := range keys {
		entries[i] = pyvalue.Entry{Key: k.Interface(), Value: v.MapIndex(k).Interface()}
	}
	return e.dict(entries)
}

// compareKeys orders the keys of a map, so that a map is always sent the same way.
func compareKeys(a, b reflect.Value) int {
	switch {
	case a.Kind() != b.Kind():
		return cmp.Compare(a.Kind(), b.Kind())
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	case a.CanFloat():
		return cmp.Compare(a.Float(), b.Float())
	case a.Kind() == reflect.String:
		return strings.Compare(a.String(), b.String())
	case a.Kind() == reflect.Interface && !a.IsNil() && !b.IsNil():
		return compareKeys(a.Elem(), b.Elem())
	}
	return strings.Compare(fmt.Sprint(a.Interface()), fmt.Sprint(b.Interface()))
}

func (e *encoder) structure(v reflect.Value) error {
	t := structTypeOf(v.Type())
	if t.handle != nil {
		return e.value(v.Convert(t.handle).Interface())
	}
	if len(t.fields) == 0 && v.NumField() > 0 {
		return reasonf("%v has no exported fields", v.Type())
	}
	e.buf = append(e.buf, opEmptyDict)
	if len(t.fields) == 0 {
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.buf = append(e.buf, opMark)
	for i := range t.fields {
		if err := e.field(v, &t.fields[i]); err != nil {
			return within(t.fields[i].name, err)
		}
	}
	e.buf = append(e.buf, opSetItems)
	e.leave()
	return nil
}

func (e *encoder) field(v reflect.Value, f *field) error {
	fv := v.FieldByIndex(f.index)
	if f.omitEmpty && fv.IsZero() {
		return nil
	}
	if err := e.text(f.name); err != nil {
		return err
	}
	return e.value(fv.Interface())
}
