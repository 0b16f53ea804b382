package boot

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// The value of one of many connections at once costs its own bytes and little more: a second
// compressor would be 800 KB.
func TestAheadEnvIsCheap(t *testing.T) {
	c := Config{ID: 2, Parents: []uint32{1, 0}, Name: "web1"}
	frames := make([]byte, 500)
	value, err := AheadEnv(c, frames)
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		t.Skip("the race detector has pools forget")
	}
	n := testing.AllocsPerRun(20, func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if again, _ := AheadEnv(c, frames); !slices.Equal(again, value) {
					t.Error("another value for the same frames, want the same")
				}
			})
		}
		wg.Wait()
	})
	if n > 160 {
		t.Errorf("allocations of 8 values at once: got %v, want at most 160", n)
	}
}

// The data are one zlib stream of the text and the frames, whatever their size.
func TestAheadEnvHoldsAll(t *testing.T) {
	text, err := source()
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("frames"), 20_000)
	for _, frames := range [][]byte{nil, []byte("x"), text[len(text)-300:], text[:300], long} {
		value, err := AheadEnv(Config{ID: 2, Parents: []uint32{1, 0}}, frames)
		if err != nil {
			t.Fatal(err)
		}
		got, err := AheadText(value)
		if err != nil || !bytes.Equal(got, append(slices.Clip(text), frames...)) {
			t.Errorf("%d bytes of frames: got %d bytes, %v, want text and frames", len(frames), len(got),
				err)
		}
		if strings.Contains(strings.Join(value, ""), "\x00") {
			t.Errorf("%d bytes of frames: got a NUL, which no variable can hold", len(frames))
		}
		if len(value) != 2 || !strings.HasPrefix(value[0], AheadVariable+"=") ||
			strings.Contains(value[0], "\n") {
			t.Errorf("%d bytes of frames: got %d variables, want a head of one line, and data", len(frames),
				len(value))
		}
	}
}

func BenchmarkAheadEnv(b *testing.B) {
	c := Config{ID: 2, Parents: []uint32{1, 0}, Name: "web1"}
	frames := make([]byte, 500)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AheadEnv(c, frames); err != nil {
			b.Fatal(err)
		}
	}
}
