package boot

import (
	"strings"
	"testing"
)

// A Gate opens at a line that is EC0 or EC1, and at nothing that merely has one in it.
func TestGate(t *testing.T) {
	for _, tt := range []struct {
		text, before, behind string
		open, ahead          bool
	}{
		{"MITO-EC0\n", "", "", true, false},
		{"MITO-EC1\nx", "", "x", true, true},
		{"motd\n\nMITO-EC0\nbad\nMITO-EC0\n.", "motd\n", "bad\nMITO-EC0\n.", true, false},
		{"no newline\nMITO-EC0\n\xf1", "no newline", "\xf1", true, false},
		{"on a terminal\r\n\r\nMITO-EC0\r\n!", "on a terminal\r\n\r", "!", true, false},
		{"", "", "", false, false},
		{"motd", "motd", "", false, false},
		{"+ echo MITO-EC0\n", "+ echo MITO-EC0\n", "", false, false},
		{"> MITO-EC0\nMITO-EC0\n!", "> MITO-EC0", "!", true, false},
		{"MITO-EC0 \nMITO-EC00\nMITO-EC2\nMITO-EC", "MITO-EC0 \nMITO-EC00\nMITO-EC2\nMITO-EC", "", false,
			false},
		{"MITO-MITO-EC0\n\n", "MITO-MITO-EC0\n\n", "", false, false},
		{"\n\nMITO-EC0\nMITO-EC1\n", "\n", "MITO-EC1\n", true, false},
		{"xMITO-EC0\r\n", "xMITO-EC0\r\n", "", false, false},
	} {
		for size := 1; size <= len(tt.text)+1; size++ {
			var g Gate
			var before, behind string
			for rest := tt.text; rest != ""; rest = rest[min(size, len(rest)):] {
				a, b := g.Feed([]byte(rest[:min(size, len(rest))]))
				before, behind = before+string(a), behind+string(b)
			}
			before += string(g.Rest())
			if before != tt.before || behind != tt.behind || g.Open != tt.open || g.Ahead != tt.ahead {
				t.Errorf("%q by %d: got %q, %q, open %v, ahead %v, want %q, %q, %v, %v",
					tt.text, size, before, behind, g.Open, g.Ahead, tt.before, tt.behind, tt.open, tt.ahead)
			}
		}
	}
}

// EC2 opens a Gate only of a connection that may go on without an interpreter.
func TestGateOfFallback(t *testing.T) {
	const text = "x\nMITO-EC2\nrest"
	plain, open := Gate{}, Gate{Fallback: true}
	if before, behind := plain.Feed([]byte(text)); plain.Open || behind != nil {
		t.Errorf("without Fallback: got open %v, %q, %q, want it closed", plain.Open, before, behind)
	}
	before, behind := open.Feed([]byte(text))
	if !open.Shell || open.Ahead || string(before) != "x" || string(behind) != "rest" {
		t.Errorf("with Fallback: got shell %v, %q, %q, want true, %q, %q", open.Shell, before, behind,
			"x", "rest")
	}
	other := Gate{Fallback: true}
	if other.Feed([]byte("MITO-EC1\n")); other.Shell || !other.Ahead {
		t.Errorf("EC1: got shell %v, ahead %v, want false, true", other.Shell, other.Ahead)
	}
}

// Executed text has no marker in it. So a program that quotes it is not taken for a program that
// executes it.
func TestCommandHasNoMarker(t *testing.T) {
	texts := map[string]string{"EchoEC0": EchoEC0}
	for way := range map[Way]bool{Pipe: true, Terminal: true, Ahead: true} {
		for _, python := range [][]string{nil, {"python3"}, {"/a/b", "c"}, {"/usr/bin/env python3"}} {
			texts[strings.Join(python, " ")+string(rune('0'+way))] = strings.Join(Command(python, way), " ")
		}
	}
	for _, way := range []Way{Pipe, Ahead} {
		argv, _ := FallbackCommand(nil, way)
		texts["fallback "+string(rune('0'+way))] = strings.Join(argv, " ")
	}
	texts["head"] = string(Head(Config{ID: 1, Parents: []uint32{0}}, 1))
	for name, text := range texts {
		for _, marker := range []string{EC0, EC1, EC2, NoPython} {
			if strings.Contains(text, marker) {
				t.Errorf("%s: %s is in the command: %s", name, marker, text)
			}
		}
	}
}
