package modules

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mounts is a file system of modules that are elsewhere, by where they are in it: foo/bar, or
// foo/bar.py. Directories that are only on the way to them can be listed, but not opened.
type mounts map[string]mounted

// mounted is a package, or one file.
type mounted struct {
	in   *roomed
	name string
}

// add makes module name what is at file, which lacks the suffix: a package's directory, or source.
// The first one wins.
func (m mounts) add(name, file string) error {
	at, dir, base := strings.ReplaceAll(name, ".", "/"), file, "."
	if st, err := os.Stat(file); err != nil || !st.IsDir() {
		if _, err := os.Stat(file + ".py"); err != nil {
			return err
		}
		at, dir, base = at+".py", filepath.Dir(file), filepath.Base(file)+".py"
	}
	if _, known := m[at]; known {
		return fs.ErrExist
	}
	d, err := openDirectory(dir, false)
	if err == nil {
		err = m.put(at, d, base)
	}
	return err
}

func (m mounts) put(at string, d *directory, base string) error {
	r, err := newRoomed(d)
	if err != nil {
		d.Close()
		return err
	}
	m[at] = mounted{r, base}
	return nil
}

// resolve returns the innermost place that name is in, and its name there. nil: it is in none.
func (m mounts) resolve(name string) (*roomed, string) {
	for at := name; fs.ValidPath(at) && at != "."; at = path.Dir(at) {
		if e, ok := m[at]; ok {
			return e.in, path.Join(e.name, strings.TrimPrefix(name[len(at):], "/"))
		}
	}
	return nil, ""
}

// Place returns the path of a file.
func (m mounts) Place(name string) string {
	if d, inside := m.resolve(name); d != nil {
		return d.Place(inside)
	}
	return name
}

func (m mounts) Open(name string) (fs.File, error) {
	if d, inside := m.resolve(name); d != nil {
		return d.Open(inside)
	}
	err := fs.ErrNotExist
	if len(m.children(name)) > 0 {
		err = errors.ErrUnsupported
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: err}
}

func (m mounts) Stat(name string) (fs.FileInfo, error) {
	if d, inside := m.resolve(name); d != nil {
		return d.Stat(inside)
	}
	if len(m.children(name)) == 0 {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return wayInfo(path.Base(name)), nil
}

func (m mounts) ReadDir(name string) ([]fs.DirEntry, error) {
	children := m.children(name)
	if d, inside := m.resolve(name); d != nil {
		entries, err := fs.ReadDir(d, inside)
		return append(entries, children...), err
	}
	if len(children) == 0 {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return children, nil
}

// children returns the entries of dir that mounts in it, or further down, add.
func (m mounts) children(dir string) []fs.DirEntry {
	names := map[string]fs.DirEntry{}
	for at, e := range m {
		rest := at
		if dir != "." {
			var ok bool
			if rest, ok = strings.CutPrefix(at, dir+"/"); !ok {
				continue
			}
		}
		first, _, below := strings.Cut(rest, "/")
		if info, err := e.in.Stat(e.name); err == nil && !below && !info.IsDir() {
			names[first] = renamed{fs.FileInfoToDirEntry(info), first}
		} else {
			names[first] = fs.FileInfoToDirEntry(wayInfo(first))
		}
	}
	return slices.Collect(maps.Values(names))
}

func (m mounts) Close() error {
	for _, e := range m {
		e.in.Close()
	}
	return nil
}

// renamed is an entry under another name.
type renamed struct {
	fs.DirEntry
	name string
}

func (r renamed) Name() string { return r.name }

// wayInfo is the name of a directory that exists nowhere.
type wayInfo string

func (w wayInfo) Name() string     { return string(w) }
func (wayInfo) Size() int64        { return 0 }
func (wayInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (wayInfo) ModTime() time.Time { return time.Time{} }
func (wayInfo) IsDir() bool        { return true }
func (wayInfo) Sys() any           { return nil }
