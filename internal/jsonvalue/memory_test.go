package jsonvalue

import (
	"runtime"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
	"github.com/mitogen-go/mitogen/pyvalue"
)

// A large text or byte string is written once, with room for the end of its line.
func TestEncodeAllocates(t *testing.T) {
	const size = 8 << 20
	text := strings.Repeat("x", size)
	if testing.Short() {
		t.Skip("the race detector allocates besides")
	}
	for name, c := range map[string]struct {
		value any
		want  uint64 // bytes of the result
	}{
		"text":  {text, size},
		"list":  {[]any{int64(1), text}, size},
		"bytes": {[]byte(text), size / 3 * 4},
		"blob":  {pyvalue.Blob(text), size / 3 * 4},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := Encode(c.value)
		if err != nil {
			t.Fatalf("encode %s: %v", name, err)
		}
		b = append(b, '\n')
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > c.want*5/4 {
			t.Errorf("%s: Encode and a newline allocate %d bytes for %d, want one copy", name, got, len(b))
		}
	}
}
