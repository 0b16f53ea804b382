package ownfile

import "io/fs"

// partialPrefix and a file's name are the name of what came of it until the copy was interrupted.
const partialPrefix = ".mitogen-partial-"

// keep drops the file that isn't whole when a sync ends, or with Partial keeps it for the next one,
// if that will have no larger one.
func (r *SyncReceiver) keep() {
	if r.Flags&Partial != 0 && r.file != nil {
		st, err := r.file.Stat()
		if err == nil && st.Size() > r.useful() &&
			r.dir.Rename(r.temp, partialPrefix+r.name) == nil {
			r.temp = ""
		}
	}
	r.drop()
}

// useful returns how many bytes of a file are as good as what there is.
func (r *SyncReceiver) useful() int64 {
	old, _ := r.dir.Lstat(r.name)
	if _, best := r.base(old); best != nil && best.Mode().IsRegular() {
		return max(piece, best.Size())
	}
	return piece
}

// base returns the largest file that may have bytes of the new one: the old file, which st is of,
// or what came of the new one before. That may be another account's, too: what is made of it has to
// have the right digest.
func (r *SyncReceiver) base(st fs.FileInfo) (name string, best fs.FileInfo) {
	if r.Flags&Partial == 0 || r.dir == nil {
		return r.name, st
	}
	part, err := r.dir.Lstat(partialPrefix + r.name)
	if err != nil || !part.Mode().IsRegular() {
		return r.name, st
	}
	if st != nil && st.Mode().IsRegular() && st.Size() > part.Size() {
		return r.name, st
	}
	return partialPrefix + r.name, part
}
