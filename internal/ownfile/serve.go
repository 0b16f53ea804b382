package ownfile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Serve is a context's side of a copy: it makes the files that come, or sends those that are asked
// for. Its error is one of the streams. What can't be copied is told on the way.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	w := NewWriter(out)
	rd := newReader(in)
	kind, b, err := rd.next()
	if err != nil {
		return err
	}
	if len(b) < 4 {
		return fmt.Errorf("%w: a request has %d bytes", ErrFormat, len(b))
	}
	flags, rest := Flags(binary.BigEndian.Uint32(b)), string(b[4:])
	switch kind {
	case kindPut:
		err = servePut(w, rd, flags, rest)
	case kindGet:
		err = serveGet(ctx, w, rest)
	default:
		return fmt.Errorf("%w: a request of kind %q", ErrFormat, kind)
	}
	if err == nil {
		err = w.record(kindDone)
	}
	return errors.Join(err, w.Flush())
}

// failure says why a file was not copied. Path is as the other side is to tell it.
func (w *Writer) failure(at string, err error) {
	err = bare(err)
	var number syscall.Errno
	errors.As(err, &number)
	text := err.Error()
	if number != 0 {
		text = number.Error()
	}
	w.record(kindFailure, binary.BigEndian.AppendUint32(nil, uint32(number)),
		[]byte(at+"\x00"+text[:min(len(text), maxText)]))
}

// servePut makes files at dest.
func servePut(w *Writer, rd *reader, flags Flags, dest string) error {
	failed := func(at string, err error) {
		w.failure(at, err)
		w.Flush() // at once: the other side shows it
	}
	root, alias, err := openDest(dest, flags)
	if err != nil {
		failed(dest, err)
		return nil
	}
	defer root.Close()
	if alias != "" && flags&AskAlias != 0 {
		w.record(kindAlias)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	r := &Receiver{Root: root, Alias: alias, AllLinks: true, Special: true,
		Flags:  flags & (Preserve | Sparse | KeepAlias),
		Wanted: func(string) bool { return true }, Failed: failed}
	return r.receive(rd)
}

// openDest opens the directory where files are made. If dest is none, and need not be one, it is
// the directory above, and alias the last name. With KeepAlias it always is.
func openDest(dest string, flags Flags) (root *os.Root, alias string, err error) {
	names := splitNames(dest)
	if len(names) == 0 || flags&KeepAlias == 0 {
		root, err = openRoot(dest)
		missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
		if len(names) == 0 || !missing || flags&Into != 0 {
			return root, "", err
		}
	}
	alias = names[len(names)-1]
	root, err = openRoot(strings.TrimSuffix(strings.TrimRight(dest, "/"), alias))
	if err != nil {
		return nil, "", err
	}
	return root, alias, checkName(alias)
}

func splitNames(at string) []string {
	var names []string
	for name := range strings.SplitSeq(at, "/") {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// serveGet sends files. request is each one's path behind its length.
func serveGet(ctx context.Context, w *Writer, request string) error {
	s := &Sender{W: w, Failed: w.failure, buf: make([]byte, piece)}
	for b := []byte(request); len(b) > 0; {
		name, rest, err := parsePair(b)
		if err != nil {
			return err
		}
		b = rest
		for _, found := range matches(name) {
			if err := s.named(ctx, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// matches returns what a person has named: a file of this name, else all that fit its pattern. If
// there is none, it is the name.
func matches(pattern string) []string {
	if _, err := os.Lstat(pattern); err == nil || !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}
	}
	all, err := filepath.Glob(strings.ReplaceAll(pattern, "[!", "[^"))
	if err != nil || len(all) == 0 {
		return []string{pattern}
	}
	wanted := splitNames(pattern)
	var some []string
	for _, found := range all {
		if !hidden(wanted, splitNames(found)) {
			some = append(some, found)
		}
	}
	if len(some) == 0 {
		return []string{pattern}
	}
	return some
}

// hidden reports whether a pattern has found a name that begins with a dot, as a shell's doesn't.
func hidden(pattern, found []string) bool {
	for i := range min(len(pattern), len(found)) {
		if strings.HasPrefix(found[i], ".") && !strings.HasPrefix(pattern[i], ".") {
			return true
		}
	}
	return false
}

// named sends a file, or a directory with all that is in it. Links are followed: a person has named
// them.
func (s *Sender) named(ctx context.Context, at string) error {
	st, err := os.Stat(at)
	if err != nil {
		s.fail(at, err)
		return nil
	}
	trimmed := strings.TrimRight(at, "/")
	name := path.Base(trimmed) // of "", ".": what is in it
	if name == "." || name == ".." || trimmed == "" {
		name = ""
	}
	if !st.IsDir() {
		return s.source(ctx, Source{plainFS{}, at, name, at})
	}
	root, err := os.OpenRoot(inside(at))
	if err != nil {
		s.fail(at, err)
		return nil
	}
	defer root.Close()
	tree := &treeFS{root: root}
	defer tree.leave()
	return s.source(ctx, Source{tree, ".", name, at})
}

// plainFS has the files of this machine by their paths. Links are followed.
type plainFS struct{}

func (plainFS) Open(name string) (fs.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}

func (plainFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// treeFS has the files below a directory. No link is followed, at whatever moment names are
// exchanged: each directory is entered by its name from the one above it.
type treeFS struct {
	root  *os.Root
	below string   // the directory that is open
	dir   *os.Root // nil: none is
}

func (t *treeFS) leave() {
	if t.dir != nil && t.dir != t.root {
		t.dir.Close()
	}
	t.dir = nil
}

// maxDepth bounds the directories of a path: an engine takes 256 names.
const maxDepth = maxNames - 2

// enter opens a directory below the root.
func (t *treeFS) enter(below string) (*os.Root, error) {
	if t.dir != nil && t.below == below {
		return t.dir, nil
	}
	t.leave()
	dir := t.root
	if below != "." {
		names := strings.Split(below, "/")
		if len(names) > maxDepth {
			return nil, syscall.ENAMETOOLONG
		}
		for _, name := range names {
			next, err := openDir(dir, name)
			if dir != t.root {
				dir.Close()
			}
			if err != nil {
				return nil, err
			}
			dir = next
		}
	}
	t.dir, t.below = dir, below
	return dir, nil
}

// in opens the directory of a path, and returns it and the last name.
func (t *treeFS) in(at string) (*os.Root, string, error) {
	dir, err := t.enter(path.Dir(at))
	return dir, path.Base(at), err
}

func (t *treeFS) Open(at string) (fs.File, error) {
	dir, name, err := t.in(at)
	if err != nil {
		return nil, err
	}
	return dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_NOFOLLOW, 0)
}

func (t *treeFS) Lstat(at string) (fs.FileInfo, error) {
	dir, name, err := t.in(at)
	if err != nil {
		return nil, err
	}
	return dir.Lstat(name)
}

func (t *treeFS) Stat(at string) (fs.FileInfo, error) { return t.Lstat(at) }

func (t *treeFS) ReadLink(at string) (string, error) {
	dir, name, err := t.in(at)
	if err != nil {
		return "", err
	}
	return dir.Readlink(name)
}

func (t *treeFS) ReadDir(at string) ([]fs.DirEntry, error) {
	dir, err := t.enter(at)
	if err != nil {
		return nil, err
	}
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.ReadDir(-1)
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for i, e := range all {
		all[i] = entryOf{e, t, path.Join(at, e.Name())}
	}
	return all, err
}

// entryOf is an entry of a directory in a tree.
type entryOf struct {
	fs.DirEntry
	tree *treeFS
	at   string
}

func (e entryOf) Info() (fs.FileInfo, error) { return e.tree.Lstat(e.at) }
