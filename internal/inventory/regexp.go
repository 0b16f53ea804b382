package inventory

import (
	"regexp"
	"sync"
)

// A lazyRegexp compiles a regular expression when it is first used. Commands without an inventory start sooner by that.
type lazyRegexp struct {
	text string
	get  func() *regexp.Regexp
}

// expressions are all there are, for a test that compiles them.
var expressions []*lazyRegexp

// lazily returns a regular expression for a variable of the package. Its first use panics if the text is none.
func lazily(text string) *lazyRegexp {
	l := &lazyRegexp{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
	expressions = append(expressions, l)
	return l
}

func (l *lazyRegexp) String() string                       { return l.text }
func (l *lazyRegexp) MatchString(s string) bool            { return l.get().MatchString(s) }
func (l *lazyRegexp) FindString(s string) string           { return l.get().FindString(s) }
func (l *lazyRegexp) FindStringSubmatch(s string) []string { return l.get().FindStringSubmatch(s) }
func (l *lazyRegexp) Split(s string, n int) []string       { return l.get().Split(s, n) }

func (l *lazyRegexp) FindAllString(s string, n int) []string {
	return l.get().FindAllString(s, n)
}

func (l *lazyRegexp) FindAllStringSubmatch(s string, n int) [][]string {
	return l.get().FindAllStringSubmatch(s, n)
}

func (l *lazyRegexp) ReplaceAllString(s, with string) string {
	return l.get().ReplaceAllString(s, with)
}

func (l *lazyRegexp) ReplaceAllStringFunc(s string, with func(string) string) string {
	return l.get().ReplaceAllStringFunc(s, with)
}
