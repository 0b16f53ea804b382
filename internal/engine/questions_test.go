package engine

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/askpass"
	"github.com/mitogen-go/mitogen/internal/methods"
)

// Of a question that doesn't fit, the end isn't taken for one of ssh's own.
func TestScreen(t *testing.T) {
	const own = "Enter passphrase for key '/k': "
	fill := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		name   string
		pieces []string
		kind   connect.PromptKind
		whole  bool
	}{
		{"own", []string{"\r\n" + own}, connect.PromptPassphrase, true},
		{"own, in pieces", []string{"\n", own[:5], own[5:]}, connect.PromptPassphrase, true},
		{"a server's", []string{"(me@h) " + own}, connect.PromptOther, true},
		{"a server's, in pieces", []string{"(me@h) x\r\n", own}, connect.PromptOther, true},
		{"one screen before", []string{"(me@h) " + fill(methods.TextLimit), own}, connect.PromptOther,
			false},
		{"as long as a screen", []string{"(me@h) " + fill(100) + "Enter passphrase for key '" +
			fill(methods.TextLimit-29) + "': "}, connect.PromptOther, false},
		{"lines", []string{"(me@h) " + strings.Repeat("x\n", methods.TextLimit), own},
			connect.PromptOther,
			false},
	} {
		s := &screen{}
		for _, piece := range tt.pieces {
			s.add([]byte(piece))
		}
		if !s.asks() {
			t.Errorf("%s: is no question", tt.name)
		}
		text, whole := s.clear()
		if kind := askpass.KindOf(text); kind != tt.kind || whole != tt.whole {
			t.Errorf("%s: got a %v, whole %v; want a %v, %v", tt.name, kind, whole, tt.kind, tt.whole)
		}
	}
	// Pieces that are not taken are lost, and so is the text that follows them.
	s := &screen{pieces: make(chan []byte, 1)}
	for range 3 {
		s.show([]byte(own))
	}
	s.add(<-s.pieces)
	if _, whole := s.clear(); whole {
		t.Error("pieces were lost, and the question counts as whole")
	}
}
