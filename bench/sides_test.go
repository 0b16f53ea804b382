package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes one whose first revision has the file "first", and its second "second" instead,
// and goes there.
func repository(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for _, argv := range [][]string{
		{"init", "-q"}, {"config", "user.name", "test"}, {"config", "user.email", "test@example.com"},
		{"commit", "-q", "--allow-empty", "-m", "empty"},
	} {
		if out, err := exec.Command("git", argv...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", argv, err, out)
		}
	}
	for _, name := range []string{"first", "second"} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, argv := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", name}} {
			if out, err := exec.Command("git", argv...).CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v\n%s", argv, err, out)
			}
		}
		os.Remove(name)
	}
}

func TestExportWritesTheRevisionAndLeavesTheRepositoryAlone(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	repository(t)
	b := &bench{ctx: t.Context()}
	dir := filepath.Join(t.TempDir(), "tree")
	if err := b.export("HEAD~1", dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"first": true, "second": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s in the files of the first revision: got %v, want %v", name, err == nil, want)
		}
	}
	if out, err := exec.Command("git", "worktree", "list", "--porcelain").Output(); err != nil ||
		strings.Count(string(out), "worktree ") != 1 {
		t.Errorf("worktrees after the export: got %q, %v, want one", out, err)
	}
	for _, bad := range []string{"none", "--output=x", ""} {
		if err := b.export(bad, filepath.Join(t.TempDir(), "tree")); err == nil {
			t.Errorf("revision %q: got no error", bad)
		}
	}
}
