package ownfile

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/user"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// SyncSender has the other side make a directory as one is here. It asks about each file, in the
// order of the names, and sends those that differ. It is used once.
type SyncSender struct {
	Sender
	Flags   Flags
	Exclude Exclude
	Delete  bool // remove what isn't here
	// Changed is told of what was changed, or with DryRun would be; never nil.
	Changed func(path string, deleted bool)

	files   []askedFile // that were asked about
	dirs    []askedDir
	dir     string // that the other side is in
	names   map[string]bool
	kept    map[string]bool // directories with something that is excluded
	links   map[inode]linkedFile
	answers answers
}

// askedFile stands for an item, in little memory: there may be millions.
type askedFile struct {
	name string // "": it was sent
	dir  int32
}

// askedDir is a directory of files that were asked about.
type askedDir struct {
	fs        fs.FS
	at, label string
	there     string // what it is called there
}

// item returns a file that was asked about.
func (s *SyncSender) item(f askedFile) item {
	d := &s.dirs[f.dir]
	return item{d.fs, path.Join(d.at, f.name), f.name, path.Join(d.label, f.name)}
}

// linkedFile is a file with several names.
type linkedFile struct {
	first uint32 // the question about it
	sum   []byte // its digest, with Checksum
}

// inode is a file, whatever names it has.
type inode struct{ dev, ino uint64 }

// linked returns the file of several names that st is of.
func linked(st fs.FileInfo) (id inode, ok bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || sys.Nlink < 2 {
		return id, false
	}
	return inode{uint64(sys.Dev), uint64(sys.Ino)}, true
}

// nowhere is no directory.
const nowhere = "\x00"

var (
	errNoDirectory = errors.New("not a directory")
	errDeep        = errors.New("directories are nested too deeply")
)

func (s *SyncSender) begin() {
	s.buf, s.dir, s.kept = make([]byte, piece), nowhere, map[string]bool{}
	s.names, s.links = map[string]bool{}, map[inode]linkedFile{}
}

// Sync sends src, a directory, as Send does. Answers are read from another goroutine.
func (s *SyncSender) Sync(ctx context.Context, dest string, src Source, from io.Reader) error {
	s.begin()
	s.answers.more = make(chan struct{}, 1)
	flags := binary.BigEndian.AppendUint32(nil, uint32(s.Flags|Preserve))
	if err := s.W.record(kindSyncPut, flags, []byte(dest)); err != nil {
		return err
	}
	go s.answers.read(from)
	err := s.ask(ctx, src)
	if err == nil {
		err = s.W.record(kindAsked)
	}
	if err == nil {
		err = s.W.Flush()
	}
	if err != nil {
		return s.refused(ctx, err)
	}
	deletes := s.Delete && s.Totals.Failed == 0 // else what couldn't be read would be removed there
	for {
		if err := s.flush(); err != nil {
			return err
		}
		a, err := s.answers.next(ctx)
		if err == nil && a.kind == kindDone {
			return nil
		}
		if err == nil {
			err = s.obey(ctx, a, deletes)
		}
		if err != nil {
			return err
		}
	}
}

// refused tells why the other side has ended before it had taken all, if it has said so. Else err
// is the reason.
func (s *SyncSender) refused(ctx context.Context, err error) error {
	said := false
	for {
		a, ended := s.answers.next(ctx)
		switch {
		case ended == nil && a.kind == kindFailure:
			said = true
			s.obey(ctx, a, false) // which sends nothing
		case ended == nil && a.kind == kindDone && said:
			return nil
		case ended != nil || a.kind == kindDone:
			return err
		}
	}
}

// flush has all reach the other side, if there is nothing to be done meanwhile.
func (s *SyncSender) flush() error {
	s.answers.mu.Lock()
	idle := len(s.answers.all) == 0
	s.answers.mu.Unlock()
	if idle {
		return s.W.Flush()
	}
	return nil
}

// ask asks about all that is in a directory.
func (s *SyncSender) ask(ctx context.Context, src Source) error {
	st, err := fs.Stat(src.FS, src.Path)
	if err == nil && !st.IsDir() {
		err = errNoDirectory
	}
	if err != nil {
		s.fail(src.Label, err)
		return nil
	}
	for todo := []string{""}; len(todo) > 0; {
		below := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		more, err := s.askDir(ctx, src, below)
		if err != nil {
			return err
		}
		todo = append(todo, more...)
	}
	return nil
}

// askDir asks about what is in one directory, and returns the directories in it.
func (s *SyncSender) askDir(
	ctx context.Context,
	src Source,
	below string,
) (more []string, err error) {
	at, label := path.Join(src.Path, below), path.Join(src.Label, below)
	there := path.Join(src.Name, below)
	st, err := fs.Lstat(src.FS, at)
	var entries []fs.DirEntry
	if err == nil && strings.Count(there, "/") >= maxNames-1 { // so that its files have paths
		err = errDeep
	}
	if err == nil {
		entries, err = fs.ReadDir(src.FS, at)
	}
	if err != nil {
		s.fail(label, err)
		return nil, nil
	}
	if err := s.owner(st); err != nil {
		return nil, err
	}
	if err := s.xattrs(src.FS, at); err != nil {
		s.fail(label, err)
		return nil, nil
	}
	if err := s.W.record(kindDir, attributesOf(st).append(nil), []byte(there)); err != nil {
		return nil, err
	}
	s.Totals.Dirs++
	s.dirs = append(s.dirs, askedDir{src.FS, at, label, there})
	for _, e := range entries {
		name := path.Join(there, e.Name())
		if s.Exclude.Match(name, e.IsDir()) {
			continue
		}
		if e.IsDir() {
			more = append(more, path.Join(below, e.Name()))
			continue
		}
		f := item{src.FS, path.Join(at, e.Name()), e.Name(), path.Join(label, e.Name())}
		if err := s.question(ctx, f, e); err != nil {
			return nil, err
		}
	}
	return more, s.tellNames(entries)
}

// tellNames says what there is in a directory, so that the other side can tell of what is more.
func (s *SyncSender) tellNames(entries []fs.DirEntry) error {
	if !s.Delete {
		return nil
	}
	var b []byte
	for _, e := range entries {
		if len(b) > maxRecord/2 {
			if err := s.W.record(kindNames, b); err != nil {
				return err
			}
			b = b[:0]
		}
		b = appendPair(b, e.Name())
	}
	if len(b) > 0 {
		if err := s.W.record(kindNames, b); err != nil {
			return err
		}
	}
	return s.W.record(kindNames)
}

// question asks about one file, or tells of a link.
func (s *SyncSender) question(ctx context.Context, f item, e fs.DirEntry) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	st, err := e.Info()
	if err != nil {
		s.fail(f.label, err)
		return nil
	}
	if err := s.owner(st); err != nil {
		return err
	}
	switch st.Mode().Type() {
	case fs.ModeSymlink:
		return s.entry(ctx, f, e)
	case 0:
	default:
		s.fail(f.label, errors.New("neither file, directory nor link"))
		return nil
	}
	id, several := linked(st)
	several = several && s.Flags&HardLinks != 0
	file, known := s.links[id]
	if !known {
		file.first = uint32(len(s.files))
	}
	if s.Flags&Checksum != 0 && file.sum == nil {
		file.sum, err = f.digest(ctx, st)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.fail(f.label, err)
			return nil
		}
	}
	if err := s.xattrs(f.fs, f.at); err != nil {
		s.fail(f.label, err)
		return nil
	}
	b := binary.BigEndian.AppendUint64(attributesOf(st).append(nil), uint64(st.Size()))
	b = append(b, file.sum...)
	s.files = append(s.files, askedFile{f.name, int32(len(s.dirs) - 1)})
	if !several {
		return s.W.record(kindQuestion, b, []byte(f.name))
	}
	s.links[id] = file
	first := binary.BigEndian.AppendUint32(nil, file.first)
	return s.W.record(kindLinked, first, b, []byte(f.name))
}

// digest returns the digest of a file's bytes.
func (it *item) digest(ctx context.Context, st fs.FileInfo) ([]byte, error) {
	f, _, err := it.open(st)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, untilDone{ctx, f})
	return sum.Sum(nil), err
}

// owner tells the names of a file's user and group, once each.
func (s *SyncSender) owner(st fs.FileInfo) error {
	if s.Flags&Owners == 0 {
		return nil
	}
	a := attributesOf(st)
	for kind, id := range map[byte]uint32{kindUser: a.uid, kindGroup: a.gid} {
		number := binary.BigEndian.AppendUint32([]byte{kind}, id)
		if s.names[string(number)] {
			continue
		}
		s.names[string(number)] = true
		if name := ownerName(kind, id); name != "" {
			if err := s.W.record(kind, number, []byte(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func ownerName(kind byte, id uint32) string {
	text := strconv.FormatUint(uint64(id), 10)
	if kind == kindUser {
		if u, err := user.LookupId(text); err == nil {
			return u.Username
		}
	} else if g, err := user.LookupGroupId(text); err == nil {
		return g.Name
	}
	return ""
}

// obey does what an answer asks for.
func (s *SyncSender) obey(ctx context.Context, a answer, deletes bool) error {
	switch a.kind {
	case kindFailure:
		s.Totals.Failed++
		s.Failed(a.text, a.err)
		return nil
	case kindChanged:
		if err := checkPath(a.text); err != nil {
			return err
		}
		s.Changed(a.text, false)
		return nil
	case kindAsked:
		if err := s.W.record(kindDone); err != nil {
			return err
		}
		return s.W.Flush()
	case kindExtra:
		if deletes {
			return s.remove(a)
		}
		return nil
	}
	if int(a.n) >= len(s.files) || s.files[a.n].name == "" {
		return fmt.Errorf("%w: file %d of %d was asked for, or twice", ErrFormat, a.n, len(s.files))
	}
	f := s.files[a.n]
	s.files[a.n].name = ""
	return s.send(ctx, s.item(f), s.dirs[f.dir].there, a.sums)
}

// send sends a file that is asked for.
func (s *SyncSender) send(ctx context.Context, f item, dir string, old []byte) error {
	s.Changed(path.Join(dir, f.name), false)
	if s.Flags&DryRun != 0 {
		return nil
	}
	st, err := fs.Lstat(f.fs, f.at)
	if err != nil {
		s.fail(f.label, err)
		return nil
	}
	if s.dir != dir {
		s.dir = dir
		head := attributes{mode: unchanged}.append(nil)
		if err := s.W.record(kindDir, head, []byte(dir)); err != nil {
			return err
		}
	}
	if err := s.xattrs(f.fs, f.at); err != nil {
		s.fail(f.label, err)
		return nil
	}
	if len(old) == 0 || st.Size() <= piece {
		return s.file(ctx, f, st)
	}
	return s.delta(ctx, f, st, old)
}

// checkPath demands that a path is one of something below the destination.
func checkPath(name string) error {
	if _, err := parsePath(name); err != nil || name == "" {
		return fmt.Errorf("%w: the path %.80q", ErrFormat, name)
	}
	return nil
}

// remove has what isn't here be removed, but for what is excluded, and the directories that has.
func (s *SyncSender) remove(a answer) error {
	name, dir := a.text, a.dir
	if err := checkPath(name); err != nil {
		return err
	}
	if s.Exclude.Match(name, dir) || s.kept[name] {
		if up := path.Dir(name); len(s.kept) < maxKept/256 {
			s.kept[up] = true
		}
		return nil
	}
	s.Changed(name, true)
	if s.Flags&DryRun != 0 {
		return nil
	}
	s.dir = nowhere
	return s.W.record(kindRemove, []byte(name))
}
