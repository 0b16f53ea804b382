package sshconf

import (
	"slices"
	"strings"
	"testing"
)

// FuzzParse checks that whatever a configuration file of ssh holds is read, and the same each time.
func FuzzParse(f *testing.F) {
	f.Add("Host a\n  IdentityFile ~/.ssh/${KEY}\n  Include \"b c\" d\nMatch exec=\"x\"\n")
	f.Add("ProxyCommand=ssh -F ~/x -W %h:%p b\nCanonicalizeHostname yes\nControlPath rel/%C\n")
	f.Add("Include = \"unfinished\n# x\nidentityfile \\")
	f.Fuzz(func(t *testing.T, text string) {
		c := parse(text)
		for line := range strings.Lines(text) {
			words := splitLine(line)
			Absolute(words, "/dir")
			for _, w := range words {
				AbsoluteFile(w, "/dir")
			}
		}
		if again := parse(text); !slices.Equal(again.includes, c.includes) || again.unsure != c.unsure ||
			again.relative != c.relative {
			t.Fatal("read twice, not the same")
		}
	})
}
