package cli

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mitogen-go/mitogen/secret"
)

// A secret is typed as on other terminals, and what comes behind it is left.
func TestReadHidden(t *testing.T) {
	for _, tt := range []struct {
		name, typed, want string
		err               error
		rest              string
	}{
		{"a line", "hunter2\r", "hunter2", nil, ""},
		{"with a newline", "hunter2\nmore", "hunter2", nil, "more"},
		{"nothing", "\rmore", "", nil, "more"},
		{"blanks", " a b \r", " a b ", nil, ""},
		{"deleted", "hunx\x7fter\x083\x7f2\r", "hunte2", nil, ""},
		{"more deleted than typed", "a\x7f\x7f\x7fb\r", "b", nil, ""},
		{"deleted character of many bytes", "pä\x7fass世\x7f\r", "pass", nil, ""},
		{"not UTF-8", "\xff\xfe\x7fa\r", "\xffa", nil, ""},
		{"line erased", "wrong\x15right\r", "right", nil, ""},
		{"word erased", "wrong words\x17right\r", "right", nil, ""},
		{"arrows", "a\x1b[D\x1b[1;5Cb\x1bOAc\x1b[3~d\r", "abcd", nil, ""},
		{"an escape", "a\x1bxb\r", "ab", nil, ""},
		{"other control characters", "a\x01\x02\t\x0c\x1fb\r", "ab", nil, ""},
		{"end in a line", "a\x04b\r", "ab", nil, ""},
		{"interrupt", "abc\x03more", "", io.EOF, "more"},
		{"end", "\x04more", "", io.EOF, "more"},
		{"end of the terminal", "abc", "", io.EOF, ""},
		{"the longest", strings.Repeat("x", maxHidden-1) + "\r", strings.Repeat("x", maxHidden-1), nil,
			""},
		{"too long, all of it is read", strings.Repeat("x", 2*maxHidden) + "\rmore", "",
			secret.ErrTooLong, "more"},
		{"too long, erased", strings.Repeat("x", 2*maxHidden) + "\x15right\r", "right", nil, ""},
		{"interrupt after an escape", "a\x1b\x03more", "", io.EOF, "more"},
		{"a line after an escape", "ab\x1b\rmore", "ab", nil, "more"},
		{"interrupt in a sequence", "a\x1b[\x03more", "", io.EOF, "more"},
	} {
		r := strings.NewReader(tt.typed)
		got, err := readHidden(iotest.OneByteReader(r))
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.name, string(got), err, tt.want, tt.err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != tt.rest {
			t.Errorf("%s: left %q, want %q", tt.name, rest, tt.rest)
		}
	}
}
