package pickle

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// greedy are pickles of n values that take more memory than their bytes: what begins, each value,
// what ends.
var greedy = map[string][3]string{
	"none":         {"(", "N", "t"},
	"small ints":   {"(", "K\x01", "t"},
	"ints":         {"(", "J\x01\x02\x03\x04", "t"},
	"two bytes":    {"(", "M\x01\x02", "t"},
	"decimals":     {"(", "I1234\n", "t"},
	"longs":        {"(", "\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x7f", "t"},
	"minus longs":  {"(", "\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\xff", "t"},
	"short longs":  {"(", "\x8a\x01\x7f", "t"},
	"floats":       {"(", "G\x01\x02\x03\x04\x05\x06\x07\x08", "t"},
	"texts":        {"(", "\x8c\x01x", "t"},
	"bytes":        {"(", "C\x01x", "t"},
	"strs":         {"(", "U\x01x", "t"},
	"tuples":       {"(", "N\x85", "t"},
	"pairs":        {"(", "NN\x86", "t"},
	"lists":        {"(", "]", "t"},
	"lists of one": {"(", "](Ne", "t"},
	"appended":     {"]", "Na", ""},
	"dicts":        {"(", "}", "t"},
	"dicts of one": {"(", "}(NNu", "t"},
	"items":        {"}(", "K\x01N", "u"},
	"set items":    {"}", "K\x01Ns", ""},
	"sets":         {"(", "\x8f", "t"},
	"set of many":  {"\x8f(", "K\x01", "\x90"},
	"frozensets":   {"(", "(N\x91", "t"},
	"gets":         {"\x8c\x01xq\x000(", "h\x00", "t"},
	"complex": {"cbuiltins\ncomplex\nq\x000(",
		"h\x00G\x01\x02\x03\x04\x05\x06\x07\x08G\x01\x02\x03\x04\x05\x06\x07\x08\x86R", "t"},
	"made sets": {"cbuiltins\nset\nq\x000(", "h\x00)R", "t"},
	"contexts":  {"cmitogen\nContext\nq\x000(", "h\x00K\x01\x8c\x01x\x86R", "t"},
	"blobs":     {"cmitogen\nBlob\nq\x000(", "h\x00C\x01x\x85R", "t"},
	"errors":    {"cmitogen\nError\nq\x000\x8c\x00q\x010(", "h\x00(h\x01h\x01h\x01h\x01NtR", "t"},
	"encoded":   {"c_codecs\nencode\nq\x000\x8c\x06latin1q\x010(", "h\x00\x8c\x01xh\x01\x86R", "t"},
}

// What a value takes is refused before it is allocated, whatever it is made of.
func TestMemoryIsBounded(t *testing.T) {
	const budget = 1 << 20
	for name, g := range greedy {
		small := "\x80\x04" + g[0] + strings.Repeat(g[1], 10) + g[2] + "."
		if _, err := Decode([]byte(small), Limits{}); err != nil {
			t.Errorf("%s: ten are refused: %v", name, err)
		}
		big := []byte("\x80\x04" + g[0] + strings.Repeat(g[1], 500_000) + g[2] + ".")
		for what, decode := range map[string]func() error{
			"Decode":    func() error { _, err := Decode(big, Limits{Memory: budget}); return err },
			"Unmarshal": func() error { return Unmarshal(big, Limits{Memory: budget}, new([]any)) },
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := decode()
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s of %s: %v, want %v", what, name, err, ErrTooLarge)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 10*budget {
				t.Errorf("%s of %s allocates %d bytes, want at most %d", what, name, n, 10*budget)
			}
		}
	}
}

// The largest values that the other limits allow are taken where they are plain.
func TestLargeValuesAreTaken(t *testing.T) {
	for name, b := range map[string]string{
		"4 Mi ints":  "\x80\x04](" + strings.Repeat("J\x01\x02\x03\x04", 4<<20-1) + "e.",
		"4 Mi lists": "\x80\x04](" + strings.Repeat("]", 4<<20-1) + "e.",
		"100 MiB of text": "\x80\x04\x8d\x00\x00\x40\x06\x00\x00\x00\x00" + strings.Repeat("x", 100<<20) +
			".",
	} {
		if _, err := Decode([]byte(b), Limits{}); err != nil {
			t.Errorf("decode %s: got error %v, want none", name, err)
		}
	}
}

func TestNegate(t *testing.T) {
	for b, want := range map[string]string{
		"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00":     "9223372036854775808",
		"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\xff":     "-18446744073709551616",
		"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff":     "-1",
		"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\xff":     "-9223372036854775809",
		"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\xff":     "-9223372036854775808",
		"\x8a\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80": "-604462909807314587353088",
	} {
		v, err := Decode([]byte("\x80\x02"+b+"."), Limits{})
		if got := describe(v); got != want || err != nil {
			t.Errorf("%q is %s, %v, want %s", b, got, err, want)
		}
	}
}
