package modules

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Path is a search path that is being put together. The zero value is empty. What is in it stays
// open until Close.
type Path struct {
	Entries []Entry

	files []io.Closer
	seen  map[string]bool
}

// Add adds a directory, a zip file or egg, or a directory in one of these: as Python takes the
// elements of sys.path. A zip file is read as it is now, even if another one takes its place later.
func (p *Path) Add(place string, own bool) error {
	st, err := os.Stat(place)
	switch {
	case err == nil && st.IsDir():
		d, err := openDirectory(place, own)
		if err != nil {
			return err
		}
		r, err := newRoomed(d)
		if err != nil {
			d.Close()
			return err
		}
		p.add(r, r, own)
		return nil
	case err == nil && !st.Mode().IsRegular():
		return fmt.Errorf("%s is neither a directory nor a zip file", place)
	case err == nil || absent(err):
		return p.addZip(place, own)
	}
	return err
}

func (p *Path) add(f fs.FS, c io.Closer, own bool) {
	p.Entries = append(p.Entries, Entry{FS: f, Own: own})
	p.files = append(p.files, c)
}

// addZip adds a zip file, or the directory in a zip file that place names.
func (p *Path) addZip(place string, own bool) error {
	_, missing := os.Stat(place)
	file, inside := place, "."
	for {
		st, err := os.Stat(file)
		if err == nil && st.Mode().IsRegular() {
			break
		}
		up := filepath.Dir(file)
		if err == nil || up == file {
			return missing
		}
		inside = filepath.Join(filepath.Base(file), inside)
		file = up
	}
	r, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("%s is neither a directory nor a zip file", file)
	}
	z := zipFile{r, place}
	if inside = filepath.ToSlash(inside); inside != "." {
		st, err := fs.Stat(r, inside)
		if err == nil && st.IsDir() {
			z.FS, err = fs.Sub(r, inside)
		} else {
			err = &fs.PathError{Op: "open", Path: place, Err: fs.ErrNotExist}
		}
		if err != nil {
			r.Close()
			return err
		}
	}
	p.add(z, r, own)
	return nil
}

// zipFile is a zip file or a directory in it.
type zipFile struct {
	fs.FS
	place string
}

// Place returns the path that Python gives a file.
func (z zipFile) Place(name string) string {
	return filepath.Join(z.place, filepath.FromSlash(name))
}

// Close closes what was opened. The entries can't be used after that.
func (p *Path) Close() error {
	var all []error
	for _, f := range p.files {
		all = append(all, f.Close())
	}
	p.files, p.Entries = nil, nil
	return errors.Join(all...)
}
