package ownfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// xattrs are the extended attributes of a file, by name.
type xattrs map[string]string

const (
	maxXattr  = 64 << 10 // bytes of a value, and of all names: Linux's own bounds
	userXattr = "user."
)

var errXattrs = fmt.Errorf("more than %d bytes of extended attributes", maxRecord)

// ErrNoXattrs is matched by the error of a sync with Xattrs on a system that it isn't made for.
var ErrNoXattrs = errors.New("extended attributes are for Linux alone")

// covered tells whether an attribute is copied: of all, what isn't the system's own (rsync does the
// same for root).
func covered(name string, all bool) bool {
	return strings.HasPrefix(name, userXattr) || all && !strings.HasPrefix(name, "system.")
}

// append adds name and value of each, in the order of the names.
func (x xattrs) append(b []byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(x)) {
		b = appendPair(b, name)
		b = binary.BigEndian.AppendUint32(b, uint32(len(x[name])))
		b = append(b, x[name]...)
	}
	return b
}

// parseXattrs reads what a hostile peer says. It may give files the user's attributes alone:
// further ones give a program rights, or are for the system.
func parseXattrs(b []byte) (xattrs, error) {
	x, size := xattrs{}, 0
	for len(b) > 0 {
		name, rest, err := parsePair(b)
		if size += len(name) + 1; err == nil && size > maxXattr {
			err = fmt.Errorf("%w: names of more than %d bytes", ErrFormat, maxXattr)
		}
		if err != nil {
			return nil, err
		}
		if len(name) <= len(userXattr) || len(name) > maxName || strings.Contains(name, "\x00") ||
			!strings.HasPrefix(name, userXattr) {
			return nil, fmt.Errorf("%w: the attribute %.80q", ErrFormat, name)
		}
		if _, twice := x[name]; twice || len(rest) < 4 {
			return nil, fmt.Errorf("%w: %.80q twice, or without a value", ErrFormat, name)
		}
		n := int64(binary.BigEndian.Uint32(rest))
		if n > maxXattr || n > int64(len(rest)-4) {
			return nil, fmt.Errorf("%w: an attribute of %d bytes", ErrFormat, n)
		}
		x[name] = string(rest[4 : 4+n])
		b = rest[4+n:]
	}
	return x, nil
}

// xattrFS is a file system whose files have extended attributes.
type xattrFS interface {
	fs.FS
	xattrs(name string, all bool) (xattrs, error)
}

// xattrs tells those of a file, before what else is told of it.
func (s *SyncSender) xattrs(fsys fs.FS, at string) error {
	if s.Flags&Xattrs == 0 {
		return nil
	}
	x := xattrs{}
	if f, ok := fsys.(xattrFS); ok {
		var err error
		if x, err = f.xattrs(at, s.Flags&AllXattrs != 0); err != nil {
			return err
		}
	}
	b := x.append(nil)
	if len(b) > maxRecord {
		return errXattrs
	}
	s.W.record(kindXattrs, b) // whose error stays
	return nil
}

// extended gives an open file the attributes that the peer has told. The owner may have to write to
// it first; its mode comes later.
func (r *Receiver) extended(f *os.File, x xattrs) error {
	if r.Flags&Xattrs == 0 {
		return nil
	}
	now, err := readXattrs(f)
	if err != nil || maps.Equal(now, x) {
		return err
	}
	st, err := f.Stat()
	if err == nil && st.Mode()&0o200 == 0 {
		err = f.Chmod(st.Mode().Perm() | 0o200)
	}
	for name := range now {
		if _, ok := x[name]; !ok && err == nil {
			err = removeXattr(f, name)
		}
	}
	for name, value := range x {
		if old, ok := now[name]; err == nil && (!ok || old != value) {
			err = setXattr(f, name, value)
		}
	}
	return err
}

// extendedDir gives the current directory its attributes.
func (r *Receiver) extendedDir() error {
	if r.Flags&Xattrs == 0 {
		return nil
	}
	f, err := r.dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return r.extended(f, r.xattrs)
}

// sameXattrs tells whether the file that st is known of has the attributes that the peer has told.
func (r *SyncReceiver) sameXattrs(st fs.FileInfo) bool {
	if r.Flags&Xattrs == 0 {
		return true
	}
	f, err := openKnown(r.dir, r.name, st)
	if err != nil {
		return false
	}
	defer f.Close()
	now, err := readXattrs(f)
	return err == nil && maps.Equal(now, r.xattrs)
}
