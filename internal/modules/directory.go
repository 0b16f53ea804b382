package modules

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// directory is one of the operating system's as a file system. Symbolic links right in it lead wherever they lead: who put
// the directory into the search path has put them there too. Those further down came with some package, and are followed
// only while they stay in the directory, or in what the first link led to.
type directory struct {
	dir  string   // static
	root *os.Root // static

	mu    sync.Mutex // protects following
	links map[string]*os.Root
}

func openDirectory(dir string) (*directory, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &directory{dir: dir, root: root, links: map[string]*os.Root{}}, nil
}

// Place returns the path of a file.
func (d *directory) Place(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d *directory) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, err := d.root.Open(filepath.FromSlash(name))
	if err == nil {
		return f, nil
	}
	if !absent(err) {
		if f, ok := d.openLinked(name); ok {
			return f, nil
		}
	}
	return nil, err
}

// openLinked opens what is behind a link right in the directory.
func (d *directory) openLinked(name string) (fs.File, bool) {
	first, rest, below := strings.Cut(name, "/")
	if st, err := d.root.Lstat(first); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		return nil, false
	}
	if st, err := os.Stat(d.Place(first)); err == nil && st.Mode().IsRegular() && !below {
		f, err := os.Open(d.Place(first))
		return f, err == nil
	}
	root, err := d.linked(first)
	if err != nil {
		return nil, false
	}
	if !below {
		rest = "."
	}
	f, err := root.Open(filepath.FromSlash(rest))
	return f, err == nil
}

func (d *directory) linked(first string) (*os.Root, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	root, err := d.links[first], error(nil)
	if root == nil {
		if root, err = os.OpenRoot(d.Place(first)); err == nil {
			d.links[first] = root
		}
	}
	return root, err
}

// Stat looks behind all links, since it gives nothing away and costs less this way.
func (d *directory) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	return os.Stat(d.Place(name))
}

// Lstat and ReadLink look at what is in the directory, or in what a link right in it leads to.
func (d *directory) Lstat(name string) (fs.FileInfo, error) {
	root, name := d.holding(name)
	return root.Lstat(name)
}

func (d *directory) ReadLink(name string) (string, error) {
	root, name := d.holding(name)
	return root.Readlink(name)
}

func (d *directory) holding(name string) (*os.Root, string) {
	first, rest, below := strings.Cut(name, "/")
	if st, err := d.root.Lstat(first); below && err == nil && st.Mode()&fs.ModeSymlink != 0 {
		if root, err := d.linked(first); err == nil {
			return root, filepath.FromSlash(rest)
		}
	}
	return d.root, filepath.FromSlash(name)
}

func (d *directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, root := range d.links {
		root.Close()
	}
	return d.root.Close()
}
