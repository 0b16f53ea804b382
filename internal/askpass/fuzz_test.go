package askpass

import (
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
)

// FuzzPlace checks that what ssh -G prints is read, and that a question is taken for a password's
// only if it is about the account that was read, where that ssh says whose questions are.
func FuzzPlace(f *testing.F) {
	f.Add([]byte("user me\nhostname h\nhostkeyalias none\nproxyjump b\n"), "OpenSSH_9.2p1",
		"me@h's password: ")
	f.Add([]byte("hostname h\nuser me\n"), "OpenSSH_8.0p1", "(me@h) Password: ")
	f.Add([]byte("user \nuser x\n\n"), "", "Enter passphrase for key '/k': ")
	f.Fuzz(func(t *testing.T, out []byte, version, text string) {
		p := ReadPlace(out, version)
		if p.asksPassword(text) && p.Knows &&
			!strings.Contains(strings.ToLower(text), strings.ToLower(cut(p.User, 30))) {
			t.Fatalf("%q is taken for a question about %s", text, p)
		}
		if kind := KindOf(text); kind == connect.PromptPassphrase && serverPrefix.MatchString(text) {
			t.Fatalf("%q is a server's, and taken for ssh's own", text)
		}
	})
}
