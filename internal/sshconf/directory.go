package sshconf

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxNames limits the entries of a directory that is remembered. The entries of a larger one
// aren't.
const maxNames = 1000

// listing has the names in a directory. They can't change without the directory's status changing.
type listing struct {
	known bool     // else nothing is known of the directory
	names []string // sorted
	// names in lower case, for file systems that don't distinguish; nil: some aren't ASCII
	lower map[string]bool
}

// listings are those of this process's directories.
var listings = cache[*listing]{read: list}

func list(dir string) (l *listing, sure bool) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil { // without the directory there are no files in it
		gone := errors.Is(err, syscall.ENOENT)
		return &listing{known: gone, lower: map[string]bool{}}, gone
	}
	defer f.Close()
	names, err := f.Readdirnames(maxNames + 1)
	if len(names) > maxNames || err != nil && err != io.EOF {
		return &listing{}, err == nil || err == io.EOF
	}
	slices.Sort(names)
	l = &listing{known: true, names: names}
	if !slices.ContainsFunc(names, beyondASCII) {
		l.lower = map[string]bool{}
		for _, n := range names {
			l.lower[strings.ToLower(n)] = true
		}
	}
	return l, true
}

func beyondASCII(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf })
}

// lacks reports whether there is certainly no file of that name in the directory.
func (l *listing) lacks(name string) bool {
	return l.known && l.lower != nil && !beyondASCII(name) && !l.lower[strings.ToLower(name)]
}

// glob does the work of filepath.Glob for a pattern with wildcards at most in its last element. ok
// is false for other patterns, and if the directory isn't known.
func (f *finder) glob(pattern string) (names []string, ok bool) {
	dir, base := filepath.Split(pattern)
	if strings.ContainsAny(dir, `*?[\`) || !strings.ContainsAny(base, `*?[`) {
		return nil, false
	}
	if _, err := filepath.Match(base, ""); err != nil {
		return nil, false
	}
	dir = filepath.Clean(dir)
	l := f.listing(dir)
	for _, n := range l.names {
		if matched, _ := filepath.Match(base, n); matched {
			names = append(names, filepath.Join(dir, n))
		}
	}
	return names, l.known
}

// listing returns the names in dir, as they are at this query.
func (f *finder) listing(dir string) *listing {
	l := f.listings[dir]
	if l == nil {
		l = listings.get(dir)
		f.listings[dir] = l
	}
	return l
}

// content returns what a file says now. Most of the files that ssh looks for in its own directory
// aren't there, so that the directory's names say it of all of them.
func (f *finder) content(name string) *content {
	if filepath.Dir(name) == f.own && f.listing(f.own).lacks(filepath.Base(name)) {
		return missing
	}
	return contents.get(name)
}
