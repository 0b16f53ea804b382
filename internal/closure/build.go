package closure

import (
	"bytes"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// builder makes a Closure.
type builder struct {
	src     Source
	t       pysource.Target
	c       *Closure
	found   map[string]*modules.Module // by name; never nil
	dead    map[string]bool            // what isDead found out
	program *modules.Module            // is run as one; nil: none
	inside  bool                       // imports in functions count as those at module level
	lazy    bool                       // code of the user's own may put all imports off
	along   int                        // bytes of files that are roots
}

func newBuilder(src Source, t pysource.Target) *builder {
	return &builder{
		src: src, t: t,
		c:     &Closure{nodes: make([]node, 1), index: map[string]int{}, looked: map[string][32]byte{}},
		found: map[string]*modules.Module{}, dead: map[string]bool{},
	}
}

// find asks for each name once.
func (b *builder) find(name string) *modules.Module {
	m, ok := b.found[name]
	if !ok {
		if m = b.src.Find(name); m == nil {
			m = &modules.Module{Name: name, Letter: modules.Missing,
				Reason: "not in the search path of the engine either"}
		}
		b.found[name] = m
		b.c.looked[name] = keyOf(m)
	}
	return m
}

// result describes the modules that a dotted name leads to.
type result struct {
	m      *modules.Module // nil if it isn't here
	part   *modules.Module // what is found before that
	vain   *modules.Module // the answer to what Python will ask for in vain; nil if it won't ask
	stdlib bool            // the target knows
}

// resolve walks down a dotted name as Python does.
func (b *builder) resolve(name string) result {
	top, _, _ := strings.Cut(name, ".")
	if Stdlib(top, b.t) {
		return result{stdlib: true}
	}
	var m *modules.Module
	for end := 0; end < len(name); {
		if next := strings.IndexByte(name[end+1:], '.'); next >= 0 {
			end += 1 + next
		} else {
			end = len(name)
		}
		if m != nil && !searched(m) {
			return result{part: m}
		}
		next := b.find(name[:end])
		if next.Letter == modules.Missing {
			return result{part: m, vain: next}
		}
		m = next
	}
	return result{m: m}
}

// searched reports whether Python looks for submodules of m.
func searched(m *modules.Module) bool { return m.IsPackage() || m.Info.Path }

// note adds to node i what an import has led to.
func (b *builder) note(i int, r result) {
	if n := &b.c.nodes[i]; r.vain != nil && !slices.Contains(n.vain, r.vain) {
		n.vain = append(n.vain, r.vain)
	}
	m := r.m
	if m == nil {
		m = r.part
	}
	if m == nil {
		return
	}
	b.edge(i, b.node(m))
	if m.Letter == modules.Namespace && !m.Own {
		b.ask(m.Name)
	}
}

func (b *builder) edge(i, j int) {
	if n := &b.c.nodes[i]; i != j && !slices.Contains(n.deps, j) {
		n.deps = append(n.deps, j)
	}
}

// node returns the index of m's node. A new one needs its package.
func (b *builder) node(m *modules.Module) int {
	if i, ok := b.c.index[m.Name]; ok {
		return i
	}
	n := node{m: m}
	if !m.Own {
		n.of = b.portion(m.Name)
		if m.Letter != modules.Namespace {
			b.ask(n.of)
		}
	}
	i := len(b.c.nodes)
	b.c.index[m.Name] = i
	b.c.nodes = append(b.c.nodes, n)
	if parent := packageOf(m.Name); parent != "" {
		b.edge(i, b.node(b.find(parent)))
	}
	return i
}

// portion returns the outermost package of name that is more than a namespace, else name.
func (b *builder) portion(name string) string {
	for i := range name {
		if name[i] == '.' && b.find(name[:i]).Letter != modules.Namespace {
			return name[:i]
		}
	}
	return name
}

// ask puts a name into Foreign. A namespace is there only if it is imported itself: its portions
// decide.
func (b *builder) ask(name string) {
	if i, ok := slices.BinarySearch(b.c.Foreign, name); !ok {
		b.c.Foreign = slices.Insert(b.c.Foreign, i, name)
	}
}

func packageOf(name string) string { return name[:max(0, strings.LastIndexByte(name, '.'))] }

// wants are modules that those of the standard library look for when they are used, and do without.
var wants = map[string][]string{"zoneinfo": {"tzdata", "tzdata.zoneinfo"},
	"pkg_resources": {"setuptools"}} // which has what it is made of

// follow adds to node i what m imports.
func (b *builder) follow(i int, m *modules.Module) {
	b.each(m, func(imp pysource.Import) {
		for _, name := range b.names(m, imp) {
			r := b.resolve(name)
			b.note(i, r)
			for _, other := range wants[name] {
				b.note(i, b.resolve(other))
			}
			if r.m == nil {
				continue
			}
			for _, member := range b.members(r.m, imp) {
				b.note(i, b.member(r.m, member, imp))
			}
		}
	})
	b.read(i, m)
	if Reads(m) {
		b.files(i)
	}
	for _, name := range m.Libraries {
		if lib := b.find(name); lib.Letter == modules.Library {
			b.edge(i, b.data(lib, b.c.nodes[i].of))
		}
	}
}

// Files is the module of the runtime by which a context has files, listings and metadata of
// packages.
const Files = "_mitogen_files"

// files adds it to node i, if there is one. If only third-party code needs it, it goes with this.
func (b *builder) files(i int) {
	m := b.find(Files)
	if m.Letter == modules.Missing {
		return
	}
	_, known := b.c.index[Files]
	j := b.node(m)
	switch {
	case b.c.nodes[i].of == "":
		b.c.nodes[j].of = ""
	case !known:
		b.c.nodes[j].of = Files
	}
	b.edge(i, j)
}

// forking matches code that is likely to have copies of its process work, which can ask for
// nothing.
var forking = lazyregexp.New(`\b(?:multiprocessing|ProcessPoolExecutor|billiard|joblib|loky|` +
	`(?:os|pty)\.fork\w*)\b`)

// forks reports whether code of the user's own is likely to.
func (b *builder) forks() bool {
	return slices.ContainsFunc(b.c.Code(),
		func(m *modules.Module) bool { return forking.Match(m.Code) })
}

// followFunctions adds what functions import, too.
func (b *builder) followFunctions() {
	b.inside = true
	if b.c.program != nil {
		b.program = b.c.program
		b.follow(0, b.program)
		b.program = nil
	}
	for i := 1; i < len(b.c.nodes); i++ {
		b.follow(i, b.c.nodes[i].m)
	}
}

// late adds the user's own modules that functions of such modules import, and those that these
// import in turn. What else they need is asked for when it is imported.
func (b *builder) late() {
	if p := b.c.program; p != nil && p.Own {
		b.followOwn(0, p, pysource.TypeChecking|pysource.Imported, false)
	}
	known := len(b.c.nodes)
	for i := 1; i < len(b.c.nodes); i++ {
		if m := b.c.nodes[i].m; m.Own {
			b.followOwn(i, m, pysource.TypeChecking|pysource.Main, i >= known)
		}
	}
}

// followOwn adds to node i the user's own modules that m imports in functions, or wherever it does.
func (b *builder) followOwn(i int, m *modules.Module, never pysource.Where, everywhere bool) {
	for _, imp := range m.Info.Imports {
		late := everywhere || imp.Where&pysource.InFunction != 0
		if !late || imp.Where&never != 0 || !imp.Taken(b.t) {
			continue
		}
		for _, name := range b.names(m, imp) {
			r := b.resolve(name)
			b.noteOwn(i, r)
			if r.m == nil || !r.m.Own {
				continue
			}
			for _, member := range b.members(r.m, imp) {
				b.noteOwn(i, b.member(r.m, member, imp))
			}
		}
	}
}

// noteOwn adds to node i what an import has led to, if that is the user's own.
func (b *builder) noteOwn(i int, r result) {
	for _, m := range []*modules.Module{r.m, r.part} {
		if m != nil && m.Own {
			b.edge(i, b.node(m))
		}
	}
}

// readers are calls that read a file of a package, both named by literals, as far as they are
// usual.
var readers = lazyregexp.New(`\b(?:get_data|files|(?:read|open)_(?:text|binary)|path|` +
	`get_path)\(\s*["']([\w.]+)["']\s*(?:,\s*|\)\s*/\s*|\)\.joinpath\(\s*)["']([^"'\\\n]+)["']`)

// What goes along unasked.
const (
	maxRead  = 512 << 10 // bytes of a file
	maxReads = 8         // files of a module
)

// read adds to node i the files of its own top-level package that m is likely to read, when it is
// imported or soon after.
func (b *builder) read(i int, m *modules.Module) {
	if !slices.ContainsFunc(m.Info.Imports, reads) {
		return
	}
	top, _, _ := strings.Cut(m.Name, ".")
	for _, match := range readers.FindAllSubmatch(m.Code, maxReads) {
		pkg := string(match[1])
		if pkg != top && !strings.HasPrefix(pkg, top+".") {
			continue
		}
		d := b.find(pkg + "/" + string(match[2]))
		if d.Letter == modules.Data && d.Size <= maxRead {
			b.edge(i, b.data(d, b.c.nodes[i].of))
		}
	}
}

// maxAlong bounds the bytes of files that go along because they are roots.
const maxAlong = 4 << 20

// file adds a root that is a file of a third-party package. It goes where the package goes.
func (b *builder) file(pkg, name string) {
	of := b.find(pkg)
	if of.Own || of.Letter != modules.Package {
		return
	}
	d := b.find(name)
	if d.Letter != modules.Data || d.Size > maxRead || b.along+d.Size > maxAlong {
		return
	}
	b.along += d.Size
	b.ask(b.portion(pkg))
	b.edge(0, b.data(d, b.portion(pkg)))
}

// data returns the index of a file's node.
func (b *builder) data(d *modules.Module, of string) int {
	i, ok := b.c.index[d.Name]
	if !ok {
		i = len(b.c.nodes)
		b.c.index[d.Name] = i
		b.c.nodes = append(b.c.nodes, node{m: d, of: of})
	}
	return i
}

// each calls do with the imports of m that may run on the target when m is imported. A handler runs
// if what was tried can't be imported. What comes behind an import that fails here would not run
// here either; only in the user's own modules it counts, which may be for what the target alone
// has.
func (b *builder) each(m *modules.Module, do func(pysource.Import)) {
	var failed, ended []int // numbers of tries
	for _, imp := range m.Info.Imports {
		if !b.runs(m, imp, failed) || imp.Try > 0 && slices.Contains(ended, imp.Try) {
			continue
		}
		do(imp)
		broken := !m.Own && b.broken(m, imp)
		switch {
		case imp.Try > 0 && broken:
			failed, ended = append(failed, imp.Try), append(ended, imp.Try)
		case imp.Try > 0 && !slices.Contains(failed, imp.Try) && !b.works(m, imp):
			failed = append(failed, imp.Try)
		case broken && !imp.Lazy && !b.lazy && certain(m, imp):
			return
		}
	}
}

// certain reports whether an import runs whenever m is imported: an Info doesn't know what stands
// in an if whose condition says nothing, but the statement's indentation does.
func certain(m *modules.Module, imp pysource.Import) bool {
	if imp.Where != 0 || len(imp.When) > 0 {
		return false
	}
	rest := m.Code
	for range imp.Line - 1 {
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return bytes.HasPrefix(rest, []byte("import")) || bytes.HasPrefix(rest, []byte("from"))
}

func (b *builder) runs(m *modules.Module, imp pysource.Import, failed []int) bool {
	never := pysource.TypeChecking | pysource.Main
	if m == b.program {
		never = pysource.TypeChecking | pysource.Imported
	}
	if !b.inside {
		never |= pysource.InFunction
	}
	const clauses = pysource.Handler | pysource.Else
	if imp.Where&never != 0 || !imp.Taken(b.t) {
		return false
	}
	return imp.Where&clauses != pysource.Handler || slices.Contains(failed, imp.Catch)
}

// names returns the dotted names that an import statement of m may look for. Python 2 looks in m's
// own package first.
func (b *builder) names(m *modules.Module, imp pysource.Import) []string {
	parent := m.Name
	if !m.IsPackage() {
		parent = packageOf(m.Name)
	}
	if imp.Level > 0 {
		if name := relative(parent, imp); name != "" {
			return []string{name}
		}
		return nil
	}
	if parent == "" || b.t.Version[0] > 2 || imp.Where&pysource.Dynamic != 0 || absolute(m) {
		return []string{imp.Module}
	}
	inner := parent + "." + imp.Module
	top, _, _ := strings.Cut(imp.Module, ".")
	if b.t.Version[0] == 2 && b.find(parent+"."+top).Letter != modules.Missing {
		return []string{inner}
	}
	return []string{inner, imp.Module}
}

// relative returns the absolute name of what imp has dots for, "" if there are too many.
func relative(parent string, imp pysource.Import) string {
	for range imp.Level - 1 {
		parent = packageOf(parent)
	}
	if parent == "" || imp.Module == "" {
		return parent
	}
	return parent + "." + imp.Module
}

func absolute(m *modules.Module) bool {
	return slices.ContainsFunc(m.Info.Imports, func(imp pysource.Import) bool {
		return imp.Module == "__future__" && slices.Contains(imp.Names, "absolute_import")
	})
}

// members returns the names that a from-import takes out of m and that may be modules.
func (b *builder) members(m *modules.Module, imp pysource.Import) []string {
	switch {
	case !searched(m):
		return nil
	case len(imp.Names) == 1 && imp.Names[0] == "*":
		return m.Info.All
	}
	return imp.Names
}

// member is resolve for `from m import name`. Python asks for m.name if m has no such attribute,
// which m's text tells well enough: a wrong negative answer does no harm, as there is no such
// module.
func (b *builder) member(m *modules.Module, name string, imp pysource.Import) result {
	sub := b.find(m.Name + "." + name)
	switch {
	case sub.Letter != modules.Missing:
		return result{m: sub}
	case imp.Where&pysource.Optional != 0 || !b.binds(m, name):
		return result{vain: sub}
	}
	return result{}
}

// binds reports whether m may have the attribute.
func (b *builder) binds(m *modules.Module, name string) bool {
	return bytes.Contains(m.Code, []byte(name)) ||
		slices.ContainsFunc(m.Info.Imports, func(imp pysource.Import) bool {
			return slices.Contains(imp.Names, "*")
		})
}

// works reports whether an import of m's will find all it names, for all we know.
func (b *builder) works(m *modules.Module, imp pysource.Import) bool {
	return slices.ContainsFunc(b.names(m, imp), func(name string) bool {
		r := b.resolve(name)
		if r.stdlib {
			return stdlibHas(name, b.t) && !slices.ContainsFunc(imp.Names, func(n string) bool {
				return !stdlibHas(name+"."+n, b.t)
			})
		}
		return r.m != nil && !b.broken(m, imp) &&
			!slices.ContainsFunc(b.members(r.m, imp), func(n string) bool {
				return b.member(r.m, n, imp).vain != nil && !b.binds(r.m, n)
			})
	})
}

// broken reports whether an import of m's can only fail where no more is installed than here: it
// leads to a missing top-level name.
func (b *builder) broken(m *modules.Module, imp pysource.Import) bool {
	return !slices.ContainsFunc(b.names(m, imp), func(name string) bool {
		r := b.resolve(name)
		switch {
		case r.vain != nil:
			return strings.Contains(r.vain.Name, ".")
		case r.m == nil:
			return true
		}
		return !b.isDead(r.m) && !slices.ContainsFunc(b.members(r.m, imp), func(n string) bool {
			sub := b.member(r.m, n, imp).m
			return sub != nil && b.isDead(sub)
		})
	})
}

// isDead reports whether a module is broken by what it imports in no try, or by its package.
func (b *builder) isDead(m *modules.Module) bool {
	if dead, known := b.dead[m.Name]; known {
		return dead
	}
	b.dead[m.Name] = false // until more is known: it may be in a cycle
	dead := false
	if parent := packageOf(m.Name); parent != "" {
		dead = b.isDead(b.find(parent))
	}
	b.each(m, func(imp pysource.Import) {
		dead = dead || b.broken(m, imp) && certain(m, imp)
	})
	b.dead[m.Name] = dead
	return dead
}
