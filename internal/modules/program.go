package modules

import (
	"archive/zip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// ProgramDirs returns dir, where the file of a program's source is, and the directories and zip
// files that the source, and the modules beside it that it imports, put on sys.path: in the order
// in which Python looks there. It reads expressions of __file__ and the like
// (pysource.ReadSearchPath); what leads to neither is left out.
func ProgramDirs(dir string, source []byte) (dirs []string) {
	p := pysource.ReadSearchPath(source)
	info, _ := pysource.Scan(source) // a source in error is told of where it is run
	for _, i := range info.Imports {
		if i.Level != 0 || i.Module == "" {
			continue
		}
		if text, err := readRegular(filepath.Join(dir, i.Module+".py")); err == nil {
			more := pysource.ReadSearchPath(text)
			p.Before, p.Behind = append(p.Before, more.Before...), append(p.Behind, more.Behind...)
		}
	}
	for _, name := range append(append(p.Before, "."), p.Behind...) {
		place := filepath.Join(dir, filepath.FromSlash(name))
		if (name == "." || holdsModules(place)) && !slices.Contains(dirs, place) {
			dirs = append(dirs, place)
		}
	}
	return dirs
}

// holdsModules reports whether place is a directory or a zip file.
func holdsModules(place string) bool {
	st, err := os.Stat(place)
	if err != nil || st.IsDir() || !st.Mode().IsRegular() {
		return err == nil && st.IsDir()
	}
	z, err := zip.OpenReader(place)
	if err != nil {
		return false
	}
	z.Close()
	return true
}

// maxBeside bounds a file that is read beside a program, in bytes.
const maxBeside = 4 << 20

// readRegular reads a regular file. It waits for nothing.
func readRegular(name string) ([]byte, error) {
	f, err := os.OpenFile(name, readOnly, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > maxBeside {
		return nil, errors.Join(err, fs.ErrInvalid)
	}
	return io.ReadAll(io.LimitReader(f, maxBeside))
}
