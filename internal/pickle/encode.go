package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"unicode/utf8"
)

// Mode says who is to read a pickle.
type Mode uint8

// Modes.
const (
	Proto2Both Mode = iota // Python 2 or 3, not known which
	Proto2                 // Python 2: bytes as str, text as unicode
	Proto3                 // Python 3.0 and later
	Proto4                 // Python 3.4 and later
)

// Limits of what is sent. What is shared but isn't a list, dict or set is sent each time it is met; so a small value
// from a child could become endless when it is passed on.
const (
	maxDepth = 200
	maxSize  = 1 << 30 // bytes
)

// A ValueError means that a Go value has no Python counterpart, or a Python value doesn't fit a Go type.
type ValueError struct {
	Path   string // where in the value, as one would write it in Go or Python; empty: the value itself
	Reason string
}

func (e *ValueError) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

func reasonf(format string, args ...any) error {
	return &ValueError{Reason: fmt.Sprintf(format, args...)}
}

// within puts step in front of the path of err, if that is a ValueError.
func within(step string, err error) error {
	var v *ValueError
	if !errors.As(err, &v) {
		return err
	}
	path := v.Path
	if path != "" && path[0] != '[' {
		path = "." + path
	}
	return &ValueError{step + path, v.Reason}
}

// Append appends the pickle of v. It takes what Decode returns, and besides:
//
//   - bool, all integers, *big.Int, floats, complex numbers, string, and types made of them
//   - []byte, arrays of bytes: bytes
//   - other slices and arrays: list; a nil slice is an empty list
//   - maps: dict, in the order of the keys; a nil map is an empty dict
//   - structs: dict of the exported fields. The key is that of the tag `py:"name"`, else the field's name in snake case;
//     `py:"name,omitempty"` leaves zero values out, `py:"-"` the field. Embedded structs without a tag are flattened.
//   - pointers and interfaces: what they point to; nil is None
//   - types made known by Register
//
// A *List, *Dict, *Set or *FrozenSet that is met twice is shared in Python too. Text must be UTF-8 (lone surrogates
// allowed), keys must be hashable, and nothing may refer to itself. time.Time and time.Duration are refused, because it
// isn't obvious what they should become. The error is a *ValueError; dst is returned unchanged then.
func Append(dst []byte, v any, m Mode) ([]byte, error) {
	e := newEncoder(dst, m)
	if err := e.value(v); err != nil {
		return dst, fmt.Errorf("encode value: %w", err)
	}
	return append(e.buf, opStop), nil
}

// AppendCall appends the pickle of a call's arguments: a tuple of args and kwargs. Of several wrong ones the first is
// named: "args[1].port" or "kwargs.port".
func AppendCall(dst []byte, args []any, kwargs map[string]any, m Mode) ([]byte, error) {
	e := newEncoder(dst, m)
	e.depth = 1
	if err := e.tuple(args); err != nil {
		return dst, fmt.Errorf("encode arguments: %w", within("args", err))
	}
	if err := e.kwargs(kwargs); err != nil {
		return dst, fmt.Errorf("encode arguments: %w", within("kwargs", err))
	}
	return append(e.buf, opTuple2, opStop), nil
}

var protocols = [...]byte{Proto2Both: 2, Proto2: 2, Proto3: 3, Proto4: 4}

func newEncoder(dst []byte, m Mode) encoder {
	return encoder{buf: append(dst, opProto, protocols[m]), most: maxSize, mode: m}
}

type encoder struct {
	buf   []byte
	most  int // bytes in buf
	mode  Mode
	depth int
	puts  int         // into the reader's memo
	memo  map[any]int // index of what was written; -1 while it is being written
}

// value writes v: the common types here, the rest by reflection.
func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.buf = append(e.buf, opNone)
	case bool:
		e.bool(v)
	case int:
		e.int(int64(v))
	case int64:
		e.int(v)
	case float64:
		e.float(v)
	case string:
		return e.text(v)
	case []byte:
		return e.bytes(v)
	case []any:
		return e.list(v)
	case []string:
		return e.strings(v)
	case map[string]any:
		return e.kwargs(v)
	default:
		return e.own(v)
	}
	return nil
}

// own writes the types of this package and those made known to it.
func (e *encoder) own(v any) error {
	switch v := v.(type) {
	case complex128:
		e.global("complex")
		e.float(real(v))
		e.float(imag(v))
		e.buf = append(e.buf, opTuple2, opReduce)
		return nil
	case *big.Int:
		return e.big(v)
	case Tuple:
		return e.tuple(v)
	case *List:
		return e.shared(v, v == nil, func() error { return e.list(v.Items) })
	case *Dict:
		return e.shared(v, v == nil, func() error { return e.dict(v.Entries) })
	case *Set:
		return e.shared(v, v == nil, func() error { return e.set(v.Items) })
	case *FrozenSet:
		return e.shared(v, v == nil, func() error { return e.frozenSet(v.Items) })
	case Context:
		return e.named("Context", v.ID, v.Name)
	case Sender:
		return e.named("Sender", v.Context, v.Handle)
	case Secret:
		return e.named("Secret", string(v))
	case Blob:
		return e.named("Blob", []byte(v))
	case *Error:
		return e.error(v)
	}
	if c, ok := conversionOf(reflect.TypeOf(v)); ok {
		return e.converted(c, v)
	}
	return e.reflected(reflect.ValueOf(v))
}

func (e *encoder) converted(c *conversion, v any) error {
	plain, err := c.encode(v)
	if err != nil {
		return reasonf("%v", err)
	}
	if reflect.TypeOf(plain) == reflect.TypeOf(v) {
		return reasonf("%T is converted to itself", v)
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.value(plain)
}

func (e *encoder) error(v *Error) error {
	if v == nil {
		return e.value(nil)
	}
	var args any
	if v.Args != nil {
		args = v.Args
	}
	return e.named("Error", v.Module, v.Type, v.Text, v.Traceback, args)
}

// enter and leave count the containers around a value.
func (e *encoder) enter() error {
	if e.depth++; e.depth > maxDepth {
		return reasonf("nested deeper than %d, or refers to itself", maxDepth)
	}
	return nil
}

func (e *encoder) leave() { e.depth-- }

// shared writes what pointer p stands for with write, or a reference where that was done before.
func (e *encoder) shared(p any, null bool, write func() error) error {
	if null {
		return e.value(nil)
	}
	at, seen := e.memo[p]
	switch {
	case seen && at < 0:
		return reasonf("refers to itself")
	case seen:
		e.index(opGet, opLongGet, at)
		return nil
	}
	if e.memo == nil {
		e.memo = map[any]int{}
	}
	e.memo[p] = -1
	if err := write(); err != nil {
		return err
	}
	e.memo[p] = e.puts
	e.index(opPut, opLongPut, e.puts)
	e.puts++
	return nil
}

func (e *encoder) index(short, long byte, n int) {
	if n <= math.MaxUint8 {
		e.buf = append(e.buf, short, byte(n))
		return
	}
	e.buf = binary.LittleEndian.AppendUint32(append(e.buf, long), uint32(n))
}

func (e *encoder) bool(v bool) {
	if v {
		e.buf = append(e.buf, opTrue)
	} else {
		e.buf = append(e.buf, opFalse)
	}
}

func (e *encoder) int(v int64) {
	switch {
	case v >= 0 && v <= math.MaxUint8:
		e.buf = append(e.buf, opInt1, byte(v))
	case v >= 0 && v <= math.MaxUint16:
		e.buf = append(e.buf, opInt2, byte(v), byte(v>>8))
	case v == int64(int32(v)):
		e.buf = binary.LittleEndian.AppendUint32(append(e.buf, opInt4), uint32(v))
	default:
		e.buf = binary.LittleEndian.AppendUint64(append(e.buf, opLong1, 8), uint64(v))
	}
}

func (e *encoder) uint(v uint64) {
	if v <= math.MaxInt64 {
		e.int(int64(v))
		return
	}
	e.buf = binary.LittleEndian.AppendUint64(append(e.buf, opLong1, 9), v)
	e.buf = append(e.buf, 0)
}

func (e *encoder) big(v *big.Int) error {
	if v == nil {
		return e.value(nil)
	}
	if v.IsInt64() {
		e.int(v.Int64())
		return nil
	}
	b := twosComplement(v)
	if len(b) > (Limits{}).filled(0).IntBytes {
		return reasonf("integer of %d bytes", len(b))
	}
	if len(b) <= math.MaxUint8 {
		e.buf = append(e.buf, opLong1, byte(len(b)))
	} else {
		e.buf = binary.LittleEndian.AppendUint32(append(e.buf, opLong4), uint32(len(b)))
	}
	e.buf = append(e.buf, b...)
	return nil
}

// twosComplement returns v in little-endian order.
func twosComplement(v *big.Int) []byte {
	size := v.BitLen()/8 + 1
	if v.Sign() < 0 {
		v = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	b := v.FillBytes(make([]byte, size))
	slices.Reverse(b)
	return b
}

func (e *encoder) float(v float64) {
	e.buf = binary.BigEndian.AppendUint64(append(e.buf, opFloat), math.Float64bits(v))
}

func (e *encoder) text(s string) error {
	if !utf8.ValidString(s) {
		if at := badText(s); at >= 0 {
			return reasonf("text is not UTF-8 at byte %d (bytes are sent as []byte)", at)
		}
	}
	if err := e.room(len(s)); err != nil {
		return err
	}
	e.textHeader(len(s))
	e.buf = append(e.buf, s...)
	return nil
}

// room refuses n more bytes if the value became too large.
func (e *encoder) room(n int) error {
	if n > e.most-len(e.buf) {
		return reasonf("larger than %d bytes", e.most)
	}
	return nil
}

func (e *encoder) textHeader(n int) {
	if e.mode == Proto4 && n <= math.MaxUint8 {
		e.buf = append(e.buf, opShortUnicode, byte(n))
		return
	}
	e.length(opUnicode, n)
}

// length writes an opcode with a length of four bytes.
func (e *encoder) length(op byte, n int) {
	e.buf = binary.LittleEndian.AppendUint32(append(e.buf, op), uint32(n))
}

func (e *encoder) bytes(b []byte) error {
	if err := e.room(2 * len(b)); err != nil {
		return err
	}
	if e.mode == Proto2Both {
		e.latin1(b)
		return nil
	}
	short, long := byte(opShortBytes), byte(opBinBytes)
	if e.mode == Proto2 {
		short, long = opShortString, opBinString
	}
	if len(b) <= math.MaxUint8 {
		e.buf = append(e.buf, short, byte(len(b)))
	} else {
		e.length(long, len(b))
	}
	e.buf = append(e.buf, b...)
	return nil
}

// latin1 writes bytes in the form that Python 2 and 3 read alike.
func (e *encoder) latin1(b []byte) {
	e.buf = append(e.buf, "c_codecs\nencode\n"...)
	e.length(opUnicode, latin1Size(b))
	e.buf = appendLatin1(e.buf, b)
	e.buf = append(e.buf, "X\x06\x00\x00\x00latin1\x86R"...)
}
