//go:build !linux

// Package ownfile opens files that this process writes, unless the last name is a link.
package ownfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const flags = os.O_WRONLY | os.O_CREATE | syscall.O_NOFOLLOW

// Create opens a file to be written from its beginning, as os.Create does.
func Create(name string, mode uint32) (*os.File, error) {
	return os.OpenFile(name, flags|os.O_TRUNC, os.FileMode(mode))
}

// Append opens a file to be written behind its end.
func Append(name string, mode uint32) (*os.File, error) {
	return os.OpenFile(name, flags|os.O_APPEND|syscall.O_NONBLOCK, os.FileMode(mode))
}

// openRoot opens a directory, whose way has no links but those of root and of this user. It takes
// the right to read each directory on the way.
func openRoot(name string) (*os.Root, error) {
	w, err := newWay(strings.HasPrefix(name, "/"))
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.follow(splitNames(name)); err != nil {
		return nil, err
	}
	return w.take(), nil
}

// A way leads to a directory, from one to the next. Links of root and of the account are followed,
// and no other account can lead it elsewhere by exchanging names.
type way struct {
	dirs  []*os.Root // from its start, or /, to the current one
	links int
}

// newWay begins at / or at the current directory.
func newWay(absolute bool) (*way, error) {
	at := "."
	if absolute {
		at = "/"
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return nil, err
	}
	return &way{dirs: []*os.Root{root}}, nil
}

func (w *way) close() { w.cut(0) }

// cut leaves the first n directories open.
func (w *way) cut(n int) {
	for len(w.dirs) > n {
		w.dirs[len(w.dirs)-1].Close()
		w.dirs = w.dirs[:len(w.dirs)-1]
	}
}

// take returns the current directory, which the caller closes.
func (w *way) take() *os.Root {
	root := w.dirs[len(w.dirs)-1]
	w.dirs = w.dirs[:len(w.dirs)-1]
	return root
}

// follow goes on by names.
func (w *way) follow(names []string) error {
	for len(names) > 0 {
		name, rest := names[0], names[1:]
		here := w.dirs[len(w.dirs)-1]
		switch name {
		case ".":
			names = rest
			continue
		case "..":
			if err := w.above(); err != nil {
				return err
			}
			names = rest
			continue
		}
		st, err := here.Lstat(name)
		if err != nil {
			return err
		}
		if st.Mode().Type() != fs.ModeSymlink {
			next, err := openDir(here, name)
			if errors.Is(err, errLink) && !st.IsDir() {
				err = syscall.ENOTDIR
			}
			if err != nil {
				return err
			}
			w.dirs = append(w.dirs, next)
			names = rest
			continue
		}
		to, err := w.link(here, name, st)
		if err != nil {
			return err
		}
		if strings.HasPrefix(to, "/") {
			root, err := os.OpenRoot("/")
			if err != nil {
				return err
			}
			w.dirs = append(w.dirs, root)
			w.dirs[0], w.dirs[len(w.dirs)-1] = w.dirs[len(w.dirs)-1], w.dirs[0]
			w.cut(1)
		}
		names = append(splitNames(to), rest...)
	}
	return nil
}

// above goes to the directory above the current one.
func (w *way) above() error {
	if len(w.dirs) > 1 {
		w.cut(len(w.dirs) - 1)
		return nil
	}
	root, err := os.OpenRoot(filepath.Join(w.dirs[0].Name(), ".."))
	if err != nil {
		return err
	}
	w.dirs[0].Close()
	w.dirs[0] = root
	return nil
}

// maxFollowed bounds the links on the way.
const maxFollowed = 40

// link returns the text of a link that may be followed.
func (w *way) link(here *os.Root, name string, st fs.FileInfo) (to string, err error) {
	to, err = here.Readlink(name)
	if err != nil {
		return "", err
	}
	now, err := here.Lstat(name)
	if err != nil {
		return "", err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if w.links++; w.links > maxFollowed || !ok || !os.SameFile(st, now) ||
		sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return "", syscall.ELOOP
	}
	return to, nil
}
