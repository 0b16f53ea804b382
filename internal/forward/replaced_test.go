package forward

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The file of what was learned takes the place of a regular file of this user's, and of nothing
// else.
func TestReplacesItsOwn(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, fifo, sub := filepath.Join(dir, "link"), filepath.Join(dir, "fifo"), filepath.Join(dir,
		"sub")
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{link, fifo, sub, os.DevNull} {
		if err := replace(file, []byte("{}")); err == nil ||
			!strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: got %v, want a refusal", file, err)
		}
	}
	for _, file := range []string{other, filepath.Join(dir, "new")} {
		if err := replace(file, []byte("{}")); err != nil {
			t.Errorf("replace %s: got error %v, want none", file, err)
		}
	}
}

// What contexts make up is not kept, nor does a full file stop what is learned later.
func TestKeepsModulesOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned.json")
	old := &Forwarder{}
	old.Remember(file)
	for i := range maxPrograms {
		old.lore.learn(strings.Repeat("p", i+1), "module", false)
	}
	old.lore.learn("p", "made.up", true)
	if err := old.Save(); err != nil {
		t.Fatal(err)
	}
	next := &Forwarder{}
	next.Remember(file)
	next.lore.learn("new", "late", false)
	if err := next.Save(); err != nil {
		t.Fatal(err)
	}
	last := &Forwarder{}
	last.Remember(file)
	if got := last.lore.of("new"); len(got) != 1 || got[0] != "late" {
		t.Errorf("got %q of a program that came when the file was full, want late", got)
	}
	if got := last.lore.of("p"); len(got) > 1 {
		t.Errorf("got %q, want no name that is nowhere", got)
	}
}
