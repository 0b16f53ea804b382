package goctx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// Types of errors that no Go type has, in ERROR frames.
const (
	TypePanic         = "panic"
	TypeNotRegistered = "NotRegistered"
	TypeNoPython      = report.GoNoPython
)

// An errorKind crosses between programs, so that errors.Is or errors.As finds it at the caller.
type errorKind struct {
	name string
	find func(error) (value any, found bool) // value is nil for a sentinel
	make func(value []byte) (error, error)
}

var kinds struct {
	sync.Mutex // protects following
	all        []errorKind
}

// knownKinds returns the kinds that have been registered.
func knownKinds() []errorKind {
	kinds.Lock()
	defer kinds.Unlock()
	return kinds.all
}

// RegisterError makes a kind of errors known under a name. find looks for it in an error, remake
// makes it anew from the pickle of what find returned. RegisterError panics if name is taken.
func RegisterError(name string, find func(error) (any, bool), remake func([]byte) (error, error)) {
	kinds.Lock()
	defer kinds.Unlock()
	same := func(k errorKind) bool { return k.name == name }
	if name == "" || slices.ContainsFunc(kinds.all, same) {
		panic(fmt.Sprintf("mitogen: %q is no name of an error, or two have it", name))
	}
	kinds.all = append(kinds.all, errorKind{name, find, remake})
}

// RegisterSentinel makes an error known that errors.Is finds.
func RegisterSentinel(name string, sentinel error) {
	RegisterError(name,
		func(err error) (any, bool) { return nil, errors.Is(err, sentinel) },
		func([]byte) (error, error) { return sentinel, nil })
}

// ofTheLibrary are sentinels of Go's own that each program knows.
var ofTheLibrary = map[string]error{
	"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	"io.EOF": io.EOF, "io.ErrUnexpectedEOF": io.ErrUnexpectedEOF,
	"fs.ErrNotExist": fs.ErrNotExist, "fs.ErrExist": fs.ErrExist,
	"fs.ErrPermission": fs.ErrPermission, "fs.ErrInvalid": fs.ErrInvalid,
	"os.ErrDeadlineExceeded": os.ErrDeadlineExceeded, "errors.ErrUnsupported": errors.ErrUnsupported,
}

func init() {
	for name, sentinel := range ofTheLibrary {
		RegisterSentinel(name, sentinel)
	}
}

// registered returns the registered kinds that err has, each as (name, pickle or nil).
func registered(err error) pyvalue.Tuple {
	all := pyvalue.Tuple{}
	for _, kind := range knownKinds() {
		value, found := kind.find(err)
		if !found {
			continue
		}
		var packed any
		if value != nil {
			b, err := pickle.Append(nil, value, pickle.Proto4)
			if err != nil {
				continue // it has no plain form: the text has to do
			}
			packed = b
		}
		all = append(all, pyvalue.Tuple{kind.name, packed})
	}
	return all
}

// Known returns the errors that args of an ERROR stand for, as far as this program knows them.
// args is from elsewhere: what has another form is left out.
func Known(args []any) (all []error) {
	values := map[string][]byte{} // of one name the last counts
	for _, a := range args {
		if pair, ok := a.(pyvalue.Tuple); ok && len(pair) == 2 {
			name, _ := pair[0].(string)
			values[name], _ = pair[1].([]byte)
		}
	}
	for _, kind := range knownKinds() {
		value, found := values[kind.name]
		if !found {
			continue
		}
		if made, err := kind.make(value); err == nil && isThere(made) {
			all = append(all, made)
		}
	}
	return all
}

// isThere reports whether err is an error, and no nil pointer, whose methods may panic.
func isThere(err error) bool {
	v := reflect.ValueOf(err)
	return v.IsValid() && (v.Kind() != reflect.Pointer || !v.IsNil())
}

// maxErrorText bounds the text and the stack of an error, in bytes each.
const maxErrorText = 1 << 20

// shortErrorText takes the place of maxErrorText if that is more than a message may have.
const shortErrorText = 8 << 10

// failure has the fields of an ERROR.
type failure struct {
	module, typ, text, stack string
	args                     any
}

// failed returns the failure that a function's error is.
func failed(err error) failure {
	if r, ok := err.(*refusal); ok {
		return failure{report.GoModule, r.kind, r.text, "", nil}
	}
	return failure{report.GoModule, fmt.Sprintf("%T", err), err.Error(), "", registered(err)}
}

// payload returns the payload of an ERROR frame. What doesn't fit is left out.
func (f failure) payload(limit int) []byte {
	for _, most := range []int{maxErrorText, shortErrorText, 0} {
		tuple := pyvalue.Tuple{f.module, f.typ, text(f.text, most), text(f.stack, most), f.args}
		b, err := pickle.Append(nil, tuple, pickle.Proto2Both)
		if err == nil && len(b) <= limit || most == 0 {
			return b
		}
		f.args = nil
	}
	return nil
}

// text returns at most n bytes of s, as UTF-8.
func text(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "\ufffd") }
