package spawn

import (
	"bytes"
	"testing"

	"github.com/mitogen-go/mitogen/internal/methods"
)

// FuzzDialogue checks that the question on a terminal's last line is the same however the output is
// cut into reads, that the program gets each answer once at most, and that little is kept.
func FuzzDialogue(f *testing.F) {
	f.Add([]byte("[sudo] password for me: "), uint8(3))
	f.Add([]byte("PASSWORD:password:"), uint8(1))
	f.Add([]byte("Your password: is old\r\nPassword:"), uint8(7))
	f.Add([]byte("Continue (yes/no)? Passwor\x00d:"), uint8(200))
	prompts := []methods.Prompt{{Needle: []byte("Password:"), Answer: []byte("secret")},
		{Needle: []byte("word"), Answer: []byte("x")},
		{Needle: []byte("yes/no")}, {}}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		whole := NewDialogue(prompts)
		whole.Feed(text)
		d := NewDialogue(prompts)
		for b := text; len(b) > 0; {
			n := min(len(b), int(size)+1)
			d.Feed(b[:n])
			b = b[n:]
			if len(d.line) > methods.TextLimit {
				t.Fatalf("%d bytes are kept", len(d.line))
			}
		}
		if last := text[bytes.LastIndexByte(text, '\n')+1:]; d.Asked() && len(last) == 0 {
			t.Fatalf("%q asks on a line that is finished", text)
		}
		want, wantProblem := whole.Answer()
		got, problem := d.Answer()
		if string(got) != string(want) || problem != wantProblem {
			t.Fatalf("%q is answered by %q, %q at once, by %q, %q in pieces of %d", text, want, wantProblem,
				got, problem, size)
		}
		answered := 0
		for range 3 {
			d.Feed(text)
			if a, _ := d.Answer(); a != nil {
				answered++
			}
		}
		if answered > 2 {
			t.Fatalf("%q is answered %d times more", text, answered)
		}
	})
}
