package engine

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/mitogen-go/mitogen/internal/printable"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/report"
)

// nasty acts on terminals, and begins a line.
const nasty = "@\x1b]0;x\x07\u009b\u202e\u2028\u200b\r\x7f\nerror: forged\n"

// printableOrNot fails for a text that isn't printable, or that isn't there.
func printableOrNot(t *testing.T, what, text string, clean func(string) string) {
	t.Helper()
	if text == "" || clean(text) != text {
		t.Errorf("%s: got %+q, want it printable", what, text)
	}
}

// What HELLO says is printable, in each field of text that Info has.
func TestHelloIsPrintable(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, err := e.Start("local", ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := <-fakes
	f.send(
		wire.Frame{
			Src:    c.id,
			Handle: wire.Hello,
			Payload: encode(
				t,
				map[string]any{"version": pyvalue.Tuple{int64(3), int64(11), int64(7)},
					"implementation": nasty, "platform": nasty, "hostname": nasty, "executable": nasty,
					"machine": nasty, "functions": nasty},
			),
		},
	)
	if err := c.Connected(within(t)); err != nil {
		t.Fatal(err)
	}
	info := reflect.ValueOf(c.Info())
	for i := range info.NumField() {
		if field := info.Field(i); field.Kind() == reflect.String {
			printableOrNot(t, "Info."+info.Type().Field(i).Name, field.String(), printable.Line)
		}
	}
}

// An error's text is printable, whichever frame it has come with.
func TestErrorsArePrintable(t *testing.T) {
	e, fakes := fakeEngine(t, Options{})
	c, f := connected(t, e, fakes)
	for kind, payload := range map[wire.Kind][]byte{
		wire.Dead:  []byte(nasty),
		wire.Error: encode(t, pyvalue.Tuple{nasty, nasty, nasty, nasty, nil}),
	} {
		p := call(c, "m:f")
		for {
			if g := f.next(); g.Handle == wire.Call {
				f.reply(g, kind, payload)
				break
			}
		}
		_, err := result(t, p)
		if err == nil {
			t.Fatalf("%v: got no error", kind)
		}
		printableOrNot(t, fmt.Sprint(kind), err.Error(), printable.Line)
		var raised *report.CallError
		if errors.As(err, &raised) {
			printableOrNot(t, "traceback", raised.Traceback, printable.Text)
			if raised.Text != nasty {
				t.Errorf("text: got %+q, want it as it was", raised.Text)
			}
		}
	}
	for what, frame := range map[string]func(child wire.ContextID, g wire.Frame) wire.Frame{
		"failure": func(_ wire.ContextID, g wire.Frame) wire.Frame {
			return wire.Frame{Kind: wire.Error, Src: c.id, Handle: g.Reply,
				Payload: encode(t, pyvalue.Tuple{"exit", int64(1), nasty})}
		},
		"dead": func(_ wire.ContextID, g wire.Frame) wire.Frame {
			return wire.Frame{Kind: wire.Dead, Src: c.id, Handle: g.Reply, Payload: []byte(nasty)}
		},
		"lost": func(child wire.ContextID, _ wire.Frame) wire.Frame {
			return wire.Frame{Src: c.id, Handle: wire.Lost,
				Payload: append(wire.AppendU32(nil, child), nasty...)}
		},
	} {
		b, err := e.Start("local", ConnectOptions{Via: c, Fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		for {
			if g := f.next(); g.Handle == wire.Connect {
				f.send(frame(b.id, g))
				break
			}
		}
		waitFor(t, what, func() bool { return b.Err() != nil })
		err = b.Err()
		printableOrNot(t, what, err.Error(), printable.Line)
		var lost *report.LostError
		if errors.As(err, &lost) {
			printableOrNot(t, what+": why", lost.Reason, printable.Line)
		}
	}
}
