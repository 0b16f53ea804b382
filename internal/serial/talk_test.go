package serial

import "testing"

// A line is sent off only if its echo shows that it arrived as it was typed.
func TestEchoed(t *testing.T) {
	for _, tt := range []struct {
		shown string
		want  bool
	}{
		{"stty -a", true}, {"$ stty -a", true}, {"stty\n -a", true}, {"[1.2] eth0 up\nstty -a", true},
		{"sstty -a", false}, {"$ s\nstty -a", false}, {"stty -aa", false}, {"stty  -a", false},
		{"tty -a", false}, {"", false},
	} {
		if got := echoed([]byte(tt.shown), "stty -a"); got != tt.want {
			t.Errorf("%q: got %t, want %t", tt.shown, got, tt.want)
		}
	}
}
