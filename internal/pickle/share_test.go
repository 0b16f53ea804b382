package pickle

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"

	"github.com/mitogen-go/mitogen/pyvalue"
)

// A long text that is most of its pickle shares its memory, if that is wanted; no other text does.
func TestShareText(t *testing.T) {
	long := strings.Repeat("x", 2*shareFrom)
	within := func(s string, b []byte) bool {
		p, from := uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(unsafe.Pointer(&b[0]))
		return p >= from && p < from+uintptr(len(b))
	}
	for name, tt := range map[string]struct {
		value any
		share bool
		want  bool
	}{
		"long":               {long, true, true},
		"long, in a list":    {pyvalue.NewList(int64(1), long), true, true},
		"long, beyond ASCII": {strings.Repeat("世", shareFrom), true, true},
		"long, not wanted":   {long, false, false},
		"short":              {strings.Repeat("x", shareFrom-1), true, false},
		"long, beside more": {pyvalue.Tuple{long, bytes.Repeat([]byte("y"), 3*len(long))}, true,
			false},
		"long, beside a longer one": {pyvalue.Tuple{long, strings.Repeat("y", 3*len(long))}, true,
			false},
		"surrogates, which are escape": {strings.Repeat("\xed\xa0\x80", shareFrom), true, true},
	} {
		for _, mode := range []Mode{Proto2, Proto3, Proto4} {
			b, err := Append(nil, tt.value, mode)
			if err != nil {
				t.Fatal(err)
			}
			v, err := Decode(b, Limits{ShareText: tt.share})
			if err != nil {
				t.Fatalf("decode %s: got error %v, want none", name, err)
			}
			var text string
			switch v := v.(type) {
			case string:
				text = v
			case *pyvalue.List:
				text = v.Items[1].(string)
			case pyvalue.Tuple:
				text = v[0].(string)
			}
			if got := within(text, b); got != tt.want {
				t.Errorf("%s, mode %v: shares %v, want %v", name, mode, got, tt.want)
			}
		}
	}
}
