package testpython

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const blind = `#!/bin/sh
# blind DIRECTORY... -- COMMAND...: executes a command where directories are empty, in mounts of its
# own.
if [ "$1" != alone ]; then
	exec unshare -m --propagation private "$0" alone "$@"
fi
shift
cd /
while [ "$1" != -- ]; do
	mount -t tmpfs -o ro none "$1" || exit 126
	shift
done
shift
exec "$@"
`

// Blind returns the beginning of a command, with a blank at its end, for an interpreter or a shell
// that sees nothing in directories of this machine: a target that doesn't share the engine's disk,
// as a test needs it that is to show that files come from the engine. Where that takes root, and
// this isn't, it is "env ".
func Blind(t testing.TB, dirs ...string) string {
	t.Helper()
	if _, err := exec.LookPath("unshare"); err != nil || os.Getuid() != 0 {
		return "env "
	}
	name := filepath.Join(t.TempDir(), "blind")
	if err := os.WriteFile(name, []byte(blind), 0o755); err != nil {
		t.Fatal(err)
	}
	words := name + " "
	for _, dir := range dirs {
		words += dir + " "
	}
	return words + "-- "
}
