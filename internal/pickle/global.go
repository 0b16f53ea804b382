package pickle

import (
	"errors"
	"fmt"
	"math"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// A global is a callable on the decoder's stack. As a value it is refused.
type global struct {
	module, name string
	call         func(*decoder, pyvalue.Tuple) (any, error)
}

var errArguments = errors.New("wrong arguments")

var globals = func() map[[2]string]*global {
	m := map[[2]string]*global{}
	add := func(module, name string, call func(*decoder, pyvalue.Tuple) (any, error)) {
		m[[2]string{module, name}] = &global{module, name, call}
	}
	add("_codecs", "encode", (*decoder).callEncode)
	for _, builtins := range []string{"builtins", "__builtin__"} {
		add(builtins, "set", func(d *decoder, args pyvalue.Tuple) (any, error) {
			items, err := d.listArg(args)
			return &pyvalue.Set{Items: items}, err
		})
		add(builtins, "frozenset", func(d *decoder, args pyvalue.Tuple) (any, error) {
			items, err := d.listArg(args)
			return &pyvalue.FrozenSet{Items: items}, err
		})
		add(builtins, "complex", (*decoder).callComplex)
		add(builtins, "bytes", (*decoder).callBytes)
		add(builtins, "bytearray", (*decoder).callBytes)
	}
	add("mitogen", "Context", (*decoder).callContext)
	add("mitogen", "Sender", (*decoder).callSender)
	add("mitogen", "Secret", (*decoder).callSecret)
	add("mitogen", "Blob", (*decoder).callBlob)
	add("mitogen", "Error", func(d *decoder, args pyvalue.Tuple) (any, error) {
		return newError(
			args)
	})
	return m
}()

func (d *decoder) global(module, name string) {
	if d.err != nil {
		return
	}
	g := globals[[2]string{module, name}]
	if g == nil {
		d.pushStrange(&GlobalError{module, name})
		return
	}
	d.push(g)
}

// A strange thing stands where a pickle has what isn't a value of ours: a class, what a class was
// called for, or a number that is too long. check refuses it, and so can say where it is.
type strange struct{ err error }

func isStrange(v any) bool {
	_, ok := v.(*strange)
	return ok
}

func (d *decoder) pushStrange(err error) {
	if d.spend(errorSize) {
		d.push(&strange{err})
	}
}

// newObject is REDUCE in other words, for complex numbers. Other classes of ours are called by
// REDUCE.
func (d *decoder) newObject() {
	if n := len(d.stack); n >= 2 {
		if g, ok := d.stack[n-2].(*global); ok && g.name == "complex" {
			d.reduce()
			return
		}
	}
	d.instance(opNewObject, d.pop(2))
}

// instance makes an instance of what vs begins with, if that is strange; the instance is, too.
func (d *decoder) instance(op byte, vs []any) {
	if len(vs) == 0 || !isStrange(vs[0]) {
		d.fail(fmt.Errorf("opcode 0x%02x is not allowed", op))
		return
	}
	d.used += len(vs)
	d.push(vs[0])
}

// build drops the state of an instance that is strange.
func (d *decoder) build() {
	d.pop(1)
	if !isStrange(d.top()) {
		d.fail(fmt.Errorf("opcode 0x%02x is not allowed", opBuild))
	}
}

func (d *decoder) stackGlobal() {
	vs := d.pop(2)
	if d.err != nil {
		return
	}
	module, ok1 := asText(vs[0])
	name, ok2 := asText(vs[1])
	if !ok1 || !ok2 {
		d.fail(errors.New("global's name is not text"))
		return
	}
	d.global(module, name)
}

func (d *decoder) reduce() {
	vs := d.pop(2)
	if d.err != nil {
		return
	}
	if isStrange(vs[0]) {
		d.instance(opReduce, vs)
		return
	}
	g, ok1 := vs[0].(*global)
	args, ok2 := vs[1].(pyvalue.Tuple)
	if !ok1 || !ok2 {
		d.fail(errors.New("call of what isn't a class"))
		return
	}
	d.used += 2
	if !d.spend(errorSize) { // the largest thing that a call makes, but for copies
		return
	}
	v, err := g.call(d, args)
	if err != nil {
		d.fail(fmt.Errorf("%s.%s: %w", g.module, g.name, err))
		return
	}
	d.push(v)
}

// listArg returns a copy of the items of the only argument, a list or, from PyPy, a tuple; none
// without an argument.
func (d *decoder) listArg(args pyvalue.Tuple) ([]any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	var items []any
	switch v := args[0].(type) {
	case *pyvalue.List:
		items = v.Items
	case pyvalue.Tuple:
		items = v
	default:
		return nil, errArguments
	}
	if len(args) != 1 {
		return nil, errArguments
	}
	if d.count(len(items)); !d.spend(slotSize * len(items)) {
		return nil, d.err
	}
	return appendAll(nil, items), nil
}

func (d *decoder) callComplex(args pyvalue.Tuple) (any, error) {
	if len(args) != 2 {
		return nil, errArguments
	}
	re, ok1 := args[0].(float64)
	im, ok2 := args[1].(float64)
	if !ok1 || !ok2 {
		return nil, errArguments
	}
	return complex(re, im), nil
}

// callEncode decodes bytes of protocol 2. They come as text, and the name of Latin-1.
func (d *decoder) callEncode(args pyvalue.Tuple) (any, error) {
	if len(args) != 2 {
		return nil, errArguments
	}
	s, ok := args[0].(string)
	coding, _ := asText(args[1])
	if !ok || coding != "latin1" && coding != "latin-1" {
		return nil, errArguments
	}
	if err := d.move(len(s)); err != nil {
		return nil, err
	}
	b, ok := latin1(s)
	if !ok {
		return nil, errors.New("text is not Latin-1")
	}
	return b, nil
}

// move counts bytes that are copied. The memo can name a text again and again, but all copies
// together may make no more than came in.
func (d *decoder) move(n int) error {
	if d.moved += n; d.moved > len(d.in) {
		return ErrTooManyNodes
	}
	if !d.spend(n) {
		return d.err
	}
	return nil
}

// callBytes makes bytes or a bytearray: from nothing, from bytes, from a list of their numbers, or
// from text and the name of Latin-1.
func (d *decoder) callBytes(args pyvalue.Tuple) (any, error) {
	switch len(args) {
	case 0:
		return []byte{}, nil
	case 1:
		if l, ok := args[0].(*pyvalue.List); ok {
			return d.numbered(l.Items)
		}
		return d.bytesArg(args[0])
	case 2:
		return d.callEncode(args)
	}
	return nil, errArguments
}

// numbered makes bytes of their numbers, as CPython 3.0 and 3.1 write them in protocol 2.
func (d *decoder) numbered(numbers []any) (any, error) {
	if err := d.move(len(numbers)); err != nil {
		return nil, err
	}
	b := make([]byte, len(numbers))
	for i, v := range numbers {
		n, ok := v.(int64)
		if !ok || n < 0 || n > math.MaxUint8 {
			return nil, errArguments
		}
		b[i] = byte(n)
	}
	return b, nil
}

func (d *decoder) callContext(args pyvalue.Tuple) (any, error) {
	if len(args) != 2 {
		return nil, errArguments
	}
	id, ok1 := asU32(args[0])
	name, ok2 := asText(args[1])
	if !ok1 || !ok2 {
		return nil, errArguments
	}
	return pyvalue.Ref{ID: id, Name: name, Engine: d.lim.Engine}, nil
}

func (d *decoder) callSender(args pyvalue.Tuple) (any, error) {
	if len(args) != 2 {
		return nil, errArguments
	}
	context, ok1 := asU32(args[0])
	handle, ok2 := asU32(args[1])
	if !ok1 || !ok2 {
		return nil, errArguments
	}
	return pyvalue.Sender{Context: context, Handle: handle, Engine: d.lim.Engine}, nil
}

func (d *decoder) callSecret(args pyvalue.Tuple) (any, error) {
	if len(args) != 1 {
		return nil, errArguments
	}
	s, ok := asText(args[0])
	if !ok {
		return nil, errArguments
	}
	return secret.Secret(s), nil
}

func (d *decoder) callBlob(args pyvalue.Tuple) (any, error) {
	if len(args) != 1 {
		return nil, errArguments
	}
	b, err := d.bytesArg(args[0])
	return pyvalue.Blob(b), err
}

// newError makes an Error of module, type, text, traceback and arguments.
func newError(args pyvalue.Tuple) (*pyvalue.Exception, error) {
	if len(args) != 5 {
		return nil, fmt.Errorf("%d fields, not 5", len(args))
	}
	e := &pyvalue.Exception{}
	for i, field := range [...]*string{&e.Module, &e.Type, &e.Text, &e.Traceback} {
		if i == 0 && args[i] == nil {
			continue // a class may be of no module
		}
		s, ok := asText(args[i])
		if !ok {
			return nil, errArguments
		}
		*field = s
	}
	switch v := args[4].(type) {
	case nil:
	case pyvalue.Tuple:
		e.Args = v
	default:
		return nil, errArguments
	}
	return e, nil
}

func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case str2:
		return string(v), badText(string(v)) < 0
	}
	return "", false
}

// bytesArg takes text too: it may have come as a str of Python 2.
func (d *decoder) bytesArg(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case pyvalue.Blob:
		return v, nil
	case str2:
		return []byte(v), d.move(len(v))
	case string:
		return []byte(v), d.move(len(v))
	}
	return nil, errArguments
}

func asU32(v any) (uint32, bool) {
	n, ok := v.(int64)
	return uint32(n), ok && n >= 0 && n <= math.MaxUint32
}
