package boot

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The value of one of many connections at once costs its own bytes and little more: a second
// compressor would be 800 KB.
func TestAheadValueIsCheap(t *testing.T) {
	c := Config{ID: 2, Parents: []uint32{1, 0}, Name: "web1"}
	frames := make([]byte, 500)
	value, err := AheadValue(c, frames)
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
				if again, _ := AheadValue(c, frames); again != value {
					t.Error("another value for the same frames, want the same")
				}
			})
		}
		wg.Wait()
	})
	if n > 120 {
		t.Errorf("allocations of 8 values at once: got %v, want at most 120", n)
	}
}

// The value is the head, then one zlib stream of the text and the frames, whatever their size.
func TestAheadValueHoldsAll(t *testing.T) {
	text, err := source()
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("frames"), 20_000)
	for _, frames := range [][]byte{nil, []byte("x"), text[len(text)-300:], text[:300], long} {
		value, err := AheadValue(Config{ID: 2, Parents: []uint32{1, 0}}, frames)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(value, `a2b_base64("`)
		encoded, _, _ := strings.Cut(rest, `"`)
		stream, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatalf("%d bytes of frames: %v", len(frames), err)
		}
		in := bytes.NewReader(stream)
		r, err := zlib.NewReader(in)
		if err != nil {
			t.Fatalf("%d bytes of frames: %v", len(frames), err)
		}
		got, err := io.ReadAll(r)
		if err != nil || in.Len() > 0 || !bytes.Equal(got, append(slices.Clip(text), frames...)) {
			t.Errorf("%d bytes of frames: got %d bytes, %v, %d bytes behind the stream, want text and frames",
				len(frames), len(got), err, in.Len())
		}
		if strings.Contains(value, "\n") {
			t.Errorf("%d bytes of frames: got more than one line", len(frames))
		}
	}
}

func BenchmarkAheadValue(b *testing.B) {
	c := Config{ID: 2, Parents: []uint32{1, 0}, Name: "web1"}
	frames := make([]byte, 500)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AheadValue(c, frames); err != nil {
			b.Fatal(err)
		}
	}
}
