package forward

import (
	"fmt"
	"strings"
	"testing"
)

func TestAlone(t *testing.T) {
	var digits strings.Builder // which hardly get shorter
	for i := range 2000 {
		fmt.Fprint(&digits, i*i)
	}
	for _, tt := range []struct {
		name  string
		files string // one a line
		calls string
		want  []string
	}{
		{"a small module", "a.py: import os", "a", []string{"load 1 ma=call"}},
		{"what it imports comes first", "a.py: import b\nb.py: import c\nc.py: x = 1", "a",
			[]string{"load 1 mc=call", "load 1 mb=call", "load 1 ma=call"}},
		{"a program is no import", "a.py: import b\nb.py: ", "os", nil},
		{"a large module", "a.py: x = '" + digits.String() + "'", "a",
			[]string{"coming 1 1/0", "send 1 a=call"}},
		{"a package", "a/__init__.py: ", "a", []string{"coming 1 1/0", "send 1 a=call"}},
		{"a foreign module", "a.py: import lib", "a",
			[]string{"ask 1 [lib]", "coming 1 1/0", "send 1 a=call"}},
		{"a module that is nowhere", "a.py: import nowhere", "a",
			[]string{"coming 1 1/0", "send 1 a=call -1"}},
		{"behind what went alone", "a.py: \nb.py: ", "a b",
			[]string{"load 1 ma=call", "coming 1 1/0", "send 1 b=call"}},
		{"behind a bundle", "a/__init__.py: \nb.py: ", "a b",
			[]string{"coming 1 1/0", "send 1 a=call", "coming 1 1/0", "send 1 b=call"}},
		{"behind a question", "a.py: import lib\nb.py: ", "a b",
			[]string{"ask 1 [lib]", "coming 1 1/0", "send 1 a=call", "coming 1 1/0", "send 1 b=call"}},
	} {
		f, s := forwarder(tree(strings.Split(tt.files, "\n")...), tree("lib.py: "))
		f.Add(1, 0)
		for _, name := range strings.Fields(tt.calls) {
			call(f, 1, name)
		}
		s.expect(t, tt.name, tt.want...)
	}
}
