package bundle

import (
	"bytes"
	"compress/zlib"
	"io"
	"math/rand/v2"
	"testing"
)

// What is compressed in parts is one stream, about as small as without parts.
func TestParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	text := make([]byte, 4*part+1)
	for i := range text {
		text[i] = "the of and (self):\n"[rng.IntN(19)]
	}
	for at := part / 2; at < len(text); at += 3000 {
		copy(text[at:], text[at-part/32:at-part/32+1000])
	}
	for _, n := range []int{0, 1, part, 3*part/2 + 1, 2*part - 1, 2 * part, 2*part + 1, 4*part + 1} {
		packed := compress(text[:n])
		r, err := zlib.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, text[:n]) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
		var whole bytes.Buffer
		w, _ := zlib.NewWriterLevel(&whole, level)
		w.Write(text[:n])
		w.Close()
		if len(packed) > whole.Len()+whole.Len()/200 {
			t.Errorf("%d bytes: got %d, want about %d as in one go", n, len(packed), whole.Len())
		}
	}
}

func BenchmarkCompress(b *testing.B) {
	const function = "def function(self, name, *args, **kw):\n    return self.other(name)\n"
	text := bytes.Repeat([]byte(function), 25_000)
	rng := rand.New(rand.NewPCG(5, 6))
	for range len(text) / 10 {
		text[rng.IntN(len(text))] = byte('a' + rng.IntN(26))
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		compress(text)
	}
}
