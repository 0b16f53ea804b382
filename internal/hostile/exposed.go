package hostile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A Judge tells which paths another user could have made, as far as the file system says now.
type Judge struct {
	Trusted []int           // users who may own a path, besides the accounts of the system
	Made    map[string]bool // paths that the watched processes have made; all below is theirs
}

// maxLinks limits the symbolic links in a path.
const maxLinks = 40

// Exposed returns why a user who is not trusted could create, replace or change what is at path: ""
// if such a user can't. A relative path is exposed, because it says nothing of where it is.
func (j *Judge) Exposed(path string) string {
	if !filepath.IsAbs(path) {
		return "relative"
	}
	return j.walk("/", split(path), maxLinks)
}

// ExposedDirectory returns why such a user could have a file in the directory at path.
func (j *Judge) ExposedDirectory(path string) string {
	return j.Exposed(filepath.Join(path, "any-name"))
}

// split returns a path's elements. It keeps "..", because the element before may be a link.
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"),
		func(s string) bool { return s == "" || s == "." })
}

// walk looks at rest, below the directory dir, as the kernel resolves a path.
func (j *Judge) walk(dir string, rest []string, links int) string {
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			dir = filepath.Dir(dir)
			continue
		}
		path := filepath.Join(dir, name)
		if j.Made[path] {
			return ""
		}
		st, err := os.Lstat(path)
		if err != nil && !notThere(err) {
			return err.Error()
		}
		if why := j.replaceable(dir, path, st); why != "" {
			return why
		}
		if st == nil {
			return "" // missing, where only those who are trusted can make it
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			if err != nil || links == 0 {
				return fmt.Sprintf("%s: link: %v", path, err)
			}
			if filepath.IsAbs(to) {
				dir = "/"
			}
			rest, links = append(split(to), rest...), links-1
			continue
		}
		if !st.IsDir() {
			return j.changeable(path, st) // nothing below a file can exist
		}
		dir = path
	}
	return ""
}

func notThere(err error) bool {
	return os.IsNotExist(err) || strings.Contains(err.Error(), syscall.ENOTDIR.Error())
}

// replaceable returns why a stranger could have put something else at path, which is in dir; st is
// nil if there is nothing.
func (j *Judge) replaceable(dir, path string, st fs.FileInfo) string {
	if st != nil && !j.trusts(st) {
		return fmt.Sprintf("%s belongs to another user", path)
	}
	d, err := os.Lstat(dir)
	if err != nil {
		return err.Error()
	}
	switch {
	case !open(d):
		return ""
	case st != nil && d.Mode()&fs.ModeSticky != 0:
		return ""
	case st == nil:
		return fmt.Sprintf("%s can be made by any user", path)
	}
	return fmt.Sprintf("%s can be replaced by any user", path)
}

// changeable returns why a stranger could write to the file at path. Devices are no fault.
func (j *Judge) changeable(path string, st fs.FileInfo) string {
	if st.Mode().IsRegular() && open(st) {
		return fmt.Sprintf("%s can be written by others", path)
	}
	return ""
}

// firstUser is the least number of an account, or a group, that isn't the system's own.
const firstUser = 1000

// open tells whether users other than the owner can write. A group counts, because nothing says who
// is in it, unless it is the owner's own.
func open(st fs.FileInfo) bool {
	sys := st.Sys().(*syscall.Stat_t)
	perm := st.Mode().Perm()
	return perm&0o002 != 0 || perm&0o020 != 0 && sys.Gid >= firstUser && sys.Gid != sys.Uid
}

func (j *Judge) trusts(st fs.FileInfo) bool {
	uid := int(st.Sys().(*syscall.Stat_t).Uid)
	return uid < firstUser || slices.Contains(j.Trusted, uid)
}
