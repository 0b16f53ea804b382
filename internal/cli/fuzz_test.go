package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzHosts checks that whatever ssh's configuration holds, the hosts that complete in a shell are
// words of it that a target takes.
func FuzzHosts(f *testing.F) {
	f.Add("Host a b *.c !d\n  Port 22\nInclude nothing\nhost=\"e f\" g # h\n")
	f.Add("Host \"unfinished\nInclude [\nHost\x00x")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "/~") {
			return // leads to this machine's files
		}
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, h := range sshHosts(file) {
			if !strings.Contains(text, h) || strings.ContainsAny(h, "*?!+,@:") {
				t.Fatalf("%q completes", h)
			}
		}
	})
}
