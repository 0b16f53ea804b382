package ownfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// Source is a file or directory, of which all is sent that is in it.
type Source struct {
	FS    fs.FS
	Path  string // in FS
	Name  string // that it is to have; "": the files in it are sent, as if they were each a source
	Label string // what it is called in errors
}

// Sender sends files. It is used once.
type Sender struct {
	W      *Writer
	Failed func(path string, err error) // is told of each failure; never nil
	Sent   func(Totals)                 // is told from time to time what was sent; may be nil

	Totals Totals // of what was sent
	buf    []byte
}

var errShorter = errors.New("it became shorter while it was read")

// Send sends sources, and that there is nothing more. Its error is one of the stream, or ctx's.
// Files that can't be read are told to Failed.
func (s *Sender) Send(ctx context.Context, sources []Source) error {
	s.buf = make([]byte, piece)
	for _, src := range sources {
		if err := s.source(ctx, src); err != nil {
			return err
		}
	}
	if err := s.W.record(kindDone); err != nil {
		return err
	}
	return s.W.Flush()
}

func (s *Sender) fail(label string, err error) {
	s.Totals.Failed++
	s.Failed(label, bare(err))
}

// source sends one source. A link that a person has named is followed.
func (s *Sender) source(ctx context.Context, src Source) error {
	st, err := fs.Stat(src.FS, src.Path)
	if err != nil {
		s.fail(src.Label, err)
		return nil
	}
	if st.IsDir() {
		return s.tree(ctx, src, st)
	}
	if err := s.W.record(kindDir, attributes{mode: unchanged}.append(nil)); err != nil {
		return err
	}
	return s.file(ctx, item{src.FS, src.Path, src.Name, src.Label}, st)
}

// tree sends a directory: itself, what is in it, and then the directories in it, in the same way.
func (s *Sender) tree(ctx context.Context, src Source, st fs.FileInfo) error {
	todo := []string{""}
	for len(todo) > 0 {
		below := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		at, label := path.Join(src.Path, below), path.Join(src.Label, below)
		entries, err := fs.ReadDir(src.FS, at)
		if err == nil && below != "" {
			st, err = fs.Lstat(src.FS, at)
		}
		if err != nil {
			s.fail(label, err)
			continue
		}
		name := path.Join(src.Name, below)
		if err := s.W.record(kindDir, attributesOf(st).append(nil), []byte(name)); err != nil {
			return err
		}
		s.Totals.Dirs++
		for _, e := range entries {
			if e.IsDir() {
				todo = append(todo, path.Join(below, e.Name()))
				continue
			}
			f := item{src.FS, path.Join(at, e.Name()), e.Name(), path.Join(label, e.Name())}
			if err := s.entry(ctx, f, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// item is one file on its way: where it is, the name that it gets, and what errors call it.
type item struct {
	fs              fs.FS
	at, name, label string
}

// entry sends what is in a directory and isn't one.
func (s *Sender) entry(ctx context.Context, f item, e fs.DirEntry) error {
	st, err := e.Info()
	if err != nil {
		s.fail(f.label, err)
		return nil
	}
	if st.Mode().Type() != fs.ModeSymlink {
		return s.file(ctx, f, st)
	}
	to, err := fs.ReadLink(f.fs, f.at)
	if err != nil {
		s.fail(f.label, err)
		return nil
	}
	s.Totals.Links++
	return s.W.record(kindLink, appendPair(attributesOf(st).append(nil), f.name), []byte(to))
}

// file sends as many bytes of a file as it had when it was opened.
func (s *Sender) file(ctx context.Context, it item, st fs.FileInfo) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f, now, err := it.open(st)
	if err != nil {
		s.fail(it.label, err)
		return nil
	}
	defer f.Close()
	if now.Size() > piece {
		return s.large(ctx, it, f, now)
	}
	b := s.buf[:now.Size()]
	if _, err := io.ReadFull(f, b); err != nil {
		s.fail(it.label, shorter(err))
		return nil
	}
	sum := sha256.Sum256(b)
	head := append(attributesOf(now).append(nil), sum[:]...)
	err = s.W.record(kindSmall, appendPair(head, it.name), b)
	s.moved(len(b), 1)
	return err
}

// open opens a file, which st is known of. A pipe isn't opened: that would wait.
func (it *item) open(st fs.FileInfo) (fs.File, fs.FileInfo, error) {
	if !st.Mode().IsRegular() {
		return nil, nil, errors.New("neither file, directory nor link")
	}
	f, err := it.fs.Open(it.at)
	if err != nil {
		return nil, nil, err
	}
	now, err := f.Stat()
	if err == nil && !sameFile(st, now) {
		err = errors.New("it was exchanged for another while it was opened")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, now, nil
}

// large sends a file in pieces.
func (s *Sender) large(ctx context.Context, it item, f io.Reader, st fs.FileInfo) error {
	head := binary.BigEndian.AppendUint64(attributesOf(st).append(nil), uint64(st.Size()))
	if err := s.W.record(kindLarge, head, []byte(it.name)); err != nil {
		return err
	}
	sum := sha256.New()
	for left := st.Size(); left > 0; {
		b := s.buf[:min(left, piece)]
		if _, err := io.ReadFull(f, b); err != nil {
			s.fail(it.label, shorter(err))
			return s.W.record(kindDrop)
		}
		n := len(b)
		left -= int64(n)
		kind := byte(kindPiece)
		if isZero(b) {
			kind, b = kindZeros, binary.BigEndian.AppendUint64(nil, uint64(len(b)))
		}
		sum.Write(b)
		if err := s.W.record(kind, b); err != nil {
			return err
		}
		if s.moved(n, 0); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	s.moved(0, 1)
	return s.W.record(kindEnd, sum.Sum(nil))
}

func (s *Sender) moved(bytes, files int) {
	s.Totals.Bytes += int64(bytes)
	s.Totals.Files += files
	if s.Sent != nil {
		s.Sent(s.Totals)
	}
}

// untilDone reads until ctx is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

func shorter(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errShorter
	}
	return err
}

var zeroPiece [piece]byte

func isZero(b []byte) bool { return len(b) == piece && bytes.Equal(b, zeroPiece[:]) }

// sameFile tells whether two of the system's files are one. Of a file of a program's own that isn't
// known.
func sameFile(a, b fs.FileInfo) bool {
	_, known := a.Sys().(*syscall.Stat_t)
	return !known || os.SameFile(a, b)
}

func attributesOf(st fs.FileInfo) attributes {
	a := attributes{mode: modeOf(st.Mode()), mtime: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		a.uid, a.gid = sys.Uid, sys.Gid
	}
	return a
}

// bits of a mode beside its permissions.
var bits = []struct {
	mode fs.FileMode
	bit  uint16
}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}}

func modeOf(mode fs.FileMode) uint16 {
	m := uint16(mode.Perm())
	for _, b := range bits {
		if mode&b.mode != 0 {
			m |= b.bit
		}
	}
	return m
}

// Refusals reads what the other side says to files that are sent to it, until it has done all.
// alias is called at most once, by kindAlias. It may be nil if AskAlias wasn't set.
func Refusals(r io.Reader, failed func(path string, err error), alias func()) error {
	for rd := newSmallReader(r); ; {
		kind, payload, err := rd.next()
		switch {
		case err != nil:
			return err
		case kind == kindDone:
			return nil
		case kind == kindAlias && alias != nil && len(payload) == 0:
			alias()
			alias = nil
			continue
		case kind != kindFailure:
			return fmt.Errorf("%w: an answer of kind %q", ErrFormat, kind)
		}
		path, failure, err := parseFailure(payload)
		if err != nil {
			return err
		}
		failed(path, failure)
	}
}
