package modules

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// Entry is one place of the search path. Directories whose time of change is zero, as embed.FS has
// them, are taken to stay as they are.
type Entry struct {
	FS  fs.FS
	Own bool // the user's own modules, which win over what a target has installed
}

// Options are a Finder's settings. The zero value lets everything through.
//
// Allow and Deny name packages: "a.b" stands for a.b and all in it, "a.b.*" for all in it. What
// Deny names is not served; if Allow isn't empty, nothing is but what it names and the packages
// that this is in.
//
// Serve names modules likewise, which may be asked for though no code that was called names them.
// It lets nothing through that Allow and Deny keep back.
type Options struct {
	Allow, Deny, Serve []string

	// Strip has sources sent without comments and docstrings. Programs that show help texts, or run
	// what stands in docstrings, do something else then.
	Strip bool

	// Rewrite returns what is sent in place of a module's source, or source itself, which it must not
	// change. path is what tracebacks name. It may be called from several goroutines at once. Nil:
	// none.
	Rewrite func(name, path string, source []byte) []byte
}

// Finder looks modules up. It may be used by several goroutines at once, which share the work.
type Finder struct {
	trees   []*tree // static
	builtin func(name string) ([]byte, bool)
	opt     Options
	own     *tree // holds what builtin gave
	packs   packs

	outlines outlines

	passes atomic.Uint64
}

// New returns a Finder over path, first match first. builtin knows the modules of our own, which
// nothing in path can take the place of.
func New(path []Entry, builtin func(name string) (source []byte, ok bool), o Options) *Finder {
	f := &Finder{builtin: builtin, opt: o, own: newTree(Entry{Own: true})}
	for _, e := range path {
		f.trees = append(f.trees, newTree(e))
	}
	return f
}

// Find returns the module called name, never nil. Where there is none, or it can't be sent, the
// answer is of letter Missing with the reason. It reads files, unless they are known and have not
// changed.
func (f *Finder) Find(name string) *Module {
	if why := check(name); why != "" {
		return missing(name, why)
	}
	return f.Pass().Find(name)
}

// With returns what must be sent so that name can be imported: its packages, outermost first, then
// itself. Nothing where it can't be found here.
func (f *Finder) With(name string) []*Module {
	if check(name) != "" {
		return nil
	}
	p := f.Pass()
	var all []*Module
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			continue
		}
		m := p.Find(name[:i])
		if m.Letter == Missing {
			return nil
		}
		all = append(all, m)
	}
	return all
}

// Pass is a number of look-ups that belong together: if one of them has found a thing unchanged,
// the rest don't look at it again. It may be used by several goroutines at once.
type Pass struct {
	f *Finder
	n uint64 // what was checked in a pass from this on is good enough
}

// Pass returns a Pass that sees all changes made until now.
func (f *Finder) Pass() Pass { return Pass{f, f.passes.Add(1)} }

// Find is Finder.Find. Beside modules it finds files of packages, of letter Data: pkg.sub/dir/name,
// and outlines of third-party packages: pkg/.
func (p Pass) Find(name string) *Module { return p.find(name, nil) }

// find is Find for a target whose choice of extension modules is fit; nil: it gets none.
func (p Pass) find(name string, fit *fit) *Module {
	if file, ok := strings.CutPrefix(name, libraryMark); ok {
		return p.library(name, file)
	}
	if pkg, path, ok := strings.Cut(name, "/"); ok {
		return p.data(name, pkg, path)
	}
	if why := check(name); why != "" {
		return missing(name, why)
	}
	if source, ok := p.f.builtin(name); ok {
		return p.f.own.builtin(name, source)
	}
	if !p.f.opt.serves(name) {
		return missing(name, "the engine is told not to serve it")
	}
	at := p.locate(name)
	switch at.letter {
	case 0:
		return missing(name, "not in the search path of the engine either")
	case Missing:
		return missing(name, at.reason)
	case Native:
		return p.native(name, at, fit)
	case Namespace:
		m := &Module{Name: name, Path: at.tree.label(at.file), Letter: Namespace, Scanned: true}
		for _, t := range at.places {
			m.Own = m.Own || t.Own
		}
		return m.seal()
	}
	m := p.load(name, at)
	if ext := p.compiled(m, at, fit); ext != nil {
		return ext
	}
	return m
}

// compiled returns the extension module that m, which was found at, can only be imported as: its
// source can't be, though it may be for a compiler or for other implementations. Nil: m can be
// imported, or no extension module fits.
func (p Pass) compiled(m *Module, at found, fit *fit) *Module {
	if len(at.natives) == 0 || fit == nil || p.importable(m, map[string]bool{}) &&
		!p.amongCompiled(m, at) {
		return nil
	}
	at.letter = Native
	if ext := p.native(m.Name, at, fit); ext.Letter == Native {
		return ext
	}
	return nil
}

// amongCompiled reports whether a module beside m goes as an extension module, which may use what
// only m's has: both were compiled together.
func (p Pass) amongCompiled(m *Module, at found) bool {
	dir := path.Dir(at.file)
	items, err := at.tree.list(dir, p.n)
	if err != nil || m.IsPackage() {
		return false
	}
	above := m.Name[:strings.LastIndexByte(m.Name, '.')+1]
	looked := 0
	for stem, i := range items {
		if !i.source || len(i.natives) == 0 || stem == "__init__" || looked > maxFollowed {
			continue
		}
		looked++
		other := p.load(above+stem, i.choose(at.tree, join(dir, stem)))
		if !p.importable(other, map[string]bool{}) {
			return true
		}
	}
	return false
}

// maxFollowed bounds the modules that are looked at to find out whether one can be imported.
const maxFollowed = 64

// importable reports whether m's source can be imported, as far as its own package tells: what it
// imports of that for certain is there, and none of these imports Cython itself, which has no more
// than a part of its declarations.
func (p Pass) importable(m *Module, seen map[string]bool) bool {
	own, _, _ := strings.Cut(m.Name, ".")
	for _, i := range m.Info.Imports {
		name := m.absolute(i)
		top, _, _ := strings.Cut(name, ".")
		switch {
		case i.Where != 0 || len(i.When) > 0 || seen[name] || len(seen) >= maxFollowed:
			continue
		case name == "cython":
			return false
		case top != own:
			continue
		}
		seen[name] = true
		at := p.locate(name)
		if at.letter == 0 || (at.letter == Plain || at.letter == Package) &&
			!p.importable(p.load(name, at), seen) {
			return false
		}
	}
	return true
}

// absolute returns the name of the module that an import of m's is of, "" if there is none above.
func (m *Module) absolute(i pysource.Import) string {
	if i.Level == 0 {
		return i.Module
	}
	parts := strings.Split(m.Name, ".")
	up := i.Level
	if m.IsPackage() {
		up--
	}
	if up >= len(parts) {
		return ""
	}
	return strings.TrimSuffix(strings.Join(parts[:len(parts)-up], ".")+"."+i.Module, ".")
}

// found is the place of a module. The zero value says that there is none.
type found struct {
	letter byte
	tree   *tree
	file   string
	reason string  // of letter Missing
	dir    bool    // it is a package, even if it can't be sent
	places []*tree // of a namespace package: where its portions are

	natives []string // files of extension modules in file's directory that may be the module
}

// locate looks for name: in the places of its package, if it has one. Its directory in each of them
// follows from its name.
func (p Pass) locate(name string) found {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return p.search(p.f.trees, ".", name)
	}
	if _, ok := p.f.builtin(name[:i]); ok {
		return found{}
	}
	parent := p.locate(name[:i])
	dir, base := strings.ReplaceAll(name[:i], ".", "/"), name[i+1:]
	if parent.letter == Package {
		at := p.search([]*tree{parent.tree}, dir, base)
		if at.letter != 0 && at.letter != Namespace {
			return at
		}
	}
	return p.search(p.places(name[:i], parent), dir, base)
}

// places returns the trees that have modules of package name, which was found at. There are none if
// it is no package or can't be sent.
func (p Pass) places(name string, at found) []*tree {
	switch at.letter {
	case Package:
		return p.extended(name, at)
	case Namespace:
		return at.places
	case Native:
		if _, known := at.tree.broughtBy(at.file, p.n); at.dir && known {
			return []*tree{at.tree}
		}
	}
	return nil
}

// extended returns the places of package name, which was found at: its own directory, and if it
// says so, all that pkgutil.extend_path would add.
func (p Pass) extended(name string, at found) []*tree {
	places := []*tree{at.tree}
	if !p.load(name, at).Info.Path {
		return places
	}
	dir, base := ".", name
	all := p.f.trees
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		dir, base = strings.ReplaceAll(name[:i], ".", "/"), name[i+1:]
		all = p.places(name[:i], p.locate(name[:i]))
	}
	for _, t := range all {
		if t != at.tree && p.candidate(t, dir, base).dir {
			places = append(places, t)
		}
	}
	return places
}

// search looks for base in dir of each place: the first that is no namespace package wins, else all
// of these are one.
func (p Pass) search(places []*tree, dir, base string) found {
	var space found
	for _, t := range places {
		at := p.candidate(t, dir, base)
		switch at.letter {
		case 0:
		case Namespace:
			if space.letter == 0 {
				space = at
			}
			space.places = append(space.places, t)
		default:
			return at
		}
	}
	return space
}

// candidate returns the module that base stands for in dir of t alone.
func (p Pass) candidate(t *tree, dir, base string) found {
	l, err := t.list(dir, p.n)
	switch {
	case short(err):
		return found{letter: Missing, reason: err.Error()}
	case err != nil:
		return found{} // as Python does
	}
	i, ok := l[base]
	if !ok {
		return found{}
	}
	if !i.dir {
		return i.choose(t, join(dir, base))
	}
	sub := join(dir, base)
	inside, err := t.list(sub, p.n)
	if err != nil {
		return found{letter: Missing, reason: err.Error()}
	}
	if at := inside["__init__"].choose(t, sub+"/__init__"); at.letter != 0 {
		if at.dir = true; at.letter == Plain {
			at.letter = Package
		}
		return at
	}
	if at := i.choose(t, sub); at.letter != 0 {
		return at
	}
	return found{letter: Namespace, tree: t, file: sub, dir: true}
}

// load reads the file of a module.
func (p Pass) load(name string, at found) *Module {
	parts := p.parts(at.tree, name)
	return at.tree.load(use{at.file, at.letter, name, strings.Join(parts, " ")}, p.n,
		func(source []byte) *Module {
			m := &Module{Name: name, Path: at.tree.label(at.file), Letter: at.letter, Size: len(source),
				Own: at.tree.Own}
			if r := p.f.opt.Rewrite; r != nil {
				source = r(name, m.Path, source)
			}
			m.Mentions = Mentions(source)
			info, code, err := pysource.Read(source, pysource.Options{})
			m.Info, m.Source, m.Code, m.Scanned = info, source, code, err == nil
			m.mention(parts)
			if p.f.opt.Strip {
				m.Source = code
			}
			return m.seal()
		}, func(err error) *Module { return missing(name, err.Error()) })
}

// serves says whether policy lets name through.
func (o *Options) serves(name string) bool {
	if slices.ContainsFunc(o.Deny, func(p string) bool { return within(name, p) }) {
		return false
	}
	for _, p := range o.Allow {
		if within(name, p) || within(strings.TrimSuffix(p, ".*"), name) {
			return true
		}
	}
	return len(o.Allow) == 0
}

// Builtin reports whether name is a module of our own, which anyone may have.
func (f *Finder) Builtin(name string) bool {
	_, ours := f.builtin(name)
	return ours
}

// Serves reports whether Serve names any module.
func (f *Finder) Serves() bool { return len(f.opt.Serve) > 0 }

// Served reports whether Serve names a module, or a module inside it.
func (f *Finder) Served(name string) bool {
	return slices.ContainsFunc(f.opt.Serve, func(p string) bool {
		return within(name, p) || strings.HasPrefix(strings.TrimSuffix(p, ".*")+".", name+".")
	})
}

// Without returns the answer to the question for a module that can't be sent.
func Without(name, why string) *Module { return missing(name, why) }

// Refused returns the answer to the question for a module that who asks may not have, whether there
// is one or not.
func Refused(name string) *Module {
	return missing(name,
		"not served: nothing that was called names it; --serve or Options.Serve allows it")
}

// within says whether pattern stands for name.
func within(name, pattern string) bool {
	pkg, below := strings.CutSuffix(pattern, ".*")
	rest, ok := strings.CutPrefix(name, pkg)
	return ok && (rest == "" && !below || strings.HasPrefix(rest, "."))
}
