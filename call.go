package mitogen

import (
	"context"
	"iter"
)

// Kwargs, as the last argument of a call, are its keyword arguments.
type Kwargs map[string]any

// Call calls function in c with args and returns its result as a T. function is "module:function", or
// "module:Class.method" for static and class methods. Arguments are Go values that have a Python counterpart: nil, bool,
// integers, *big.Int, floats, complex128, string, []byte, slices, maps, structs (a dict; field tag `py:"name"`), *Context,
// Sender, Secret, Blob. The result must fit T exactly, or there is an error that names the place where it doesn't; T may be any.
//
// When ctx ends first, the call is interrupted by a KeyboardInterrupt there, and the error matches ctx.Err(). A call
// that doesn't end within Options.Grace is killed together with its context; the error then matches ErrKilled too.
//
// An exception comes back as a *CallError, the loss of the context as a *LostError.
func Call[T any](ctx context.Context, c *Context, function string, args ...any) (T, error) {
	return Wait[T](ctx, c.Go(function, args...))
}

// Pending is a call on its way, made by Context.Go.
type Pending struct{}

// Go makes a call and returns at once, or, while more than a MiB of calls is waiting in c, once there is room. The call
// must be waited for with Wait or cancelled.
func (c *Context) Go(function string, args ...any) *Pending { return &Pending{} }

// Done returns a channel that is closed when p has a result.
func (p *Pending) Done() <-chan struct{} { return nil }

// Cancel interrupts the call as the end of a Call's ctx does, without waiting for it.
func (p *Pending) Cancel() {}

// Wait waits for p's result, as Call does.
func Wait[T any](ctx context.Context, p *Pending) (T, error) {
	var v T
	return v, errThin
}

// Stream calls a generator function and yields its items as they come. A slow consumer makes the generator wait. An
// error ends the sequence; so does the end of ctx, or the loop being left, and both cancel the call.
func Stream[T any](ctx context.Context, c *Context, function string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var v T
		yield(v, errThin)
	}
}

// Result is the outcome of one of several calls.
type Result[T any] struct {
	Value T
	Err   error
}

// Each makes the same call in all contexts at once and yields their results in the order in which they come. Leaving
// the loop cancels those that remain.
func Each[T any](ctx context.Context, contexts []*Context, function string, args ...any) iter.Seq2[*Context, Result[T]] {
	return func(yield func(*Context, Result[T]) bool) {}
}
