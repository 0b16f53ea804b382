package goctx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// A Call is one call of a function, which runs in a goroutine of its own.
type Call struct {
	s      *served
	key    key
	name   string
	mode   pickle.Mode
	ctx    context.Context
	cancel context.CancelCauseFunc

	malformed error // what is wrong with its payload

	args      []byte            // pickle; empty: there are none. Owned by run, as the next
	arguments *pickle.Arguments // set by open
}

// errCancelled is the cause of the end of a call's context that was cancelled by its caller.
var errCancelled = fmt.Errorf("cancelled by the caller: %w", context.Canceled)

// TimeoutKey is the keyword argument that has the seconds until the caller's deadline.
const TimeoutKey = "_timeout"

// onCall starts a call.
func (s *served) onCall(f *wire.Frame) {
	target, args, err := wire.ParseCall(f.Payload)
	c := &Call{s: s, key: key{f.Src, f.Reply}, name: target, mode: pickle.Proto2Both,
		args: bytes.Clone(args), malformed: err}
	if f.Src == 0 {
		c.mode = pickle.Proto4
	}
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		s.dead(f.Src, f.Reply, "context %d ends", s.me)
		return
	}
	c.ctx, c.cancel = context.WithCancelCause(s.base)
	s.running++
	if f.Reply != 0 {
		s.calls[c.key] = c
	}
	s.mu.Unlock()
	s.workers.add(c)
}

// onCancel ends the context of a call. A call that has been answered is ignored.
func (s *served) onCancel(f *wire.Frame) {
	reply, err := wire.ParseU32[wire.Handle](f.Payload)
	s.mu.Lock()
	c := s.calls[key{f.Src, reply}]
	s.mu.Unlock()
	if err == nil && c != nil {
		c.cancel(errCancelled)
	}
}

// run makes the call and answers it.
func (c *Call) run() {
	s, ctx := c.s, c.ctx
	payload, err := []byte(nil), c.malformed
	if err == nil {
		payload, err = c.result(ctx)
	}
	kind := wire.Data
	if err != nil {
		kind, payload = wire.Error, failureOf(ctx, err).payload(s.cfg.MaxMessage)
	}
	if c.key.reply == 0 {
		if err != nil {
			f := failureOf(ctx, err)
			s.log(levelError, "mitogen", "a call without an answer failed", f.text, time.Now())
		}
	} else if !c.answer(ctx, kind, payload) {
		payload := failureOf(ctx, context.Cause(ctx)).payload(s.cfg.MaxMessage)
		c.answer(context.Background(), wire.Error, payload)
	}
	c.cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.key)
	delete(s.flows, c.key)
	s.running--
	s.leftLocked()
}

// result is the pickle of what the function returns; empty: None.
func (c *Call) result(ctx context.Context) (payload []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{fmt.Sprint(r), string(debug.Stack())}
		}
	}()
	name, isGo := strings.CutPrefix(c.name, Prefix)
	if !isGo {
		return nil, &refusal{TypeNoPython,
			fmt.Sprintf("call %q: this context is a Go program, without Python: it has functions "+
				"called %sNAME only", c.name, Prefix)}
	}
	h, known := lookup(name)
	if !known {
		return nil, &refusal{TypeNotRegistered,
			fmt.Sprintf("function %q is not registered in this program", name)}
	}
	timeout, err := c.open()
	if err != nil {
		return nil, err
	}
	if timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		ctx = limited
	}
	v, err := h(ctx, c)
	if err != nil || v == nil {
		return nil, err
	}
	return pickle.Encoder{Mode: c.mode, Limit: c.s.cfg.MaxMessage}.Append(nil, v)
}

// maxTimeout bounds the seconds of a timeout.
const maxTimeout = float64(1 << 32)

// open decodes the arguments. It returns the caller's timeout; 0: there is none.
func (c *Call) open() (timeout time.Duration, err error) {
	if c.arguments, err = pickle.DecodeCall(c.args, pickle.Limits{}); err != nil {
		return 0, err
	}
	c.args = nil
	value, given := c.arguments.Take(TimeoutKey)
	if !given {
		return 0, nil
	}
	n, ok := value.(float64)
	if whole, isInt := value.(int64); isInt {
		n, ok = float64(whole), true
	}
	if !ok || !(n <= maxTimeout) {
		return 0, fmt.Errorf("%s: got %v, want a number of seconds", TimeoutKey, value)
	}
	return max(1, time.Duration(n*float64(time.Second))), nil
}

// Argument stores the argument of the call in *into. Without an argument, *into stays as it is.
func (c *Call) Argument(into any) error { return c.arguments.Assign(into) }

// Emit sends an item of a stream of values. It waits for the caller's window, until ctx ends.
func (c *Call) Emit(ctx context.Context, v any) error {
	b, err := pickle.Encoder{Mode: c.mode, Limit: c.s.cfg.MaxMessage}.Append(nil, v)
	if err != nil {
		return err
	}
	if c.key.reply == 0 {
		return nil // there is nothing to send it to
	}
	if !c.answer(ctx, wire.Item, b) {
		return context.Cause(ctx)
	}
	return nil
}

// answer sends a value to the caller, behind what was written before. What has several frames, and
// an item, waits for the window. If ctx ends first, what was sent is taken back, and answer returns
// false.
func (c *Call) answer(ctx context.Context, kind wire.Kind, b []byte) bool {
	f := wire.Frame{Kind: kind, Dst: c.key.src, Handle: c.key.reply, Payload: b}
	if kind != wire.Item && len(b) <= wire.MaxPayload {
		c.s.soon(f)
		return true
	}
	c.s.settle()
	for part := range f.Split() {
		if part.Kind == wire.Item || part.Kind == wire.Part {
			if c.s.reserve(ctx, c.key, len(part.Payload)) != nil || c.s.room(ctx) != nil {
				c.s.send(&wire.Frame{Kind: wire.Part, Dst: c.key.src, Handle: c.key.reply})
				return false
			}
		}
		c.s.send(&part)
	}
	return true
}

// A panicError is the panic of a function.
type panicError struct{ value, stack string }

func (e *panicError) Error() string { return "panic: " + e.value }

// refusal is the error of a request for what this program does not have. kind is its type in ERROR
// frames.
type refusal struct{ kind, text string }

func (e *refusal) Error() string { return e.text }

// failureOf returns what the caller is told of err. After a CANCEL it is a KeyboardInterrupt, as a
// Python context answers, whatever the function has made of the CANCEL.
func failureOf(ctx context.Context, err error) (f failure) {
	if errors.Is(context.Cause(ctx), errCancelled) {
		return failure{"builtins", "KeyboardInterrupt", "", "", pyvalue.Tuple{}}
	}
	p, panicked := err.(*panicError)
	if panicked {
		return failure{report.GoModule, TypePanic, p.Error(), p.stack, nil}
	}
	defer func() {
		if r := recover(); r != nil { // in a method of the error
			f = failure{report.GoModule, TypePanic, fmt.Sprint(r), string(debug.Stack()), nil}
		}
	}()
	return failed(err)
}
