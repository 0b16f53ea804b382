// Package lazyregexp compiles the regular expressions of packages when they are first used.
// A process that doesn't use them starts sooner: to compile those of the program takes a
// millisecond and 300 KB.
package lazyregexp

import (
	"regexp"
	"slices"
	"sync"
)

// A Regexp is a regular expression that its first use compiles, which panics if the text is none.
// Any goroutine may use it. Its methods are those of a regexp.Regexp.
type Regexp struct {
	text string
	get  func() *regexp.Regexp
}

// all are the expressions of this process, in the order of their packages' initialization.
var all []*Regexp

// New returns a regular expression for a variable of a package. Only initialization may call it,
// because nothing is locked.
func New(text string) *Regexp {
	r := &Regexp{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
	all = append(all, r)
	return r
}

// All returns the expressions of this process, for a test that compiles them.
func All() []*Regexp { return slices.Clone(all) }

func (r *Regexp) String() string { return r.text }

func (r *Regexp) Match(b []byte) bool              { return r.get().Match(b) }
func (r *Regexp) MatchString(s string) bool        { return r.get().MatchString(s) }
func (r *Regexp) FindSubmatch(b []byte) [][]byte   { return r.get().FindSubmatch(b) }
func (r *Regexp) ReplaceAll(b, with []byte) []byte { return r.get().ReplaceAll(b, with) }
func (r *Regexp) FindString(s string) string       { return r.get().FindString(s) }
func (r *Regexp) FindStringIndex(s string) []int   { return r.get().FindStringIndex(s) }

func (r *Regexp) FindStringSubmatch(s string) []string {
	return r.get().FindStringSubmatch(s)
}

func (r *Regexp) FindAllSubmatch(b []byte, n int) [][][]byte {
	return r.get().FindAllSubmatch(b, n)
}

func (r *Regexp) FindAllStringIndex(s string, n int) [][]int {
	return r.get().FindAllStringIndex(s, n)
}

func (r *Regexp) FindAllString(s string, n int) []string { return r.get().FindAllString(s, n) }

func (r *Regexp) FindAllStringSubmatch(s string, n int) [][]string {
	return r.get().FindAllStringSubmatch(s, n)
}

func (r *Regexp) ReplaceAllString(s, with string) string {
	return r.get().ReplaceAllString(s, with)
}

func (r *Regexp) Split(s string, n int) []string { return r.get().Split(s, n) }

// ReplaceAllStringFunc calls with for each match.
func (r *Regexp) ReplaceAllStringFunc(s string, with func(string) string) string {
	return r.get().ReplaceAllStringFunc(s, with)
}
