package peer

import (
	"strings"
	"testing"
)

// A socket with too long a path is told as that, with its size and a remedy.
func TestLongSocket(t *testing.T) {
	for size, fits := range map[int]bool{50: true, 100: true, 110: false, 4000: false} {
		socket := "/" + strings.Repeat("x", size-1)
		if err := CheckLength(socket); (err == nil) != fits ||
			!fits && !strings.Contains(err.Error(), "--socket") {
			t.Errorf("%d bytes: got %v, fits %v", size, err, fits)
		}
	}
	if _, err := Dial("/" + strings.Repeat("x", 200)); err == nil || Missing(err) ||
		!strings.Contains(err.Error(), "201 bytes") {
		t.Errorf("got %v, want its size", err)
	}
}

// No place of a socket depends on TMPDIR, so that all programs of a user agree about it.
func TestPlaceWithoutTemp(t *testing.T) {
	before := Directory()
	for _, temp := range []string{"", "/var/tmp", t.TempDir(), "/nonexistent"} {
		t.Setenv("TMPDIR", temp)
		if got := Directory(); got != before {
			t.Errorf("TMPDIR=%s: got %s, want %s", temp, got, before)
		}
	}
}
