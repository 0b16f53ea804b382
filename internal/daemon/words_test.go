package daemon

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A daemon that listens writes nothing more to the nameless file of its client, and goes on writing
// to any other file.
func TestDropWords(t *testing.T) {
	for name, nameless := range map[string]bool{"nameless": true, "named": false} {
		file := filepath.Join(t.TempDir(), name)
		f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		if nameless {
			os.Remove(file)
		}
		io.WriteString(f, "before ")
		dropWords(int(f.Fd()))
		io.WriteString(f, "after")
		got, _ := io.ReadAll(kept)
		if want := map[bool]string{true: "before ",
			false: "before after"}[nameless]; string(got) != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		f.Close()
		kept.Close()
	}
}
