package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// Limits bound what a value may cost. The zero value means the limits of docs/protocol/wire.md
// section 4.
type Limits struct {
	Depth    int // containers inside each other; 0: 200
	Nodes    int // values, a shared one counted each time it is reached; 0: 4,194,304
	IntBytes int // bytes of an integer; 0: 8,192
	// bytes of what is made of the pickle, which it shares memory with; 0: 256 MiB, or twice its size
	Memory int

	Engine uint64 // the identity that each Context and Sender gets: see EngineOf

	// ShareText has a long text that is most of its pickle share the pickle's memory, which must not
	// change afterwards then for as long as the text is used.
	ShareText bool

	// Gate is called before a large value is made, with the bytes that it may take. It may block. What
	// it returns is called when the value has been made. Nil: nothing is.
	Gate func(bytes int) (leave func())
}

// Of a pickle of gateFrom bytes or more Gate is asked. A byte of a pickle becomes growth bytes at
// most.
const (
	gateFrom = 1 << 20
	growth   = 64
)

// shareFrom is the size in bytes of the shortest text that is shared.
const shareFrom = 64 << 10

// enter asks Gate for a pickle of size bytes.
func (l *Limits) enter(size int) (leave func()) {
	if l.Gate == nil || size < gateFrom {
		return func() {}
	}
	return l.Gate(min(l.filled(size).Memory, growth*size))
}

// Errors that Decode and Unmarshal wrap.
var (
	ErrTooDeep       = errors.New("nested too deeply")
	ErrTooManyNodes  = errors.New("too many values")
	ErrSelfReference = errors.New("refers to itself")
	ErrTruncated     = errors.New("ends too early")
	ErrTooLarge      = errors.New("takes too much memory") // of Append too
)

// LeastMemory is the memory that any value may take, in bytes.
const LeastMemory = 256 << 20

// What values take in Go beyond their slot in a container, in bytes, as its allocator rounds them.
const (
	slotSize   = 16 // of any value, in a container or on the stack
	numberSize = 8
	textSize   = 16 // and its bytes
	listSize   = 32 // of a List, Dict, Set or FrozenSet
	entrySize  = 32 // of a Dict
	bigSize    = 32 // and its bytes
	errorSize  = 96
)

// A GlobalError means that a pickle names a class or function that isn't a value of ours.
type GlobalError struct{ Module, Name string }

func (e *GlobalError) Error() string {
	return printable(e.Module+"."+e.Name) + " is not a plain value; return its name, or its parts"
}

// printable returns s, or a quoted beginning of it where it is not a plausible name.
func printable(s string) string {
	const longest = 200
	ok := len(s) <= longest && !slices.ContainsFunc([]byte(s),
		func(c byte) bool { return c <= ' ' || c >= 0x7f })
	if ok {
		return s
	}
	return fmt.Sprintf("%+q", s[:min(len(s), longest)])
}

// filled returns l with its defaults for a pickle of size bytes.
func (l Limits) filled(size int) Limits {
	fill := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	fill(&l.Depth, 200)
	fill(&l.Nodes, 4<<20)
	fill(&l.IntBytes, 8<<10)
	fill(&l.Memory, max(LeastMemory, 2*size))
	return l
}

// Decode reads one pickle, all of b. Byte strings in the result share b's memory, so b must not
// change afterwards.
func Decode(b []byte, lim Limits) (any, error) {
	defer lim.enter(len(b))()
	return decode(b, lim, false)
}

func decode(b []byte, lim Limits, keepStr2 bool) (any, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.in, d.lim, d.keepStr2 = b, lim.filled(len(b)), keepStr2
	v, err := d.run()
	if err != nil {
		return nil, fmt.Errorf("decode value: %w", err)
	}
	if err := d.check(v); err != nil {
		return nil, fmt.Errorf("decode %w", within("value", err))
	}
	return v, nil
}

// DecodeError reads the payload of an ERROR frame: a tuple of module, type, text, traceback and
// arguments. Arguments that aren't plain values are left out: the rest says what went wrong.
func DecodeError(b []byte, lim Limits) (*pyvalue.Exception, error) {
	defer lim.enter(len(b))()
	d := decoders.Get().(*decoder)
	defer d.release()
	d.in, d.lim = b, lim.filled(len(b))
	v, err := d.run()
	if err != nil {
		return nil, fmt.Errorf("decode error: %w", err)
	}
	fields, ok := v.(pyvalue.Tuple)
	if !ok {
		return nil, fmt.Errorf("decode error: %s, not a tuple", kindOf(v))
	}
	e, err := newError(fields)
	if err != nil {
		return nil, fmt.Errorf("decode error: %w", err)
	}
	if d.check(e.Args) != nil {
		e.Args = nil
	}
	return e, nil
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// A decoder is a pickle machine. The first error sticks; after it, operations do nothing that
// matters.
type decoder struct {
	in       []byte
	pos      int
	lim      Limits
	keepStr2 bool // leave a str of Python 2 as str2

	stack []any
	marks []int // heights of the stack
	memo  []any
	puts  int // into the memo
	made  int // values pushed and copied so far
	used  int // of those, how many a call has used up
	moved int // bytes copied from text so far
	spent int // bytes that what was made so far takes
	err   error
}

// unset fills the places of the memo where nothing was put.
type unset struct{}

const keptStack = 1024 // what a pooled decoder may keep

func (d *decoder) release() {
	clear(d.stack[:cap(d.stack)])
	clear(d.memo[:cap(d.memo)])
	*d = decoder{stack: d.stack[:0], marks: d.marks[:0], memo: d.memo[:0]}
	if cap(d.stack)+cap(d.memo)+cap(d.marks) <= keptStack {
		decoders.Put(d)
	}
}

func (d *decoder) run() (any, error) {
	if p := d.take(2); p == nil || p[0] != opProto || p[1] < lowestProtocol || p[1] > highestProtocol {
		return nil, errors.New("not a pickle of protocol 2 to 5")
	}
	for d.err == nil {
		op := d.byte()
		if op == opStop && d.err == nil {
			return d.result()
		}
		if do := ops[op]; do != nil {
			do(d)
		} else if d.err == nil {
			d.fail(fmt.Errorf("opcode 0x%02x is not allowed", op))
		}
	}
	return nil, fmt.Errorf("at byte %d: %w", d.pos, d.err)
}

func (d *decoder) result() (any, error) {
	if len(d.stack) != 1 || len(d.marks) != 0 {
		return nil, errors.New("not one value at the end")
	}
	if rest := len(d.in) - d.pos; rest != 0 {
		return nil, fmt.Errorf("%d bytes behind the end", rest)
	}
	return d.stack[0], nil
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// take returns the next n bytes of the input, or nil and fails.
func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.in)-d.pos {
		d.fail(ErrTruncated)
		return nil
	}
	b := d.in[d.pos : d.pos+n : d.pos+n]
	d.pos += n
	return b
}

func (d *decoder) byte() byte {
	if d.pos == len(d.in) {
		d.fail(ErrTruncated)
		return 0
	}
	d.pos++
	return d.in[d.pos-1]
}

// uint reads a little-endian number of size bytes, at most 8. What doesn't fit an int is -1.
func (d *decoder) uint(size int) int {
	b := d.take(size)
	if b == nil {
		return -1
	}
	var full [8]byte
	copy(full[:], b)
	if n := binary.LittleEndian.Uint64(full[:]); n <= 1<<62 {
		return int(n)
	}
	return -1
}

// line reads up to a newline, at most 512 bytes.
func (d *decoder) line() string {
	rest := d.in[d.pos:min(len(d.in), d.pos+512)]
	n := slices.Index(rest, '\n')
	if n < 0 {
		d.fail(ErrTruncated)
		return ""
	}
	d.pos += n + 1
	return string(rest[:n])
}

// count counts n values against twice the limit: what is made on the way to a value counts too.
func (d *decoder) count(n int) {
	if d.made += n; d.made-d.used > 2*d.lim.Nodes {
		d.fail(ErrTooManyNodes)
	}
}

// spend accounts for n bytes that are to be allocated, and says whether they may be.
func (d *decoder) spend(n int) bool {
	if d.spent += n; d.spent > d.lim.Memory {
		d.fail(ErrTooLarge)
	}
	return d.err == nil
}

func (d *decoder) push(v any) {
	d.count(1)
	d.spend(slotSize)
	if len(d.stack) > d.lim.Nodes {
		d.fail(ErrTooManyNodes)
		return
	}
	d.stack = append(d.stack, v)
}

// floor is the height that values may not be popped below.
func (d *decoder) floor() int {
	if len(d.marks) == 0 {
		return 0
	}
	return d.marks[len(d.marks)-1]
}

// pop removes the top n values. They are valid until the next push. Without so many it returns nil
// and fails.
func (d *decoder) pop(n int) []any {
	at := len(d.stack) - n
	if at < d.floor() {
		d.fail(errors.New("stack is empty"))
		return nil
	}
	vs := d.stack[at:]
	d.stack = d.stack[:at]
	return vs
}

// top returns the top value, or nil and fails.
func (d *decoder) top() any {
	if len(d.stack) <= d.floor() {
		d.fail(errors.New("stack is empty"))
		return nil
	}
	return d.stack[len(d.stack)-1]
}

func (d *decoder) mark() {
	if len(d.marks) > d.lim.Depth {
		d.fail(ErrTooDeep)
		return
	}
	d.marks = append(d.marks, len(d.stack))
}

// popMark removes what is above the last mark, and the mark. The values are valid until the next
// push.
func (d *decoder) popMark() []any {
	if len(d.marks) == 0 {
		d.fail(errors.New("no mark"))
		return nil
	}
	vs := d.pop(len(d.stack) - d.floor())
	d.marks = d.marks[:len(d.marks)-1]
	return vs
}

// put stores the top value in the memo. Picklers count from 0 or 1, so an index can't be far beyond
// what was put before.
func (d *decoder) put(at int) {
	v := d.top()
	if d.puts++; d.puts > d.made {
		d.fail(errors.New("more memo entries than values"))
		return
	}
	if at < 0 || at > d.puts || at > 2*d.lim.Nodes {
		d.fail(fmt.Errorf("memo index %d is out of range", at))
		return
	}
	for len(d.memo) <= at {
		d.memo = append(d.memo, unset{})
	}
	d.memo[at] = v
}

func (d *decoder) get(at int) {
	if at < 0 || at >= len(d.memo) || d.memo[at] == any(unset{}) {
		d.fail(fmt.Errorf("memo index %d is not set", at))
		return
	}
	d.push(d.memo[at])
}
