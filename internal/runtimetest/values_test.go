package runtimetest

import (
	"math/big"
	"testing"

	"github.com/mitogen-go/mitogen/pyvalue"
	"github.com/mitogen-go/mitogen/secret"
)

func TestValues(t *testing.T) {
	on(t, []test{
		{"as Python sees them", asPythonSees},
		{"there and back", thereAndBack},
		{"own types", func(t *testing.T, l *link) {
			equal(t, "Secret shows itself not", l.call("rt:describe", secret.Secret("hush")).value(),
				"Secret Secret('********')")
			equal(t, "Blob", l.call("rt:describe", pyvalue.Blob("abc")).value(), "Blob <Blob of 3 bytes>")
			equal(t, "Context", l.call("rt:describe", pyvalue.Ref{ID: 7, Name: "db"}).value(),
				map[bool]string{
					true: "Context Context(7, 'db')", false: "Context Context(7, u'db')"}[l.py.Major > 2])
		}},
		{"lone surrogates", func(t *testing.T, l *link) {
			if l.py.Major == 2 {
				t.Skip("text of Python 2 is tested by round trips")
			}
			equal(t, "from Python", l.call("rt:evaluate", `'a\udc80b'`).value(), "a\xed\xb2\x80b")
			equal(t, "to Python", l.call("rt:evaluate", `len(echo('a\udc80b'))`).value(), int64(3))
		}},
	})
}

// asPythonSees: a value sent before HELLO means the same to Python 2 and 3, as far as they have it.
func asPythonSees(t *testing.T, l *link) {
	for _, tt := range []struct {
		value    any
		py3, py2 string
	}{
		{nil, "NoneType None", ""},
		{true, "bool True", ""},
		{int64(1) << 40, "int 1099511627776", "long 1099511627776L"},
		{new(big.Int).Lsh(big.NewInt(1), 70), "int 1180591620717411303424",
			"long 1180591620717411303424L"},
		{1.5, "float 1.5", ""},
		{complex(1, 2), "complex (1+2j)", ""},
		{"text", "str 'text'", "unicode u'text'"},
		{"h\u00e9", "str 'h\u00e9'", `unicode u'h\xe9'`},
		{[]byte("\x00\xff"), `bytes b'\x00\xff'`, `str '\x00\xff'`},
		{[]byte{}, `bytes b''`, `str ''`},
		{pyvalue.Tuple{int64(1), "a"}, "tuple (1, 'a')", "tuple (1, u'a')"},
		{[]any{int64(1)}, "list [1]", ""},
		{map[string]any{"k": nil}, "dict {'k': None}", "dict {u'k': None}"},
		{pyvalue.NewSet(int64(1)), "set {1}", "set set([1])"},
		{pyvalue.NewFrozenSet(int64(1)), "frozenset frozenset({1})", "frozenset frozenset([1])"},
	} {
		want := tt.py3
		if l.py.Major == 2 && tt.py2 != "" {
			want = tt.py2
		}
		equal(t, want, l.call("rt:describe", tt.value).value(), want)
	}
}

func thereAndBack(t *testing.T, l *link) {
	for _, v := range []any{
		nil, false, int64(-1), int64(-1) << 62, 1e300, "", "h\u00e9 \U0001f600", "a\xed\xb2\x80b",
		pyvalue.Tuple{}, pyvalue.Tuple{nil, pyvalue.Tuple{"x"}},
		secret.Secret("hush"), pyvalue.Blob("\x00\xff"), pyvalue.Ref{ID: 7, Name: "db"},
		pyvalue.Sender{Context: 7, Handle: 1001},
	} {
		equal(t, "echo", l.call("rt:echo", v).value(), v)
	}
	for _, b := range []string{"\x00\xff\xfe", "", "caf\xe9"} {
		got := l.call("rt:echo", []byte(b)).value()
		if s, ok := got.(string); ok && l.py.Major == 2 {
			got = []byte(s) // a str of Python 2 that is UTF-8
		}
		equal(t, "bytes", got, []byte(b))
	}
	n, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	equal(t, "integer", l.call("rt:echo", n).value().(*big.Int).String(), n.String())
}
