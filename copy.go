package mitogen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/engine"
	"github.com/mitogen-go/mitogen/internal/ownfile"
)

// ErrIncomplete is the error of a copy that has gone to its end, but for files that
// CopyOptions.Failed was told of.
var ErrIncomplete = errors.New("some files were not copied")

// CopyTotals counts what was copied. A Put counts all that was sent, whatever became of that there.
type CopyTotals struct {
	Files, Dirs, Links int
	Bytes              int64 // of files
	Failed             int   // files, and directories with what is in them, that weren't copied
}

// FileError says why a file was not copied, or a directory with what is in it. If the context has
// said so, Path and the text are hostile.
type FileError struct {
	Path    string
	Context *Context // that the file was not copied to, or from

	// Err matches fs.ErrNotExist, fs.ErrPermission and fs.ErrExist, whichever side has failed, and
	// numbers that systems share, such as syscall.ENOSPC.
	Err error
}

func (e *FileError) Error() string { return e.Path + ": " + e.Err.Error() }

func (e *FileError) Unwrap() error { return e.Err }

// CopyOptions are for Put and Get. The zero value copies contents: a new file has the mode of its
// source as far as the umask lets it, an old one keeps its own.
type CopyOptions struct {
	Preserve bool // modes and times are those of the source
	Sparse   bool // long runs of zeros take no room on the disk

	// AllLinks has Get make symbolic links that lead out of the destination. Without it they are
	// failures. Links below the destination are never followed.
	AllLinks bool

	// Failed is told why a file was not copied. All that can be copied is. Failed is called from any
	// goroutine, by one at a time. Nil: CopyTotals.Failed alone says that there were such files.
	Failed func(*FileError)

	// Progress is told what has been read (Put) or written (Get) so far, often, and is to return
	// at once. Nil: nothing is told.
	Progress func(CopyTotals)
}

func (o *CopyOptions) flags() (f ownfile.Flags) {
	if o.Preserve {
		f |= ownfile.Preserve
	}
	if o.Sparse {
		f |= ownfile.Sparse
	}
	return f
}

// putFlags are those of a put to dest.
func (o *CopyOptions) putFlags(dest string, sources []ownfile.Source) ownfile.Flags {
	flags := o.flags()
	if len(sources) != 1 || strings.HasSuffix(dest, "/") || sources[0].Name == "" {
		flags |= ownfile.Into
	}
	return flags
}

// progress is Progress for package ownfile.
func (o *CopyOptions) progress() func(ownfile.Totals) {
	if o.Progress == nil {
		return nil
	}
	return func(t ownfile.Totals) { o.Progress(CopyTotals(t)) }
}

// Put copies files and directories of this machine to dest in c. If dest is a directory, they are
// put into that; else a single one gets the name dest. A link that is named is followed, and those
// below are copied as links. Relative names begin in the working directory of either side.
//
// A file takes the place of an old one at once when all of it has arrived: whatever happens, there
// is the old file or the new one. Links on the way to dest are followed if they are root's or the
// account's own; none is followed below dest.
//
// Files that can't be copied are told to o.Failed, and the error is then ErrIncomplete; a different
// one is as Cmd.Run's. When ctx ends, the copy does.
func (c *Context) Put(
	ctx context.Context,
	dest string,
	o CopyOptions,
	src ...string,
) (CopyTotals, error) {
	return c.put(ctx, dest, o, localSources(src), 0)
}

func localSources(names []string) []ownfile.Source {
	sources := make([]ownfile.Source, 0, len(names))
	for _, name := range names {
		sources = append(sources, localSource(name))
	}
	return sources
}

// PutFS is Put for files of fsys, by names as package fs has them.
func (c *Context) PutFS(
	ctx context.Context,
	dest string,
	o CopyOptions,
	fsys fs.FS,
	names ...string,
) (CopyTotals, error) {
	if fsys == nil {
		return CopyTotals{}, errors.New("put from no file system")
	}
	sources := make([]ownfile.Source, 0, len(names))
	for _, name := range names {
		s := ownfile.Source{FS: fsys, Path: name, Name: topName(name), Label: name}
		sources = append(sources, s)
	}
	return c.put(ctx, dest, o, sources, 0)
}

// localSource is a file of this machine. A link that a person has named is the file that it leads
// to.
func localSource(name string) ownfile.Source {
	s := ownfile.Source{Path: ".", Name: topName(filepath.ToSlash(name)), Label: name}
	real, err := filepath.EvalSymlinks(name)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		s.FS = missingFS{err}
		return s
	}
	s.FS, s.Path = ownfile.Dir(filepath.Dir(real)), filepath.Base(real)
	if real == filepath.Dir(real) {
		s.Path = "."
	}
	return s
}

// missingFS has nothing but an error.
type missingFS struct{ err error }

func (m missingFS) Open(string) (fs.File, error) { return nil, m.err }

// topName returns what a source is called at the destination. "": what is in it goes there.
func topName(name string) string {
	switch base := path.Base(name); base { // not of the cleaned name: "dir/." is what is in dir
	case ".", "..", "/":
		return ""
	default:
		return base
	}
}

func (c *Context) put(
	ctx context.Context,
	dest string,
	o CopyOptions,
	sources []ownfile.Source,
	further ownfile.Flags,
) (CopyTotals, error) {
	if slices.ContainsFunc(sources, func(s ownfile.Source) bool { return s.Label == "" }) {
		return CopyTotals{}, errNoName
	}
	cp, err := c.copying(ctx, "put", &o)
	if err != nil {
		return CopyTotals{}, err
	}
	defer cp.close()
	refused := make(chan error, 1)
	go func() {
		refused <- ownfile.Refusals(cp, cp.failed, nil)
	}()
	w := ownfile.NewWriter(cp)
	s := ownfile.Sender{W: w, Failed: cp.failed, Sent: o.progress()}
	if err = w.Put(o.putFlags(dest, sources)|further, dest); err == nil {
		err = s.Send(cp.ctx, sources)
	}
	if told := <-refused; told != nil || cp.ctx.Err() != nil {
		return cp.end(s.Totals, cp.why(told))
	}
	if cp.failures() > 0 {
		err = nil // it has ended before it had taken all, and said why
	}
	return cp.end(s.Totals, err)
}

// Get copies files and directories of c to dest on this machine, as Put does the other way. A name
// that no file has may be a pattern, as a shell's.
//
// The context is not trusted: it can make nothing outside of dest, has only those names on top that
// were asked for, and no file that Get makes has a set-user-ID bit.
func (c *Context) Get(
	ctx context.Context,
	dest string,
	o CopyOptions,
	src ...string,
) (CopyTotals, error) {
	if slices.Contains(src, "") {
		return CopyTotals{}, errNoName
	}
	root, alias, err := destination(dest, src)
	if err != nil {
		return CopyTotals{}, err
	}
	defer root.Close()
	cp, err := c.copying(ctx, "get", &o)
	if err != nil {
		return CopyTotals{}, err
	}
	defer cp.close()
	r := ownfile.Receiver{Root: root, Alias: alias, Wanted: wanted(src), Flags: o.flags(),
		AllLinks: o.AllLinks, Failed: cp.failed, Got: o.progress()}
	if err = ownfile.NewWriter(cp).Get(o.flags(), src); err == nil {
		err = r.Receive(cp)
	}
	if err != nil {
		err = cp.why(err)
	}
	return cp.end(r.Totals, err)
}

// destination opens the directory that files are made in. alias is the name that the only one is
// to have, if dest isn't a directory.
func destination(dest string, src []string) (root *os.Root, alias string, err error) {
	if st, err := os.Stat(dest); err == nil && st.IsDir() {
		root, err := os.OpenRoot(dest)
		return root, "", err
	}
	many := len(src) != 1 || strings.HasSuffix(dest, "/") || isPattern(src[0]) || topName(src[0]) == ""
	if many {
		return nil, "", fmt.Errorf("get to %s: it is no directory", dest)
	}
	root, err = os.OpenRoot(filepath.Dir(dest))
	return root, filepath.Base(dest), err
}

// errNoName refuses the empty name, which a variable that isn't set leaves: the directory in which
// a context is has the name ".".
var errNoName = errors.New("copy a file without a name")

// errNoContext is the error of a nil context among several.
var errNoContext = errors.New("copy to no context")

func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// wanted returns a function that tells whether a name is a source's. "" is one if the destination
// gets what is in a source.
func wanted(src []string) func(string) bool {
	names, patterns := map[string]bool{}, []string{}
	for _, s := range src {
		top := topName(s)
		names[top] = true
		if isPattern(top) {
			patterns = append(patterns, strings.ReplaceAll(top, "[!", "[^"))
		}
	}
	return func(name string) bool {
		if names[name] || names[""] {
			return true
		}
		if name == "" { // which the pattern * matches
			return false
		}
		for _, p := range patterns {
			if ok, _ := path.Match(p, name); ok {
				return true
			}
		}
		return false
	}
}

// copying is the program of a copy at the other end.
type copying struct {
	*engine.Session
	c      *Context
	ctx    context.Context
	cancel context.CancelFunc
	what   string
	tell   func(*FileError)

	mu    sync.Mutex // protects following
	fails int
	seed  maphash.Seed        // of told
	told  map[uint64]struct{} // hashes of what was told; nil: they aren't kept
	alias bool                // the destination is the name of what is copied
	said  bytes.Buffer        // stderr's beginning
	read  chan struct{}
}

// maxSaid bounds what is kept of the stderr of a program of the runtime's.
const maxSaid = 4 << 10

func (c *Context) copying(ctx context.Context, module string, o *CopyOptions) (*copying, error) {
	s, err := c.c.Programs.Session(ctx, engine.SessionSpec{Module: module})
	if err != nil {
		return nil, err
	}
	what := module
	if strings.HasPrefix(module, "sync") {
		what = "sync"
	}
	what += " in " + c.Name()
	cp := &copying{Session: s, c: c, what: what, tell: o.Failed, read: make(chan struct{})}
	cp.ctx, cp.cancel = context.WithCancel(ctx)
	go func() {
		defer close(cp.read)
		io.CopyN(&cp.said, s.Stderr, maxSaid)
		io.Copy(io.Discard, s.Stderr)
	}()
	context.AfterFunc(cp.ctx, func() { s.Close() })
	return cp, nil
}

// close ends the program, if it hasn't ended.
func (cp *copying) close() { cp.cancel() }

func (cp *copying) failed(path string, err error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.fails++
	if cp.tell != nil {
		cp.noteLocked(path)
		cp.tell(&FileError{path, cp.c, err})
	}
}

// maxTold bounds what is kept of what was told: a context can make up any number of paths.
const maxTold = 1 << 16

// noteLocked keeps what is told for wasTold.
func (cp *copying) noteLocked(what string) {
	if cp.told != nil && len(cp.told) < maxTold {
		cp.told[maphash.String(cp.seed, what)] = struct{}{}
	}
}

// remember has what is told kept, for wasTold.
func (cp *copying) remember() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.seed, cp.told = maphash.MakeSeed(), map[uint64]struct{}{}
}

// wasTold tells whether something was told: the path of a failure, or what else was noted.
func (cp *copying) wasTold(what string) bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	_, told := cp.told[maphash.String(cp.seed, what)]
	return told
}

// named notes that the destination is the name of what is copied.
func (cp *copying) named() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.alias = true
}

// again returns the flags with which a further copy goes where this one has gone.
func (cp *copying) again() ownfile.Flags {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.alias {
		return ownfile.KeepAlias
	}
	return 0
}

// mute has no further failures told. They still count.
func (cp *copying) mute() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.tell = nil
}

// why returns the error of a conversation that has broken off, which err is about.
func (cp *copying) why(err error) error {
	if errors.Is(err, ownfile.ErrFormat) {
		return fmt.Errorf("%s: %w", cp.what, err)
	}
	end, ended := cp.Session.End(cp.ctx)
	if ended != nil {
		return ended
	}
	said := ""
	select {
	case <-cp.read:
		said = strings.TrimSpace(cp.said.String())
	case <-cp.ctx.Done(): // it may still be written to
	}
	err = fmt.Errorf("%s: it ended with status %d before all was done", cp.what, end.Shell())
	if said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// redo tells whether a copy that has ended with err is to be begun again: its session was cut off,
// be it while the program only had to end.
func (cp *copying) redo(err error) bool {
	return err != nil && !errors.Is(err, ErrIncomplete) && cp.Session.Cut()
}

// failures returns how many files could not be copied.
func (cp *copying) failures() int {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.fails
}

// end waits for the program's end, and sums up.
func (cp *copying) end(totals ownfile.Totals, err error) (CopyTotals, error) {
	t := CopyTotals(totals)
	if err == nil {
		_, err = cp.Session.End(cp.ctx)
	}
	t.Failed = cp.failures()
	if err == nil && t.Failed > 0 {
		err = fmt.Errorf("%s: %w", cp.what, ErrIncomplete)
	}
	return t, err
}
