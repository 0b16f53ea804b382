package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// ops gives the function of each opcode but STOP. An opcode without a function is refused.
var ops = [256]func(*decoder){
	opMark:         (*decoder).mark,
	opPop:          (*decoder).popOne,
	opPopMark:      func(d *decoder) { d.popMark() },
	opFrame:        (*decoder).frame,
	opNone:         func(d *decoder) { d.push(nil) },
	opTrue:         func(d *decoder) { d.push(true) },
	opFalse:        func(d *decoder) { d.push(false) },
	opInt:          (*decoder).decimal,
	opInt1:         func(d *decoder) { d.push(int64(d.byte())) },
	opInt2:         func(d *decoder) { d.spend(numberSize); d.push(int64(d.uint(2))) },
	opInt4:         (*decoder).int4,
	opLong1:        func(d *decoder) { d.long(int(d.byte())) },
	opLong4:        func(d *decoder) { d.long(d.uint(4)) },
	opFloat:        (*decoder).float,
	opShortString:  func(d *decoder) { d.string2(1) },
	opBinString:    func(d *decoder) { d.string2(4) },
	opShortBytes:   func(d *decoder) { d.bytes(1) },
	opBinBytes:     func(d *decoder) { d.bytes(4) },
	opBinBytes8:    func(d *decoder) { d.bytes(8) },
	opByteArray8:   func(d *decoder) { d.bytes(8) },
	opShortUnicode: func(d *decoder) { d.unicode(1) },
	opUnicode:      func(d *decoder) { d.unicode(4) },
	opUnicode8:     func(d *decoder) { d.unicode(8) },
	opEmptyTuple:   func(d *decoder) { d.push(emptyTuple) },
	opTuple:        func(d *decoder) { d.tuple(d.popMark()) },
	opTuple1:       func(d *decoder) { d.tuple(d.pop(1)) },
	opTuple2:       func(d *decoder) { d.tuple(d.pop(2)) },
	opTuple3:       func(d *decoder) { d.tuple(d.pop(3)) },
	opEmptyList:    func(d *decoder) { d.spend(listSize); d.push(&pyvalue.List{}) },
	opAppend:       func(d *decoder) { d.extend(d.pop(1)) },
	opAppends:      func(d *decoder) { d.extend(d.popMark()) },
	opEmptyDict:    func(d *decoder) { d.spend(listSize); d.push(&pyvalue.Dict{}) },
	opSetItem:      func(d *decoder) { d.setItems(d.pop(2)) },
	opSetItems:     func(d *decoder) { d.setItems(d.popMark()) },
	opEmptySet:     func(d *decoder) { d.spend(listSize); d.push(&pyvalue.Set{}) },
	opAddItems:     (*decoder).addItems,
	opFrozenSet:    (*decoder).frozenSet,
	opPut:          func(d *decoder) { d.put(int(d.byte())) },
	opLongPut:      func(d *decoder) { d.put(d.uint(4)) },
	opMemoize:      func(d *decoder) { d.put(len(d.memo)) },
	opGet:          func(d *decoder) { d.get(int(d.byte())) },
	opLongGet:      func(d *decoder) { d.get(d.uint(4)) },
	opGlobal:       func(d *decoder) { d.global(d.line(), d.line()) },
	opStackGlobal:  (*decoder).stackGlobal,
	opReduce:       (*decoder).reduce,
	opNewObject:    (*decoder).newObject,
	opNewObjectEx:  func(d *decoder) { d.instance(opNewObjectEx, d.pop(3)) },
	opObject:       func(d *decoder) { d.instance(opObject, d.popMark()) },
	opBuild:        (*decoder).build,
}

var emptyTuple any = pyvalue.Tuple{}

func (d *decoder) popOne() {
	if len(d.marks) > 0 && d.floor() == len(d.stack) {
		d.marks = d.marks[:len(d.marks)-1]
		return
	}
	d.pop(1)
}

// frame checks the announced length. It says nothing about values otherwise.
func (d *decoder) frame() {
	if n := d.uint(8); n < 0 || n > len(d.in)-d.pos {
		d.fail(ErrTruncated)
	}
}

// decimal reads an int of Python 2 that doesn't fit 32 bits.
func (d *decoder) decimal() {
	s := d.line()
	switch s {
	case "00", "01":
		d.push(s == "01")
		return
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.fail(errors.New("not an integer of 64 bits"))
		return
	}
	d.spend(numberSize)
	d.push(n)
}

func (d *decoder) int4() {
	d.spend(numberSize)
	d.push(int64(int32(d.uint(4))))
}

func (d *decoder) frozenSet() {
	vs := d.popMark()
	if d.spend(listSize + slotSize*len(vs)) {
		d.push(&pyvalue.FrozenSet{Items: slices.Clone(vs)})
	}
}

func (d *decoder) long(size int) {
	var tooLong error
	if size > d.lim.IntBytes {
		tooLong = fmt.Errorf("integer of %d bytes, more than %d", size, d.lim.IntBytes)
	}
	if tooLong != nil && size > len(d.in)-d.pos {
		d.fail(tooLong)
		return
	}
	b := d.take(size)
	if tooLong != nil {
		d.pushStrange(tooLong)
		return
	}
	if !d.spend(bigSize + len(b)) {
		return
	}
	if len(b) > 8 {
		d.push(bigInt(b))
		return
	}
	var full [8]byte
	copy(full[:], b)
	if len(b) == 0 {
		d.push(int64(0))
		return
	}
	unused := 64 - 8*len(b)
	d.push(int64(binary.LittleEndian.Uint64(full[:])) << unused >> unused)
}

// bigInt returns the value of a little-endian two's complement, as int64 where it fits.
func bigInt(b []byte) any {
	var small [64]byte
	be := append(small[:0], b...)
	slices.Reverse(be)
	negative := be[0] >= 0x80
	if negative {
		negate(be)
	}
	n := new(big.Int).SetBytes(be)
	if negative {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// negate replaces a big-endian two's complement by its negative.
func negate(b []byte) {
	carry := true
	for i := range slices.Backward(b) {
		b[i] = ^b[i]
		if carry {
			b[i]++
			carry = b[i] == 0
		}
	}
}

func (d *decoder) float() {
	if b := d.take(8); b != nil && d.spend(numberSize) {
		d.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
}

// sized reads a length and as many bytes.
func (d *decoder) sized(size int) []byte { return d.take(d.uint(size)) }

func (d *decoder) bytes(size int) {
	if b := d.sized(size); d.spend(slotSize + numberSize) { // a header: the bytes are shared
		d.push(b)
	}
}

func (d *decoder) string2(size int) {
	switch b := d.sized(size); {
	case !d.spend(textSize + len(b)):
	case d.keepStr2:
		d.push(str2(d.text(b)))
	case utf8.Valid(b):
		d.push(d.text(b))
	default:
		d.push(b)
	}
}

func (d *decoder) unicode(size int) {
	b := d.sized(size)
	if !utf8.Valid(b) && badText(b) >= 0 {
		d.fail(errors.New("text is not UTF-8"))
	}
	if d.spend(textSize + len(b)) {
		d.push(d.text(b))
	}
}

// text returns a part of the pickle as text: a copy, unless that would double what a long text
// takes.
func (d *decoder) text(b []byte) string {
	if d.lim.ShareText && len(b) >= shareFrom && len(b) >= len(d.in)/2 {
		return unsafe.String(unsafe.SliceData(b), len(b))
	}
	return string(b)
}

func (d *decoder) tuple(vs []any) {
	if d.spend(slotSize + numberSize + slotSize*len(vs)) {
		d.push(append(make(pyvalue.Tuple, 0, len(vs)), vs...))
	}
}

func (d *decoder) extend(vs []any) {
	top := d.top()
	if isStrange(top) {
		return
	}
	l, ok := top.(*pyvalue.List)
	if !ok {
		d.fail(errors.New("append to what isn't a list"))
		return
	}
	if !d.spend(slotSize * len(vs)) {
		return
	}
	l.Items = appendAll(l.Items, vs)
}

// appendAll is append, but a slice that was empty gets no spare room: most containers are filled at
// once.
func appendAll(dst, vs []any) []any {
	if dst == nil && len(vs) > 0 {
		dst = make([]any, 0, len(vs))
	}
	return append(dst, vs...)
}

func (d *decoder) setItems(vs []any) {
	top := d.top()
	if isStrange(top) {
		return
	}
	m, ok := top.(*pyvalue.Dict)
	if !ok || len(vs)%2 != 0 {
		d.fail(errors.New("set items of what isn't a dict, or a key without a value"))
		return
	}
	if !d.spend(entrySize * len(vs) / 2) {
		return
	}
	m.Entries = slices.Grow(m.Entries, len(vs)/2)
	for i := 0; i < len(vs); i += 2 {
		m.Entries = append(m.Entries, pyvalue.Entry{Key: vs[i], Value: vs[i+1]})
	}
}

func (d *decoder) addItems() {
	vs := d.popMark()
	s, ok := d.top().(*pyvalue.Set)
	if !ok {
		d.fail(errors.New("add to what isn't a set"))
		return
	}
	if !d.spend(slotSize * len(vs)) {
		return
	}
	s.Items = appendAll(s.Items, vs)
}
