package modules

import (
	"bytes"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// Files right beside a script or a module that is in no package are given by name: the code that
// was sent reads files by its own place, and each element of a file's path stands in it as a
// literal. That goes for Python's sources too, where the code names the file and not the module.
// Whole directories, which may be a user's home, are not given, unless they are named by Serve.

// maxNamed bounds the names that are looked at for an outline.
const maxNamed = 4096

// named reports whether r may have what is called name beside modules of the user's own.
func (f *Finder) named(r Reader, name string) bool {
	if !plain(name) || name == "." || !r.Reads() || !f.serves("", name) {
		return false
	}
	switch {
	case IsCode(name) && path.Ext(name) != ".py":
		return false
	case strings.Contains(name, "/") && f.Served(first(name)), r.Spells(name):
		return true
	}
	for element := range strings.SplitSeq(name, "/") {
		if !r.Spells(element) {
			return false
		}
	}
	return true
}

// fromPlace matches what gets from a script's own place to other files, or opens it. A script
// without that is shown the path that it has here.
var fromPlace = lazyregexp.New(
	`\b(?:open|dirname|parents?|r?split|r?partition|with_name|with_suffix|realpath|getfile|loader|` +
		`testfile|DocFileSuite)\b`)

// ScriptPlace returns the place that a target sees a script under, "" if it isn't in the search
// path of the user's own modules.
func (f *Finder) ScriptPlace(name string, text []byte) string {
	base := path.Base(filepath.ToSlash(name))
	if !plain(base) || base == "." || !Mentions(text) || !fromPlace.Match(text) {
		return ""
	}
	for _, t := range f.trees {
		if !t.Own {
			continue
		}
		if data, _, err := read(t.FS, base); err == nil && bytes.Equal(data, text) {
			return t.place(base)
		}
	}
	return ""
}

// straight reports whether name is in no package of t, unless Serve names that, and no link leads
// to it.
func (p Pass) straight(t *tree, name string) bool {
	if len(p.regular(t, path.Dir(name))) > 0 && !p.f.Served(first(name)) {
		return false
	}
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		if st, err := fs.Lstat(t.FS, name[:i]); err != nil || st.Mode()&fs.ModeSymlink != 0 {
			return false
		}
	}
	return true
}

// beside returns a file right beside modules of the user's own.
func (f *Finder) beside(r Reader, name string) (rest []byte, size int, err error) {
	if !f.named(r, name) {
		return nil, 0, ErrNoFile
	}
	p := f.Pass()
	err = ErrNoFile
	for _, t := range f.trees {
		if !t.Own || !p.straight(t, name) {
			continue
		}
		rest, size, failed := f.packed(t, name, func(data []byte) []byte { return data })
		if failed == nil {
			return rest, size, nil
		}
		err = told(failed)
	}
	return nil, 0, err
}

// outlineBeside returns the outline of what beside returns.
func (f *Finder) outlineBeside(r Reader) ([]byte, error) {
	if !r.Reads() {
		return nil, ErrNoFile
	}
	p := f.Pass()
	var o outline
	looked := 0
	for _, t := range f.trees {
		if t.Own {
			p.walkBeside(r, t, ".", &o, &looked)
		}
	}
	return o.packed(), nil
}

// walkBeside adds directory dir, and what r may have in it.
func (p Pass) walkBeside(r Reader, t *tree, dir string, o *outline, looked *int) {
	st, err := fs.Stat(t.FS, dir)
	if err != nil || *looked > maxNamed {
		return
	}
	entries, err := fs.ReadDir(t.FS, dir)
	if err != nil {
		return
	}
	var dirs []string
	var files []fs.FileInfo
	lacks := false // something that a program would list there
	for _, e := range entries {
		name := join(dir, e.Name())
		if *looked++; *looked > maxNamed {
			lacks = true
			break
		}
		st, err := e.Info()
		switch {
		case err != nil:
		case !p.f.namedOnTheWay(r, name, e.IsDir()):
			lacks = lacks || plainElement(e.Name()) && e.Name() != bytecodeName &&
				(dir != "." || !p.has(r, t, name, st))
		case st.IsDir():
			dirs = append(dirs, name)
		case st.Mode().IsRegular():
			files = append(files, st)
		default:
			lacks = true
		}
	}
	o.dir(t.place(dir), st, lacked(lacks && !p.f.Served(first(dir))))
	for _, st := range files {
		o.file(st.Name(), st, nil)
	}
	for _, dir := range dirs {
		if len(p.regular(t, dir)) == 0 || p.f.Served(first(dir)) {
			p.walkBeside(r, t, dir, o, looked)
		} else if st, err := fs.Stat(t.FS, dir); err == nil {
			o.dir(t.place(dir), st, lacksMore) // a package, which has an outline of its own once it was sent
		}
	}
}

func lacked(more bool) string {
	if more {
		return lacksMore
	}
	return lacksNothing
}

// has reports whether r has the module or program that is right beside modules of the user's own:
// a program is known by its text.
func (p Pass) has(r Reader, t *tree, name string, st fs.FileInfo) bool {
	if st.IsDir() {
		return r.Sent(name)
	}
	if module := moduleOf("", name); module != "" && r.Sent(module[1:]) {
		return true
	}
	return r.Runs(st.Size(), func() []byte {
		data, _, _ := read(t.FS, name)
		return data
	})
}

// first returns the first element of a path.
func first(name string) string {
	name, _, _ = strings.Cut(name, "/")
	return name
}

// namedOnTheWay is named for directories too: those that something named may be in.
func (f *Finder) namedOnTheWay(r Reader, name string, dir bool) bool {
	if !dir {
		return f.named(r, name)
	}
	return path.Base(name) != bytecodeName && plain(name) && strings.Count(name, "/") < maxDepth &&
		(f.Served(first(name)) || r.Spells(path.Base(name)) || r.Spells(name+"/"))
}
