package pickle

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// Unmarshal reads one pickle, all of b, and stores its value in *into, exactly, or says where it
// doesn't fit: the error is then a *ValueError such as "facts.cpus[3]: 300 does not fit in uint8",
// and what *into holds is undefined.
//
//   - any: what Decode returns
//   - bool, integers, floats, complex numbers: numbers that they hold exactly; a bool is no number,
//     a float no integer
//   - time.Duration, time.Time: nothing, as Append refuses them
//   - string: text; with lone surrogates it is not valid UTF-8 in Go's eyes (see the package
//     comment), but Append takes it. []byte and arrays of bytes: bytes. A str of Python 2 fits both
//     if it is UTF-8, else bytes only
//   - slices: list, tuple, set or frozenset; arrays: the same of exactly their length
//   - maps: dict; map[T]struct{}: also set and frozenset
//   - structs: dict with text keys. A field is found by its `py` tag or snake-case name, else
//     without regard to case and underscores; of two keys for one field the last counts. Keys
//     without a field are ignored, fields without a key are left as they are
//   - pointers: what they point to. None fits in pointers, slices, maps and interfaces only,
//     and makes them nil
//   - *big.Int and this package's types: themselves; Secret also text, Blob also bytes,
//     []byte also a Blob
//   - types made known by Register
//
// Byte strings share b's memory, so b must not change afterwards.
func Unmarshal(b []byte, lim Limits, into any) error {
	p := reflect.ValueOf(into)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("unmarshal value: into is %T, not a pointer to a variable", into)
	}
	if v, ok := into.(*any); ok {
		var err error
		*v, err = Decode(b, lim)
		return err
	}
	defer lim.enter(len(b))()
	v, err := decode(b, lim, true)
	if err != nil {
		return err
	}
	a := assigner{left: lim.filled(len(b)).Memory}
	if err := a.assign(p.Elem(), v); err != nil {
		return fmt.Errorf("unmarshal value: %w", err)
	}
	return nil
}

// errNoRoom says that Unmarshal would allocate more than Limits.Memory: something shared in Python
// can become many copies in Go.
var errNoRoom = errors.New("value grows too large in Go")

type assigner struct {
	left int // bytes that may still be allocated
}

func (a *assigner) room(n int, t reflect.Type) error {
	if size := int(t.Size()); size > 0 && n > a.left/size {
		return errNoRoom
	} else {
		a.left -= n * size
	}
	return nil
}

func misfit(v any, t reflect.Type) error {
	return reasonf("%s does not fit in %v", describe(v), t)
}

// describe shows bools and numbers, if they aren't long. It names the type of any other value.
func describe(v any) string {
	switch v := v.(type) {
	case bool, int64, float64, complex128:
		return fmt.Sprint(v)
	case *big.Int:
		if v.BitLen() <= 256 {
			return v.String()
		}
	}
	return kindOf(v)
}

var (
	bigIntType   = reflect.TypeFor[*big.Int]()
	durationType = reflect.TypeFor[time.Duration]()
	emptyType    = reflect.TypeFor[struct{}]()
	secretType   = reflect.TypeFor[secret.Secret]()
)

// assign stores v in dst.
func (a *assigner) assign(dst reflect.Value, v any) error {
	t := dst.Type()
	if t.Kind() == reflect.Interface {
		return assignInterface(dst, v)
	}
	if c, ok := conversionOf(t); ok {
		return assignConverted(dst, v, c)
	}
	if v != nil && reflect.TypeOf(v) == t {
		dst.Set(reflect.ValueOf(plain(v)))
		return nil
	}
	if t == durationType {
		return reasonf("%s does not fit in time.Duration, as it has no unit (decode a number)",
			describe(v))
	}
	if t == bigIntType {
		return assignBig(dst, v)
	}
	if t == secretType {
		return assignText(dst, v)
	}
	if assign, ok := byKind[t.Kind()]; ok {
		return assign(a, dst, v)
	}
	return misfit(v, t)
}

var byKind map[reflect.Kind]func(*assigner, reflect.Value, any) error

func init() {
	leaf := func(f func(reflect.Value, any) error) func(*assigner, reflect.Value, any) error {
		return func(_ *assigner, dst reflect.Value, v any) error { return f(dst, v) }
	}
	byKind = map[reflect.Kind]func(*assigner, reflect.Value, any) error{
		reflect.Bool:    leaf(assignBool),
		reflect.String:  leaf(assignText),
		reflect.Pointer: (*assigner).pointer,
		reflect.Slice:   (*assigner).slice,
		reflect.Array:   (*assigner).array,
		reflect.Map:     (*assigner).mapping,
		reflect.Struct:  (*assigner).structure,
	}
	for k := reflect.Int; k <= reflect.Int64; k++ {
		byKind[k] = leaf(assignInt)
	}
	for k := reflect.Uint; k <= reflect.Uintptr; k++ {
		byKind[k] = leaf(assignUint)
	}
	for _, k := range []reflect.Kind{reflect.Float32, reflect.Float64} {
		byKind[k] = leaf(assignFloat)
	}
	for _, k := range []reflect.Kind{reflect.Complex64, reflect.Complex128} {
		byKind[k] = leaf(assignComplex)
	}
}

func assignInterface(dst reflect.Value, v any) error {
	v = plain(v)
	if v == nil {
		dst.SetZero()
		return nil
	}
	if !reflect.TypeOf(v).AssignableTo(dst.Type()) {
		return misfit(v, dst.Type())
	}
	dst.Set(reflect.ValueOf(v))
	return nil
}

func assignConverted(dst reflect.Value, v any, c *conversion) error {
	if c.decode == nil {
		return misfit(v, dst.Type())
	}
	got, err := c.decode(plain(v))
	if err != nil {
		return reasonf("%v", err)
	}
	dst.Set(reflect.ValueOf(got))
	return nil
}

func (a *assigner) pointer(dst reflect.Value, v any) error {
	if v == nil {
		dst.SetZero()
		return nil
	}
	elem := dst.Type().Elem()
	if err := a.room(1, elem); err != nil {
		return err
	}
	p := reflect.New(elem)
	if err := a.assign(p.Elem(), v); err != nil {
		return err
	}
	dst.Set(p)
	return nil
}

// itemsOf returns the items of what slices and arrays take.
func itemsOf(v any) ([]any, bool) {
	switch v := v.(type) {
	case *pyvalue.List:
		return v.Items, true
	case pyvalue.Tuple:
		return v, true
	case *pyvalue.Set:
		return v.Items, true
	case *pyvalue.FrozenSet:
		return v.Items, true
	}
	return nil, false
}

func (a *assigner) slice(dst reflect.Value, v any) error {
	t := dst.Type()
	if v == nil {
		dst.SetZero()
		return nil
	}
	if b, ok, err := a.bytesFor(t, v); ok || err != nil {
		dst.SetBytes(b)
		return err
	}
	vs, ok := itemsOf(v)
	if !ok || t == reflect.TypeFor[pyvalue.Tuple]() || t == reflect.TypeFor[pyvalue.Blob]() {
		return misfit(v, t)
	}
	if err := a.room(len(vs), t.Elem()); err != nil {
		return err
	}
	s := reflect.MakeSlice(t, len(vs), len(vs))
	for i, item := range vs {
		if err := a.assign(s.Index(i), item); err != nil {
			return within(at(i), err)
		}
	}
	dst.Set(s)
	return nil
}

// bytesFor returns v's bytes if t holds bytes and v is such.
func (a *assigner) bytesFor(t reflect.Type, v any) (b []byte, ok bool, err error) {
	if t.Elem().Kind() != reflect.Uint8 {
		return nil, false, nil
	}
	switch v := v.(type) {
	case []byte:
		return v, true, nil
	case pyvalue.Blob:
		return v, true, nil
	case str2:
		return []byte(v), true, a.room(len(v), t.Elem())
	}
	return nil, false, nil
}

func (a *assigner) array(dst reflect.Value, v any) error {
	t := dst.Type()
	if b, ok, err := a.bytesFor(t, v); ok || err != nil {
		if len(b) != t.Len() {
			return reasonf("%d bytes do not fit in %v", len(b), t)
		}
		reflect.Copy(dst, reflect.ValueOf(b).Convert(reflect.SliceOf(t.Elem())))
		return err
	}
	vs, ok := itemsOf(v)
	if !ok {
		return misfit(v, t)
	}
	if len(vs) != t.Len() {
		return reasonf("%d items do not fit in %v", len(vs), t)
	}
	for i, item := range vs {
		if err := a.assign(dst.Index(i), item); err != nil {
			return within(at(i), err)
		}
	}
	return nil
}

func (a *assigner) mapping(dst reflect.Value, v any) error {
	t := dst.Type()
	switch v := v.(type) {
	case nil:
		dst.SetZero()
		return nil
	case *pyvalue.Dict:
		return a.dictInto(dst, v)
	case *pyvalue.Set, *pyvalue.FrozenSet:
		vs, _ := itemsOf(v)
		if t.Elem() == emptyType {
			return a.setInto(dst, vs)
		}
	}
	return misfit(v, t)
}

func (a *assigner) dictInto(dst reflect.Value, d *pyvalue.Dict) error {
	t := dst.Type()
	if err := errors.Join(a.room(len(d.Entries), t.Key()),
		a.room(len(d.Entries), t.Elem())); err != nil {
		return err
	}
	m := reflect.MakeMapWithSize(t, len(d.Entries))
	for _, e := range d.Entries {
		k, err := a.mapKey(t.Key(), e.Key)
		if err != nil {
			return err
		}
		elem := reflect.New(t.Elem()).Elem()
		if err := a.assign(elem, e.Value); err != nil {
			return within(keyStep(plain(e.Key)), err)
		}
		m.SetMapIndex(k, elem)
	}
	dst.Set(m)
	return nil
}

func (a *assigner) setInto(dst reflect.Value, vs []any) error {
	t := dst.Type()
	if err := a.room(len(vs), t.Key()); err != nil {
		return err
	}
	m := reflect.MakeMapWithSize(t, len(vs))
	for _, v := range vs {
		k, err := a.mapKey(t.Key(), v)
		if err != nil {
			return err
		}
		m.SetMapIndex(k, reflect.Zero(emptyType))
	}
	dst.Set(m)
	return nil
}

// mapKey makes a key of Go type t. A key that compares by address, or not at all, is refused.
func (a *assigner) mapKey(t reflect.Type, v any) (reflect.Value, error) {
	k := reflect.New(t).Elem()
	if err := a.assign(k, v); err != nil {
		return k, within("key "+keyStep(plain(v)), err)
	}
	held := k
	if k.Kind() == reflect.Interface && !k.IsNil() {
		held = k.Elem()
	}
	if !held.Comparable() || held.Kind() == reflect.Pointer {
		return k, reasonf("key %s does not fit as a key of a Go map", kindOf(v))
	}
	return k, nil
}

func (a *assigner) structure(dst reflect.Value, v any) error {
	d, ok := v.(*pyvalue.Dict)
	if !ok || known(dst.Type()) || refused[dst.Type()] != "" {
		return misfit(v, dst.Type())
	}
	t := structTypeOf(dst.Type())
	for _, e := range d.Entries {
		key, ok := asText(e.Key)
		if !ok {
			continue
		}
		f, ok := t.find(key)
		if !ok {
			continue
		}
		if err := a.assign(dst.FieldByIndex(f.index), e.Value); err != nil {
			return within(keyStep(key), err)
		}
	}
	return nil
}

// plain turns each str of Python 2 in v into what Decode makes of it. Containers are changed in
// place.
func plain(v any) any {
	switch v := v.(type) {
	case str2:
		if utf8.ValidString(string(v)) {
			return string(v)
		}
		return []byte(v)
	case pyvalue.Tuple:
		plainAll(v)
	case *pyvalue.List:
		plainAll(v.Items)
	case *pyvalue.Set:
		plainAll(v.Items)
	case *pyvalue.FrozenSet:
		plainAll(v.Items)
	case *pyvalue.Exception:
		plainAll(v.Args)
	case *pyvalue.Dict:
		for i, e := range v.Entries {
			v.Entries[i] = pyvalue.Entry{Key: plain(e.Key), Value: plain(e.Value)}
		}
	}
	return v
}

func plainAll(vs []any) {
	for i, v := range vs {
		vs[i] = plain(v)
	}
}
