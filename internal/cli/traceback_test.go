package cli

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/report"
)

// Tracebacks are shown whole, whatever their first lines and margins are; tracebacks without a
// place in a file are not.
func TestTracebacksAreShown(t *testing.T) {
	for _, c := range []struct {
		what, traceback string
		shown           bool
	}{
		{"an exception", "Traceback (most recent call last):\n  File \"x.py\", line 1, in f\n    g()\n" +
			"ValueError: v\n", true},
		{"a group", "  + Exception Group Traceback (most recent call last):\n  |   File \"x.py\", line " +
			"1, in f\n" +
			"  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | " +
			"ValueError: v\n", true},
		{"a group in a group, the places inside",
			"  | ExceptionGroup: a (1 sub-exception)\n  +-+---------------- 1 ----------------\n" +
				"    | Traceback (most recent call last):\n    |   File \"x.py\", line 2, in g\n    | " +
				"KeyError: 1\n", true},
		{"a syntax error alone", "  File \"x.py\", line 2\n    x = = 3\n        ^\n" +
			"SyntaxError: invalid syntax\n", true},
		{"the runtime's only", "Traceback (most recent call last):\nAttributeError: module lib has no " +
			"function f\n", false},
		{"none", "", false},
		{"a text that speaks of files", "Traceback (most recent call last):\nValueError: no File \"x\"\n",
			false},
	} {
		p := describeCall(&report.CallError{Context: "web1", Type: "E", Text: "t",
			Traceback: c.traceback})
		want := ""
		if c.shown {
			want = c.traceback
		}
		if p.Traceback != want {
			t.Errorf("%s: got %q, want %q", c.what, p.Traceback, want)
		}
	}
}

// A text of any length is bounded where people see it; both its ends are there.
func TestLongExceptionsAreBounded(t *testing.T) {
	for _, text := range []string{
		"begin" + strings.Repeat("x", 50<<20) + "end", "begin" + strings.Repeat("é", 20<<20) + "end",
		"begin" + strings.Repeat("\n", 1<<20) + "end",
	} {
		p := describeCall(&report.CallError{Type: "E", Text: text,
			Traceback: "  File \"x.py\", line 2\nE: " + text + "\n"})
		if n := len(p.Message) + len(p.Traceback); n > 2*(shownMessage+shownTraceback) {
			t.Errorf("%.10s…: got %d bytes, want fewer", text, n)
		}
		for _, s := range []string{p.Message, p.Traceback} {
			if !strings.Contains(s, "begin") || !strings.Contains(s, "end") ||
				!strings.Contains(s, "bytes left out") ||
				strings.Contains(s, `\x`) && !strings.Contains(text, "\n") {
				t.Errorf("got %.40q…, want both ends", s)
			}
		}
	}
}
