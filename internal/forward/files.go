package forward

import (
	"cmp"
	"errors"
	"strings"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// The kinds of questions about what packages have beside modules: docs/protocol, section 12,
// "GET_FILE".
const (
	fileData     = 'r'
	fileMetadata = 't'
	fileList     = 'l'
	fileOutline  = 's'
	fileEvery    = 'e' // of the distributions
	fileOfEvery  = 'a'
)

// allDistributions stands before what was asked of all distributions.
const allDistributions = "distributions/"

// File is the answer to such a question.
type File struct {
	Name string // what was asked for, of a directory with a slash behind; "" if it was neither
	Data []byte // must not be changed
	Size int    // bytes of the file
}

// errNoQuestion is the error for a question of no known kind.
var errNoQuestion = errors.New("no such kind of question")

// File answers a question of ctx, which came up in the call of program during, if it isn't "". What
// ctx may not have is refused as if it weren't there.
//
// Behind a hop, what is of a third-party package goes in a bundle, which the hop keeps: File has no
// Data then, and what it had sent comes by send.
func (f *Forwarder) File(ctx wire.ContextID, t pysource.Target, during,
	question string) (File, error) {
	g := f.grantOf(ctx)
	if g == nil || question == "" {
		return File{}, modules.ErrNoFile
	}
	during = f.loreKey(during)
	r := reader{g, f}
	first, second, _ := strings.Cut(question[1:], "\x00")
	name := cmp.Or(first, ".") + "/" + second
	switch question[0] {
	case fileData:
		data, size, err := f.finder.File(r, first, second)
		if err == nil && f.third(first) {
			f.lore.learn(during, name, false)
			if f.kept(ctx, t, name, len(data)) {
				data = nil
			}
		}
		return File{name, data, size}, err
	case fileMetadata:
		data, size, err := f.finder.Metadata(r, first, second)
		return File{name, data, size}, err
	case fileList:
		names, err := f.finder.List(r, first, second)
		return File{Name: strings.TrimRight(name, "/") + "/", Data: joined(names)}, err
	case fileOutline:
		name = first + "/"
		data, err := f.finder.Outline(r, first)
		if err == nil && f.third(first) {
			f.lore.learn(during, name, false)
			f.along(ctx, t, g, during, first)
			if f.kept(ctx, t, name, len(data)) {
				data = nil
			}
		}
		return File{Name: name, Data: data}, err
	case fileEvery:
		data, tops := f.finder.Distributions(r)
		g.require(tops)
		return File{Name: allDistributions, Data: data}, nil
	case fileOfEvery:
		data, err := f.finder.OfDistributions(r, first)
		return File{allDistributions + first, data, len(data)}, err
	}
	return File{}, errNoQuestion
}

// third reports whether pkg is a third-party package.
func (f *Forwarder) third(pkg string) bool {
	m := f.finder.Find(pkg)
	return m.Letter == modules.Package && !m.Own
}

// leastKept is the size from which on a file is worth a bundle, in bytes as it is sent.
const leastKept = 1024

// kept has a file of a third-party package, or its outline, sent to ctx in a bundle, and reports
// whether that has been done: not where there is no hop, nor if ctx was sent it before.
func (f *Forwarder) kept(ctx wire.ContextID, t pysource.Target, name string, size int) bool {
	if size < leastKept || !f.behind(ctx) {
		return false
	}
	p := Program{Roots: []string{name}}
	c := f.closure(t, p)
	return c.Has(name) && f.misses(ctx, name, c) &&
		f.bringWant(ctx, name, want{c: c, why: report.SentAsked, p: p})
}

// behind reports whether ctx is behind a hop.
func (f *Forwarder) behind(ctx wire.ContextID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.book.Parent(ctx) != 0
}

func joined(names []string) []byte { return []byte(strings.Join(names, "\x00")) }
