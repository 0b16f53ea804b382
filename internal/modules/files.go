package modules

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Reader is a context that asks for files, and what it was given so far.
type Reader interface {
	Any() bool               // it was given a module at all
	Plugged() bool           // it was given the metadata of distributions
	Names(name string) bool  // it may be given this module
	Sent(name string) bool   // it was sent this module or package
	Reads() bool             // own code that it was given imports what reads files of packages
	Quotes(text string) bool // such code has this text as a literal, or at the end of one
	Spells(text string) bool // such code has this text as a literal, or behind a slash in one

	// Says reports whether code that it was given, of third-party packages too, has this literal.
	Says(text string) bool

	// Runs reports whether it was given a program of this size and text.
	Runs(size int64, text func() []byte) bool
}

// ErrNoFile is the error for a file that isn't there, or is not to be had.
var ErrNoFile = errors.New("there is no such file, or it is not to be had")

// maxLinks bounds the symbolic links on the way to a file.
const maxLinks = 8

// maxListed bounds the names in one listing.
const maxListed = 65536

// File returns a file of package pkg for r, as it is sent: zlib of its bytes, of which there are
// size. name is where it is in the package, with slashes. The result must not be changed.
func (f *Finder) File(r Reader, pkg, name string) (rest []byte, size int, err error) {
	if pkg == "" {
		return f.beside(r, name)
	}
	if name == "." || !listed(r, pkg, name) {
		return nil, 0, ErrNoFile
	}
	err = ErrNoFile
	p := f.Pass()
	for _, t := range p.holders(pkg, name) {
		at, ok := p.reach(t, pkg, name, func(name string) bool { return p.gives(r, t, pkg, name) })
		if !ok {
			continue
		}
		rest, size, failed := f.packed(t, at, func(data []byte) []byte {
			if module, ok := strings.CutSuffix(name, ".py"); ok && f.opt.Rewrite != nil {
				data = f.opt.Rewrite(pkg+"."+strings.ReplaceAll(module, "/", "."), t.label(at),
					data)
			}
			return data
		})
		if failed == nil {
			return rest, size, nil
		}
		err = told(failed)
	}
	return nil, 0, err
}

// told returns what a context is told of an error with a file that it may have.
func told(err error) error {
	if large := (tooLarge{}); errors.As(err, &large) {
		return err
	}
	return ErrNoFile
}

// data returns a file of a package as what goes in a bundle, because code names it, or programs
// have asked for it. With an empty path it returns the outline of a third-party package.
func (p Pass) data(name, pkg, path string) *Module {
	if path == "" {
		return p.listing(name, pkg)
	}
	if !plain(path) {
		return missing(name, ErrNoFile.Error())
	}
	for _, t := range p.holders(pkg, path) {
		at, ok := p.reach(t, pkg, path, func(name string) bool {
			return !t.Own || p.innermost(t, pkg, name) != "" && !IsCode(name)
		})
		if !ok {
			continue
		}
		m := t.load(use{file: at, letter: Data, name: name}, p.n, func(data []byte) *Module {
			m := &Module{Name: name, Path: t.label(at), Letter: Data, Source: data, Size: len(data),
				Own: t.Own, Scanned: true}
			return m.seal()
		}, func(error) *Module { return nil })
		if m != nil && m.Letter == Data {
			return m
		}
	}
	return missing(name, ErrNoFile.Error())
}

// List returns the names in a directory of package pkg that r may have, sorted; those of
// directories end with a slash. name is where it is in the package, "" for the package itself.
func (f *Finder) List(r Reader, pkg, name string) ([]string, error) {
	if name == "" {
		name = "."
	}
	if !listed(r, pkg, join(name, "x")) {
		return nil, ErrNoFile
	}
	p := f.Pass()
	var names []string
	found := false
	for _, t := range p.holders(pkg, name) {
		at, ok := p.reach(t, pkg, name, func(name string) bool { return p.opens(r, t, pkg, name) })
		if !ok {
			continue
		}
		entries, err := fs.ReadDir(t.FS, at)
		if err != nil {
			continue
		}
		found = true
		for _, e := range entries {
			inner := join(name, e.Name())
			if !plain(inner) || !f.serves(pkg, inner) || len(names) >= maxListed {
				continue
			}
			names = p.entry(r, t, pkg, inner, at, e, names)
		}
	}
	if !found {
		return nil, ErrNoFile
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// entry adds the name of what is in a directory, if r may have that.
func (p Pass) entry(r Reader, t *tree, pkg, name, dir string, e fs.DirEntry,
	names []string) []string {
	kind, suffix, gives := e.Type(), "", p.gives
	link := kind&fs.ModeSymlink != 0
	if link {
		kind = t.follow(join(dir, e.Name()))
	}
	switch {
	case kind.IsDir():
		suffix, gives = "/", p.opens
	case !kind.IsRegular():
		return names
	}
	may := func(name string) bool { return gives(r, t, pkg, name) }
	if link {
		if _, ok := p.reach(t, pkg, name, may); !ok {
			return names
		}
	} else if !may(name) {
		return names
	}
	return append(names, e.Name()+suffix)
}

// holders returns the places that package pkg is in, if policy lets through what is called name in
// it.
func (p Pass) holders(pkg, name string) []*tree {
	if check(pkg) != "" || !p.f.serves(pkg, name) {
		return nil
	}
	if _, ours := p.f.builtin(pkg); ours {
		return nil
	}
	places := slices.Clone(p.places(pkg, p.locate(pkg)))
	top, rest, inner := strings.Cut(pkg, ".")
	return slices.DeleteFunc(places, func(t *tree) bool {
		_, ok := t.inside(top, dirOf(rest))
		return inner && !ok // a link leads out of the outermost package
	})
}

// serves says whether policy lets through a package's file: as it would a module in its place.
func (f *Finder) serves(pkg, name string) bool {
	if pkg != "" && !f.opt.serves(pkg) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "." {
			continue
		}
		stem, _, _ := strings.Cut(part, ".")
		if pkg = strings.TrimPrefix(pkg+"."+stem, "."); !f.opt.serves(pkg) {
			return false
		}
	}
	return true
}

// reach returns where name of pkg leads in t. may must allow both its own name and the name that
// links lead to.
func (p Pass) reach(t *tree, pkg, name string, may func(name string) bool) (at string, ok bool) {
	if !may(name) {
		return "", false
	}
	dir := dirOf(pkg)
	if at, ok = t.inside(dir, name); !ok {
		return "", false
	}
	if at == path.Join(dir, name) {
		return at, true
	}
	real := "."
	if at != dir {
		real = at[len(dir)+1:]
	}
	return at, plain(real) && may(real)
}

func dirOf(pkg string) string { return strings.ReplaceAll(pkg, ".", "/") }

// inside returns where name in directory dir leads, if it stays there. What dir itself leads to is
// the business of who put it there.
func (t *tree) inside(dir, name string) (string, bool) {
	if _, ok := t.FS.(fs.ReadLinkFS); !ok {
		return path.Join(dir, name), true // without links, or with some that are confined
	}
	done, rest := dir, strings.Split(path.Clean(name), "/")
	for links := 0; len(rest) > 0; {
		at := path.Join(done, rest[0])
		rest = rest[1:]
		if at != dir && !strings.HasPrefix(at, dir+"/") {
			return "", false
		}
		st, err := fs.Lstat(t.FS, at)
		if err != nil {
			return "", false
		}
		if at == dir || st.Mode()&fs.ModeSymlink == 0 {
			done = at
			continue
		}
		target, err := fs.ReadLink(t.FS, at)
		if links++; err != nil || path.IsAbs(target) || links > maxLinks {
			return "", false
		}
		rest = append(strings.Split(path.Clean(target), "/"), rest...)
	}
	return done, true
}

// Metadata returns a text file of a distribution's directory for r, as File does.
func (f *Finder) Metadata(r Reader, dir, name string) (rest []byte, size int, err error) {
	_, ok := distribution(dir)
	if !ok || !r.Any() || strings.Contains(dir, "/") || !plain(dir) || !plain(name) || name == "." {
		return nil, 0, ErrNoFile
	}
	same := func(data []byte) []byte { return data }
	for _, d := range f.distributions(r) {
		at, ok := d.t.inside(dir, name)
		if d.dir != dir || !ok || !plain(at) {
			continue
		}
		if rest, size, err := f.packed(d.t, at, same); err == nil {
			return rest, size, nil
		}
	}
	return nil, 0, ErrNoFile
}

// metadata says whether a distribution has a package that r may be given and policy lets through.
func (t *tree) metadata(f *Finder, r Reader, dir string) bool {
	return slices.ContainsFunc(t.topsOf(dir), func(top string) bool {
		return (r.Names(top) || f.Served(top)) && f.opt.serves(top)
	})
}

// topsOf is tops, kept: a distribution's directory doesn't change.
func (t *tree) topsOf(dir string) []string {
	t.mu.Lock()
	tops, known := t.tops[dir]
	t.mu.Unlock()
	if known {
		return tops
	}
	if st, err := fs.Stat(t.FS, dir); err != nil || !st.IsDir() {
		return nil
	}
	tops = t.readTops(dir)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tops[dir] = tops
	return tops
}

// readTops returns the top-level modules of a distribution: those that it names, else those that
// its list of files has, else the one
// of its name.
func (t *tree) readTops(dir string) []string {
	if data, _, err := read(t.FS, dir+"/top_level.txt"); err == nil {
		return strings.Fields(string(data))
	}
	var tops []string
	if data, _, err := read(t.FS, dir+"/RECORD"); err == nil {
		for line := range strings.Lines(string(data)) {
			file, _, _ := strings.Cut(line, ",")
			tops = addTop(tops, file)
		}
	}
	tops = slices.DeleteFunc(tops, func(top string) bool { return !identifier(top) })
	if len(tops) == 0 {
		name, _ := distribution(dir)
		tops = []string{name}
	}
	return tops
}

// distribution returns the normal name in the name of a directory of metadata.
func distribution(dir string) (name string, ok bool) {
	stem, ok := strings.CutSuffix(dir, ".dist-info")
	if !ok {
		if stem, ok = strings.CutSuffix(dir, ".egg-info"); !ok {
			return "", false
		}
	}
	stem, _, _ = strings.Cut(stem, "-")
	return normal(stem), true
}

// normal is a distribution's name as it is compared.
func normal(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name),
		func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(words, "_")
}
