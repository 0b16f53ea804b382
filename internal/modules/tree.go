package modules

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// tree is an Entry, and what is known of its directories and files.
type tree struct {
	Entry

	mu    sync.Mutex // protects following
	dirs  map[string]*listing
	files map[string]*file
	tops  map[string][]string // top-level modules of distributions

	missing int // of dirs, those that weren't there
}

func newTree(e Entry) *tree {
	e.FS = confined(e.FS, e.Own)
	return &tree{Entry: e, dirs: map[string]*listing{}, files: map[string]*file{},
		tops: map[string][]string{}}
}

// listing is a directory, read. Its mutex is held while it is: others who want it wait for that and don't read it again.
type listing struct {
	mu      sync.Mutex // protects following
	checked uint64     // the pass
	stamp   stamp
	items   map[string]item
	err     error
	missing bool // it wasn't there once, and is remembered; protected by tree.mu
}

// file is a module, read. Its mutex is held while it is.
type file struct {
	mu      sync.Mutex // protects following
	checked uint64     // the pass
	stamp   stamp
	module  *Module // nil: not read
}

// item is what a name stands for in a directory.
type item struct {
	dir, source, bytecode bool
	native                string // the file of an extension module
}

// choose says which file of a name is the module. Source beside an extension module is what that was compiled from,
// or its fallback: it is the one of the two that can be sent.
func (i item) choose(t *tree, name string) found {
	switch {
	case i.source:
		return found{letter: Plain, tree: t, file: name + ".py"}
	case i.native != "":
		return found{letter: Missing, reason: join(path.Dir(name), i.native) + " is an extension module, which can't be sent"}
	case i.bytecode:
		return found{letter: Missing, reason: name + ".pyc is bytecode without a source, which can't be sent"}
	}
	return found{}
}

// list returns what is in a directory, as it was in pass n or later. One that isn't there is empty.
func (t *tree) list(dir string, n uint64) (map[string]item, error) {
	t.mu.Lock()
	l := t.dirs[dir]
	if l == nil {
		l = &listing{}
		t.dirs[strings.Clone(dir)] = l // which may be a part of a long name
	}
	t.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checked >= n {
		return l.items, l.err
	}
	st, err := fs.Stat(t.FS, dir)
	if err == nil && l.items != nil && l.stamp.holds(st) {
		l.checked = n
		return l.items, nil
	}
	l.items, l.err, l.checked = nil, err, n
	if err == nil {
		l.stamp = newStamp(st)
		l.items, l.err = t.read(dir)
	}
	if l.items == nil {
		t.forget(dir, l)
	}
	if absent(l.err) {
		l.err = nil
	}
	return l.items, l.err
}

// Of directories that aren't there so many are remembered, of names that are so long: contexts ask
// for names without end.
const (
	maxMissing     = 4096
	maxMissingName = 256 // bytes
)

// forget forgets a directory that isn't there, if it has to.
func (t *tree) forget(dir string, l *listing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !l.missing && len(dir) <= maxMissingName && t.missing < maxMissing {
		l.missing = true
		t.missing++
	}
	if !l.missing && t.dirs[dir] == l {
		delete(t.dirs, dir)
	}
}

// read lists a directory.
func (t *tree) read(dir string) (map[string]item, error) {
	entries, err := fs.ReadDir(t.FS, dir)
	if err != nil {
		return nil, err
	}
	items := make(map[string]item, len(entries))
	for _, e := range entries {
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			mode = t.follow(join(dir, e.Name()))
		}
		stem, suffix, _ := strings.Cut(e.Name(), ".")
		i := items[stem]
		switch {
		case mode.IsDir() && suffix == "":
			i.dir = true
		case !mode.IsRegular():
			continue
		case suffix == "py":
			i.source = true
		case suffix == "pyc":
			i.bytecode = true
		case native("." + suffix):
			i.native = e.Name()
		default:
			continue
		}
		items[stem] = i
	}
	return items, nil
}

// native says whether a file of this suffix is an extension module: .so, .abi3.so, .cpython-313-x86_64-linux-gnu.so
func native(suffix string) bool {
	return strings.HasSuffix(suffix, ".so") || strings.HasSuffix(suffix, ".pyd")
}

// follow returns the type of what a symbolic link leads to. Where it may not lead there, this is found out when it is
// opened, and reported then.
func (t *tree) follow(name string) fs.FileMode {
	st, err := fs.Stat(t.FS, name)
	switch {
	case err == nil:
		return st.Mode().Type()
	case absent(err):
		return fs.ModeIrregular
	case path.Ext(name) == "":
		return fs.ModeDir
	}
	return 0
}

// load returns the module in a file, as it was in pass n or later: what make makes of its source, or failed of an error.
func (t *tree) load(name string, n uint64, make func([]byte) *Module, failed func(error) *Module) *Module {
	f := t.file(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.module != nil && f.checked < n {
		if st, err := fs.Stat(t.FS, name); err == nil && f.stamp.holds(st) {
			f.checked = n
		}
	}
	if f.module != nil && f.checked >= n {
		return f.module
	}
	source, st, err := read(t.FS, name)
	if err != nil {
		f.module = nil
		return failed(err)
	}
	m := make(source)
	if f.module == nil || f.module.Key != m.Key {
		f.module = m
	}
	f.stamp, f.checked = newStamp(st), n
	return f.module
}

// builtin returns one of our own modules, which is as small as it can be.
func (t *tree) builtin(name string, source []byte) *Module {
	f := t.file(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.module == nil {
		m := &Module{Name: name, Path: "<" + name + ">", Letter: Plain, Source: source, Size: len(source), Own: true}
		info, err := pysource.Scan(source)
		m.Info, m.Scanned = info, err == nil
		f.module = m.seal()
	}
	return f.module
}

func (t *tree) file(name string) *file {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[name]
	if f == nil {
		f = &file{}
		t.files[name] = f
	}
	return f
}

// placed is a file system that knows where its files are.
type placed interface{ Place(name string) string }

// label names a file for tracebacks.
func (t *tree) label(name string) string {
	if p, ok := t.FS.(placed); ok {
		return p.Place(name)
	}
	return name
}

// settled is the age from which a file's time tells apart all changes: clocks of file systems are that coarse.
const settled = 2 * time.Second

// stamp tells whether a file or directory has changed.
type stamp struct {
	size  int64
	mod   time.Time
	fresh bool // it had just been changed: the next change may not show
}

func newStamp(st fs.FileInfo) stamp {
	mod := st.ModTime()
	return stamp{st.Size(), mod, time.Since(mod) < settled}
}

func (s stamp) holds(st fs.FileInfo) bool {
	return !s.fresh && s.size == st.Size() && s.mod.Equal(st.ModTime())
}

// tooLarge is the error for a module of more than MaxSource.
type tooLarge string

func (e tooLarge) Error() string {
	return fmt.Sprintf("%s is larger than %d bytes", string(e), MaxSource)
}

func read(fsys fs.FS, name string) ([]byte, fs.FileInfo, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !st.Mode().IsRegular():
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a file")}
	case st.Size() > MaxSource:
		return nil, nil, tooLarge(name)
	}
	source := make([]byte, st.Size())
	n, err := io.ReadFull(f, source)
	if err == io.ErrUnexpectedEOF { // it has just become shorter
		err = nil
	}
	return source[:n], st, err
}

// absent says whether an error means that a file isn't there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.ENOTDIR)
}

// short says whether an error means that nothing can be read now, whatever there is.
func short(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
