package spawn

import (
	"bytes"
	"testing"

	"github.com/mitogen-go/mitogen/internal/connect"
)

// FuzzDialogue checks that a program on a terminal gets each answer once at most, and the same however its output is cut
// into reads.
func FuzzDialogue(f *testing.F) {
	f.Add([]byte("[sudo] password for me: "), uint8(3))
	f.Add([]byte("PASSWORD:password:"), uint8(1))
	f.Add([]byte("Continue (yes/no)? Passwor\x00d:"), uint8(200))
	prompts := []connect.Prompt{{Needle: []byte("Password:"), Answer: []byte("secret")}, {Needle: []byte("word"), Answer: []byte("x")},
		{Needle: []byte("yes/no")}, {}}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		whole, problem := NewDialogue(prompts).Feed(text)
		d := NewDialogue(prompts)
		var answers [][]byte
		var failed string
		for b := text; len(b) > 0 && failed == ""; {
			n := min(len(b), int(size)+1)
			var some [][]byte
			some, failed = d.Feed(b[:n])
			answers = append(answers, some...)
			b = b[n:]
			if len(d.rest) > d.longest+int(size)+1 {
				t.Fatalf("%d bytes are kept", len(d.rest))
			}
		}
		if len(answers) > 2 {
			t.Fatalf("%q is answered %d times", text, len(answers))
		}
		if problem == "" && failed == "" && len(text) <= int(size)+1 && !bytes.Equal(bytes.Join(whole, nil), bytes.Join(answers, nil)) {
			t.Fatalf("%q is answered by %q at once, and %q", text, whole, answers)
		}
	})
}
