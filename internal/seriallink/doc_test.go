package seriallink

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestExamples: the lines in docs/protocol/line.md are those that this package writes and reads.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/protocol/line.md")
	if err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for _, m := range regexp.MustCompile(`(?m)^    ((?:[0-9a-f]{2} )+) `).FindAllSubmatch(text,
		-1) {
		b, err := hex.DecodeString(strings.ReplaceAll(string(m[1]), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b)
	}
	f := frame{kind: Data, heard: true, seq: 3, ack: 5, payload: []byte("a\n%")}
	want := [][]byte{appendLine(nil, f, 0x01020304, false), appendLine(nil, f, 0x01020304, true)}
	if len(got) != len(want) {
		t.Fatalf("got %d examples, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("example %d: got % x, want % x %q", i, got[i], want[i], want[i])
		}
	}
}

// TestConstants: the far end has the same numbers.
func TestConstants(t *testing.T) {
	text, err := os.ReadFile("../../python/serial.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"DATA, ERR, END, ACK, PROBE, LEAVE = 1, 2, 3, 4, 5, 6",
		"HEARD = 64",
		"PAYLOAD, WINDOW, FIRST, LEAST, LONGEST = 248, 15, 4, 2, 528",
		"for n in (61, 10, 13, 17, 19, 126, 255, 5, 29, 0, 37, 38)]",
		"FAREWELL = (TEXT + EIGHT) * 4",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("python/serial.py lacks %q", line)
		}
	}
	if Data != 1 || Error != 2 || End != 3 || ack != 4 || probe != 5 || leave != 6 || heard != 64 ||
		MaxPayload != 248 || maxWindow != 15 || firstWindow != 4 || minWindow != 2 ||
		maxLine != 528 || Farewell != strings.Repeat("%&", 4) {
		t.Error("a number here is not the one of python/serial.py")
	}
	for _, n := range []byte{61, 10, 13, 17, 19, 126, 255, 5, 29, 0, 37, 38} {
		if escaped[n] != n+64 {
			t.Errorf("byte %d: got the escape %d, want %d", n, escaped[n], n+64)
		}
	}
}
