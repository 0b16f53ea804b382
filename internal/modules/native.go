package modules

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/pysource"
	"github.com/mitogen-go/mitogen/internal/wheel"
)

// Extension modules go to targets that a wheel's tags fit: docs/protocol, section 12. A Pass
// alone finds none. A Fitted, which knows the target, chooses among the files that may be the
// module.

// MaxNative bounds the bytes of one extension module or library.
const MaxNative = 120 << 20

// maxLibraries bounds the libraries of one extension module.
const maxLibraries = 256

// libraryMark begins the name of a library: what follows is its place in the search path.
const libraryMark = "/"

// RefusedABI begins an ABI that is the reason why no extension module is sent.
const RefusedABI = "!"

// overMark stands between an ABI, the names of packages that get no extension modules, and the
// reasons for that.
const overMark = "\x00"

// Over returns abi without the extension modules of top-level packages; reasons are by these.
func Over(abi string, reasons map[string]string) string {
	words := []string{abi}
	for _, top := range slices.Sorted(maps.Keys(reasons)) {
		words = append(words, top, reasons[top])
	}
	return strings.Join(words, overMark)
}

// CheckedABI returns a target's words if they can be read, else words that nothing fits.
func CheckedABI(words string) string {
	if _, err := wheel.Parse(words); err != nil {
		return RefusedABI + "the target doesn't say what it takes"
	}
	return words
}

// native describes the file of an extension module or a library.
type native struct {
	object wheel.Object
	tree   *tree
	file   string // its place in the tree
	hash   string // of its bytes, as RECORD has it
	before []byte // what is sent in front of its bytes
	own    []*Module
}

// fit chooses extension modules for one target.
type fit struct {
	target wheel.Target
	known  bool   // else any file will do, for the time being
	refuse string // why there are none; "": there may be some

	over map[string]string // top-level packages that get none, and why
}

// Fitted is a Pass for a target. It may be used by several goroutines at once.
type Fitted struct {
	p   Pass
	fit fit
}

// For returns p for a target whose interpreter says abi of itself: the words that package wheel
// parses. "": it hasn't been asked, and every extension module of a wheel is taken to fit.
// RefusedABI and a reason: none is sent.
func (p Pass) For(abi string) Fitted {
	f := fit{known: abi != ""}
	words := strings.Split(abi, overMark)
	abi = words[0]
	for pair := range slices.Chunk(words[1:], 2) {
		if f.over == nil {
			f.over = map[string]string{}
		}
		f.over[pair[0]] = pair[len(pair)-1]
	}
	if why, ok := strings.CutPrefix(abi, RefusedABI); ok {
		f.refuse = why
	} else if f.known {
		var err error
		if f.target, err = wheel.Parse(abi); err != nil {
			f.refuse = err.Error()
		} else {
			f.refuse = f.target.Refuses()
		}
	}
	return Fitted{p, f}
}

// Find is Pass.Find, and finds extension modules that fit, and the libraries that these name.
func (f Fitted) Find(name string) *Module { return f.p.find(name, &f.fit) }

// IsPackage reports whether m has modules in it.
func (m *Module) IsPackage() bool { return m.Letter == Namespace || m.IsRegular() }

// IsRegular reports whether m is a package with an __init__, which may be an extension module.
func (m *Module) IsRegular() bool {
	return m.Letter == Package ||
		m.Letter == Native && strings.HasPrefix(path.Base(m.Path), "__init__.")
}

// native returns the extension module that name is, or why there is none for this target.
func (p Pass) native(name string, at found, f *fit) *Module {
	dir := path.Dir(at.file)
	why, large := "", false
	switch {
	case f == nil:
	case f.refuse != "":
		why = f.refuse
	case at.tree.Own:
		why = "it is one of your own; those of installed packages (--venv) are sent"
	case f.excess(name) != "":
		why, large = f.excess(name), true
	default:
		for _, file := range f.order(at.natives) {
			m := p.fitting(name, at, join(dir, file), f)
			if m.Letter == Native {
				return m
			}
			if why == "" {
				why, large = m.Reason, m.TooLarge
			}
		}
	}
	text := at.file + " is an extension module, which can't be sent"
	if why != "" {
		text += ": " + why
	}
	m := missing(name, text)
	m.TooLarge = large
	return m
}

// excess returns why the package that name is in gets no extension modules; "": it gets them.
func (f *fit) excess(name string) string {
	top, _, _ := strings.Cut(name, ".")
	return f.over[top]
}

// order returns files as the target's interpreter would try them, and then those that it doesn't
// load.
func (f *fit) order(files []string) []string {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b string) int { return f.rank(a) - f.rank(b) })
	return files
}

// rank is the place of a file's suffix among those of the target.
func (f *fit) rank(file string) int {
	_, suffix, _ := strings.Cut(file, ".")
	if i := slices.Index(f.target.Suffixes, "."+suffix); i >= 0 {
		return i
	}
	return len(f.target.Suffixes)
}

// fitting returns the extension module in a file, of letter Missing if it doesn't fit.
func (p Pass) fitting(name string, at found, file string, f *fit) *Module {
	from, known := at.tree.broughtBy(file, p.n)
	switch {
	case !known:
		return missing(name, "no wheel has brought it, so nothing says what it fits")
	case f.known && !f.target.Fits(from.tags):
		return missing(name, fmt.Sprintf("its wheel is for %s, the target is %s%s",
			shortTags(from.tags), f.target, f.remedy(from.tags)))
	case f.known && f.rank(path.Base(file)) == len(f.target.Suffixes):
		return missing(name, fmt.Sprintf("the target's interpreter loads no file that is called %s",
			path.Base(file)))
	}
	u := use{file, Native, name, from.set}
	load := func() *Module {
		return at.tree.loadUpTo(MaxNative, u, p.n, func(data []byte) *Module {
			return p.makeNative(name, at.tree, file, from, data)
		}, func(err error) *Module { return notRead(name, err) })
	}
	m := load()
	if m.lacks != "" && p.find(m.lacks, nil).Letter == Library {
		at.tree.drop(u, m)
		m = load()
	}
	if m.Letter == Native && f.known {
		if why := f.lacks(m); why != "" {
			return missing(name, why)
		}
	}
	return m
}

// remedy says what to do about a wheel that the target doesn't take; "": there is nothing simple.
func (f *fit) remedy(tags []wheel.Tag) string {
	if v := f.target.Version; f.target.Otherwise(tags) {
		return fmt.Sprintf("; make the environment of --venv with Python %d.%d", v[0], v[1])
	}
	return ""
}

// notRead returns an extension module or library, of letter Missing, whose file can't be read.
func notRead(name string, err error) *Module {
	large := tooLarge{}
	if !errors.As(err, &large) {
		return missing(name, err.Error())
	}
	m := missing(name, fmt.Sprintf("it has %d MiB, and at most %d MiB are sent: install the package "+
		"there", (large.size+1<<20-1)>>20, large.limit>>20))
	m.TooLarge = true
	return m
}

// shortTags names the first of tags.
func shortTags(tags []wheel.Tag) string {
	if len(tags) == 1 {
		return tags[0].String()
	}
	return tags[0].String() + " and the like"
}

// lacks returns what keeps the target from loading m.
func (f *fit) lacks(m *Module) string {
	if len(m.native.own) > 0 && f.target.Libc != "glibc" {
		return "it needs libraries of its wheel, which only glibc finds in memory"
	}
	for _, o := range append([]*Module{m}, m.native.own...) {
		if why := o.native.object.Lacks(f.target); why != "" {
			return fmt.Sprintf("%s, %s", path.Base(o.native.file), why)
		}
	}
	return ""
}

// makeNative makes a module of the bytes of an extension module.
func (p Pass) makeNative(name string, t *tree, file string, from *brought, data []byte) *Module {
	var mentioned []string
	var looking sync.WaitGroup
	looking.Go(func() { mentioned = p.mentioned(t, from, data) }) // which takes as long as the rest
	defer looking.Wait()
	object, why := inspect(data, from.hash)
	if why != "" {
		return missing(name, why)
	}
	m := &Module{Name: name, Path: t.label(file), Letter: Native, Size: len(data), Scanned: true}
	m.native = &native{object: object, tree: t, file: file, hash: from.hash}
	var lacks string
	if m.native.own, lacks, why = p.libraries(t, file, &object); why != "" {
		m = missing(name, why)
		m.lacks = lacks
		m.TooLarge = lacks != "" && p.find(lacks, nil).TooLarge
		return m
	}
	for _, lib := range m.native.own {
		m.Libraries = append(m.Libraries, lib.Name)
	}
	beside := p.mentionedBeside(t, file, data)
	looking.Wait()
	m.mention(someOf(append(mentioned, beside...)))
	m.native.before = []byte(strings.Join(m.Libraries, "\n") + "\x00")
	return m.seal()
}

// mention adds modules to those that m may import.
func (m *Module) mention(names []string) {
	for _, name := range names {
		if name != m.Name {
			m.Info.Imports = append(m.Info.Imports, pysource.Import{Module: name, Where: pysource.Dynamic})
		}
	}
}

// inspect checks the bytes of a file against the hash that its wheel has for it, and reads them.
func inspect(data []byte, hash string) (o wheel.Object, why string) {
	sum := sha256.New()
	sum.Write(data)
	if hash != recorded(sum) {
		return o, "it is not the file that its wheel has brought (RECORD)"
	}
	o, err := wheel.Read(data)
	if err != nil {
		return o, err.Error()
	}
	return o, ""
}

// libraries returns those that a file needs and that wheels have brought, each behind those that
// it needs itself. If there is a reason why not, lacks names the library that can't be had now; "":
// the reason stays.
func (p Pass) libraries(t *tree, file string, o *wheel.Object) (all []*Module, lacks, why string) {
	seen := map[string]bool{file: true}
	var visit func(file string, o *wheel.Object, dirs []string) string
	visit = func(file string, o *wheel.Object, dirs []string) string {
		dirs = append(origins(file, o.Paths), dirs...)
		for _, name := range o.Needed {
			at := t.libraryIn(dirs, name, p.n)
			if at == "" || seen[at] {
				continue
			}
			seen[at] = true
			lib := p.library(libraryMark+at, at)
			switch {
			case lib.Letter != Library:
				lacks = lib.Name
				return at + ": " + lib.Reason
			case lib.native.object.SOName != name:
				return at + " has another name in it, by which it can't be found in memory"
			case len(seen) > maxLibraries:
				return fmt.Sprintf("it needs more than %d libraries", maxLibraries)
			}
			if why := visit(at, &lib.native.object, dirs); why != "" {
				return why
			}
			all = append(all, lib)
		}
		return ""
	}
	why = visit(file, o, nil)
	return all, lacks, why
}

// origins returns the directories that are meant by a file's search path for libraries, as far as
// they are given by where the file is. What loads a library gives it its own search path as well.
func origins(file string, paths []string) (dirs []string) {
	for _, p := range paths {
		for _, origin := range []string{"$ORIGIN", "${ORIGIN}"} {
			if rest, ok := strings.CutPrefix(p, origin); ok {
				dirs = append(dirs, path.Join(path.Dir(file), rest))
			}
		}
	}
	return dirs
}

// libraryIn returns where a library is; "": no wheel has brought it.
func (t *tree) libraryIn(dirs []string, name string, n uint64) string {
	for _, dir := range dirs {
		at := path.Join(dir, name)
		if _, known := t.broughtBy(at, n); known && !strings.Contains(name, "/") {
			return at
		}
	}
	return ""
}

// library returns a library that a wheel has brought, by its place.
func (p Pass) library(name, file string) *Module {
	for _, t := range p.f.trees {
		from, known := t.broughtBy(file, p.n)
		if !known || t.Own || !fs.ValidPath(file) {
			continue
		}
		u := use{file, Library, name, from.set}
		return t.loadUpTo(MaxNative, u, p.n, func(data []byte) *Module {
			object, why := inspect(data, from.hash)
			if why != "" {
				return missing(name, why)
			}
			m := &Module{Name: name, Path: t.label(file), Letter: Library, Size: len(data), Scanned: true,
				native: &native{object: object, tree: t, file: file, hash: from.hash}}
			return m.seal()
		}, func(err error) *Module { return notRead(name, err) })
	}
	return missing(name, ErrNoFile.Error())
}
