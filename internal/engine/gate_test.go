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
		"MITO-EC0\n\n":                     "\n",
		"MITO-MITO-EC0\n\n":                "",
		"+ echo MITO-EC0\n\nMITO-EC0\nok":  "ok",
		"motd":                             "",
	} {
		for size := 1; size <= len(text); size++ {
			var out bytes.Buffer
			g := &gateWriter{w: &out}
			for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				g.Write(rest[:min(size, len(rest))])
			}
			g.end()
			if out.String() != want {
				t.Errorf("%q by %d: got %q, want %q", text, size, out.String(), want)
			}
		}
	}
}

// A gateWriter drops ssh's farewell, which comes last and a line at once, and nothing that a
// program prints.
func TestGateWriterFarewell(t *testing.T) {
	const mark, first, second = "\nMITO-EC0\n", "Transferred: sent 1, received 2 bytes, in 0.1 " +
		"seconds\r\n", "Bytes per second: sent 1.0, received 2.0\r\n"
	for _, tt := range []struct {
		writes []string
		want   string
	}{
		{[]string{mark, first + second}, ""},
		{[]string{mark + "x", first, second}, "x"},
		{[]string{mark + "x\n" + first, second}, "x\n"},
		{[]string{mark, first + second + first, second}, first + second},
		{[]string{mark, first + second, "more"}, first + second + "more"},
		{[]string{mark, first}, first},
		{[]string{mark, "Transferred: sent 3 files", "\n"}, "Transferred: sent 3 files\n"},
		{[]string{mark, "Tra", "nsferred: "}, "Transferred: "},
	} {
		var out bytes.Buffer
		g := &gateWriter{w: &out}
		for _, w := range tt.writes {
			g.Write([]byte(w))
		}
		g.end()
		if out.String() != tt.want {
			t.Errorf("%q: got %q, want %q", tt.writes, out.String(), tt.want)
		}
	}
}
