package mitogen_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen"
)

// A program finds itself for other platforms where mitogen build puts it; what is missing is an
// error with the remedy.
func TestBinaries(t *testing.T) {
	dir := t.TempDir()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	find := mitogen.Binaries(dir)
	name := filepath.Join(dir, filepath.Base(path)+"-linux-arm64")
	if err := os.WriteFile(name, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	if b, err := find("linux", "arm64"); string(b) != "binary" || err != nil {
		t.Errorf("linux/arm64: got %q, %v, want what is in %s", b, err, name)
	}
	b, err := find("linux", "s390x")
	if b != nil || !errors.Is(err, fs.ErrNotExist) ||
		!strings.Contains(err.Error(), "mitogen build --package PACKAGE -o "+dir+" linux/s390x") {
		t.Errorf("linux/s390x: got %q, %v, want an error with the remedy", b, err)
	}
}
