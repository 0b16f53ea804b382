package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

func TestPayloadsComeBackAsTheyWere(t *testing.T) {
	if flow, n, err := ParseCredit(AppendCredit(nil, Stdout, 65536)); flow != Stdout || n != 65536 ||
		err != nil {
		t.Errorf("credit: %v %d %v", flow, n, err)
	}
	rows, cols, width, height, err := ParseResize(AppendResize(nil, 24, 80, 3, 65535)[1:])
	if rows != 24 || cols != 80 || width != 3 || height != 65535 || err != nil {
		t.Errorf("size: %v %v %v %v %v", rows, cols, width, height, err)
	}
	if id, err := ParseU32[ContextID](AppendU32(nil, ContextID(7))); id != 7 || err != nil {
		t.Errorf("kill: %v %v", id, err)
	}
	if id, why, err := ParseLost(AppendLost(nil, 9, "exited with 1")); id != 9 ||
		why != "exited with 1" || err != nil {
		t.Errorf("lost: %v %q %v", id, why, err)
	}
	if id, plan, err := ParseConnect(AppendConnect(nil, 9, []byte("plan"))); id != 9 ||
		string(plan) != "plan" || err != nil {
		t.Errorf("connect: %v %q %v", id, plan, err)
	}
	if target, args, err := ParseCall(append(AppendCall(nil, "os:getpid"),
		"args"...)); target != "os:getpid" || string(args) != "args" || err != nil {
		t.Errorf("call: %q %q %v", target, args, err)
	}
	for _, text := range [][]byte{nil, {}, []byte("x = 1\n")} {
		id, name, got, err := ParsePrepare(AppendPrepare(nil, 3, "a.b", text))
		if id != 3 || name != "a.b" || !reflect.DeepEqual(got, text) || err != nil {
			t.Errorf("prepare %q: %v %q %q %v", text, id, name, got, err)
		}
	}
	for _, m := range []Module{
		{"a.b", "/lib/a/b.py", FormModule, []byte("\x78\x9c\x00")},
		{"a", "", FormNamespace, []byte{}},
		{"none", "", FormNone, []byte("no such module")},
	} {
		if got, err := ParseModule(m.Append(nil)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("module %v: %v, %v", m, got, err)
		}
	}
}

func TestPayloadsThatAreWrong(t *testing.T) {
	credit := func(b []byte) error { _, _, err := ParseCredit(b); return err }
	size := func(b []byte) error { _, _, _, _, err := ParseResize(b); return err }
	u32 := func(b []byte) error { _, err := ParseU32[Handle](b); return err }
	lost := func(b []byte) error { _, _, err := ParseLost(b); return err }
	call := func(b []byte) error { _, _, err := ParseCall(b); return err }
	module := func(b []byte) error { _, err := ParseModule(b); return err }
	prepare := func(b []byte) error { _, _, _, err := ParsePrepare(b); return err }
	tests := []struct {
		parse func([]byte) error
		b     string
	}{
		{size, ""}, {size, "1234567"}, {size, "123456789"},
		{credit, ""}, {credit, "1234567"}, {credit, "123456789"}, {u32, "123"}, {u32, "12345"},
		{lost, "123"},
		{call, "os:getpid"}, {module, ""}, {module, "a"}, {module, "a\x00"}, {module, "a\x00b"},
		{module, "a\x00b\x00"},
		{module, "a\x00b\x00x"}, {prepare, ""}, {prepare, "123"}, {prepare, "1234"},
		{prepare, "1234\x00x"},
	}
	for _, test := range tests {
		if test.parse([]byte(test.b)) == nil {
			t.Errorf("%q was taken", test.b)
		}
	}
}

func TestStringsForLogs(t *testing.T) {
	f := Frame{Kind: Error, Src: 5, Auth: 0, Dst: 1, Handle: 1000, Reply: 1001,
		Payload: []byte("secret")}
	if got, want := f.String(), "ERROR 5->1 1000 auth 0 reply 1001 6 bytes"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := fmt.Sprint(Kind(9), LoadModule, Handle(77)); got != "kind 9 LOAD_MODULE 77" {
		t.Errorf("got %q", got)
	}
}

func TestSplitAndAssemble(t *testing.T) {
	for _, size := range []int{0, 1, MaxPayload, MaxPayload + 1, 3 * MaxPayload, 3*MaxPayload + 5} {
		f := Frame{Kind: Item, Src: 3, Handle: 1000, Payload: bytes.Repeat([]byte("ab"), size)[:size]}
		var a Assembler
		parts := slices.Collect(f.Split())
		for i, part := range parts {
			part.Append(nil)
			got, done, err := a.Add(part)
			if done != (i == len(parts)-1) || err != nil {
				t.Fatalf("%d bytes, part %d: done %v, %v", size, i, done, err)
			}
			if done && !reflect.DeepEqual(got, f) {
				t.Errorf("%d bytes came back as %v", size, got)
			}
		}
		if a.Len() != 0 || len(a.held) != 0 {
			t.Errorf("%d bytes: something is kept", size)
		}
	}
}

func part(src ContextID, reply Handle, n int) Frame {
	return Frame{Kind: Part, Src: src, Handle: 1000, Reply: reply, Payload: make([]byte, n)}
}

func TestAssemblerKeepsValuesApart(t *testing.T) {
	var a Assembler
	for _, f := range []Frame{part(1, 0, 1), part(2, 0, 2), part(1, 7, 4)} {
		if _, _, err := a.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	last := part(1, 7, 8)
	last.Kind = Data
	if got, done, err := a.Add(last); !done || len(got.Payload) != 12 || err != nil {
		t.Errorf("got %v %v %v", got, done, err)
	}
	last.Reply, last.Kind = 0, Dead
	if got, done, err := a.Add(last); !done || len(got.Payload) != 8 || err != nil {
		t.Errorf("DEAD: got %v %v %v", got, done, err)
	}
	a.Drop(2)
	if a.Len() != 0 || len(a.held) != 0 {
		t.Errorf("%d values are kept", a.Len())
	}
}

func TestAssemblerLimits(t *testing.T) {
	tooLarge := func(err error) bool {
		var e *TooLargeError
		return errors.As(err, &e) && e.Src == 1
	}
	last := part(1, 0, 41)
	last.Kind = Data
	tests := []struct {
		name   string
		frames []Frame
	}{
		{"one value", []Frame{part(1, 0, 600), part(1, 0, 401)}},
		{"with the last frame", []Frame{part(1, 0, 960), last}},
		{"all of a source", []Frame{part(1, 1, 900), part(1, 2, 900), part(1, 3, 900)}},
		{"many of a byte", slices.Repeat([]Frame{part(1, 0, 1)}, 1000)},
	}
	for _, test := range tests {
		a := Assembler{Limit: 1000}
		other := part(2, 0, 900)
		if _, _, err := a.Add(other); err != nil {
			t.Fatal(err)
		}
		var err error
		for _, f := range test.frames {
			if _, _, err = a.Add(f); err != nil {
				break
			}
		}
		if !tooLarge(err) {
			t.Errorf("add %s: got %v, want too large", test.name, err)
		}
		other.Kind, other.Payload = Data, other.Payload[:100]
		if got, done, err := a.Add(other); len(got.Payload) != 1000 || !done || err != nil {
			t.Errorf("%s: another source lost its value: %v", test.name, err)
		}
	}
}

func TestAssemblerTakesAValueOfTheLimit(t *testing.T) {
	a := Assembler{Limit: 2 * MaxPayload}
	f := Frame{Kind: Data, Src: 1, Handle: 1000, Payload: make([]byte, 2*MaxPayload)}
	for p := range f.Split() {
		if _, _, err := a.Add(p); err != nil {
			t.Error(err)
		}
	}
}

func TestDropValue(t *testing.T) {
	var a Assembler
	a.Add(part(1, 0, 1))
	a.Add(part(1, 5, 1))
	a.DropValue(1, 1000, 5)
	a.DropValue(1, 1000, 6)
	if a.Len() != 1 {
		t.Errorf("%d values are kept", a.Len())
	}
}
