package ownfile

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// links are the files of a sync that have several names.
type links struct {
	firsts  map[uint32]string // the first path of each, by the question that was about it
	further []furtherName
	inodes  map[inode]bool // files here with several names, that are kept
}

// furtherName is a path that becomes a name of the file at the first path.
type furtherName struct{ first, at string }

var (
	errFirst     = errors.New("its first name was not copied")
	errExchanged = errors.New("it was exchanged for another")
)

// note remembers a path of a file, and tells whether there was an earlier one.
func (l *links) note(r *SyncReceiver, question uint32, at string) (further bool, err error) {
	first, further := l.firsts[question]
	if further {
		l.further = append(l.further, furtherName{first, at})
		return true, r.remember(first + at)
	}
	l.firsts[question], r.firsts[at] = at, nil
	r.size += 256 // for a status
	return false, r.remember(at)
}

// joined tells whether a file here was taken for another one of the other side's already.
func (l *links) joined(st fs.FileInfo) bool {
	id, several := linked(st)
	if !several {
		return false
	}
	before := l.inodes[id]
	l.inodes[id] = true
	return before
}

// join makes a path a name of the file that was copied to another one. Nothing else gets a name,
// whatever has taken that file's place meanwhile.
func (r *SyncReceiver) join(n furtherName) error {
	st := r.firsts[n.first]
	where, name := path.Split(n.at)
	dir, _, err := r.open(splitPath(where), 0)
	if err != nil && !r.still {
		return err
	}
	if err == nil {
		defer r.closeDir(dir)
		now, err := dir.Lstat(name)
		if err == nil && st != nil && os.SameFile(st, now) {
			return nil
		}
	}
	if r.Changed(n.at, false); r.still {
		return nil
	}
	if st == nil {
		return errFirst
	}
	where, first := path.Split(n.first)
	from, _, err := r.open(splitPath(where), 0)
	if err != nil {
		return err
	}
	defer r.closeDir(from)
	temp := freeName()
	if err := linkAt(from, first, dir, temp); err != nil {
		return err
	}
	now, err := dir.Lstat(temp)
	if err == nil && !(now.Mode().IsRegular() && os.SameFile(st, now)) { // the number may be free
		err = errExchanged
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		dir.Remove(temp)
	}
	return err
}

// closeDir closes a directory that open has returned.
func (r *Receiver) closeDir(dir *os.Root) {
	if dir != r.Root {
		dir.Close()
	}
}

func splitPath(p string) []string {
	return strings.FieldsFunc(p, func(c rune) bool { return c == '/' })
}

// linkAt gives what is in one directory a name in another one. It follows no link.
func linkAt(from *os.Root, name string, to *os.Root, newName string) error {
	a, err := from.Open(".")
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := to.Open(".")
	if err != nil {
		return err
	}
	defer b.Close()
	return unix.Linkat(int(a.Fd()), name, int(b.Fd()), newName, 0)
}
