package pyfront

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/internal/testpython"
)

// makeWheel makes a wheel of the program under test.
func makeWheel(t *testing.T) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command("go", "run", "./tools/pywheel", "-version", "v1.2.3",
		"-platform", runtime.GOOS+"/"+runtime.GOARCH, "-o", out, program(t))
	cmd.Dir = filepath.Join("..", "..")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make a wheel: %v\n%s", err, said)
	}
	found, _ := filepath.Glob(filepath.Join(out, "*.whl"))
	if len(found) != 1 {
		t.Fatalf("make a wheel: got %q, want one", found)
	}
	return found[0]
}

// clean is an environment without what would lead to another package or program: a program of the
// same name that comes first on PATH is none of this package's.
func clean(t *testing.T) []string {
	t.Helper()
	decoy := t.TempDir()
	name := filepath.Join(decoy, "mitogen")
	if err := os.WriteFile(name, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + decoy + ":" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1",
		"PIP_NO_INDEX=1", "PIP_DISABLE_PIP_VERSION_CHECK=1"}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !slices.Contains([]string{"PATH", "PYTHONPATH", "MITOGEN_BINARY", "PYTHONHOME"}, name) {
			env = append(env, e)
		}
	}
	return env
}

// says runs a program that is to end well, and returns its output.
func says(t *testing.T, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run %s: got %v, want a good end\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tree returns the names of the files in a directory.
func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestWheel installs the wheel into a fresh environment of an interpreter that is drawn, or of all,
// has a program use it, and removes it.
func TestWheel(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	name := makeWheel(t)
	version, _, _ := strings.Cut(says(t, os.Environ(), program(t), "version"), "\n")
	seen := map[string]bool{}
	for _, p := range pairs(t) {
		if seen[p[0].Path] {
			continue
		}
		seen[p[0].Path] = true
		t.Run(p[0].Name(), func(t *testing.T) { install(t, p[0], name, version) })
	}
}

func install(t *testing.T, p testpython.Interp, wheel, version string) {
	env, dir := clean(t), t.TempDir()
	venv := filepath.Join(dir, "venv")
	if out, err := exec.Command(p.Path, "-m", "venv", venv).CombinedOutput(); err != nil {
		t.Skipf("no environment: %v\n%s", err, out)
	}
	python, program := filepath.Join(venv, "bin", "python"), filepath.Join(venv, "bin", "mitogen")
	pip := func(args ...string) { says(t, env, append([]string{python, "-m", "pip"}, args...)...) }
	script, err := filepath.Abs(filepath.Join("testdata", "installed.py"))
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, venv)
	pip("install", wheel)
	pip("check")
	if got := says(t, env, python, script, program, version); got != "installed\n" {
		t.Errorf("got %q, want installed", got)
	}
	pip("uninstall", "-y", "mitogo")
	if after := tree(t, venv); !slices.Equal(before, after) {
		left := slices.DeleteFunc(after, func(name string) bool { return slices.Contains(before, name) })
		t.Errorf("after pip uninstall: got %q left, want nothing", left)
	}
	if !testpython.All() {
		return
	}
	target := filepath.Join(dir, "target")
	pip("install", "--target", target, wheel)
	env = append(env, "PYTHONPATH="+target)
	program = filepath.Join(target, "bin", "mitogen")
	if got := says(t, env, python, script, program, version); got != "installed\n" {
		t.Errorf("pip install --target: got %q, want installed", got)
	}
}

// tools returns the directory of commands of a set of scripts/python-tools.sh, and skips the test
// where there is none.
func tools(t *testing.T, set string) string {
	t.Helper()
	dir := filepath.Join(os.Getenv("MITOGEN_TOOLS"), set, "bin")
	if _, err := os.Stat(dir); err != nil || !filepath.IsAbs(dir) {
		t.Skipf("no %s: MITOGEN_TOOLS=$(scripts/python-tools.sh %s) has them", set, set)
	}
	return dir
}

// TestWheelTools has twine and auditwheel look at the wheel.
func TestWheelTools(t *testing.T) {
	dir, name := tools(t, "wheels"), makeWheel(t)
	env := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "NO_COLOR=1")
	got := says(t, env, filepath.Join(dir, "twine"), "check", "--strict", name)
	if !strings.Contains(got, "PASSED") {
		t.Errorf("twine check: got %s, want PASSED", got)
	}
	if runtime.GOOS != "linux" {
		return
	}
	got = says(t, env, filepath.Join(dir, "auditwheel"), "show", name)
	got = strings.Join(strings.Fields(got), " ")
	for _, want := range []string{`platform tag: "manylinux_2_`, "no external versioned symbols"} {
		if !strings.Contains(got, want) {
			t.Errorf("auditwheel show: got %s, want %q in it", got, want)
		}
	}
}
