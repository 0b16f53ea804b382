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
	"maps"
	"os"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SyncReceiver makes a directory as the other side has it. The other side tells of each file, and
// is asked for those that differ. What it tells is hostile, as with a Receiver. It is used once.
type SyncReceiver struct {
	Receiver
	W       *Writer
	Exclude Exclude
	Delete  bool // remove what the other side doesn't have
	// Changed is told of what was changed, or with DryRun would be; never nil.
	Changed func(path string, deleted bool)

	ctx      context.Context // Sync's
	count    uint32          // files that were told of
	needs    []uint32        // those that are wanted
	wanted   []string        // their paths
	came     int             // of these
	told     map[string]bool // paths, with Delete
	size     int             // of what is remembered
	owners   int             // that were looked for
	sending  bool            // all has been told
	asked    chan error
	excluded bool // the current directory is
	links    links
	deltas   getDeltas
}

// maxOwners bounds the users and groups that are looked for.
const maxOwners = 1 << 16

var errManyFiles = fmt.Errorf("%w: more than %d bytes of names", ErrFormat, maxKept*4)

// Sync makes src of the other side below Root. Once ctx is done, it ends before long, however much
// is to be read here.
func (r *SyncReceiver) Sync(ctx context.Context, src string, from io.Reader) error {
	r.ctx = ctx
	r.Flags |= Preserve
	r.replace, r.still = true, r.Flags&DryRun != 0
	r.told, r.users, r.groups = map[string]bool{}, map[uint32]int{}, map[uint32]int{}
	r.asked = make(chan error, 1)
	r.firsts = map[string]fs.FileInfo{}
	r.deltas.buf = make([]byte, piece)
	r.deltas.asked = map[uint32]*getDelta{}
	r.deltas.queue = &askQueue{more: make(chan struct{}, 1)}
	defer r.deltas.queue.stop()
	defer r.deltas.close()
	r.links.firsts, r.links.inodes = map[uint32]string{}, map[inode]bool{}
	flags := binary.BigEndian.AppendUint32(nil, uint32(r.Flags))
	if err := r.W.record(kindSyncGet, flags, []byte(src)); err != nil {
		return err
	}
	if err := r.W.Flush(); err != nil {
		return err
	}
	defer r.leave()
	defer r.keep()
	for rd := newReader(from); ; {
		kind, payload, err := rd.next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && kind == kindDone {
			return r.done()
		}
		if err == nil {
			err = r.takeSync(kind, payload)
		}
		if err != nil {
			return err
		}
	}
}

// done ends a sync whose files have all come.
func (r *SyncReceiver) done() error {
	if !r.inside && !r.sending && r.Totals.Failed > 0 { // it has said why it can't tell of all
		if !r.still {
			r.finish()
		}
		return nil
	}
	if r.inside || !r.sending || len(r.deltas.todo)+len(r.deltas.asked) > 0 {
		return fmt.Errorf("%w: the end comes too early", ErrFormat)
	}
	for _, l := range r.links.further {
		if err := r.join(l); err != nil {
			r.fail(l.at, err)
		}
	}
	if !r.still {
		r.finish()
	}
	return <-r.asked
}

// takeSync does what a record says.
func (r *SyncReceiver) takeSync(kind byte, b []byte) error {
	switch {
	case r.deltas.now != nil && kind != kindFailure:
		return r.part(kind, b)
	case r.inside || kind == kindFailure:
		return r.take(kind, b)
	case kind == kindDir:
		return r.syncDir(b)
	case kind == kindXattrs && r.Flags&Xattrs != 0:
		var err error
		r.xattrs, err = parseXattrs(b)
		return err
	case r.sending && (kind == kindSmall || kind == kindLarge):
		return r.asExpected(kind, b)
	case kind == kindUser || kind == kindGroup:
		return r.owner(kind, b)
	case kind == kindSumsOf:
		return r.blockSums(b)
	case kind == kindParted:
		return r.parted(b)
	case r.sending:
	case kind == kindQuestion:
		return r.question(b, false)
	case kind == kindLinked && r.Flags&HardLinks != 0:
		return r.question(b, true)
	case kind == kindLink:
		return r.syncLink(b)
	case kind == kindAsked:
		return r.ask()
	}
	return fmt.Errorf("%w: of kind %q in a sync", ErrFormat, kind)
}

// remember counts what is remembered of a path, within bounds.
func (r *SyncReceiver) remember(name string) error {
	if r.size += len(name) + 64; r.size > 4*maxKept {
		return errManyFiles
	}
	return nil
}

// note remembers a path that the source has, where that says what isn't deleted.
func (r *SyncReceiver) note(name string, dir bool) error {
	if !r.Delete {
		return nil
	}
	r.told[name] = dir
	return r.remember(name)
}

// syncDir enters a directory, unless it is excluded.
func (r *SyncReceiver) syncDir(b []byte) error {
	a, rest, err := parseAttributes(b)
	if err != nil {
		return err
	}
	if a.mode == unchanged && !r.sending { // the source is a file
		r.leave()
		r.below, r.excluded = nil, true
		r.fail("source", errNoDirectory)
		return nil
	}
	name := string(rest)
	if _, err := parsePath(name); err != nil { // which bounds what is matched
		return err
	}
	if name != "" && r.Exclude.Match(name, true) {
		r.leave()
		r.below, r.excluded = nil, true
		return nil
	}
	r.excluded = false
	if err := r.note(path.Clean(name), true); err != nil {
		return err
	}
	return r.enter(b)
}

// here returns the path of a name in the current directory, and whether it is to be left alone.
func (r *SyncReceiver) here(name string) (at string, leave bool, err error) {
	if r.excluded {
		return "", true, checkName(name)
	}
	if name, err = r.called(name); err != nil {
		return "", true, err
	}
	at = path.Join(path.Join(r.below...), name)
	if r.Exclude.Match(at, false) {
		return at, true, nil
	}
	r.name = name
	return at, false, r.note(at, false)
}

// question compares a file with what is here. Of one with several names, the first stands for all.
func (r *SyncReceiver) question(b []byte, several bool) error {
	number := r.count
	r.count++
	first := number
	if several {
		if len(b) < 4 || binary.BigEndian.Uint32(b) > number {
			return fmt.Errorf("%w: question %d is about a file that none was about", ErrFormat, number)
		}
		first, b = binary.BigEndian.Uint32(b), b[4:]
	}
	a, b, err := parseAttributes(b)
	if err != nil {
		return err
	}
	head := 8
	if r.Flags&Checksum != 0 {
		head += digestSize
	}
	if len(b) < head {
		return fmt.Errorf("%w: a question ends before its name", ErrFormat)
	}
	at, leave, err := r.here(string(b[head:]))
	if err != nil || leave {
		return err
	}
	if several && (r.dir != nil || r.still) {
		if further, err := r.links.note(r, first, at); further || err != nil {
			return err
		}
	}
	size := int64(binary.BigEndian.Uint64(b))
	equal, st := r.equal(a, size, b[8:head])
	if equal && r.Flags&HardLinks != 0 && r.links.joined(st) {
		equal = false // two files of the other side are one here
	}
	if equal && hasLinks(st) && r.differs(a, st) {
		equal = false // its further names may be elsewhere
	}
	name, base := r.base(st)
	switch {
	case !equal && !r.still && r.dir != nil && byDelta(base, size):
		f := &getDelta{question: number, at: at, base: name, known: base, block: blockSize(size)}
		r.deltas.todo = append(r.deltas.todo, f)
		r.size += 512 // for f
		return r.remember(at)
	case !equal && (r.dir != nil || r.still):
		r.needs, r.wanted = append(r.needs, number), append(r.wanted, at)
		return r.remember(at)
	case equal:
		r.settle(at, st)
		if !r.differs(a, st) {
			break
		}
		if r.Changed(at, false); !r.still {
			r.adjust(a, st)
		}
	}
	return nil
}

// equal tells whether the current name is a file like that one.
func (r *SyncReceiver) equal(a attributes, size int64, digest []byte) (bool, fs.FileInfo) {
	if r.dir == nil {
		return false, nil
	}
	st, err := r.dir.Lstat(r.name)
	if err != nil || !st.Mode().IsRegular() || st.Size() != size {
		return false, st
	}
	if len(digest) == 0 {
		return dated(st, a), st
	}
	return sameContent(r.ctx, r.dir, r.name, st, digest), st
}

// sameContent tells whether the file that st is known of has that digest.
func sameContent(
	ctx context.Context,
	dir *os.Root,
	name string,
	st fs.FileInfo,
	digest []byte,
) bool {
	f, err := openKnown(dir, name, st)
	if err != nil {
		return false
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, untilDone{ctx, f})
	return err == nil && bytes.Equal(sum.Sum(nil), digest)
}

// openKnown opens the file that st is known of, to read; what has taken its place is an error.
func openKnown(dir *os.Root, name string, st fs.FileInfo) (*os.File, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(st, now) {
		f.Close()
		return nil, errors.Join(errLink, err)
	}
	return f, nil
}

// dated allows for what Python 2 knows of a time.
func dated(st fs.FileInfo, a attributes) bool {
	return st.ModTime().Sub(a.mtime).Abs() < 3*time.Microsecond
}

func (r *SyncReceiver) differs(a attributes, st fs.FileInfo) bool {
	if st.Mode().Perm() != fs.FileMode(a.mode)&fs.ModePerm || !dated(st, a) {
		return true
	}
	got := attributesOf(st)
	uid, gid := r.wantedOwner(a)
	if !r.sameXattrs(st) {
		return true
	}
	owned := r.Flags&Owners != 0 && os.Geteuid() == 0
	return owned && (int(got.uid) != uid || int(got.gid) != gid)
}

// adjust gives the current name, which st is known of, attributes.
func (r *SyncReceiver) adjust(a attributes, st fs.FileInfo) {
	r.attr = a
	if err := r.adjustFile(a, st); err != nil {
		r.failed(err)
	}
}

func (r *SyncReceiver) adjustFile(a attributes, st fs.FileInfo) error {
	f, err := openKnown(r.dir, r.name, st)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.own(f); err != nil {
		return err
	}
	if err := r.extended(f, r.xattrs); err != nil {
		return err
	}
	if err := f.Chmod(fs.FileMode(a.mode) & fs.ModePerm); err != nil {
		return err
	}
	return r.dir.Chtimes(r.name, a.mtime, a.mtime)
}

func hasLinks(st fs.FileInfo) bool {
	_, several := linked(st)
	return several
}

// syncLink makes a link, unless it is there.
func (r *SyncReceiver) syncLink(b []byte) error {
	_, rest, err := parseAttributes(b)
	if err != nil {
		return err
	}
	name, to, err := parsePair(rest)
	if err != nil {
		return err
	}
	at, leave, err := r.here(name)
	if err != nil || leave {
		return err
	}
	if r.dir != nil {
		if old, err := r.dir.Readlink(r.name); err == nil && old == string(to) {
			return nil
		}
	}
	r.Changed(at, false)
	if r.still {
		return nil
	}
	return r.link(b)
}

// owner takes the name of a user or group of the other side's.
func (r *SyncReceiver) owner(kind byte, b []byte) error {
	if len(b) < 5 || len(b) > maxName {
		return fmt.Errorf("%w: an owner of %d bytes", ErrFormat, len(b))
	}
	if r.Flags&Owners == 0 || os.Geteuid() != 0 {
		return nil
	}
	if r.owners++; r.owners > maxOwners {
		return fmt.Errorf("%w: more than %d owners", ErrFormat, maxOwners)
	}
	number, name := binary.BigEndian.Uint32(b[1:]), string(b[5:])
	if kind == kindUser {
		if u, err := user.Lookup(name); err == nil {
			r.users[number], _ = strconv.Atoi(u.Uid)
		}
	} else if g, err := user.LookupGroup(name); err == nil {
		r.groups[number], _ = strconv.Atoi(g.Gid)
	}
	return nil
}

// ask asks for the files that differ, while these come.
func (r *SyncReceiver) ask() error {
	r.sending = true
	r.deletes()
	needs := r.needs
	if r.still {
		for _, at := range r.wanted {
			r.Changed(at, false)
		}
		needs, r.wanted = nil, nil
	}
	r.advance()
	go func() {
		var err error
		for _, n := range needs {
			if err == nil {
				err = r.W.record(kindNeed, binary.BigEndian.AppendUint32(nil, n))
			}
		}
		if err == nil {
			err = r.deltas.queue.write(r.W)
		}
		r.asked <- err
	}()
	return nil
}

// asExpected takes a file that was asked for. Files that can't be sent any more are left out.
func (r *SyncReceiver) asExpected(kind byte, b []byte) error {
	skip := attrSize + digestSize
	if kind == kindLarge {
		skip = attrSize + 8
	}
	if len(b) < skip {
		return fmt.Errorf("%w: a file ends before its name", ErrFormat)
	}
	name := string(b[skip:])
	if kind == kindSmall {
		var err error
		if name, _, err = parsePair(b[skip:]); err != nil {
			return err
		}
	}
	at := path.Join(path.Join(r.below...), name)
	i := slices.Index(r.wanted[min(r.came, len(r.wanted)):], at)
	if i < 0 {
		return fmt.Errorf("%w: %.80q: %w", ErrFormat, at, errNotAsked)
	}
	r.came += i + 1
	r.Changed(at, false)
	return r.take(kind, b)
}

// deletes removes what the other side doesn't have, if it has told of all.
func (r *SyncReceiver) deletes() {
	if !r.Delete || r.Totals.Failed > 0 {
		return
	}
	r.leave()
	for _, dir := range slices.Sorted(maps.Keys(r.told)) {
		if !r.told[dir] {
			continue
		}
		var names []string
		if dir != "." {
			names = strings.Split(dir, "/")
		}
		d, _, err := r.open(names, 0)
		if err != nil {
			continue // it isn't made in a dry run, or was told of
		}
		r.deleteIn(d, dir)
		if d != r.Root {
			d.Close()
		}
	}
}

// deleteIn removes what is in a directory and wasn't told of, and tells whether something is left.
func (r *SyncReceiver) deleteIn(d *os.Root, dir string) (left bool) {
	f, err := d.Open(".")
	if err != nil && r.still {
		return true // it isn't made in a dry run
	}
	if err != nil {
		r.fail(dir, err)
		return true
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil && !r.still {
		r.fail(dir, err)
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		_, told := r.told[at]
		whole, part := strings.CutPrefix(e.Name(), partialPrefix)
		if part && r.Flags&Partial != 0 && !told {
			_, told = r.told[path.Join(dir, whole)]
		}
		if told || r.Exclude.Match(at, e.IsDir()) || e.IsDir() && r.deleteBelow(d, e.Name(), at) {
			left = true
			continue
		}
		r.Changed(at, true)
		if r.still {
			continue
		}
		if err := d.Remove(e.Name()); err != nil {
			left = true
			r.fail(at, err)
		}
	}
	return left
}

// deleteBelow empties a directory that is to be removed.
func (r *SyncReceiver) deleteBelow(d *os.Root, name, at string) (left bool) {
	below, err := openDir(d, name)
	if err != nil {
		r.fail(at, err)
		return true
	}
	defer below.Close()
	return r.deleteIn(below, at)
}
