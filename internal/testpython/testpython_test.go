package testpython

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFindSaysTheTruth(t *testing.T) {
	for _, i := range Find() {
		out, err := exec.Command(i.Path, "-c",
			"import sys; print('%d.%d' % sys.version_info[:2])").Output()
		if err != nil {
			t.Errorf("ask %s for its version: %v", i.Path, err)
			continue
		}
		if got := strings.TrimSpace(string(out)); !strings.HasSuffix(i.Name(), got) {
			t.Errorf("%s is %s, not %s", i.Path, got, i.Name())
		}
	}
}

// Interpreters that the variable names are taken, and have to work.
func TestVariable(t *testing.T) {
	found := Find()
	if len(found) == 0 {
		t.Skip("no interpreter")
	}
	link := filepath.Join(t.TempDir(), "another")
	if err := os.Symlink(found[0].Path, link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		value string
		want  int // interpreters; -1: a panic
	}{
		{"", 0}, {link, 1}, {found[0].Path + ":" + link, 1}, {link + ":/nonexistent/python", -1},
		{"/bin/true", -1},
	} {
		t.Run(tt.value, func(t *testing.T) {
			t.Setenv(Variable, tt.value)
			t.Setenv("HOME", t.TempDir()) // no pyenv there
			t.Setenv("PATH", t.TempDir())
			var got []Interp
			why := func() (why any) {
				defer func() { why = recover() }()
				got = look()
				return nil
			}()
			if (why != nil) != (tt.want < 0) || why == nil && len(got) != tt.want {
				t.Errorf("%s=%s: got %v, %v, want %d interpreters", Variable, tt.value, got, why, tt.want)
			}
		})
	}
}

func TestChooseKeepsTheFirstOfAVersionOldestFirst(t *testing.T) {
	m := machine()
	got := choose([]*Interp{
		{Path: "a", Major: 3, Minor: 13, Impl: "cpython", Machine: m},
		nil,
		{Path: "b", Major: 3, Minor: 13, Impl: "cpython", Machine: m},
		{Path: "c", Major: 2, Minor: 7, Impl: "cpython", Machine: m},
		{Path: "d", Major: 3, Minor: 9, Impl: "pypy", Machine: m},
		{Path: "e", Major: 3, Minor: 13, Impl: "cpython", Machine: "other"},
	})
	var paths []string
	for _, i := range got {
		paths = append(paths, i.Path)
	}
	if strings.Join(paths, "") != "cdae" {
		t.Errorf("chose %v", paths)
	}
	if !got[1].AtLeast(3, 9) || got[1].AtLeast(3, 10) || !got[1].AtLeast(2, 7) {
		t.Error("AtLeast compares wrongly")
	}
}

// Interpreters that the environment names are found as they are named, though they be scripts.
func TestNamedInterpreters(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	var names []string
	for name, text := range map[string]string{
		"plain": `exec "` + python + `" "$@"`,
		"other": `echo "/elsewhere/python|3.99.1|cpython|vax"`,
	} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	t.Setenv(Variable, strings.Join(names, ":"))
	t.Setenv("MITOGEN_ONLY_NAMED", "1")
	all := look()
	for _, name := range names {
		if !slices.ContainsFunc(all, func(i Interp) bool { return i.Path == name }) {
			t.Errorf("%s isn't found: %v", name, all)
		}
	}
	last := all[len(all)-1]
	if last.Name() != "cpython3.99-vax" {
		t.Errorf("got the newest %s, want cpython3.99-vax", last.Name())
	}
}
