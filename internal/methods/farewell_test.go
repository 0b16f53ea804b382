package methods

import (
	"strings"
	"testing"
)

const bye = "Transferred: sent 3824, received 3332 bytes, in 0.1 seconds\r\nBytes per second: " +
	"sent 28260.1, received 24624.1\r\n"

// ssh's farewell is found at the end, wherever it is cut and whatever stands before it, and nothing
// else is taken for it.
func TestFarewell(t *testing.T) {
	for _, before := range []string{"", "x\n", "no newline", bye, "Transferred: ",
		strings.Repeat("y", 5000)} {
		for cut := minHeld; cut <= len(bye); cut++ {
			text := before + bye[:cut]
			if got := BeforeFarewell([]byte(text)); got != len(before) {
				t.Errorf("%.60q with %d bytes of it: got %d, want %d", before, cut, got, len(before))
			}
			if IsFarewell([]byte(bye[:cut])) != (cut == len(bye)) {
				t.Errorf("%d bytes: taken for the whole", cut)
			}
		}
	}
	for _, text := range []string{"", "T", "Trans", "Transferred: all\n", bye + "more",
		strings.ReplaceAll(bye, "\r", ""), "Transferred: sent x\n"} {
		if got := BeforeFarewell([]byte(text)); got != len(text) || IsFarewell([]byte(text)) {
			t.Errorf("%q: got %d, farewell %v, want %d", text, got, IsFarewell([]byte(text)), len(text))
		}
	}
}
