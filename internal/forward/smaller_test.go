package forward

import (
	"strings"
	"testing"
)

// Bundles are packed better while an answer is on its way over a link, and then only.
func TestPackedWhileWaiting(t *testing.T) {
	for _, tt := range []struct {
		what             string
		near, answered   bool
		packed, andLater bool
	}{
		{"an answer is to come", false, false, true, true},
		{"it has come", false, true, false, true},
		{"it comes from this machine", true, false, false, false},
	} {
		lib := tree("d/__init__.py: " + strings.Repeat("x = 1\n", 9000))
		f, _ := forwarder(tree("app.py: import d"), lib)
		f.Add(1, 0)
		if tt.near {
			f.Near(1)
		}
		n := f.Need(withABI(f, 1), Program{Roots: []string{"app"}})
		f.Want(1, n)
		if tt.answered {
			answer(f, 1, "", "d")
		}
		f.packNow(1, n)
		if got := len(f.small.data) > 0; got != tt.packed {
			t.Errorf("%s: packed: %v, want %v", tt.what, got, tt.packed)
		}
		f.Add(2, 0)
		f.Want(2, n)
		if tt.near {
			f.Near(2)
		}
		f.packNow(2, n)
		if got := len(f.small.data) > 0; got != tt.andLater {
			t.Errorf("%s: packed for another one: %v, want %v", tt.what, got, tt.andLater)
		}
	}
}
