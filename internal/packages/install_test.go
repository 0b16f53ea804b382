package packages

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pins says which distributions are installed for a package and a Python version.
//
//go:embed testdata/pins.txt
var pins string

// pinned returns the requirements for a package on a Python version ("3.9"), nil if there is none
// for it.
func pinned(name, version string) []string {
	for line := range strings.Lines(pins) {
		if f := strings.Fields(line); f[0] == name && f[1] == version {
			return f[2:]
		}
	}
	return nil
}

// install returns a directory with the distributions of a package for python, the interpreter of
// that version. They are installed in the user's cache by pip if they are not there.
func install(name, version, python string) (string, error) {
	return installPins(name, version, pinned(name, version), python)
}

// installPins is install for given requirements.
func installPins(name, version string, pins []string, python string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	line := strings.Join(append([]string{name, version}, pins...), " ")
	dir := filepath.Join(cache, "mitogen-go-packages",
		fmt.Sprintf("%s-%s-%.6x", name, version, sha256.Sum256([]byte(line))))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	half, err := os.MkdirTemp(filepath.Dir(dir), "half-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(half)
	args := []string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
		"--no-compile", "--target", half}
	out, err := exec.Command(python, append(args, pins...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -m pip install %s, which needs pip and a package index: %w\n%s", python,
			name, err, out)
	}
	if err := os.Rename(half, dir); err != nil && !os.IsExist(err) {
		return "", err
	}
	return dir, nil
}
