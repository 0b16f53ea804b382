// Package closure says what importing a module will import on a target, as far as the modules'
// sources tell.
//
// It is pure: Of asks a Source for modules and does nothing else. It follows what runs when a
// module is imported. Of what functions import later it has the user's own modules, which win over
// what the target has of that name. The target's standard library is not looked into. Names that
// Python will ask for in vain become negative answers, which cost a few bytes, where a question
// costs a round trip.
//
// Two kinds of modules matter: the user's own win over what the target has installed and go without
// a question; of the foreign ones the target is asked which it can't import: names of top-level
// packages, of namespace packages their portions. A negative answer stands only for what the target
// itself can't import.
package closure

import (
	"slices"
	"strings"
	"sync"

	"github.com/mitogen-go/mitogen/internal/modules"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// Source finds modules by their dotted names. A module that isn't there, or can't be sent, is of
// letter '-', or nil.
type Source interface {
	Find(name string) *modules.Module
}

// Closure is the set of modules that importing its roots needs. It doesn't change and may be used
// by several goroutines.
type Closure struct {
	Foreign []string // what the target must be asked about, sorted

	index  map[string]int // of nodes, by name
	nodes  []node         // the first one stands for the importer of the roots and has no module
	groups [][]int
	looked map[string][32]byte // keys of all names that were looked up, zero where nothing was found

	roots     []string        // what it was made for
	program   *modules.Module // nil: no module is run as one
	target    pysource.Target
	namedOnce sync.Once
	named     Names
}

// node is a module in the graph.
type node struct {
	m    *modules.Module
	deps []int             // what it imports, and its package
	vain []*modules.Module // negative answers to what it asks for
	of   string            // the Foreign name that it belongs to, "" if it is the user's own
}

func reads(i pysource.Import) bool {
	if i.Level > 0 || i.Where&pysource.TypeChecking != 0 {
		return false
	}
	switch i.Module {
	case "importlib":
		return slices.Contains(i.Names, "resources") || slices.Contains(i.Names, "metadata")
	case "pkgutil", "pkg_resources", "importlib.resources", "importlib.metadata",
		"importlib_resources", "importlib_metadata":
		return true
	}
	return false
}

// Group is modules that become usable together: the members of an import cycle, or one module.
// Negative answers to what they ask for stand behind them.
type Group struct {
	Members []Member
	Needs   []int // earlier groups of the same list that it imports from
}

// Member is a module in a Group.
type Member struct {
	*modules.Module
	Package string // the Foreign name that it, or who asks for it, belongs to; "" for the user's own
}

// Own returns the user's own modules, dependencies first, and then the negative answers to what
// foreign ones ask for outside packages: they ask for it where they are installed, too.
func (c *Closure) Own() []Group {
	groups := c.pick(func(i int) bool { return c.nodes[i].of == "" && !c.hollow(i) }, everything)
	var nowhere Group
	for _, n := range c.nodes {
		if n.of != "" {
			nowhere.refuse("", n.vain, outside)
		}
	}
	if len(nowhere.Members) == 0 {
		return groups
	}
	nowhere.sort()
	return append(groups, nowhere)
}

// hollow reports whether node i is a directory without __init__ that lies in the user's search path
// and holds no module of c.
func (c *Closure) hollow(i int) bool {
	m := c.nodes[i].m
	if m == nil || m.Letter != modules.Namespace || !m.Own {
		return false
	}
	return !slices.ContainsFunc(c.nodes[1:], func(n node) bool {
		return n.m.Letter != modules.Namespace && strings.HasPrefix(n.m.Name, m.Name+".")
	})
}

func everything(*modules.Module) bool { return true }

// outside reports whether a negative answer is to a name in no package.
func outside(m *modules.Module) bool { return !strings.Contains(m.Name, ".") }

// Lacking returns the foreign modules that are needed where has says which of Foreign the target
// has, dependencies first: what only these need is left out, and so is what Own has.
func (c *Closure) Lacking(has func(name string) bool) []Group {
	reached := make([]bool, len(c.nodes))
	reached[0] = true
	for todo := []int{0}; len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, d := range c.nodes[i].deps {
			if of := c.nodes[d].of; !reached[d] && (of == "" || !has(of)) {
				reached[d] = true
				todo = append(todo, d)
			}
		}
	}
	return c.pick(func(i int) bool { return reached[i] && c.nodes[i].of != "" },
		func(m *modules.Module) bool { return !outside(m) })
}

// All returns every module: what a target needs that has nothing.
func (c *Closure) All() []Group {
	return c.pick(func(int) bool { return true }, everything)
}

// pick returns the groups of the nodes that want says, with those of their negative answers that
// refused says.
func (c *Closure) pick(want func(i int) bool, refused func(*modules.Module) bool) []Group {
	var out []Group
	place := make([]int, len(c.nodes)) // 1 + index in out
	for _, members := range c.groups {
		var g Group
		for _, i := range members {
			if !want(i) {
				continue
			}
			place[i] = len(out) + 1
			g.add(c.nodes[i], refused)
			for _, d := range c.nodes[i].deps {
				if p := place[d] - 1; p >= 0 && p < len(out) && !slices.Contains(g.Needs, p) {
					g.Needs = append(g.Needs, p)
				}
			}
		}
		if len(g.Members) > 0 {
			g.sort()
			out = append(out, g)
		}
	}
	return out
}

func (g *Group) add(n node, refused func(*modules.Module) bool) {
	if n.m != nil {
		g.Members = append(g.Members, Member{n.m, n.of})
	}
	g.refuse(n.of, n.vain, refused)
}

// refuse adds those negative answers to package of that want says, once.
func (g *Group) refuse(of string, vain []*modules.Module, want func(*modules.Module) bool) {
	for _, m := range vain {
		same := func(o Member) bool { return o.Name == m.Name && o.Package == of }
		if want(m) && !slices.ContainsFunc(g.Members, same) {
			g.Members = append(g.Members, Member{m, of})
		}
	}
}

// sort brings packages before their members and negative answers to the end.
func (g *Group) sort() {
	slices.SortStableFunc(g.Members, func(a, b Member) int {
		if (a.Letter == modules.Missing) != (b.Letter == modules.Missing) {
			if b.Letter == modules.Missing {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	slices.Sort(g.Needs)
}

// ABI returns the ABI of the target that c was made for.
func (c *Closure) ABI() string { return c.target.ABI }

// Natives returns the extension modules in c and their libraries.
func (c *Closure) Natives() (all []*modules.Module) {
	for _, n := range c.nodes[1:] {
		if n.m.Letter == modules.Native || n.m.Letter == modules.Library {
			all = append(all, n.m)
		}
	}
	return all
}

// Has reports whether a module of this name is in c. Negative answers are not.
func (c *Closure) Has(name string) bool {
	_, ok := c.index[name]
	return ok
}

// Package returns the Foreign name that a module of c belongs to, "" for one of the user's own.
func (c *Closure) Package(name string) string { return c.nodes[c.index[name]].of }

// Modules returns how many modules are in c.
func (c *Closure) Modules() int { return len(c.index) }

// Refused returns the negative answers that roots lead to.
func (c *Closure) Refused() []*modules.Module { return c.nodes[0].vain }

// Fresh reports whether src would still give the same closure: all that was looked up is as it was.
func (c *Closure) Fresh(src Source) bool {
	for name, key := range c.looked {
		if keyOf(src.Find(name)) != key {
			return false
		}
	}
	return true
}

func keyOf(m *modules.Module) [32]byte {
	if m == nil || m.Letter == modules.Missing {
		return [32]byte{}
	}
	return m.Key
}

// Of returns what importing roots will import on t.
func Of(src Source, t pysource.Target, roots []string) *Closure {
	return OfProgram(src, t, nil, roots)
}

// OfProgram is Of where a module, if it isn't nil, is also run as a program: what only programs
// import counts then. It is not part of the closure, unless it is one of the roots. Roots may also
// be files of third-party packages, and outlines of these, as modules.Pass finds them.
func OfProgram(src Source, t pysource.Target, program *modules.Module, roots []string) *Closure {
	b := newBuilder(src, t)
	b.c.roots, b.c.program, b.c.target = roots, program, t
	for _, name := range roots {
		if pkg, _, ok := strings.Cut(name, "/"); ok {
			b.file(pkg, name)
			continue
		}
		r := b.resolve(name)
		b.note(0, r)
		b.lazy = b.lazy || r.m != nil && r.m.Info.Lazy
	}
	if program != nil {
		b.lazy = b.lazy || program.Info.Lazy
		b.program = program
		b.follow(0, program)
		b.program = nil
	}
	for i := 1; i < len(b.c.nodes); i++ {
		b.follow(i, b.c.nodes[i].m)
	}
	if b.forks() {
		b.followFunctions()
	}
	b.late()
	b.finish()
	return b.c
}
