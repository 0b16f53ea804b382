// Package modules finds Python modules for LOAD_MODULE: docs/protocol.md, section 3.
package modules

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"unicode"
)

// Limits of what is served.
const (
	MaxName   = 255      // bytes of a dotted name
	MaxSource = 16 << 20 // bytes of one module
)

// Letters say what a module is.
const (
	Plain     = 'm'
	Package   = 'p'
	Namespace = 'n' // a package without __init__
	Missing   = '-'
)

// Module is the answer to the question for a module.
type Module struct {
	Name   string
	Path   string // for tracebacks; no file is opened by it
	Letter byte
	Rest   []byte // zlib of the source, or the reason why there is none; not to be changed
}

// Finder looks modules up. It may be used by several goroutines at once.
type Finder struct {
	path    []fs.FS
	builtin func(name string) ([]byte, bool)

	mu         sync.Mutex
	compressed map[[sha256.Size]byte][]byte
}

// New returns a Finder over path, first match first. builtin knows the modules of our own, which nothing in path can
// take the place of.
func New(path []fs.FS, builtin func(name string) (source []byte, ok bool)) *Finder {
	return &Finder{path: path, builtin: builtin, compressed: map[[sha256.Size]byte][]byte{}}
}

// Find returns the module called name. Where there is none, or it can't be sent, the answer is of letter Missing
// with the reason. It reads files.
func (f *Finder) Find(name string) Module {
	if why := check(name); why != "" {
		return missing(name, why)
	}
	if source, ok := f.builtin(name); ok {
		return f.module(name, "<"+name+">", Plain, source)
	}
	file := strings.ReplaceAll(name, ".", "/")
	namespace, native := "", ""
	for _, fsys := range f.path {
		for _, c := range []struct {
			file   string
			letter byte
		}{{file + "/__init__.py", Package}, {file + ".py", Plain}} {
			source, err := read(fsys, c.file)
			if err == nil {
				return f.module(name, label(fsys, c.file), c.letter, source)
			}
			if why := unreadable(err); why != "" {
				return missing(name, why)
			}
		}
		if native == "" {
			native = extension(fsys, file)
		}
		if st, err := fs.Stat(fsys, file); err == nil && st.IsDir() && namespace == "" {
			namespace = label(fsys, file)
		}
	}
	switch {
	case native != "":
		return missing(name, fmt.Sprintf("%s is an extension module, which can't be sent", native))
	case namespace != "":
		return Module{Name: name, Path: namespace, Letter: Namespace}
	}
	return missing(name, "not in the search path of the engine either")
}

// With returns what must be sent so that name can be imported: its packages, outermost first, then itself. Nothing
// where it can't be found here.
func (f *Finder) With(name string) []Module {
	if check(name) != "" {
		return nil
	}
	var all []Module
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			continue
		}
		m := f.Find(name[:i])
		if m.Letter == Missing {
			return nil
		}
		all = append(all, m)
	}
	return all
}

func missing(name, why string) Module {
	return Module{Name: name, Letter: Missing, Rest: []byte(why)}
}

// check says what is wrong with a name: nothing but dotted identifiers gets as far as a file system.
func check(name string) string {
	if len(name) > MaxName {
		return "module name is too long"
	}
	for part := range strings.SplitSeq(name, ".") {
		if !identifier(part) {
			return fmt.Sprintf("%q is no module name", name)
		}
	}
	return ""
}

func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.IsMark(r)) {
			return false
		}
	}
	return s != ""
}

// tooLarge is the error for a module of more than MaxSource.
type tooLarge string

func (e tooLarge) Error() string {
	return fmt.Sprintf("%s is larger than %d bytes", string(e), MaxSource)
}

func read(fsys fs.FS, name string) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	if st.Size() > MaxSource {
		return nil, tooLarge(name)
	}
	return fs.ReadFile(fsys, name)
}

// unreadable is the reason why a file that is there can't be served; empty: it isn't there.
func unreadable(err error) string {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.ENOTDIR) {
		return ""
	}
	return err.Error()
}

// label names a file for tracebacks. What os.DirFS returns is its directory's name.
func label(fsys fs.FS, name string) string {
	if v := reflect.ValueOf(fsys); v.Kind() == reflect.String {
		return path.Join(v.String(), name)
	}
	return name
}

// extension returns the file of a compiled module, or nothing.
func extension(fsys fs.FS, file string) string {
	entries, err := fs.ReadDir(fsys, path.Dir(file))
	if err != nil {
		return ""
	}
	prefix := path.Base(file) + "."
	for _, e := range entries {
		n := e.Name()
		if strings.HasPrefix(n, prefix) && (strings.HasSuffix(n, ".so") || strings.HasSuffix(n, ".pyd")) {
			return path.Join(path.Dir(file), n)
		}
	}
	return ""
}

func (f *Finder) module(name, path string, letter byte, source []byte) Module {
	return Module{name, path, letter, f.compress(source)}
}

// compress returns source as zlib, once per content.
func (f *Finder) compress(source []byte) []byte {
	key := sha256.Sum256(source)
	f.mu.Lock()
	b, ok := f.compressed[key]
	f.mu.Unlock()
	if ok {
		return b
	}
	var buf bytes.Buffer
	w, err := zlib.NewWriterLevel(&buf, zlib.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(source) // to memory: no error
	w.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compressed[key] = buf.Bytes()
	return buf.Bytes()
}
