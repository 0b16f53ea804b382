package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
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

// Limits of what is sent. What is shared but isn't a list, dict or set is sent each time it is met;
// so a small value from a child could become endless when it is passed on.
const (
	maxDepth = 200
	maxSize  = 1 << 30 // bytes
)

func reasonf(format string, args ...any) error {
	return &pyvalue.Error{Reason: fmt.Sprintf(format, args...)}
}

// within puts step in front of the path of err, if that is a pyvalue.Error.
func within(step string, err error) error {
	v, ok := err.(*pyvalue.Error)
	if !ok && !errors.As(err, &v) {
		return err
	}
	path := v.Path
	if path != "" && strings.IndexByte("[. ", path[0]) < 0 {
		path = "." + path
	}
	return &pyvalue.Error{Path: step + path, Reason: v.Reason, Err: v.Err}
}

// Append appends the pickle of v. It takes what Decode returns, and besides:
//
//   - bool, all integers, *big.Int, floats, complex numbers, string, and types made of them
//   - []byte, arrays of bytes: bytes
//   - other slices and arrays: list; a nil slice is an empty list
//   - maps: dict, in the order of the keys; a nil map is an empty dict
//   - structs: dict of the exported fields. The key comes from the tag `py:"name"`, else the
//     field's name in snake case; `py:"name,omitempty"` leaves zero values out, `py:"-"` the field.
//     Embedded structs without a tag are flattened.
//   - pointers and interfaces: what they point to; nil is None
//   - types made known by Register; a nil pointer is None
//
// A *List, *Dict, *Set or *FrozenSet that is met twice is shared in Python too. Text must be UTF-8
// (lone surrogates allowed), keys must be hashable, and nothing may refer to itself. time.Time and
// time.Duration are refused, because it isn't obvious what they should become. The error is a
// *ValueError; dst is returned unchanged then.
func Append(dst []byte, v any, m Mode) ([]byte, error) { return Encoder{Mode: m}.Append(dst, v) }

// AppendCall appends the pickle of a call's arguments: a tuple of args and kwargs. Of several wrong
// ones the first is named: "args[1].port" or "kwargs.port".
func AppendCall(dst []byte, args []any, kwargs map[string]any, m Mode) ([]byte, error) {
	return Encoder{Mode: m}.AppendCall(dst, args, kwargs)
}

// An Encoder has settings for Append and AppendCall. The zero value has theirs.
type Encoder struct {
	Mode Mode

	// Limit bounds the bytes of dst and the pickle behind it. What is larger is refused with an
	// error that matches ErrTooLarge. 0: 1 GiB.
	Limit int

	// Handles sees each Context and Sender, wherever in a value it is. Nil: all may be sent.
	Handles Handles
}

// Handles decides about the handles in a value.
type Handles interface {
	// Take returns why a Context or Sender may not be sent; nil: it may. The value may turn out to
	// be refused nevertheless.
	Take(handle any) error
}

// Append is the function Append with c's settings.
func (c Encoder) Append(dst []byte, v any) ([]byte, error) {
	e := c.begin(dst)
	err := e.value(v)
	if err == nil {
		e.buf = append(e.buf, opStop)
		err = e.room(0)
	}
	if err != nil {
		return dst, fmt.Errorf("encode value: %w", err)
	}
	return e.buf, nil
}

// AppendCall is the function AppendCall with c's settings.
func (c Encoder) AppendCall(dst []byte, args []any, kwargs map[string]any) ([]byte, error) {
	e := c.begin(dst)
	e.depth = 1
	if err := e.tuple(args); err != nil {
		return dst, fmt.Errorf("encode arguments: %w", within("args", err))
	}
	if err := e.kwargs(kwargs); err != nil {
		return dst, fmt.Errorf("encode arguments: %w", within("kwargs", err))
	}
	e.buf = append(e.buf, opTuple2, opStop)
	if err := e.room(0); err != nil {
		return dst, fmt.Errorf("encode arguments: %w", err)
	}
	return e.buf, nil
}

func (c Encoder) begin(dst []byte) encoder {
	e := newEncoder(dst, c.Mode)
	e.handles = c.Handles
	if c.Limit > 0 {
		e.most = min(e.most, c.Limit)
	}
	return e
}

var protocols = [...]byte{Proto2Both: 2, Proto2: 2, Proto3: 3, Proto4: 4}

func newEncoder(dst []byte, m Mode) encoder {
	return encoder{buf: append(dst, opProto, protocols[m]), most: maxSize, mode: m}
}

type encoder struct {
	buf     []byte
	most    int // bytes in buf
	mode    Mode
	handles Handles
	depth   int
	puts    int         // into the reader's memo
	memo    map[any]int // index of what was written; -1 while it is being written
}

// value writes v: the common types here, the rest by reflection.
func (e *encoder) value(v any) error {
	if len(e.buf) > e.most { // what is shared in Go may be endless when it is written out
		return e.room(0)
	}
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
	case pyvalue.Tuple:
		return e.tuple(v)
	case *pyvalue.List:
		return e.shared(v, v == nil, func() error { return e.list(v.Items) })
	case *pyvalue.Dict:
		return e.shared(v, v == nil, func() error { return e.dict(v.Entries) })
	case *pyvalue.Set:
		return e.shared(v, v == nil, func() error { return e.set(v.Items) })
	case *pyvalue.FrozenSet:
		return e.shared(v, v == nil, func() error { return e.frozenSet(v.Items) })
	case pyvalue.Ref:
		return e.handle(v, "Context", v.ID, v.Name)
	case pyvalue.Sender:
		return e.handle(v, "Sender", v.Context, v.Handle)
	case secret.Secret:
		return e.named("Secret", string(v))
	case pyvalue.Blob:
		return e.named("Blob", []byte(v))
	case *pyvalue.Exception:
		return e.error(v)
	}
	r := reflect.ValueOf(v)
	if c, ok := conversionOf(r.Type()); ok {
		if r.Kind() == reflect.Pointer && r.IsNil() {
			return e.value(nil)
		}
		return e.converted(c, v)
	}
	return e.reflected(r)
}

// handle writes a Context or Sender, if it may be sent.
func (e *encoder) handle(h any, name string, args ...any) error {
	if e.handles != nil {
		if err := e.handles.Take(h); err != nil {
			return &pyvalue.Error{Reason: err.Error(), Err: err}
		}
	}
	return e.named(name, args...)
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

func (e *encoder) error(v *pyvalue.Exception) error {
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
		return &pyvalue.Error{Reason: fmt.Sprintf("larger than %d bytes", e.most), Err: ErrTooLarge}
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
	if e.mode == Proto2Both {
		return e.latin1(b)
	}
	if err := e.room(len(b)); err != nil {
		return err
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
func (e *encoder) latin1(b []byte) error {
	size := latin1Size(b)
	if err := e.room(size); err != nil {
		return err
	}
	e.buf = append(e.buf, "c_codecs\nencode\n"...)
	e.length(opUnicode, size)
	e.buf = appendLatin1(e.buf, b)
	e.buf = append(e.buf, "X\x06\x00\x00\x00latin1\x86R"...)
	return nil
}
