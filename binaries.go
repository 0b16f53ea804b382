package mitogen

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Binaries returns a function for Options.Binary that takes this program for other platforms from a
// directory: the file NAME-GOOS-GOARCH, as "mitogen build --package" makes it. NAME is the name of
// this program's file, without such an end of its own.
func Binaries(dir string) func(goos, goarch string) ([]byte, error) {
	return func(goos, goarch string) ([]byte, error) {
		path, err := os.Executable()
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(path), "-"+runtime.GOOS+"-"+runtime.GOARCH)
		file := filepath.Join(dir, name+"-"+goos+"-"+goarch)
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: make it by mitogen build --package PACKAGE -o %s %s/%s", err, dir,
				goos, goarch)
		}
		return b, err
	}
}
