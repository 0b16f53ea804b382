// Package ownfile opens files that this process writes, where other users may have made links,
// pipes and second names.
//
// A link on the way is followed if it belongs to root or this user, whatever becomes of its name
// meanwhile. A file with a second name is refused where another user can make names, and so is
// another user's pipe. python/paths.py does the same on targets. On other systems than Linux only a
// link as the last name is refused.
package ownfile

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Create opens a file to be written from its beginning, as os.Create does. It waits for a reader of
// a pipe that belongs to this user or root.
func Create(name string, mode uint32) (*os.File, error) {
	return walk(name, walker{dir: -1, mode: mode, last: true})
}

// Append opens a file to be written behind its end. A link as the last name is an error, ELOOP, and
// so is a pipe that no process reads, ENXIO.
func Append(name string, mode uint32) (*os.File, error) {
	return walk(name, walker{dir: -1, mode: mode, flags: unix.O_APPEND})
}

func walk(name string, w walker) (*os.File, error) {
	defer func() { w.enter(-1) }()
	fd, err := w.create(name)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// A walker goes to a file, one directory after the other, and holds the last one open.
type walker struct {
	mode  uint32 // of a new file
	flags int    // of open, besides; O_APPEND keeps what is in the file
	last  bool   // a link may be the last name, and a pipe's reader is waited for
	dir   int    // -1: none
	rest  []string
	links int
}

const (
	maxLinks = 40
	place    = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

func (w *walker) create(name string) (fd int, err error) {
	if err := w.add(name); err != nil {
		return -1, err
	}
	for len(w.rest) > 0 {
		this, last := w.rest[0], len(w.rest) == 1
		fd, err := w.next(last)
		if err == unix.ENOENT && last {
			return w.open(this, false)
		}
		if err != nil {
			return -1, err
		}
		if fd, err = w.step(fd, this, last); fd >= 0 || err != nil {
			return fd, err
		}
	}
	return -1, unix.EISDIR
}

// openRoot opens a directory, whose way has no links but those of root and of this user. It takes
// no right to read the directories on the way.
func openRoot(name string) (*os.Root, error) {
	w := walker{dir: -1}
	defer func() { w.enter(-1) }()
	if err := w.add(name); err != nil {
		return nil, err
	}
	for len(w.rest) > 0 {
		this := w.rest[0]
		fd, err := w.next(false)
		if err == nil {
			_, err = w.step(fd, this, false)
		}
		if err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", w.dir))
}

// next takes the next name of the way and opens that as a place. What is not the last name is to be
// a directory, or a link to one.
func (w *walker) next(last bool) (fd int, err error) {
	name := w.rest[0]
	w.rest = w.rest[1:]
	flags := place
	if !last {
		flags |= unix.O_DIRECTORY // which mounts what is to be mounted there
	}
	fd, err = unix.Openat(w.dir, name, flags, 0)
	if err == unix.ENOTDIR && !last {
		fd, err = unix.Openat(w.dir, name, place, 0)
	}
	return fd, err
}

// step goes on by what fd is: a link, a directory, or the file, which it opens.
func (w *walker) step(fd int, name string, last bool) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, err
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR && !last {
		w.enter(fd)
		return -1, nil
	}
	defer unix.Close(fd)
	switch {
	case kind != unix.S_IFLNK && last:
		return w.open(name, w.last && kind == unix.S_IFIFO && ownOrRoot(&st))
	case kind != unix.S_IFLNK:
		return -1, unix.ENOTDIR
	case last && !w.last:
		return -1, unix.ELOOP
	case !ownOrRoot(&st):
		return -1, &foreignLink{st.Uid}
	case last && inProc(&st): // as /dev/stdout: its text is no path
		return unix.Openat(w.dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, w.mode)
	}
	if w.links++; w.links > maxLinks {
		return -1, unix.ELOOP
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return -1, err
	}
	return -1, w.add(string(buf[:n]))
}

// add puts a path before what is left of the way.
func (w *walker) add(path string) error {
	start := "."
	if strings.HasPrefix(path, "/") {
		start = "/"
	}
	if start == "/" || w.dir < 0 {
		fd, err := unix.Open(start, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		w.enter(fd)
	}
	names := slices.DeleteFunc(strings.Split(path, "/"),
		func(s string) bool { return s == "" || s == "." })
	w.rest = append(names, w.rest...)
	return nil
}

func (w *walker) enter(fd int) {
	if w.dir >= 0 {
		unix.Close(w.dir)
	}
	w.dir = fd
}

// open opens the file, which is no link by now, or refuses it. With wait it waits for a pipe's
// reader.
func (w *walker) open(name string, wait bool) (int, error) {
	flags := w.flags | unix.O_WRONLY | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NOCTTY | unix.O_CLOEXEC
	if !wait {
		flags |= unix.O_NONBLOCK
	}
	fd, err := unix.Openat(w.dir, name, flags, w.mode)
	if err != nil {
		return -1, err
	}
	if err = w.check(fd); err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// check refuses a file that another user may have put there, and empties a file that isn't appended
// to.
func (w *walker) check(fd int) error {
	var file, dir unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &file), unix.Fstat(w.dir, &dir)); err != nil {
		return err
	}
	switch kind := file.Mode & unix.S_IFMT; {
	case kind == unix.S_IFIFO && !ownOrRoot(&file):
		return fmt.Errorf("it is a pipe of user %d", file.Uid)
	case kind != unix.S_IFREG:
		return nil
	case file.Nlink > 1 && (!ownOrRoot(&dir) || dir.Mode&0o022 != 0):
		return errors.New("the file has a second name")
	case w.flags&unix.O_APPEND != 0:
		return nil
	}
	return unix.Ftruncate(fd, 0)
}

// A foreignLink says that a link of another user is on the way.
type foreignLink struct{ uid uint32 }

func (e *foreignLink) Error() string {
	return fmt.Sprintf("a symbolic link of user %d is on the way", e.uid)
}

func (e *foreignLink) Unwrap() error { return unix.ELOOP }

func ownOrRoot(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == os.Geteuid() }

// inProc tells whether a link is the kernel's.
func inProc(link *unix.Stat_t) bool {
	var st unix.Stat_t
	return unix.Lstat("/proc/self", &st) == nil && st.Dev == link.Dev
}
