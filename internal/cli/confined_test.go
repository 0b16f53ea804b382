package cli

import (
	"strings"
	"testing"
)

// What the kernel lacks is said in words.
func TestConfined(t *testing.T) {
	for want, c := range map[string]confined{
		"by Landlock 7 and seccomp: ":          {Landlock: 7, Seccomp: true},
		"by Landlock 1; no seccomp: none here": {Landlock: 1, Missing: "none here"},
		"no: none here; ":                      {Seccomp: true, Missing: "none here"},
	} {
		if got := c.line(); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: got %q, want %q first", c, got, want)
		}
	}
}
