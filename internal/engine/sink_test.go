package engine

import (
	"bytes"
	"testing"
)

// A gateWriter passes all that comes behind the mark, wherever writes cut it.
func TestGateWriter(t *testing.T) {
	for text, want := range map[string]string{
		"MITO-EC0\n":                       "",
		"MITO-EC0\nbad\n":                  "bad\n",
		"motd\nMITO-EC0\nbad\nMITO-EC0\n.": "bad\nMITO-EC0\n.",
		"MITO-MITO-EC0\n\n":                "\n",
		"motd":                             "",
	} {
		for size := 1; size <= len(text); size++ {
			var out bytes.Buffer
			g := &gateWriter{w: &out}
			for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				g.Write(rest[:min(size, len(rest))])
			}
			if out.String() != want {
				t.Errorf("%q by %d: got %q, want %q", text, size, out.String(), want)
			}
		}
	}
}
