package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// rootDir is kept from run to run: it takes half a minute to make.
const rootDir = "/var/tmp/mitogen-lab-root"

// Root returns a directory with a small system, Python 3 in it, made by debootstrap: for chroot and
// containers. Tests must leave it as it is. It skips the test where that can't be had.
func Root(t testing.TB) string {
	t.Helper()
	Need(t)
	if _, err := exec.LookPath("debootstrap"); err != nil {
		t.Skip("a root filesystem needs debootstrap")
	}
	l, err := lock(filepath.Dir(rootDir), syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stat(filepath.Join(rootDir, "usr/bin/python3")); err == nil {
		return rootDir
	}
	draft := rootDir + ".new"
	if err := os.RemoveAll(draft); err != nil {
		t.Fatal(err)
	}
	if err := run("", "debootstrap", "--variant=minbase", "--include=python3-minimal", "stable",
		draft); err != nil {
		t.Skipf("no root filesystem: the distribution's mirror isn't reached: %v", err)
	}
	if err := os.Rename(draft, rootDir); err != nil {
		t.Fatal(err)
	}
	return rootDir
}
