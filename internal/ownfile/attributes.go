package ownfile

import (
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// madeDir gets its attributes at the end.
type madeDir struct {
	below string // its path; empty: the destination
	attr  attributes
}

// umask is the process's.
var umask = sync.OnceValue(func() fs.FileMode {
	old := syscall.Umask(0o77)
	syscall.Umask(old)
	return fs.FileMode(old)
})

// dress gives the file its mode: without Preserve the mode of the old one if that is the user's
// own, else what a new one may have. No mode makes a program run as another user.
func (r *Receiver) dress() error {
	mode := fs.FileMode(r.attr.mode) & fs.ModePerm
	if r.Flags&Preserve == 0 {
		mode &^= umask()
		if st, err := r.dir.Lstat(r.name); err == nil && st.Mode().IsRegular() && ownFile(st) {
			mode = st.Mode().Perm()
		}
	}
	if err := r.own(r.file); err != nil {
		return err
	}
	if err := r.extended(r.file, r.xattrs); err != nil {
		return err
	}
	return r.file.Chmod(mode | r.special())
}

// special returns the bits above the permissions that the file or directory is to have.
func (r *Receiver) special() (mode fs.FileMode) {
	if !r.Special || r.Flags&Preserve == 0 {
		return 0
	}
	for _, b := range bits {
		if r.attr.mode&b.bit != 0 {
			mode |= b.mode
		}
	}
	return mode
}

// own gives a file its user and group, where the flags say so and this is root.
func (r *Receiver) own(f *os.File) error {
	if r.Flags&Owners == 0 || os.Geteuid() != 0 {
		return nil
	}
	uid, gid := r.wantedOwner(r.attr)
	return f.Chown(uid, gid)
}

func (r *Receiver) wantedOwner(a attributes) (uid, gid int) {
	uid, gid = int(a.uid), int(a.gid)
	if id, ok := r.users[a.uid]; ok {
		uid = id
	}
	if id, ok := r.groups[a.gid]; ok {
		gid = id
	}
	return uid, gid
}

func ownFile(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Geteuid()
}

// finish gives directories what they are to have, once nothing is made in them any more.
func (r *Receiver) finish() {
	for i := len(r.dirs) - 1; i >= 0; i-- {
		d := r.dirs[i]
		dir, _, err := r.open(splitPath(d.below), 0)
		if err == nil {
			err = r.finishDir(dir, d.attr)
			r.closeDir(dir)
		}
		if err != nil {
			r.fail(d.below, err)
		}
	}
}

func (r *Receiver) finishDir(dir *os.Root, a attributes) error {
	mode := fs.FileMode(a.mode) & fs.ModePerm
	r.attr = a
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if r.Flags&Preserve == 0 {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		mode = mode&^umask() | st.Mode()&fs.ModeSetgid // which it has from the directory above it
	}
	if err = r.own(f); err == nil {
		err = f.Chmod(mode | r.special())
	}
	if err == nil && r.Flags&Preserve != 0 {
		err = dir.Chtimes(".", a.mtime, a.mtime)
	}
	return err
}
