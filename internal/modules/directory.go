package modules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
)

// directory is a directory of the operating system as a file system. In a directory of the user's
// own a symbolic link is followed only while it stays in the directory. In other directories, links
// right in it lead wherever they lead: site-packages are put together of such links. Links further
// down came with some package. They are followed only while they stay in the directory, or in the
// destination of the first link.
type directory struct {
	dir  string   // static
	own  bool     // static
	root *os.Root // static

	mu    sync.Mutex // protects following
	links map[string]*os.Root
}

func openDirectory(dir string, own bool) (*directory, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &directory{dir: dir, own: own, root: root, links: map[string]*os.Root{}}, nil
}

// Place returns the path of a file.
func (d *directory) Place(name string) string {
	return filepath.Join(d.dir, filepath.FromSlash(name))
}

// readOnly doesn't wait for a writer where something has put a FIFO in a file's place.
const readOnly = os.O_RDONLY | syscall.O_NONBLOCK

func (d *directory) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, err := d.root.OpenFile(filepath.FromSlash(name), readOnly, 0)
	switch {
	case err == nil:
		return f, nil
	case absent(err):
	case !d.own:
		if f, ok := d.openLinked(name); ok {
			return f, nil
		}
	case d.leadsOut(name):
		return nil, &fs.PathError{Op: "open", Path: name, Err: errLeadsOut}
	}
	return nil, err
}

// errLeadsOut is the error for a link of the user's own that isn't followed.
var errLeadsOut = errors.New("a link leads out of the search path's directory; " +
	"put where it leads into the search path")

// leadsOut reports whether name can't be reached without leaving the directory.
func (d *directory) leadsOut(name string) bool {
	if _, err := d.root.Stat(filepath.FromSlash(name)); err == nil {
		return false
	}
	_, err := d.Stat(name)
	return err == nil
}

// openLinked opens what is behind a link right in the directory.
func (d *directory) openLinked(name string) (fs.File, bool) {
	first, rest, below := strings.Cut(name, "/")
	if st, err := d.root.Lstat(first); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		return nil, false
	}
	if st, err := os.Stat(d.Place(first)); err == nil && st.Mode().IsRegular() && !below {
		f, err := os.OpenFile(d.Place(first), readOnly, 0)
		return f, err == nil
	}
	root, err := d.linked(first)
	if err != nil {
		return nil, false
	}
	if !below {
		rest = "."
	}
	f, err := root.OpenFile(filepath.FromSlash(rest), readOnly, 0)
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
	if d.own {
		return d.root, filepath.FromSlash(name)
	}
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

// rooted is a file system of os.DirFS, as a directory. Links are followed as os.DirFS follows them.
// The directory is looked up anew each time, since another one may have taken its place.
type rooted struct {
	dir string
	own bool
}

// confined returns fsys, or a file system that doesn't follow links out of it where fsys is one of
// os.DirFS.
func confined(fsys fs.FS, own bool) fs.FS {
	if dir, ok := osDir(fsys); ok {
		return rooted{dir, own}
	}
	return fsys
}

// osDir returns the directory that fsys is, if it is one of os.DirFS.
func osDir(fsys fs.FS) (dir string, ok bool) {
	v := reflect.ValueOf(fsys)
	return v.String(), v.Kind() == reflect.String && v.Type().PkgPath() == "os"
}

// Check returns why fsys can't be an Entry: it is nil, or an os.DirFS of something that is no
// directory. It doesn't read any other file system, which may take its time.
func Check(fsys fs.FS) error {
	switch v := reflect.ValueOf(fsys); v.Kind() {
	case reflect.Invalid:
		return errors.New("nil file system")
	case reflect.Pointer, reflect.Func, reflect.Interface:
		if v.IsNil() {
			return fmt.Errorf("nil %s", v.Type())
		}
	}
	dir, ok := osDir(fsys)
	if !ok {
		return nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	return err
}

// Place returns the path of a file.
func (r rooted) Place(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

func (r rooted) Open(name string) (fs.File, error) {
	d, err := openDirectory(r.dir, r.own)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Open(name)
}

func (r rooted) Stat(name string) (fs.FileInfo, error) {
	return (&directory{dir: r.dir}).Stat(name)
}

func (r rooted) Lstat(name string) (fs.FileInfo, error) {
	d, err := openDirectory(r.dir, r.own)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Lstat(name)
}

func (r rooted) ReadLink(name string) (string, error) {
	d, err := openDirectory(r.dir, r.own)
	if err != nil {
		return "", err
	}
	defer d.Close()
	return d.ReadLink(name)
}
