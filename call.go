package mitogen

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/pickle"
)

// Kwargs, as the last argument of a call, are its keyword arguments.
type Kwargs map[string]any

// Call calls function in c with args and returns its result as a T. function is
// "module:function", or "module:Class.method" for static and class methods. Arguments are Go
// values that have a Python counterpart: nil, bool, integers, *big.Int, floats, complex128,
// string, []byte, slices, maps, structs (a dict; field tag `py:"name"`), *Context, the types of
// package pyvalue, secret.Secret, and pointers to these; a nil pointer is None. What refers to
// itself, is nested deeper than 200, is larger than Options.MaxMessage or has no counterpart (a
// time.Duration: send seconds) is refused: a *pyvalue.Error says where.
//
// The result must fit T, or there is a *pyvalue.Error that names the place where it doesn't; T may
// be any. Numbers fit only if T holds them exactly, and no time.Duration. None fits in pointers,
// slices, maps and interfaces, and makes them nil. In a struct, keys without a field are
// ignored, and fields without a key are zero. Text with lone surrogates becomes a string that
// isn't valid UTF-8, with three bytes for each; it can be sent back. The items of a generator
// come as a list.
//
// When ctx ends first, the call is interrupted by a KeyboardInterrupt there, and the error matches
// ErrCancelled, ctx.Err() and context.Cause(ctx). A call that doesn't end within Options.Grace is
// killed together with its context; the error then matches ErrKilled too. What the call has asked
// of other contexts isn't interrupted: those calls go on until they end, and their answers are
// dropped. Two contexts that call each other wait for each other until ctx ends.
//
// An exception comes back as a *report.CallError, the loss of the context as a *report.LostError, a
// failed connect as a *connect.Error. A result above Options.MaxMessage is a *report.CallError too
// (a ValueError). What the call wrote and logged has been handed over when Call returns.
func Call[T any](ctx context.Context, c *Context, function string, args ...any) (T, error) {
	return Wait[T](ctx, c.start(ctx, function, args, false))
}

// Pending is a call on its way, made by Context.Go.
type Pending struct{ p *engine.Pending }

// Go makes a call and returns at once, or, while more than a MiB of calls is waiting in c, once
// there is room, or c is gone. The call must be waited for with Wait or cancelled.
func (c *Context) Go(function string, args ...any) *Pending {
	return c.start(context.Background(), function, args, false)
}

func (c *Context) start(ctx context.Context, function string, args []any, stream bool) *Pending {
	if c == nil {
		return &Pending{engine.Failed(fmt.Errorf("call %q: nil Context", function))}
	}
	var kwargs map[string]any
	if n := len(args) - 1; n >= 0 {
		if k, ok := args[n].(Kwargs); ok {
			args, kwargs = args[:n], k
		}
	}
	return &Pending{c.c.Calls.Go(ctx, function, args, kwargs, stream)}
}

// Done returns a channel that is closed when p has a result.
func (p *Pending) Done() <-chan struct{} { return p.p.Done() }

// Cancel interrupts the call as the end of a Call's ctx does, Options.Grace included, without
// waiting for it. All Waits then return an error that matches ErrCancelled and context.Canceled.
// After the call has ended, Cancel does nothing.
func (p *Pending) Cancel() { p.p.Cancel() }

// Wait waits for p's result, as Call does. Several goroutines may wait for the same p. When the ctx
// of one of them ends, only its own Wait does; the call is cancelled when no other goroutine waits
// for it. Once p is done, each Wait returns the same result or error.
func Wait[T any](ctx context.Context, p *Pending) (T, error) {
	var v T
	if p == nil {
		return v, errors.New("wait for no call")
	}
	b, items, err := p.p.Result(ctx)
	defer p.p.Taken()
	switch {
	case err != nil:
	case items != nil:
		err = decodeItems(items, p.p.Limits(), &v)
	default:
		err = decode(b, p.p.Limits(), &v)
	}
	return v, err
}

// Stream calls a generator function and yields its items as they come; the result of any other
// function is its only item, unless it is None. A slow consumer makes the generator wait. An error
// ends the sequence; so does the end of ctx, or the loop being left, and both cancel the call.
func Stream[T any](ctx context.Context, c *Context, function string,
	args ...any) iter.Seq2[T, error] {
	return items[T](ctx, func() *Pending { return c.start(ctx, function, args, true) })
}

// items yields the items of a call that start makes.
func items[T any](ctx context.Context, start func() *Pending) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		p := start().p
		defer p.Leave()
		for {
			var v T
			b, ok, err := p.Next(ctx)
			if err == nil && !ok {
				return
			}
			if err == nil {
				err = decode(b, p.Limits(), &v)
				p.Taken()
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Result is the outcome of one of several calls.
type Result[T any] struct {
	Value T
	Err   error
}

// Each makes the same call in all contexts at once and yields their results in the order in which
// they come. Leaving the loop cancels those that remain.
func Each[T any](ctx context.Context, contexts []*Context, function string,
	args ...any) iter.Seq2[*Context, Result[T]] {
	return func(yield func(*Context, Result[T]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		type outcome struct {
			c *Context
			r Result[T]
		}
		outcomes := make(chan outcome, len(contexts)) // room for all: no sender waits
		for _, c := range contexts {
			go func() {
				v, err := Call[T](ctx, c, function, args...)
				outcomes <- outcome{c, Result[T]{v, err}}
			}()
		}
		for range contexts {
			if o := <-outcomes; !yield(o.c, o.r) {
				return
			}
		}
	}
}

// decode reads a value; no bytes are None.
func decode(b []byte, lim pickle.Limits, into any) error {
	if len(b) == 0 {
		b = none
	}
	return pickle.Unmarshal(b, lim, into)
}

var none = []byte("\x80\x02N.")

// decodeItems stores a generator's items in a slice or an interface.
func decodeItems(items [][]byte, lim pickle.Limits, into any) error {
	v := reflect.ValueOf(into).Elem()
	list := v
	switch v.Kind() {
	case reflect.Slice:
	case reflect.Interface:
		list = reflect.New(reflect.TypeFor[[]any]()).Elem()
	default:
		return fmt.Errorf("items of a generator don't fit in %s", v.Type())
	}
	list.Set(reflect.MakeSlice(list.Type(), len(items), len(items)))
	for i, b := range items {
		if err := decode(b, lim, list.Index(i).Addr().Interface()); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	v.Set(list)
	return nil
}
