package bundle

import (
	"bytes"
	stdbzip2 "compress/bzip2"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

func never() bool { return false }

// TestBzip2 checks that the standard library's reader reads the output of the writer.
func TestBzip2(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	source, err := os.ReadFile("bzip2.go")
	if err != nil {
		t.Fatal(err)
	}
	var words []byte
	for len(words) < 920_000 {
		words = append(words, []string{"self.", "return ", "if ", "\n    ", "def f(x):"}[rng.IntN(5)]...)
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "a byte": []byte("x"), "two": []byte("xy"), "equal": []byte("xx"),
		"runs":       []byte("aaaabbbbbcccc"),
		"a long run": bytes.Repeat([]byte("x"), 300_000), "a period": []byte(strings.Repeat("ab", 5000)),
		"noise":  noise,
		"source": source, "twice": append(source, source...), "more than a block": words,
		"256 bytes": noise[:256],
	} {
		packed := bzip2(text, never)
		got, err := io.ReadAll(stdbzip2.NewReader(bytes.NewReader(packed)))
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(text))
		}
		if name == "source" && len(packed) >= len(compress(text)) {
			t.Errorf("%s: got %d bytes, want less than %d of zlib", name, len(packed), len(compress(text)))
		}
	}
	for range 200 { // small alphabets, in which rotations are alike
		text := make([]byte, rng.IntN(300))
		for i := range text {
			text[i] = "aab"[rng.IntN(3)]
		}
		got, err := io.ReadAll(stdbzip2.NewReader(bytes.NewReader(bzip2(text, never))))
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%q: got %q, %v", text, got, err)
		}
	}
}

// BenchmarkBzip2 packs some text of the size of a large package's sources.
func BenchmarkBzip2(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 4))
	names, err := os.ReadFile("bzip2.go")
	if err != nil {
		b.Fatal(err)
	}
	words := bytes.Fields(names)
	var text []byte
	for len(text) < 1_600_000 {
		text = append(append(text, words[rng.IntN(len(words))]...), " \n"[rng.IntN(2)])
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		bzip2(text, never)
	}
}
