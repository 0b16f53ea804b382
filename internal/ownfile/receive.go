package ownfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
)

// Receiver makes files of what a hostile peer sends. Nothing is made, changed or followed outside
// of Root, whatever else the peer does, and a file has its name once it is whole. A Receiver is
// used once.
type Receiver struct {
	Root  *os.Root
	Alias string // the name of what comes on top; "": what it is sent with
	// Wanted says whether a name was asked for, of what comes on top. "" is Root itself.
	Wanted func(name string) bool
	Flags  Flags
	// AllLinks has symbolic links be made that lead out of Root. They are never followed here.
	AllLinks bool
	// Special has files get the bits above their permissions too, with Preserve: the peer is trusted.
	Special bool
	Failed  func(path string, err error) // is told of each failure; never nil
	Got     func(Totals)                 // is told from time to time what has come; may be nil

	Totals Totals   // of what was made
	dir    *os.Root // where files are made; nil: it couldn't be entered
	below  []string // its path
	dirs   []madeDir
	kept   int // bytes that dirs takes

	file   *os.File // that is being made
	name   string
	temp   string // is to be removed if it isn't ""
	attr   attributes
	sum    hash.Hash
	left   int64 // bytes that are to come
	holes  bool  // the file ends with one
	inside bool  // between the first and the last record of a file

	users, groups map[uint32]int // by the number that they have at the other end

	// firsts has the first paths of files with several names: what was made there, or was as it
	// should be.
	firsts map[string]fs.FileInfo

	xattrs xattrs // of what comes next

	replace bool // what is no directory, where one belongs
	still   bool // nothing is changed
	content bool // the digest is of the content, not of the records
	local   bool // bytes are those of an old file, and didn't come
}

// maxKept bounds the paths of directories that are remembered until the end.
const maxKept = 64 << 20

var (
	errLeadsOut = errors.New("a symbolic link leads out of the destination")
	errLink     = errors.New("a symbolic link, or a file, is in the place of a directory")
	errNotAsked = errors.New("it was sent and not asked for")
	errDigest   = errors.New("other bytes arrived than were sent")
	errMissing  = errors.New("its end did not arrive")
)

// Receive makes files until the peer has sent all. Files that can't be made are told to Failed; an
// error is one of the stream.
func (r *Receiver) Receive(from io.Reader) error { return r.receive(newReader(from)) }

func (r *Receiver) receive(rd *reader) error {
	defer r.leave()
	defer r.drop()
	for {
		kind, payload, err := rd.next()
		if err == nil && kind == kindDone {
			if r.inside {
				return fmt.Errorf("%w: the end, inside of a file", ErrFormat)
			}
			r.finish()
			return nil
		}
		if err == nil {
			err = r.take(kind, payload)
		}
		if err != nil {
			return err
		}
	}
}

// take does what one record says. Its error ends all.
func (r *Receiver) take(kind byte, b []byte) error {
	data := kind == kindPiece || kind == kindZeros || kind == kindEnd || kind == kindDrop
	if kind != kindFailure && data != r.inside {
		return fmt.Errorf("%w: %q, inside of a file: %v", ErrFormat, kind, r.inside)
	}
	switch kind {
	case kindDir:
		return r.enter(b)
	case kindSmall:
		return r.small(b)
	case kindLarge:
		return r.large(b)
	case kindPiece, kindZeros:
		return r.data(kind, b)
	case kindEnd, kindDrop:
		r.inside = false
		if kind == kindDrop {
			r.drop() // a failure says why
			return nil
		}
		return r.end(b)
	case kindLink:
		return r.link(b)
	case kindFailure:
		path, failure, err := parseFailure(b)
		if err == nil {
			r.fail(path, failure)
		}
		return err
	}
	return fmt.Errorf("%w: of kind %q", ErrFormat, kind)
}

func (r *Receiver) fail(path string, err error) {
	r.Totals.Failed++
	r.Failed(path, bare(err))
}

// failed tells of a file in the current directory, and removes what there is of it.
func (r *Receiver) failed(err error) {
	r.drop()
	if r.dir != nil { // else it was told of the directory
		r.fail(path.Join(path.Join(r.below...), r.name), err)
	}
}

// called returns the name that is made of one in the current directory.
func (r *Receiver) called(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if len(r.below) > 0 {
		return name, nil
	}
	return r.top(name)
}

// top returns the name of what comes on top.
func (r *Receiver) top(name string) (string, error) {
	if !r.Wanted(name) {
		return "", fmt.Errorf("%w: %.80q: %w", ErrFormat, name, errNotAsked)
	}
	if r.Alias != "" {
		return r.Alias, nil
	}
	return name, nil
}

func (r *Receiver) leave() {
	if r.dir != nil && r.dir != r.Root {
		r.dir.Close()
	}
	r.dir = nil
}

// enter goes to a directory, and makes it if only that itself is missing.
func (r *Receiver) enter(b []byte) error {
	a, rest, err := parseAttributes(b)
	if err != nil {
		return err
	}
	names, err := parsePath(string(rest))
	switch {
	case err != nil:
	case len(names) > 0:
		names[0], err = r.top(names[0])
	case a.mode != unchanged && !r.Wanted(""): // Root itself, which may be DEST's parent
		err = fmt.Errorf("%w: attributes of the destination: %w", ErrFormat, errNotAsked)
	}
	if err != nil {
		return err
	}
	r.leave()
	r.below, r.name = names, ""
	if a.mode == unchanged {
		a.mode = 0
	} else {
		r.Totals.Dirs++
	}
	mode := fs.FileMode(a.mode)&fs.ModePerm | 0o700
	if r.still {
		mode = 0
	}
	dir, made, err := r.open(names, mode)
	if err != nil && r.still {
		return nil
	}
	if err != nil {
		r.fail(path.Join(names...), err)
		return nil
	}
	r.dir = dir
	if a.mode == 0 || r.still || !made && r.Flags&(Preserve|KeepAlias) == 0 {
		return nil
	}
	at := path.Join(names...)
	if r.kept += len(at) + 128; r.kept > maxKept {
		return fmt.Errorf("%w: more than %d bytes of names of directories", ErrFormat, maxKept)
	}
	r.dirs = append(r.dirs, madeDir{at, a})
	if err := r.extendedDir(); err != nil {
		r.fail(at, err)
	}
	return nil
}

// open opens a directory. No link is followed on the way.
func (r *Receiver) open(names []string, mode fs.FileMode) (dir *os.Root, made bool, err error) {
	dir = r.Root
	for i, name := range names {
		if mode != 0 && i == len(names)-1 {
			if st, err := dir.Lstat(name); r.replace && err == nil && !st.IsDir() {
				dir.Remove(name)
			}
			made = dir.Mkdir(name, mode) == nil
		}
		next, err := openDir(dir, name)
		if dir != r.Root {
			dir.Close()
		}
		if err != nil {
			return nil, false, err
		}
		dir = next
	}
	return dir, made, nil
}

// inside is the path by which a directory is opened as one. Another user may exchange it for a
// pipe, whose writer would be waited for.
func inside(dir string) string { return dir + "/." }

// openDir opens a directory in dir, and no link to one.
func openDir(dir *os.Root, name string) (*os.Root, error) {
	st, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, errLink
	}
	next, err := dir.OpenRoot(inside(name))
	if err != nil {
		return nil, err
	}
	now, err := next.Stat(".")
	if err == nil && !os.SameFile(st, now) {
		err = errLink
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

func (r *Receiver) small(b []byte) error {
	a, b, err := parseAttributes(b)
	if err != nil {
		return err
	}
	if len(b) < digestSize {
		return fmt.Errorf("%w: a small file ends before its name", ErrFormat)
	}
	name, data, err := parsePair(b[digestSize:])
	if err != nil {
		return err
	}
	if err := r.begin(a, name, int64(len(data))); err != nil {
		return err
	}
	if err := r.data(kindPiece, data); err != nil {
		return err
	}
	return r.end(b[:digestSize])
}

func (r *Receiver) large(b []byte) error {
	a, b, err := parseAttributes(b)
	if err != nil {
		return err
	}
	if len(b) < 8 || binary.BigEndian.Uint64(b) > 1<<62 {
		return fmt.Errorf("%w: a file without a size", ErrFormat)
	}
	r.inside = true
	return r.begin(a, string(b[8:]), int64(binary.BigEndian.Uint64(b)))
}

// begin makes a file under a name that nothing has.
func (r *Receiver) begin(a attributes, name string, size int64) (err error) {
	if name, err = r.called(name); err != nil {
		return err
	}
	r.attr, r.name, r.left, r.holes, r.sum = a, name, size, false, sha256.New()
	r.content = false
	if r.dir == nil {
		return nil
	}
	if err := r.spare(); err != nil {
		r.failed(err)
		return nil
	}
	temp := freeName()
	f, err := r.dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		r.failed(err)
		return nil
	}
	r.file, r.temp = f, temp
	return nil
}

// errSpecial says why a file isn't made.
var errSpecial = errors.New("a device, pipe or socket is there")

// spare has a device, pipe or socket not be replaced, whose name is rarely meant so. A sync
// replaces it, as rsync does.
func (r *Receiver) spare() error {
	const special = fs.ModeDevice | fs.ModeNamedPipe | fs.ModeSocket
	if st, err := r.dir.Lstat(r.name); !r.replace && err == nil && st.Mode()&special != 0 {
		return errSpecial
	}
	return nil
}

// freeName returns the name of a file that isn't whole yet, which nothing can have guessed.
func freeName() string { return ".mitogen-" + RandomName() }

func (r *Receiver) data(kind byte, b []byte) error {
	n := int64(len(b))
	if kind == kindZeros {
		if len(b) != 8 || binary.BigEndian.Uint64(b) > piece {
			return fmt.Errorf("%w: zeros without a number of at most %d", ErrFormat, piece)
		}
		n = int64(binary.BigEndian.Uint64(b))
	}
	if r.left -= n; r.left < 0 {
		return fmt.Errorf("%w: a file has more bytes than it said", ErrFormat)
	}
	if r.file == nil {
		return nil
	}
	if kind == kindZeros && r.content {
		r.sum.Write(zeroPiece[:n])
	} else {
		r.sum.Write(b)
	}
	if err := r.write(kind, b, n); err != nil {
		r.failed(err)
		return nil
	}
	if r.local {
		return nil
	}
	if r.Totals.Bytes += n; r.Got != nil {
		r.Got(r.Totals)
	}
	return nil
}

func (r *Receiver) write(kind byte, b []byte, n int64) (err error) {
	if r.holes = kind == kindZeros && r.Flags&Sparse != 0; r.holes {
		_, err = r.file.Seek(n, io.SeekCurrent)
		return err
	}
	if kind == kindPiece {
		_, err = r.file.Write(b)
		return err
	}
	for n > 0 && err == nil {
		_, err = r.file.Write(zeroPiece[:min(n, piece)])
		n -= piece
	}
	return err
}

// end gives a whole file its name.
func (r *Receiver) end(digest []byte) error {
	if len(digest) != digestSize {
		return fmt.Errorf("%w: a digest of %d bytes", ErrFormat, len(digest))
	}
	if r.file == nil {
		return nil
	}
	err := r.whole(digest)
	if err == nil {
		err = r.dress()
	}
	var st fs.FileInfo
	if err == nil {
		st, err = r.file.Stat()
	}
	if err == nil {
		err = r.file.Close() // which may say that the disk is full
		r.file = nil
	}
	if err == nil && r.Flags&Preserve != 0 {
		err = r.dir.Chtimes(r.temp, r.attr.mtime, r.attr.mtime)
	}
	if err == nil {
		err = r.place(st)
	}
	if err != nil {
		r.failed(err)
		return nil
	}
	r.Totals.Files++
	return nil
}

// noDigest stands where Python has no SHA-256.
var noDigest [digestSize]byte

// whole checks that all of a file has arrived. A context of Python 2.4 sends no digest, but zeros.
func (r *Receiver) whole(digest []byte) error {
	if r.left > 0 {
		return errMissing
	}
	if got := r.sum.Sum(nil); !bytes.Equal(digest, noDigest[:]) && !bytes.Equal(digest, got) {
		return errDigest
	}
	if !r.holes {
		return nil
	}
	n, err := r.file.Seek(0, io.SeekCurrent)
	if err == nil {
		err = r.file.Truncate(n)
	}
	return err
}

// place gives what is at temp its name. Of a file it has the status.
func (r *Receiver) place(st fs.FileInfo) error {
	err := r.dir.Rename(r.temp, r.name)
	if err == nil {
		r.temp = ""
		r.settle(path.Join(path.Join(r.below...), r.name), st)
		if r.Flags&Partial != 0 {
			r.dir.Remove(partialPrefix + r.name)
		}
	}
	return err
}

// settle says that a file is as the other side's, for its further names.
func (r *Receiver) settle(at string, st fs.FileInfo) {
	if _, ok := r.firsts[at]; ok {
		r.firsts[at] = st
	}
}

// drop removes a file that isn't whole.
func (r *Receiver) drop() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
	if r.temp != "" {
		r.dir.Remove(r.temp)
		r.temp = ""
	}
}
