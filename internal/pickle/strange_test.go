package pickle

import (
	"errors"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// Pickles that no interpreter on this machine writes, but other interpreters do.
func TestDecodeWhatOthersDump(t *testing.T) {
	for _, tt := range []struct {
		who, b string
		want   any
	}{
		{"PyPy 8: frozenset of a tuple", "\x80\x04\x8c\x08builtins\x8c\x09frozenset\x93K\x01\x85\x85R.",
			pyvalue.NewFrozenSet(int64(1))},
		{"a set of a tuple", "\x80\x02c__builtin__\nset\nK\x01K\x02\x86\x85R.",
			pyvalue.NewSet(int64(1), int64(2))},
		{"an empty frozenset of an empty tuple", "\x80\x02cbuiltins\nfrozenset\n)\x85R.",
			pyvalue.NewFrozenSet()},
		{"CPython 3.0: bytes of numbers", "\x80\x02c__builtin__\nbytes\n](K\x01K\xffe\x85R.",
			[]byte{1, 255}},
		{"CPython 3.0: a bytearray of numbers", "\x80\x02c__builtin__\nbytearray\n](K\x00e\x85R.",
			[]byte{0}},
		{"complex by NEWOBJ", "\x80\x02cbuiltins\ncomplex\n" +
			"G\x3f\xf0\x00\x00\x00\x00\x00\x00G\xbf\xf0\x00\x00\x00\x00\x00\x00\x86\x81.",
			complex(1, -1)},
	} {
		got, err := Decode([]byte(tt.b), Limits{})
		if err != nil || show(got) != show(tt.want) {
			t.Errorf("%s: got %v, %v, want %s", tt.who, got, err, show(tt.want))
		}
	}
	for _, b := range []string{
		"\x80\x02cbuiltins\nbytes\n](M\x00\x01e\x85R.",
		"\x80\x02cbuiltins\nbytes\n](J\xff\xff\xff\xffe\x85R.",
		"\x80\x02cbuiltins\nset\n](K\x01e\x85\x81.", "\x80\x02cbuiltins\nbytes\n](Ne\x85R.",
	} {
		if v, err := Decode([]byte(b), Limits{}); err == nil {
			t.Errorf("%q: got %v, want an error", b, v)
		}
	}
}

// What is refused in a value is named by its place, however it was pickled.
func TestRefusalsNameThePlace(t *testing.T) {
	text := func(s string) string { return "X" + string(rune(len(s))) + "\x00\x00\x00" + s }
	uname := "cposix\nuname_result\n"
	for _, tt := range []struct{ what, b, want string }{
		{"a class", "}" + text("disks") + "](K\x00" + uname + "es",
			`value["disks"][1]: posix.uname_result is not a plain value`},
		{"the value itself", uname, `value: posix.uname_result is not a plain value`},
		{"REDUCE", "](" + uname + ")\x85Re", `value[0]: posix.uname_result`},
		{"NEWOBJ and BUILD", "](" + uname + ")\x81}" + text("a") + "K\x01sbe",
			`value[0]: posix.uname_result`},
		{"NEWOBJ_EX", "(" + uname + ")}\x92K\x01t", `value[0]: posix.uname_result`},
		{"OBJ and BUILD", "](K\x01(" + uname + "o}be", `value[1]: posix.uname_result`},
		{"items of a list's subclass", "](" + uname + ")\x81(K\x01K\x02ee",
			`value[0]: posix.uname_result`},
		{"items of a dict's subclass", "](" + uname + ")\x81(K\x01K\x02ue",
			`value[0]: posix.uname_result`},
		{"one item", "](" + uname + ")\x81K\x01ae", `value[0]: posix.uname_result`},
		{"a key", "}" + text("a") + "}" + uname + "Nss", `value["a"] (a key): posix.uname_result`},
		{"an item of a set", "}K\x05cbuiltins\nset\n](" + uname + "e\x85Rs",
			`value[5] (an item): posix.uname_result`},
		{"a set as a class", "](cbuiltins\nset\ne", `value[0]: builtins.set is not a plain value`},
		{"a long integer", "](\x8b\x01\x20\x00\x00" + strings.Repeat("x", 8193) + "e",
			`value[0]: integer of 8193 bytes, more than 8192`},
		{"self-reference", "}q\x00" + text("a") + "](h\x00es", `value["a"][0]: refers to itself`},
		{"a list as a key", "](N}]Nse", `value[1] (a key): list as a key`},
	} {
		_, err := Decode([]byte("\x80\x02"+tt.b+"."), Limits{})
		if err == nil || !strings.HasPrefix(err.Error(), "decode "+tt.want) {
			t.Errorf("%s: got %v, want %s", tt.what, err, tt.want)
		}
		var place *pyvalue.Error
		if !errors.As(err, &place) {
			t.Errorf("%s: got %T, want a ValueError", tt.what, err)
		}
	}
	_, err := Decode([]byte("\x80\x02"+strings.Repeat("]", 201)+strings.Repeat("a", 200)+"."),
		Limits{})
	if !errors.Is(err, ErrTooDeep) || !strings.HasPrefix(err.Error(), "decode value[0][0][0]") {
		t.Errorf("got %v, want the place of what is too deep", err)
	}
}

// An error whose arguments aren't plain values is told without them.
func TestErrorsGoWithoutStrangeArguments(t *testing.T) {
	for what, args := range map[string]string{
		"a class": "cposix\nuname_result\n\x85", "itself": "]q\x00h\x00a\x85",
		"too deep": strings.Repeat("]", 250) + strings.Repeat("a", 249) + "\x85",
	} {
		field := "X\x01\x00\x00\x00e"
		e, err := DecodeError([]byte("\x80\x02("+strings.Repeat(field, 4)+args+"t."), Limits{})
		if err != nil || e.Text != "e" || e.Args != nil {
			t.Errorf("%s: got %+v, %v, want an error without arguments", what, e, err)
		}
	}
}
