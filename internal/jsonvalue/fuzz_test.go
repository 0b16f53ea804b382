package jsonvalue

import (
	"encoding/json"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mitogen-go/mitogen/internal/pickle"
	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

// FuzzShow checks that whatever value comes from a context is JSON on one line, without anything
// that a terminal acts on.
func FuzzShow(f *testing.F) {
	for _, v := range []any{
		nil, int64(1), 1.5, "text\x1b[31m\u202e\u009b\x7f", []byte("\xff\x00"),
		pyvalue.NewDict("a", int64(1), int64(2), "b"),
		pyvalue.NewSet("x"), pyvalue.Tuple{true, pyvalue.NewList()}, pyvalue.Ref{ID: 1, Name: "a"},
		secret.Secret("s"), pyvalue.Blob("b"),
		"\xed\xa0\x80", complex(1, 2), pyvalue.NewFrozenSet(int64(1)), &pyvalue.Exception{Type: "E",
			Text: "t"},
	} {
		b, err := pickle.Append(nil, v, pickle.Proto4)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		shown(t, "Text", Text(b))
		if v, err := pickle.Decode(b, pickle.Limits{Nodes: 1 << 10}); err == nil && len(b) < 1<<12 {
			if text, err := Encode(v); err == nil {
				shown(t, "Encode", text)
			}
		}
		if v, err := Decode(string(b)); err == nil {
			if text, err := Encode(v); err == nil {
				shown(t, "Encode of Decode", text)
			}
		}
		if json.Valid(b) && utf8.Valid(b) {
			if text := EscapeControls(b); !json.Valid(text) {
				t.Fatalf("EscapeControls makes %q of %q", text, b)
			}
		}
	})
}

func shown(t *testing.T, what string, text []byte) {
	t.Helper()
	if !json.Valid(text) {
		t.Fatalf("%s: %q is no JSON", what, text)
	}
	for _, r := range string(text) {
		if !unicode.IsPrint(r) {
			t.Fatalf("%s: %q has %U", what, text, r)
		}
	}
}
