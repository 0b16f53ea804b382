package ownfile

import (
	"path"
	"strings"
)

// Exclude is a list of patterns as rsync's --exclude has them, for paths below what is copied. With
// a slash at its beginning a pattern is for the top, with one inside for the end of a path, else
// for a name; with one at its end it is for directories. A * stands for part of a name, and ** for
// parts of paths.
type Exclude []string

// Match tells whether a path, or a directory that it is in, is excluded.
func (x Exclude) Match(name string, dir bool) bool {
	if len(x) == 0 {
		return false
	}
	names := strings.Split(name, "/")
	for i := 1; i < len(names); i++ {
		if x.one(names[:i], true) {
			return true
		}
	}
	return x.one(names, dir)
}

func (x Exclude) one(names []string, dir bool) bool {
	for _, p := range x {
		only := strings.HasSuffix(p, "/")
		p = strings.TrimRight(p, "/")
		if p == "" || only && !dir {
			continue
		}
		if matchPath(p, names) {
			return true
		}
	}
	return false
}

func matchPath(pattern string, names []string) bool {
	if rest, top := strings.CutPrefix(pattern, "/"); top {
		return matchParts(strings.Split(rest, "/"), names)
	}
	parts := strings.Split(pattern, "/")
	if len(parts) == 1 && pattern != "**" {
		return matchPart(pattern, names[len(names)-1])
	}
	return matchParts(append([]string{"**"}, parts...), names)
}

// matchParts matches a path, part by part. A part of two asterisks stands for any number of them.
// If the names behind it don't match, it takes one more: an earlier one needn't be tried again, so
// that a hostile path costs no more than its names times the parts.
func matchParts(parts, names []string) bool {
	p, n, star, taken := 0, 0, -1, 0
	for n < len(names) {
		switch {
		case p < len(parts) && parts[p] == "**":
			star, taken = p, n
			p++
		case p < len(parts) && matchPart(parts[p], names[n]):
			p, n = p+1, n+1
		case star >= 0:
			taken++
			p, n = star+1, taken
		default:
			return false
		}
	}
	for p < len(parts) && parts[p] == "**" {
		p++
	}
	return p == len(parts)
}

func matchPart(pattern, name string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	return ok && err == nil
}

// Check returns an error for a pattern that means nothing.
func (x Exclude) Check() error {
	for _, p := range x {
		if _, err := path.Match(strings.ReplaceAll(p, "[!", "[^"), ""); err != nil {
			return err
		}
	}
	return nil
}
