package spawn

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
	"github.com/mitogen-go/mitogen/internal/methods"
)

var testPrompts = []methods.Prompt{
	{Needle: []byte("Password:"), Answer: []byte("pw")},
	{Needle: []byte("secret word:"), Answer: []byte("pw")},
	{Needle: []byte("passphrase for"), Answer: []byte("pp")},
	{Needle: []byte("(yes/no")},
}

// A bar stands where the program waits: only there is a question answered.
func TestDialogue(t *testing.T) {
	for _, tt := range []struct{ in, answers, problem string }{
		{"", "", ""},
		{"Welcome\r\nme@h's password: |", "pw", ""},
		{"PASSWORD:|", "pw", ""},
		{"passpassword:|", "pw", ""},
		{"pass\r\nword:|", "", ""},
		{"Your password: is old\r\n|", "", ""},
		{"Your password: is old\r\nToken: |", "", ""},
		{"Your password: is old\r\nPassword: |", "pw", ""},
		{"Enter passphrase for 'k': |\r\npassword: |", "pp pw", ""},
		{"password: |\r\npassphrase for k|", "pw pp", ""},
		{"password: |\r\nSorry.\r\npassword: |", "pw", methods.WhatRepeated},
		{"password: |password: |", "pw", methods.WhatRepeated},
		{"secret word: |\r\npassword: |", "pw", methods.WhatRepeated},
		{"really (yes/no/[fingerprint])? |", "", methods.WhatUnanswered},
		{"password: |\r\nreally (yes/no)? |", "pw", methods.WhatUnanswered},
	} {
		for _, size := range []int{1, 2, 3, 7, 1000} {
			answers, problem := converse(NewDialogue(testPrompts), tt.in, func() int { return size })
			if answers != tt.answers || problem != tt.problem {
				t.Errorf("%q in pieces of %d: got %q, %q, want %q, %q", tt.in, size, answers, problem,
					tt.answers, tt.problem)
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 100 {
			answers, problem := converse(NewDialogue(testPrompts), tt.in,
				func() int { return 1 + r.IntN(12) })
			if answers != tt.answers || problem != tt.problem {
				t.Errorf("%q in random pieces: got %q, %q, want %q, %q", tt.in, answers, problem, tt.answers,
					tt.problem)
			}
		}
	}
}

// converse feeds text in pieces until there is a problem.
func converse(d *Dialogue, text string, size func() int) (answers, problem string) {
	var all []string
	for shown := range strings.SplitSeq(text, "|") {
		for shown != "" {
			n := min(size(), len(shown))
			d.Feed([]byte(shown[:n]))
			shown = shown[n:]
		}
		for d.Asked() && problem == "" {
			var answer []byte
			if answer, problem = d.Answer(); answer != nil {
				all = append(all, string(answer))
			}
		}
	}
	return strings.Join(all, " "), problem
}

func TestDialogueKeepsLittle(t *testing.T) {
	d := NewDialogue(testPrompts)
	d.Feed(bytes.Repeat([]byte("passphrase fo "), 100000))
	if len(d.line) > methods.TextLimit {
		t.Errorf("%d bytes kept", len(d.line))
	}
	d = NewDialogue(nil)
	if d.Feed([]byte("password:")); d.Asked() {
		t.Error("without prompts: asked")
	}
}

func TestTail(t *testing.T) {
	var got tail
	want := ""
	for i := range 300 {
		piece := strings.Repeat(string(rune('a'+i%26)), i%97)
		if i == 200 {
			piece = strings.Repeat("0123456789", 1000)
		}
		got.add([]byte(piece))
		want += piece
		want = want[max(0, len(want)-methods.TextLimit):]
		if string(got) != want {
			t.Fatalf("after %d: %d bytes, want %d", i, len(got), len(want))
		}
	}
}

// su's question is found in every language that PAM asks in, however it is cut, and behind other
// words.
func TestPAMInAllLanguages(t *testing.T) {
	text, err := os.ReadFile("testdata/pam.txt")
	if err != nil {
		t.Fatal(err)
	}
	hop, _ := methods.ParseHop("su")
	plan, err := hop.Plan([]string{"true"}, connect.Options{Su: connect.SuOptions{Password: "pw"}},
		true)
	if err != nil {
		t.Fatal(err)
	}
	languages := 0
	for line := range strings.Lines(string(text)) {
		language, prompt, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		languages++
		shown := []byte("You have mail.\r\n" + prompt)
		for cut := range len(shown) {
			d := NewDialogue(plan.Prompts)
			d.Feed(shown[:cut])
			d.Feed(shown[cut:])
			if typed, problem := d.Answer(); string(typed) != "pw" || problem != "" || d.Asked() {
				t.Fatalf("%s: %q, cut at %d: got %q, %q, want the password once", language, shown, cut, typed,
					problem)
			}
		}
		d := NewDialogue(plan.Prompts)
		d.Feed(shown)
		d.Answer()
		d.Feed([]byte("\r\nsu: Authentication failure\r\n" + prompt))
		if _, problem := d.Answer(); problem != methods.WhatRepeated {
			t.Errorf("%s: asked again: %q", language, problem)
		}
	}
	if languages < 80 {
		t.Errorf("%d languages", languages)
	}
}
