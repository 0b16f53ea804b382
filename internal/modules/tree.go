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
	files map[use]*file
	tops  map[string][]string // top-level modules of distributions
	dists map[string]*distOutline

	wheels wheels // guards itself

	missing int // of dirs, those that weren't there
}

func newTree(e Entry) *tree {
	e.FS = confined(e.FS, e.Own)
	return &tree{Entry: e, dirs: map[string]*listing{}, files: map[use]*file{},
		tops: map[string][]string{}, dists: map[string]*distOutline{}}
}

// listing is a directory, read. Its mutex is held while it is read: other goroutines that want it
// wait for that and don't read it again.
type listing struct {
	mu      sync.Mutex // protects following
	checked uint64     // the pass
	stamp   stamp
	items   map[string]item
	err     error
	missing bool // it wasn't there once, and is remembered; protected by tree.mu
}

// use is a file and what it is used as: one may be an extension module, a library and a package's
// data at once.
type use struct {
	file   string
	letter byte
	name   string
	set    string // what wheels have brought, where that counts
}

// file is a module, read. Its mutex is held while it is.
type file struct {
	mu      sync.Mutex // protects following
	checked uint64     // the pass
	stamp   stamp
	set     string  // of its use
	module  *Module // nil: not read
}

// item describes the files that a name stands for in a directory.
type item struct {
	dir, source, bytecode bool
	natives               []string // files of extension modules
}

// loads reports whether there is a file that is the module.
func (i item) loads() bool { return i.source || len(i.natives) > 0 }

// choose says which file of a name is the module. An extension module was compiled from the source
// beside it, or has it as a fallback: of the two, the source fits every target, unless it is for a
// compiler alone (Pass.compiled).
func (i item) choose(t *tree, name string) found {
	switch {
	case i.source:
		return found{letter: Plain, tree: t, file: name + ".py", natives: i.natives}
	case len(i.natives) > 0:
		return found{letter: Native, tree: t, file: join(path.Dir(name), i.natives[0]),
			natives: i.natives}
	case i.bytecode:
		return found{letter: Missing,
			reason: name + ".pyc can't be sent: it is bytecode without a source"}
	}
	return found{}
}

// list returns the entries of a directory, as they were in pass n or later. A missing directory is
// empty.
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
		case isNative("." + suffix):
			i.natives = append(i.natives, e.Name())
		default:
			continue
		}
		items[stem] = i
	}
	return items, nil
}

// isNative says whether a file of this suffix is an extension module: .so, .abi3.so,
// .cpython-313-x86_64-linux-gnu.so
func isNative(suffix string) bool {
	return strings.HasSuffix(suffix, ".so") || strings.HasSuffix(suffix, ".pyd")
}

// follow returns the type of what a symbolic link leads to. Where it may not lead there, this is
// found out when it is opened, and reported then.
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

// load returns the module that u is, as it was in pass n or later: what make makes of its source,
// or failed of an error.
func (t *tree) load(u use, n uint64, make func([]byte) *Module,
	failed func(error) *Module) *Module {
	return t.loadUpTo(MaxSource, u, n, make, failed)
}

// loadUpTo is load for files of at most limit bytes.
func (t *tree) loadUpTo(limit int64, u use, n uint64, make func([]byte) *Module,
	failed func(error) *Module) *Module {
	f := t.file(u)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set != u.set {
		f.checked = 0
		f.stamp.fresh = true
	}
	if f.module != nil && f.checked < n {
		if st, err := fs.Stat(t.FS, u.file); err == nil && f.stamp.holds(st) {
			f.checked = n
		}
	}
	if f.module != nil && f.checked >= n {
		return f.module
	}
	source, st, err := readUpTo(t.FS, u.file, limit)
	if err != nil {
		f.module = nil
		return failed(err)
	}
	m := make(source)
	if f.module == nil || f.module.Key != m.Key {
		f.module = m
	}
	f.stamp, f.checked, f.set = newStamp(st), n, u.set
	return f.module
}

// drop has the module that u is made anew, if it is still m.
func (t *tree) drop(u use, m *Module) {
	f := t.file(u)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.module == m {
		f.module = nil
	}
}

// builtin returns one of our own modules, which is as small as it can be.
func (t *tree) builtin(name string, source []byte) *Module {
	f := t.file(use{file: name})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.module == nil {
		m := &Module{Name: name, Path: "<" + name + ">", Letter: Plain, Source: source, Code: source,
			Size: len(source),
			Own:  true}
		info, err := pysource.Scan(source)
		m.Info, m.Scanned = info, err == nil
		f.module = m.seal()
	}
	return f.module
}

func (t *tree) file(u use) *file {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := u
	key.set = "" // one at a time
	f := t.files[key]
	if f == nil {
		f = &file{}
		t.files[key] = f
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

// settled is the age from which a file's time tells apart all changes: clocks of file systems are
// that coarse.
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

// tooLarge is the error for a file of more bytes than may be sent.
type tooLarge struct {
	name  string
	limit int64
	size  int64
}

func (e tooLarge) Error() string {
	return fmt.Sprintf("%s is larger than %d bytes", e.name, e.limit)
}

func read(fsys fs.FS, name string) ([]byte, fs.FileInfo, error) {
	return readUpTo(fsys, name, MaxSource)
}

func readUpTo(fsys fs.FS, name string, limit int64) ([]byte, fs.FileInfo, error) {
	f, st, err := openRegular(fsys, name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if st.Size() > limit {
		return nil, nil, tooLarge{name, limit, st.Size()}
	}
	source := make([]byte, st.Size())
	n, err := io.ReadFull(f, source)
	if err == io.ErrUnexpectedEOF { // it has just become shorter
		err = nil
	}
	return source[:n], st, err
}

// openRegular opens a file that is nothing else: to read a FIFO may take for ever.
func openRegular(fsys fs.FS, name string) (fs.File, fs.FileInfo, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: errors.New("not a file")}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

// absent says whether an error means that a file isn't there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) ||
		errors.Is(err, syscall.ENOTDIR)
}

// short says whether an error means that nothing can be read now, whatever there is.
func short(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOMEM)
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
