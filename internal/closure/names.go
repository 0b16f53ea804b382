package closure

import (
	"maps"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// Names is a set of module names. The zero value is empty.
type Names struct {
	exact  map[string]bool
	within map[string]bool // packages that are in it with all of their modules
	direct map[string]bool // packages whose own modules are in it, but not what is in these
}

// Has reports whether name is in the set.
func (n *Names) Has(name string) bool {
	if n.exact[name] || n.direct[packageOf(name)] {
		return true
	}
	for i := range name {
		if name[i] == '.' && n.within[name[:i]] {
			return true
		}
	}
	return n.within[name]
}

// Below returns the single names in the set that are in a package.
func (n *Names) Below(pkg string) (names []string) {
	for name := range n.exact {
		if strings.HasPrefix(name, pkg+".") {
			names = append(names, name)
		}
	}
	return names
}

// Empty reports whether there is nothing in the set.
func (n *Names) Empty() bool { return len(n.exact)+len(n.within)+len(n.direct) == 0 }

// Add adds what is in other.
func (n *Names) Add(other *Names) {
	n.init()
	maps.Copy(n.exact, other.exact)
	maps.Copy(n.within, other.within)
	maps.Copy(n.direct, other.direct)
}

func (n *Names) init() {
	if n.exact == nil {
		n.exact, n.within, n.direct = map[string]bool{}, map[string]bool{}, map[string]bool{}
	}
}

// add adds a dotted name and the packages that it is in, unless it belongs to t's standard library.
func (n *Names) add(name string, t pysource.Target) {
	if top, _, _ := strings.Cut(name, "."); Stdlib(top, t) {
		return
	}
	for name != "" && !n.exact[name] {
		n.exact[name] = true
		name = packageOf(name)
	}
}

// Named returns the modules that c's code may import, as far as its sources say it: the roots, and
// what any module of c names in an import statement, wherever that stands, in __all__, or by a
// literal in a call that imports. Of third-party packages in c it has all modules. It reads no
// files, and is made once. The result must not be changed.
func (c *Closure) Named() *Names {
	c.namedOnce.Do(func() {
		c.named.init()
		for _, name := range c.roots {
			if !strings.Contains(name, "/") {
				c.named.add(name, c.target)
			}
		}
		if c.program != nil {
			c.named.collect(c.program, c.target, true)
		}
		for _, n := range c.nodes[1:] {
			c.named.collect(n.m, c.target, false)
			if n.of != "" && n.m.Letter != modules.Namespace {
				c.named.within[n.of] = true
			}
		}
	})
	return &c.named
}

// Code returns the user's own modules in c, and the program.
func (c *Closure) Code() (all []*modules.Module) {
	if c.program != nil && c.program.Own {
		all = append(all, c.program)
	}
	for _, n := range c.nodes[1:] {
		if n.m.Own && (n.m.Letter == modules.Plain || n.m.Letter == modules.Package) {
			all = append(all, n.m)
		}
	}
	return all
}

// Reads reports whether m imports what reads files of packages, or mentions the places of modules.
func Reads(m *modules.Module) bool {
	return m.Mentions || slices.ContainsFunc(m.Info.Imports, reads)
}

// dotted matches literals that may name what is in a package.
var dotted = lazyregexp.New(`["']([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)["']`)

// Dotted returns dotted names that are literals in m's code, at most so many.
func Dotted(m *modules.Module, most int) (names []string) {
	for _, match := range dotted.FindAllSubmatch(m.Code, most) {
		names = append(names, string(match[1]))
	}
	return names
}

// Collect adds a module that goes to a context alone, and what it names.
func (n *Names) Collect(m *modules.Module, t pysource.Target) {
	n.init()
	n.collect(m, t, false)
	if !m.Own && m.IsRegular() {
		n.within[m.Name] = true
	}
}

// collect adds what m names.
func (n *Names) collect(m *modules.Module, t pysource.Target, program bool) {
	if m.Letter != modules.Plain && m.Letter != modules.Package && m.Letter != modules.Native {
		return
	}
	never := pysource.TypeChecking | pysource.Imported
	if !program {
		n.add(m.Name, t)
		never = pysource.TypeChecking | pysource.Main
	}
	for _, imp := range m.Info.Imports {
		if imp.Where&never == 0 {
			n.collectImport(m, imp, t)
		}
	}
	if m.Letter == modules.Package {
		for _, name := range m.Info.All {
			n.add(m.Name+"."+name, t)
		}
	}
	if m.Own {
		n.collectCalls(m, t)
	}
}

func (n *Names) collectImport(m *modules.Module, imp pysource.Import, t pysource.Target) {
	parent := m.Name
	if !m.IsPackage() {
		parent = packageOf(m.Name)
	}
	bases := []string{imp.Module}
	switch {
	case imp.Level > 0:
		bases[0] = relative(parent, imp)
	case t.Version[0] <= 2 && parent != "" && imp.Where&pysource.Dynamic == 0 && !absolute(m):
		bases = append(bases, parent+"."+imp.Module)
	}
	for _, base := range bases {
		n.add(base, t)
		for _, other := range wants[base] {
			n.add(other, t)
		}
		for _, name := range imp.Names {
			if base != "" && name != "*" {
				n.add(base+"."+name, t)
			}
		}
	}
}

var (
	// importers are calls that name a module, or a package for its data, by a literal, besides those
	// that package pysource knows.
	importers = lazyregexp.New(`\b(?:import_module|__import__|find_spec|find_loader|get_loader|` +
		`resolve_name|run_module|import_string|PackageLoader|get_data|files|read_text|read_binary|` +
		`open_text|open_binary|resource_(?:string|stream|filename|exists|listdir|isdir))` +
		`\(\s*["']([\w.-]+)["':]`)

	// lazyPackage is the head of a function that gives a package its modules when they are used.
	lazyPackage = lazyregexp.New(`(?m)^def __getattr__\(`)
	importCall  = lazyregexp.New(`\b(?:import_module|__import__)\(`)
)

// collectCalls adds what calls in m name by literals. A package that imports in its __getattr__ has
// its own modules named.
func (n *Names) collectCalls(m *modules.Module, t pysource.Target) {
	for _, match := range importers.FindAllSubmatch(m.Code, -1) {
		if name := string(match[1]); modules.Valid(name) {
			n.add(name, t)
			n.add(name+".__main__", t) // which run_module executes of a package
		}
	}
	lazy := m.Letter == modules.Package && lazyPackage.Match(m.Code)
	if lazy && importCall.Match(m.Code) {
		n.direct[m.Name] = true
	}
}
