// Package pylink makes what is sent of the runtime's readable sources: it renames what is
// private in them, the same in all of them, writes small numbers for their names, and keeps a
// table of what was called what.
package pylink

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// A Module is made of sources, one behind the other, that are executed in one namespace.
type Module struct {
	Name    string
	Sources []string // files
	Shared  bool     // in the core's namespace
}

// Rules say what is not to be renamed.
type Rules struct {
	// Keep names globals that the head, tests or users know by their names.
	Keep []string

	// Tunable names globals that aren't constants, although they look like it.
	Tunable []string

	// Often names the sources that are sent most, the most frequent first. A name with a slash at
	// its end stands for all sources in that directory.
	Often []string

	// Methods names functions that Python's own code calls, perhaps with keywords: their parameters
	// are kept.
	Methods []string

	// Strings are words that strings have, which name no global and no attribute.
	Strings []string

	// Attributes names what of the runtime's own objects alone has.
	Attributes []string

	// Registries list the globals that sources put their handlers, timers and the like into.
	Registries []Registry
}

// Linked is the result of Link.
type Linked struct {
	Texts map[string][]byte // of modules, by their names
	Names boot.Names
}

type linker struct {
	Rules
	texts   map[string]*text // of sources, by file and whether it is in the core's namespace
	modules []Module

	globals   map[string]bool   // of the core's namespace
	counts    map[string]int    // how often each is written
	weights   map[string]int    // the same, with what is sent most counting most
	constants map[string]string // those that are written as numbers
	names     map[string]string // of other globals
	attrs     map[string]string
	taken     map[string]bool // names that no global may get
	keywords  map[string]bool // names of arguments in calls
	shown     []shownImport
}

// Link links modules; read returns a source by its name.
func Link(modules []Module, rules Rules, read func(string) ([]byte, error)) (*Linked, error) {
	l := &linker{Rules: rules, modules: modules, texts: map[string]*text{}, globals: map[string]bool{},
		counts: map[string]int{}, weights: map[string]int{}, constants: map[string]string{},
		names: map[string]string{},
		attrs: map[string]string{}, taken: map[string]bool{}, keywords: map[string]bool{}}
	for _, m := range modules {
		for _, s := range m.Sources {
			if l.texts[key(s, m)] != nil {
				continue
			}
			src, err := read(s)
			if err != nil {
				return nil, fmt.Errorf("read runtime: %w", err)
			}
			src = l.withoutImports(src, s, m)
			if l.texts[key(s, m)], err = parse(s, src); err != nil {
				return nil, err
			}
		}
	}
	l.findGlobals()
	l.findConstants()
	l.nameGlobals()
	l.nameAttributes()
	if err := errors.Join(l.check(), l.checkRegistries()); err != nil {
		return nil, err
	}
	return l.write()
}

func key(source string, m Module) string {
	if m.Shared {
		return source + " of the core"
	}
	return source + " of its own"
}

// each calls f for the sources of the core's namespace, or for those with a namespace of their own.
func (l *linker) each(shared bool, f func(t *text)) {
	for _, k := range slices.Sorted(maps.Keys(l.texts)) {
		if strings.HasSuffix(k, " of the core") == shared {
			f(l.texts[k])
		}
	}
}

// ofCore tells whether the token is the name behind `core.`, as modules of their own import it.
func (t *text) ofCore(i int) bool {
	return i > 1 && t.uses[i] == attribute && t.toks[i-2].Is(t.src, "core") && t.uses[i-2] == variable
}

func (t *text) word(i int) string { return string(t.toks[i].Text(t.src)) }

// assigned tells whether a name behind `core.` is assigned to.
func (t *text) assigned(i int) bool {
	for i++; ; i++ {
		if t.toks[i].Kind == pysource.Newline || t.is(i, "==") {
			return false
		}
		if t.is(i, "=") {
			return true
		}
		if !t.is(i, ",") && !t.is(i, "core") && !t.is(i, ".") && t.uses[i] != attribute {
			return false
		}
	}
}

func (t *text) is(i int, s string) bool { return t.toks[i].Is(t.src, s) }

func (l *linker) findGlobals() {
	l.each(true, func(t *text) {
		for name := range t.module.bound {
			l.globals[name] = true
		}
		for i := range t.toks {
			if t.uses[i] == variable && t.scopes[i].global[t.word(i)] {
				l.globals[t.word(i)] = true
			}
		}
	})
	l.each(false, func(t *text) {
		for i := range t.toks {
			if t.ofCore(i) && t.assigned(i) {
				l.globals[t.word(i)] = true
			}
		}
	})
	for _, shared := range []bool{true, false} {
		l.each(shared, func(t *text) {
			for i := range t.toks {
				switch {
				case t.uses[i] == keyword:
					l.keywords[t.word(i)] = true
				case l.isGlobal(t, i, shared):
					l.counts[t.word(i)]++
					l.weights[t.word(i)] += l.weight(t)
				}
			}
		})
	}
	l.each(true, func(t *text) {
		for i := range t.toks {
			if t.uses[i] != variable {
				continue
			}
			if name := t.word(i); l.stays(t, t.scopes[i].owner(name), name) {
				l.taken[name] = true
			}
		}
		for _, s := range allScopes(t) {
			for name := range s.fixed {
				if s != t.module {
					l.taken[name] = true
				}
			}
		}
		for name := range t.module.fixed { // of an import
			l.taken[name] = true
			delete(l.globals, name)
		}
	})
	for _, name := range l.Keep {
		l.taken[name] = true
		delete(l.globals, name)
	}
}

// stays tells whether a name of the core's namespace is a builtin, or one of a scope that keeps
// it.
func (l *linker) stays(t *text, owner *scope, name string) bool {
	if owner == t.module {
		return !l.globals[name]
	}
	return owner.kind == classScope || l.keepsLocal(owner, name, true)
}

// weight says how much a name in a source counts.
func (l *linker) weight(t *text) int {
	often := func(name string) bool {
		return name == t.name || strings.HasSuffix(name, "/") && strings.HasPrefix(t.name, name)
	}
	if i := slices.IndexFunc(l.Often, often); i >= 0 {
		return 2 * (len(l.Often) - i)
	}
	return 1
}

func allScopes(t *text) []*scope {
	seen := map[*scope]bool{}
	var all []*scope
	for _, s := range t.scopes {
		for ; s != nil && !seen[s]; s = s.parent {
			seen[s] = true
			all = append(all, s)
		}
	}
	return all
}

// isGlobal tells whether the token is a name of the core's namespace.
func (l *linker) isGlobal(t *text, i int, shared bool) bool {
	if !shared {
		return t.ofCore(i) && l.globals[t.word(i)]
	}
	return t.uses[i] == variable && l.globals[t.word(i)] && t.scopes[i].owner(t.word(i)) == t.module
}

// line returns the bounds of the logical line that a token is in.
func (t *text) line(i int) (from, to int) {
	end := func(i int) bool {
		k := t.toks[i].Kind
		return k == pysource.Newline || k == pysource.Indent || k == pysource.Dedent || k == pysource.EOF
	}
	for from = i; from > 0 && !end(from-1); from-- {
	}
	for to = i; !end(to); to++ {
	}
	return from, to
}

// namespace tells whether a line mentions the core's names as strings: globals(), or
// core.__dict__.
func (t *text) namespace(i int, shared bool) bool {
	from, to := t.line(i)
	for j := from; j+2 < to; j++ {
		if shared && t.is(j, "globals") && t.is(j+1, "(") {
			return true
		}
		if !shared && t.is(j, "core") && t.is(j+1, ".") && t.is(j+2, "__dict__") {
			return true
		}
	}
	return false
}

// marked tells whether a comment behind a string says that it has names of the core.
func (t *text) marked(i int) bool {
	rest := string(t.src[t.toks[i].End:])
	rest, _, _ = strings.Cut(rest, "\n")
	return strings.Contains(rest, "# names of core")
}

var wordPattern = lazyregexp.New(`\w+`)

// inString returns a string with names of the core, as it is to be written.
func (l *linker) inString(t *text, i int, shared bool) string {
	text := t.word(i)
	if !t.marked(i) && !t.namespace(i, shared) {
		return text
	}
	inner := text[1 : len(text)-1]
	if !t.marked(i) {
		if name, ok := l.names[inner]; ok {
			return text[:1] + name + text[:1]
		}
		return text
	}
	return text[:1] + wordPattern.ReplaceAllStringFunc(inner, func(w string) string {
		if name, ok := l.names[w]; ok {
			return name
		}
		return w
	}) + text[:1]
}

// findConstants finds names of small numbers that are never assigned again.
func (l *linker) findConstants() {
	times := map[string]int{}
	for _, name := range l.Tunable {
		times[name] = 2
	}
	for name := range l.globals {
		if name != strings.ToUpper(name) {
			times[name] = 2
		}
	}
	values := map[string]string{}
	l.each(true, func(t *text) {
		for i, tok := range t.toks {
			if tok.Kind == pysource.String && (t.marked(i) || t.namespace(i, true)) {
				times[strings.Trim(t.word(i), `'"`)] = 2
			}
			if t.uses[i] == variable && t.scopes[i].global[t.word(i)] {
				times[t.word(i)] = 2
			}
		}
		for _, a := range t.assignments() {
			for j, name := range a.names {
				times[name]++
				if j < len(a.values) {
					values[name] = a.values[j]
				}
			}
		}
		for name := range t.module.bound {
			if times[name] == 0 {
				times[name] = 2 // bound by something else
			}
		}
	})
	l.each(false, func(t *text) {
		for i, tok := range t.toks {
			if t.ofCore(i) && t.assigned(i) {
				times[t.word(i)] = 2
			}
			if tok.Kind == pysource.String && (t.marked(i) || t.namespace(i, false)) {
				for _, w := range wordPattern.FindAllString(t.word(i), -1) {
					times[w] = 2
				}
			}
		}
	})
	for name, value := range values {
		if l.globals[name] && times[name] == 1 && (len(value) <= 2 || l.counts[name] <= 2) {
			l.constants[name] = value
		}
	}
}

// An assignment at the module's level of numbers to names, alone on its line.
type assignment struct {
	from, to int // tokens
	names    []string
	values   []string
}

var number = lazyregexp.New(`^[0-9]+$|^0x[0-9A-Fa-f]+$`)

// assignments returns the lines that assign to names only, with values where these are numbers.
func (t *text) assignments() []assignment {
	var all []assignment
	depth := 0
	for i := 0; i < len(t.toks); i++ {
		switch t.toks[i].Kind {
		case pysource.Indent:
			depth++
		case pysource.Dedent:
			depth--
		}
		if depth > 0 {
			continue
		}
		from, to := t.line(i)
		if from != i {
			continue
		}
		if a, ok := t.assignment(from, to); ok {
			all = append(all, a)
		}
		i = to
	}
	return all
}

func (t *text) assignment(from, to int) (a assignment, ok bool) {
	a.from, a.to = from, to
	i := from
	for ; i < to && !t.is(i, "="); i++ {
		switch {
		case t.is(i, "(") || t.is(i, ")") || t.is(i, ","):
		case t.uses[i] == variable:
			a.names = append(a.names, t.word(i))
		default:
			return a, false
		}
	}
	if i == to {
		return a, false
	}
	var words []string
	for i++; i < to; i++ {
		words = append(words, t.word(i))
	}
	expr := strings.Join(words, " ")
	var low, high int
	if n, _ := fmt.Sscanf(expr, "range ( %d , %d )", &low, &high); n == 2 || len(a.names) > 1 {
		if n != 2 {
			low = 0
			n, _ = fmt.Sscanf(expr, "range ( %d )", &high)
		}
		for v := low; n > 0 && v < high; v++ {
			a.values = append(a.values, fmt.Sprint(v))
		}
	}
	if a.values == nil {
		parts := strings.Split(expr, " , ")
		for _, p := range parts {
			if !number.MatchString(p) {
				return a, true
			}
		}
		a.values = parts
	}
	if len(a.values) != len(a.names) {
		a.values = nil
	}
	return a, true
}

// hasConstant tells whether an assignment is to a constant, perhaps besides variables.
func (l *linker) hasConstant(a assignment) bool {
	return slices.ContainsFunc(a.names, func(name string) bool { return l.constants[name] != "" })
}

// shrunk returns what is left of an assignment without its constants.
func (l *linker) shrunk(a assignment) string {
	var left, right []string
	for j, name := range a.names {
		if l.constants[name] == "" {
			left, right = append(left, l.written(name)), append(right, a.values[j])
		}
	}
	if len(left) == 0 {
		return ""
	}
	return strings.Join(left, ",") + "=" + strings.Join(right, ",")
}
