package ownfile

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// HasXattrs tells whether a sync can have Xattrs here.
const HasXattrs = true

// xattrs reads those of a file, and follows no link.
func (d Dir) xattrs(name string, all bool) (xattrs, error) {
	at := d.at(name)
	return collect(all,
		func(b []byte) (int, error) { return unix.Llistxattr(at, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(at, name, b) })
}

// readXattrs reads those of the user.
func readXattrs(f *os.File) (xattrs, error) {
	fd := int(f.Fd())
	return collect(false,
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
}

// collect reads attributes until they are more than a record holds. A file system that has none is
// no error.
func collect(
	all bool,
	list func([]byte) (int, error),
	get func(string, []byte) (int, error),
) (xattrs, error) {
	x := xattrs{}
	n, err := list(nil)
	if n == 0 || err != nil {
		if err == unix.ENOTSUP {
			err = nil
		}
		return x, err
	}
	buf := make([]byte, maxXattr)
	if n, err = list(buf); err != nil {
		return nil, err
	}
	names, size, value := string(buf[:n]), 0, buf
	for name := range strings.SplitSeq(names, "\x00") {
		if name == "" || !covered(name, all) {
			continue
		}
		n, err := get(name, value)
		if err != nil {
			return nil, err
		}
		if size += n + len(name) + 6; size > maxRecord {
			return nil, errXattrs
		}
		x[name] = string(value[:n])
	}
	return x, nil
}

func setXattr(f *os.File, name, value string) error {
	return unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
}

func removeXattr(f *os.File, name string) error { return unix.Fremovexattr(int(f.Fd()), name) }
