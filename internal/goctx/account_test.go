package goctx

import (
	"os"
	"testing"
)

// An account that is asked of getent is read from what that prints, whatever else it says.
func TestAskGetent(t *testing.T) {
	dir := t.TempDir()
	text := "#!/bin/sh\necho complaint >&2\necho \"x:*:$2:1::/home/x:/bin/zsh\"\n"
	if err := os.WriteFile(dir+"/getent", []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	want := account{"x", "/home/x", "/bin/zsh"}
	if got, found := askGetent("4712"); !found || got != want {
		t.Errorf("account 4712: got %+v, %v, want %+v", got, found, want)
	}
	t.Setenv("PATH", t.TempDir())
	if got, found := askGetent("4712"); found {
		t.Errorf("without getent: got %+v, want nothing", got)
	}
}
