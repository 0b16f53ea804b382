package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// createFile opens a file to be written from its beginning, as os.Create does, but is not led elsewhere by another user: a link is
// followed if it belongs to root or this user, whatever becomes of its name meanwhile, and a file with a second name is refused where
// another user can make names. python/paths.py does the same on targets.
func createFile(name string, mode uint32) (*os.File, error) {
	w := walker{dir: -1}
	defer func() { w.enter(-1) }()
	fd, err := w.create(name, mode)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// A walker goes to a file, one directory after the other, and holds the last one open.
type walker struct {
	dir   int // -1: none
	rest  []string
	links int
}

const (
	maxLinks = 40
	place    = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

func (w *walker) create(name string, mode uint32) (fd int, err error) {
	if err := w.add(name); err != nil {
		return -1, err
	}
	for len(w.rest) > 0 {
		this, last := w.rest[0], len(w.rest) == 1
		w.rest = w.rest[1:]
		flags := place
		if !last {
			flags |= unix.O_DIRECTORY // which mounts what is to be mounted there
		}
		fd, err := unix.Openat(w.dir, this, flags, 0)
		if err == unix.ENOTDIR && !last {
			fd, err = unix.Openat(w.dir, this, place, 0)
		}
		if err == unix.ENOENT && last {
			return w.open(this, mode)
		}
		if err != nil {
			return -1, err
		}
		if fd, err = w.step(fd, this, last, mode); fd >= 0 || err != nil {
			return fd, err
		}
	}
	return -1, unix.EISDIR
}

// step goes on by what fd is: a link, a directory, or the file, which it opens.
func (w *walker) step(fd int, name string, last bool, mode uint32) (int, error) {
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
		return w.open(name, mode)
	case kind != unix.S_IFLNK:
		return -1, unix.ENOTDIR
	case !ownOrRoot(&st):
		return -1, fmt.Errorf("a symbolic link of user %d is on the way", st.Uid)
	case last && inProc(&st): // as /dev/stdout: its text is no path
		return unix.Openat(w.dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, mode)
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
	names := slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
	w.rest = append(names, w.rest...)
	return nil
}

func (w *walker) enter(fd int) {
	if w.dir >= 0 {
		unix.Close(w.dir)
	}
	w.dir = fd
}

// open opens the file, which is no link by now, or refuses it.
func (w *walker) open(name string, mode uint32) (int, error) {
	fd, err := unix.Openat(w.dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, mode)
	if err != nil {
		return -1, err
	}
	var file, dir unix.Stat_t
	if err = unix.Fstat(fd, &file); err == nil {
		err = unix.Fstat(w.dir, &dir)
	}
	if regular := file.Mode&unix.S_IFMT == unix.S_IFREG; err == nil && regular {
		if file.Nlink > 1 && (!ownOrRoot(&dir) || dir.Mode&0o022 != 0) {
			err = errors.New("the file has a second name")
		} else {
			err = unix.Ftruncate(fd, 0)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func ownOrRoot(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == os.Geteuid() }

// inProc tells whether a link is the kernel's.
func inProc(link *unix.Stat_t) bool {
	var st unix.Stat_t
	return unix.Lstat("/proc/self", &st) == nil && st.Dev == link.Dev
}
