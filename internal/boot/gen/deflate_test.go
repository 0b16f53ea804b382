package main

import (
	"bytes"
	"compress/zlib"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	_ "github.com/mitogen-go/mitogen/internal/testenv"
)

// TestSqueeze checks that zlib reads the output of squeeze, and that it is smaller than the output
// of zlib's own writer.
func TestSqueeze(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3000)
	words := []byte{}
	for i := range noise {
		noise[i] = byte(rng.Uint32())
		words = append(words, []string{"self.", "return ", "if ", "\n "}[rng.IntN(4)]...)
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "a byte": []byte("x"), "no match": []byte("abcdefgh"), "noise": noise,
		"words":          words,
		"one byte often": []byte(strings.Repeat("x", 5000)),
		"two far apart":  append(append([]byte("abcdef"), noise...), "abcdef"...),
	} {
		packed := squeeze(text)
		r, err := zlib.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(text))
		}
		var b bytes.Buffer
		w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression)
		w.Write(text)
		w.Close()
		if name == "words" && len(packed) >= b.Len() {
			t.Errorf("%s: %d bytes, want less than %d", name, len(packed), b.Len())
		}
	}
}

// Codes of few bits are found where those without a limit would be longer.
func TestLengthsHaveALimit(t *testing.T) {
	counts := []int{1, 1}
	for i := 2; i < 30; i++ {
		counts = append(counts, counts[i-1]+counts[i-2])
	}
	sum := 0
	for _, n := range lengths(counts, 15) {
		if n < 1 || n > 15 {
			t.Errorf("got a code of %d bits, want 1 to 15", n)
		}
		sum += 1 << (15 - n)
	}
	if sum != 1<<15 {
		t.Errorf("got a code that is not complete: %d of %d", sum, 1<<15)
	}
}
