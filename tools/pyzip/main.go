// Command pyzip appends a zip file of a directory to a program, so that Python imports from the
// program: what `mitogen python` relies on. Agents that are given too go into the directory
// mitogen_agents of the zip file, for targets without Python; each is called OS-ARCH.
//
//	pyzip DIR PROGRAM [AGENT...]
package main

import (
	"archive/zip"
	"cmp"
	"compress/flate"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: pyzip DIR PROGRAM [AGENT...]")
		os.Exit(2)
	}
	if err := appendZip(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "pyzip:", err)
		os.Exit(1)
	}
}

// appendZip appends the files of dir, and agents, to program. The same files make the same bytes.
func appendZip(dir, program string, agents []string) error {
	f, err := os.OpenFile(program, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		err = write(f, at, os.DirFS(dir), agents)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// write writes a zip file of what is Python's in files, and of agents, which begins at an offset of
// w.
func write(w io.Writer, at int64, files fs.FS, agents []string) error {
	z := zip.NewWriter(w)
	z.SetOffset(at)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		wanted := strings.HasSuffix(name, ".py") || filepath.Base(name) == "py.typed"
		if err != nil || d.IsDir() || !wanted {
			return err
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return add(z, name, b)
	})
	for _, name := range agents {
		b, e := os.ReadFile(name)
		if e == nil && err == nil {
			e = add(z, agentsDir+filepath.Base(name), b)
		}
		err = cmp.Or(err, e)
	}
	if e := z.Close(); err == nil {
		err = e
	}
	return err
}

// agentsDir is the directory that internal/cli takes agents from.
const agentsDir = "mitogen_agents/"

// add adds a file without a time.
func add(z *zip.Writer, name string, b []byte) error {
	out, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		_, err = out.Write(b)
	}
	return err
}
