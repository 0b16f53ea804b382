package modules

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ErrNoFile is the error for a file that isn't there, or is not to be had.
var ErrNoFile = errors.New("there is no such file, or it is not to be had")

// maxLinks bounds the symbolic links on the way to a file.
const maxLinks = 8

// maxListed bounds the names in one listing.
const maxListed = 65536

// File returns the bytes of a file of package pkg; name is where it is in the package, with slashes.
func (f *Finder) File(pkg, name string) ([]byte, error) {
	for _, t := range f.Pass().holders(pkg, name) {
		at, ok := t.inside(dirOf(pkg), name)
		if !ok {
			continue
		}
		data, _, err := read(t.FS, at)
		if err != nil {
			continue
		}
		if module, ok := strings.CutSuffix(name, ".py"); ok && f.opt.Rewrite != nil {
			data = f.opt.Rewrite(pkg+"."+strings.ReplaceAll(module, "/", "."), t.label(at), data)
		}
		return data, nil
	}
	return nil, ErrNoFile
}

// data returns a file of a package as what goes in a bundle.
func (p Pass) data(name, pkg, path string) *Module {
	for _, t := range p.holders(pkg, path) {
		at, ok := t.inside(dirOf(pkg), path)
		if !ok {
			continue
		}
		m := t.load(at, p.n, func(data []byte) *Module {
			m := &Module{Name: name, Path: t.label(at), Letter: Data, Source: data, Size: len(data), Own: t.Own, Scanned: true}
			return m.seal()
		}, func(error) *Module { return nil })
		if m != nil && m.Letter == Data {
			return m
		}
	}
	return missing(name, ErrNoFile.Error())
}

// List returns the names in a directory of package pkg, sorted; those of directories end with a slash. name is where it is in
// the package, "" for the package itself.
func (f *Finder) List(pkg, name string) ([]string, error) {
	if name == "" {
		name = "."
	}
	p := f.Pass()
	var names []string
	found := false
	for _, t := range p.holders(pkg, name) {
		at, ok := t.inside(dirOf(pkg), name)
		if !ok {
			continue
		}
		entries, err := fs.ReadDir(t.FS, at)
		if err != nil {
			continue
		}
		found = true
		for _, e := range entries {
			if n := t.listed(at, e); n != "" && len(names) < maxListed && f.serves(pkg, join(name, e.Name())) {
				names = append(names, n)
			}
		}
	}
	if !found {
		return nil, ErrNoFile
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// listed is the name of what is in a directory as List has it, "" for what is neither file nor directory.
func (t *tree) listed(dir string, e fs.DirEntry) string {
	mode := e.Type()
	if mode&fs.ModeSymlink != 0 {
		mode = t.follow(join(dir, e.Name()))
	}
	switch {
	case mode.IsDir():
		return e.Name() + "/"
	case mode.IsRegular():
		return e.Name()
	}
	return ""
}

// holders returns the places that package pkg is in, if what is called name in it may be had.
func (p Pass) holders(pkg, name string) []*tree {
	if check(pkg) != "" || !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") || !p.f.serves(pkg, name) {
		return nil
	}
	if _, ours := p.f.builtin(pkg); ours {
		return nil
	}
	switch at := p.locate(pkg); at.letter {
	case Package:
		return p.extended(pkg, at)
	case Namespace:
		return at.places
	}
	return nil
}

// serves says whether policy lets through a package's file: as it would a module in its place.
func (f *Finder) serves(pkg, name string) bool {
	if !f.opt.serves(pkg) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "." {
			continue
		}
		stem, _, _ := strings.Cut(part, ".")
		if pkg += "." + stem; !f.opt.serves(pkg) {
			return false
		}
	}
	return true
}

func dirOf(pkg string) string { return strings.ReplaceAll(pkg, ".", "/") }

// inside returns where name in directory dir leads, if it stays there. What dir itself leads to is the business of who put it
// there.
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

// Distributions returns the directories of the metadata that the search path holds for the distribution called name, for all
// if it is empty: Django-4.2.dist-info. Those whose packages policy keeps back are left out.
func (f *Finder) Distributions(name string) []string {
	var all []string
	for _, t := range f.trees {
		entries, err := fs.ReadDir(t.FS, ".")
		if err != nil {
			continue
		}
		for _, e := range entries {
			dist, ok := distribution(e.Name())
			if ok && (name == "" || normal(name) == dist) && len(all) < maxListed && t.metadata(f, e.Name()) {
				all = append(all, e.Name())
			}
		}
	}
	return all
}

// Metadata returns a text file of a distribution's directory.
func (f *Finder) Metadata(dir, name string) ([]byte, error) {
	if _, ok := distribution(dir); !ok || !fs.ValidPath(dir+"/"+name) || strings.Contains(dir, "/") || strings.ContainsAny(name, "\\\x00") {
		return nil, ErrNoFile
	}
	for _, t := range f.trees {
		if at, ok := t.inside(dir, name); ok && t.metadata(f, dir) {
			if data, _, err := read(t.FS, at); err == nil {
				return data, nil
			}
		}
	}
	return nil, ErrNoFile
}

// metadata says whether policy lets a distribution through: one of its packages at least.
func (t *tree) metadata(f *Finder, dir string) bool {
	if len(f.opt.Allow)+len(f.opt.Deny) == 0 {
		return true
	}
	for _, top := range t.tops(dir) {
		if f.opt.serves(top) {
			return true
		}
	}
	return false
}

// tops are the top-level modules of a distribution: those that it names, else those that its list of files has, else the one
// of its name.
func (t *tree) tops(dir string) []string {
	if data, _, err := read(t.FS, dir+"/top_level.txt"); err == nil {
		return strings.Fields(string(data))
	}
	var tops []string
	if data, _, err := read(t.FS, dir+"/RECORD"); err == nil {
		for line := range strings.Lines(string(data)) {
			file, _, _ := strings.Cut(line, ",")
			file, source := strings.CutSuffix(file, ".py")
			if first, _, _ := strings.Cut(file, "/"); source && identifier(first) && !slices.Contains(tops, first) {
				tops = append(tops, first)
			}
		}
	}
	if len(tops) == 0 {
		name, _ := distribution(dir)
		tops = []string{name}
	}
	return tops
}

// distribution returns the normal name in that of a directory of metadata.
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
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(words, "_")
}
