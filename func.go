package mitogen

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/goctx"
	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/report"
)

// Main has a copy of this program serve as a context. Call it first of all in main: in a process
// that an engine has started as a Go context it never returns, in any other it does nothing.
// Functions, sentinels and types of errors have to be registered before it, by variables of
// packages.
func Main() {
	goctx.SendLog()
	goctx.Main()
}

// Errors of Go functions and contexts, for errors.Is.
var (
	ErrNoMain   = engine.ErrNoMain   // the program does not call Main
	ErrNoBinary = engine.ErrNoBinary // there is no binary for the platform of a target

	// ErrNotRegistered says that the program in a context has no function of a name.
	ErrNotRegistered = errors.New("function is not registered")
)

// Function is a Go function that can be called in contexts. Func makes one.
type Function[A, R any] struct{ name string }

// Func registers f under a name, by which this program, a copy of it and Python code find it. Use
// it for variables of packages:
//
//	var Collect = mitogen.Func("collect", func(ctx context.Context, q Query) (Facts, error) { … })
//
// A and R are types of arguments and results as Call has them. f may run several times at once in
// one context. Its ctx ends when the caller's ends, at the caller's deadline, and when its context
// ends; a call that doesn't return then within Options.Grace is killed together with its context.
// What f prints and logs by slog goes where its context's output and log go. A panic is the error
// of the call, with its stack in Traceback of the *report.CallError. Func panics if the name is
// empty or taken.
func Func[A, R any](name string, f func(ctx context.Context, arg A) (R, error)) *Function[A, R] {
	goctx.Register(name, goctx.TypeText(reflect.TypeFor[func(A) R]()),
		func(ctx context.Context, c *goctx.Call) (any, error) {
			var arg A
			if err := c.Argument(&arg); err != nil {
				return nil, err
			}
			return f(ctx, arg)
		})
	return &Function[A, R]{name}
}

// Call calls f in c. If c is a Python context, f runs in the Go context beside it, which the first
// such call starts and which ends with c. ctx bounds the call and the wait for that context, not
// its life.
//
// The error that f returned matches, by errors.Is and errors.As, what of it is known here: values
// of Sentinel, types of ErrorType, and context.Canceled, io.EOF, fs.ErrNotExist and their like. It
// is a *report.CallError too. Other errors are as those of the function Call. If the program in c
// has no function of this name, the error matches ErrNotRegistered.
func (f *Function[A, R]) Call(ctx context.Context, c *Context, arg A) (R, error) {
	g, err := c.golang(ctx)
	if err != nil {
		var none R
		return none, fmt.Errorf("call %s: %w", f.name, err)
	}
	r, err := Wait[R](ctx, g.startGo(ctx, f.name, arg, false))
	return r, g.returned(f.name, err)
}

// StreamFunction is a Go function that yields values. StreamFunc makes one.
type StreamFunction[A, R any] struct{ name string }

// StreamFunc is Func for a function that yields values, each of which is sent as it comes. A slow
// caller makes it wait: the loop stands still until the caller has taken more. If the caller leaves
// its loop, so does this one.
func StreamFunc[A, R any](
	name string,
	f func(ctx context.Context, arg A) iter.Seq2[R, error],
) *StreamFunction[A, R] {
	goctx.Register(name, goctx.TypeText(reflect.TypeFor[func(A) iter.Seq[R]]()),
		func(ctx context.Context, c *goctx.Call) (any, error) {
			var arg A
			if err := c.Argument(&arg); err != nil {
				return nil, err
			}
			for v, err := range f(ctx, arg) {
				if err == nil {
					err = c.Emit(ctx, v)
				}
				if err != nil {
					return nil, err
				}
			}
			return nil, context.Cause(ctx)
		})
	return &StreamFunction[A, R]{name}
}

// Call calls f in c, as Function.Call does, and yields its values as they come. An error ends the
// sequence, whether f has yielded it or not. The end of ctx, or of the loop, cancels the call.
func (f *StreamFunction[A, R]) Call(ctx context.Context, c *Context, arg A) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		g, err := c.golang(ctx)
		if err != nil {
			yield(none, fmt.Errorf("call %s: %w", f.name, err))
			return
		}
		for v, err := range items[R](ctx, func() *Pending { return g.startGo(ctx, f.name, arg, true) }) {
			if !yield(v, g.returned(f.name, err)) {
				return
			}
		}
	}
}

// Sentinel returns a new error, as errors.New does, that errors.Is finds at the caller when a Go
// function returns it, or an error around it. Each sentinel has a text of its own:
// Sentinel panics if text is taken.
func Sentinel(text string) error {
	err := errors.New(text)
	goctx.RegisterSentinel("sentinel "+text, err)
	return err
}

// ErrorType makes errors of type E known under a name: errors.As finds them at the caller when a Go
// function returns one, or an error around one. An E is sent as a value, like an argument. If it
// has no plain form, as a struct without exported fields, it isn't found. ErrorType panics if the
// name is taken.
func ErrorType[E error](name string) {
	goctx.RegisterError("type "+name,
		func(err error) (any, bool) {
			var e E
			ok := errors.As(err, &e)
			return e, ok
		},
		func(value []byte) (error, error) {
			var e E
			err := pickle.Unmarshal(value, pickle.Limits{}, &e)
			return e, err
		})
}

// ConnectGo starts a copy of this program as a context of its own, beside o.Via or, if that is nil,
// this process, and waits until it is up. Errors are as those of Connect; ErrNoMain: the program
// doesn't call Main.
func (e *Engine) ConnectGo(ctx context.Context, o ConnectOptions) (*Context, error) {
	c, err := e.e.StartGo(ctx, o.engine())
	if err != nil {
		return nil, err
	}
	if err := c.Connected(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return e.wrap(c), nil
}

// golang returns the Go context for calls of Go functions in c.
func (c *Context) golang(ctx context.Context) (*Context, error) {
	if c == nil {
		return nil, errors.New("nil Context")
	}
	g, err := c.e.e.Beside(ctx, c.c)
	if err != nil {
		return nil, err
	}
	return c.e.wrap(g), nil
}

// startGo begins a call of a Go function, which is told how much time the caller has.
func (c *Context) startGo(ctx context.Context, name string, arg any, stream bool) *Pending {
	args := []any{arg}
	if end, ok := ctx.Deadline(); ok {
		args = append(args, Kwargs{goctx.TimeoutKey: time.Until(end).Seconds()})
	}
	return c.start(ctx, goctx.Prefix+name, args, stream)
}

// funcError is an error that a Go function returned in a context.
type funcError struct {
	*report.CallError
	name  string
	known []error
}

func (e *funcError) Error() string { return "call " + e.name + " in " + e.CallError.Error() }

// Unwrap returns the *report.CallError, and what of the function's error is known here.
func (e *funcError) Unwrap() []error { return append([]error{e.CallError}, e.known...) }

// returned makes of the error of a call what its caller gets.
func (c *Context) returned(name string, err error) error {
	call, ok := err.(*report.CallError)
	if !ok || call.Module != report.GoModule {
		return err
	}
	e := &funcError{call, name, goctx.Known(call.Args)}
	if call.Type == goctx.TypeNotRegistered {
		e.known = []error{ErrNotRegistered}
		if other := c.c.Info().Functions; other != goctx.Digest() {
			told := *call
			told.Text += ", which is another version of the program that calls it"
			e.CallError = &told
		}
	}
	return e
}
