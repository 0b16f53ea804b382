package forward

import (
	"bytes"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/closure"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wire"
	"github.com/mitogen-go/mitogen/report"
)

// A program that imports by names in data asks for one module after another, a round trip each.
// What it is likely to ask for next goes with the answer to a question. It is of third-party
// packages that the context was sent, so it may have it, and is imported only if the program does
// that:
//
//   - modules right in the package that is asked for, and in its parent package, more of them with
//     the second question;
//   - what literals in the user's own code name, with all modules in it if it is a package: lists
//     of applications, plugins, middleware;
//   - the modules of the other entry points of the same group.
//
// A program that looks for what a package may have or not is sent the package's outline, from its
// second question in vain on: by that it knows.
//
// The next run of the program has all of that from its beginning.

// What goes with one answer at most, in bytes of sources.
const (
	maxFirst  = 128 << 10 // of the same package, with the first question
	maxSecond = 512 << 10
	maxNamed  = 2 << 20   // by literals and entry points
	maxSaid   = 256 << 10 // by literals of the package itself, with the second question
)

// guesses records a context's questions. Forwarder.mu protects it.
type guesses struct {
	asked map[string]int           // packages: questions for modules right in them
	vain  map[string]int           // packages: questions for what there is not in them
	read  map[*modules.Module]bool // code whose literals were looked at
	tops  map[string]int           // top-level packages: questions for modules in them
	lists map[string]bool          // packages whose outlines were asked for
}

// first notes a question for the outline of a package, and reports whether it is the first.
func (g *guesses) first(pkg string) bool {
	if g.lists == nil {
		g.lists = map[string]bool{}
	}
	if g.lists[pkg] || len(g.lists) >= maxLearned {
		return false
	}
	g.lists[pkg] = true
	return true
}

// again counts a question for a module in a top-level package, and reports whether it is the second
// one.
func (g *guesses) again(pkg string) bool {
	if g.tops == nil {
		g.tops = map[string]int{}
	}
	if len(g.tops) < maxLearned {
		g.tops[pkg]++
	}
	return g.tops[pkg] == 2
}

// ask counts a question for a module in pkg, and returns how much of that may go along, in bytes.
func (g *guesses) ask(pkg string) int {
	if pkg == "" || len(g.asked) > maxLearned {
		return 0
	}
	if g.asked == nil {
		g.asked = map[string]int{}
	}
	g.asked[pkg]++
	switch g.asked[pkg] {
	case 1:
		return maxFirst
	case 2:
		return maxSecond
	}
	return 0
}

// miss counts a question in vain for something in pkg, and reports whether it is the second one.
func (g *guesses) miss(pkg string) bool {
	if g.vain == nil {
		g.vain = map[string]int{}
	}
	if len(g.vain) < maxLearned {
		g.vain[pkg]++
	}
	return g.vain[pkg] == 2
}

// missed notes that ctx has asked in vain for a module.
func (f *Forwarder) missed(ctx wire.ContextID, t pysource.Target, during, name string) {
	g, pkg := f.grantOf(ctx), top(name)
	if g == nil || !strings.Contains(name, ".") || !g.sent(closure.Files) || !g.sent(pkg) {
		return
	}
	f.mu.Lock()
	x := f.contexts[ctx]
	again := x != nil && x.guesses.miss(pkg)
	f.mu.Unlock()
	if again && f.third(pkg) {
		p := Program{Roots: []string{pkg + "/"}}
		f.want(ctx, want{c: f.closure(t, p), why: report.SentAsked, p: p})
		f.lore.learn(during, pkg+"/", false)
	}
}

// fresh returns the code that was not looked at yet.
func (g *guesses) fresh(code []*modules.Module) (new []*modules.Module) {
	if g.read == nil {
		g.read = map[*modules.Module]bool{}
	}
	for _, m := range code {
		if !g.read[m] && len(g.read) < maxLearned {
			g.read[m] = true
			new = append(new, m)
		}
	}
	return new
}

// likely returns the modules that ctx is likely to ask for after a question for name, which c is
// the answer to.
func (f *Forwarder) likely(ctx wire.ContextID, name string, c *closure.Closure) []string {
	f.mu.Lock()
	x := f.contexts[ctx]
	if x == nil {
		f.mu.Unlock()
		return nil
	}
	pkg := name[:max(0, strings.LastIndexByte(name, '.'))]
	room := x.guesses.ask(pkg)
	own := append(x.grant.ownCode(), c.Code()...)
	code := x.guesses.fresh(own)
	again := x.guesses.again(top(name))
	f.mu.Unlock()
	a := ahead{f: f, r: reader{&x.grant, f}, with: c, room: maxNamed}
	for _, m := range own {
		a.imported(m, top(name))
	}
	for _, m := range code {
		for _, text := range closure.Dotted(m, maxLearned) {
			a.quoted(text)
		}
	}
	for _, other := range f.finder.Plugins(a.r, name) {
		a.add(other, f.finder.Find(other))
	}
	if a.room = room; room > 0 {
		a.within(name, 0) // if it is a package
		a.within(pkg, 0)
	}
	if a.room = maxSaid; again {
		a.said(top(name))
	}
	slices.Sort(a.names)
	return slices.Compact(a.names)
}

// ahead collects names.
type ahead struct {
	f     *Forwarder
	r     reader
	with  *closure.Closure // goes anyway
	room  int
	names []string
}

// imported adds what the user's own code imports of a package that is asked for, or was: a function
// of it asks for the packages first, one after another.
func (a *ahead) imported(m *modules.Module, pkg string) {
	for _, imp := range m.Info.Imports {
		if imp.Level > 0 || imp.Where&pysource.TypeChecking != 0 || top(imp.Module) != pkg {
			continue
		}
		a.add(imp.Module, a.f.finder.Find(imp.Module))
		for _, name := range imp.Names {
			if name = imp.Module + "." + name; modules.Valid(name) {
				a.add(name, a.f.finder.Find(name))
			}
		}
	}
}

// said adds the modules of a third-party package that literals in its own code name.
func (a *ahead) said(pkg string) {
	for _, name := range a.r.modulesOf(pkg) {
		m := a.f.finder.Find(name)
		if m.Own || !bytes.Contains(m.Code, []byte(`"`+pkg+".")) &&
			!bytes.Contains(m.Code, []byte("'"+pkg+".")) {
			continue
		}
		for _, text := range closure.Dotted(m, maxLearned) {
			if top(text) == pkg {
				a.longest(text)
			}
		}
	}
}

// longest adds the longest part of a dotted name that is a module, and returns it.
func (a *ahead) longest(name string) (*modules.Module, bool) {
	for ; strings.Contains(name, "."); name = name[:strings.LastIndexByte(name, '.')] {
		if m := a.f.finder.Find(name); m.Letter != modules.Missing {
			return m, a.add(name, m)
		}
	}
	return nil, false
}

// quoted adds the longest part of a dotted name that is a module, with what is in it.
func (a *ahead) quoted(name string) {
	if !a.r.Sent(top(name)) && !a.with.Has(top(name)) {
		return
	}
	if m, ok := a.longest(name); ok && m.Letter == modules.Package {
		a.within(m.Name, maxNested)
	}
}

// maxNested bounds how far packages in a package are followed.
const maxNested = 3

// within adds the modules of a package, and of the packages in it as deep as depth says.
func (a *ahead) within(pkg string, depth int) {
	files, err := a.f.finder.List(a.r, pkg, "")
	if err != nil {
		return
	}
	for _, file := range files {
		stem, source := strings.CutSuffix(file, ".py")
		inner, dir := strings.CutSuffix(file, "/")
		name := pkg + "." + stem
		if dir {
			name = pkg + "." + inner
		}
		tests := strings.HasPrefix(stem, "test") || strings.HasPrefix(inner, "test")
		if stem == "__init__" || tests || !source && (!dir || depth == 0) || !modules.Valid(name) {
			continue
		}
		if m := a.f.finder.Find(name); a.add(name, m) && m.Letter == modules.Package {
			a.within(name, depth-1)
		}
	}
}

// add adds a third-party module, if there is room.
func (a *ahead) add(name string, m *modules.Module) bool {
	switch {
	case !a.r.has(name) || m.Own || a.room < m.Size,
		m.Letter != modules.Plain && m.Letter != modules.Package:
		return false
	case !a.r.Sent(name) && !a.with.Has(name):
		a.room -= m.Size
		a.names = append(a.names, name)
	}
	return true
}
