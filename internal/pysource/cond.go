package pysource

import (
	"math"
	"strconv"
	"strings"
)

// Cond is a condition that depends on the Python that a module is for.
type Cond struct{ e *expr }

// Holds says whether the condition holds on t.
func (c Cond) Holds(t Target) Truth { return c.e.eval(&world{Target: t}).truth() }

// world is what expressions are evaluated in.
type world struct {
	Target
	main     Truth // whether the module is run as a program
	checking bool  // nothing is known about TYPE_CHECKING, which is false otherwise
}

// places returns what a condition says about places.
func (c Cond) places() (w Where) {
	here := func(w world) Truth { return c.e.eval(&w).truth() }
	usual := here(world{})
	if usual == No && here(world{checking: true}) != No {
		w |= TypeChecking
	}
	main, other := here(world{main: Yes}), here(world{main: No})
	if other == No && main != No {
		w |= Main
	}
	if main == No && other != No {
		w |= Imported
	}
	return w
}

// expr is an expression as far as it is understood; nil is one that isn't.
type expr struct {
	op   opcode
	args []*expr
	cmp  []string // between args
	name string   // of what is known about the target
	val  value
	from int // index or slice
	to   int
}

type opcode uint8

const (
	opConst opcode = iota
	opKnown        // sys.platform and so on
	opTuple
	opIndex
	opSlice
	opStarts
	opEnds
	opCompare
	opNot
	opAnd
	opOr
)

func (e *expr) eval(w *world) value {
	if e == nil {
		return value{}
	}
	switch e.op {
	case opConst:
		return e.val
	case opKnown:
		if fact := facts[e.name]; fact != nil {
			return fact(w)
		}
		return value{}
	case opTuple:
		return e.tuple(w)
	case opIndex:
		return e.args[0].eval(w).index(e.from)
	case opSlice:
		return e.args[0].eval(w).slice(e.from, e.to)
	case opStarts:
		return boolean(e.args[0].eval(w).starts(e.args[1].eval(w)))
	case opEnds:
		return boolean(e.args[0].eval(w).ends(e.args[1].eval(w)))
	case opCompare:
		return boolean(e.compare(w))
	case opNot:
		return boolean(-e.args[0].eval(w).truth())
	}
	return boolean(e.logic(w))
}

func (e *expr) tuple(w *world) value {
	v := value{kind: e.val.kind, elems: make([]value, len(e.args))}
	for i, a := range e.args {
		v.elems[i] = a.eval(w)
	}
	return v
}

func (e *expr) compare(w *world) Truth {
	all := Yes
	left := e.args[0].eval(w)
	for i, op := range e.cmp {
		right := e.args[i+1].eval(w)
		all = min(all, relate(op, left, right))
		left = right
	}
	return all
}

// logic evaluates and, or.
func (e *expr) logic(w *world) Truth {
	sum := e.args[0].eval(w).truth()
	for _, a := range e.args[1:] {
		if t := a.eval(w).truth(); e.op == opAnd {
			sum = min(sum, t)
		} else {
			sum = max(sum, t)
		}
	}
	return sum
}

const (
	checking = "TYPE_CHECKING"
	pypy     = "is PyPy" // stands for several ways to ask
)

// facts are the expressions whose values depend on the target. Calls end in ().
var facts = map[string]func(*world) value{
	"sys.version_info":                 versionInfo,
	"sys.version":                      versionText,
	"sys.hexversion":                   versionHex,
	"sys.platform":                     func(w *world) value { return known(w.Platform) },
	"os.name":                          func(w *world) value { return known(w.OSName) },
	"sys.implementation.name":          func(w *world) value { return known(w.Implementation) },
	"platform.python_implementation()": func(w *world) value { return known(implementations[w.Implementation]) },
	"platform.system()":                system,
	pypy:                               isPyPy,
	"__name__":                         moduleName,
	checking:                           typeChecking,
	"six.PY2":                          func(w *world) value { return major(w, 2) },
	"six.PY3":                          func(w *world) value { return major(w, 3) },
}

var implementations = map[string]string{"cpython": "CPython", "pypy": "PyPy", "jython": "Jython", "ironpython": "IronPython"}

func known(s string) value {
	if s == "" {
		return value{}
	}
	return value{kind: text, s: s}
}

func versionInfo(w *world) value {
	if w.Version == [3]int{} {
		return value{}
	}
	v := value{kind: tuple, elems: make([]value, 5)}
	for i, n := range w.Version {
		v.elems[i] = value{kind: number, n: n}
	}
	return v
}

func versionText(w *world) value {
	if w.Version == [3]int{} {
		return value{}
	}
	var parts [3]string
	for i, n := range w.Version {
		parts[i] = strconv.Itoa(n)
	}
	s := strings.Join(parts[:], ".")
	return value{kind: textFrom, s: strings.TrimSuffix(s, ".0")} // 2.7's first release said 2.7
}

func versionHex(w *world) value {
	if w.Version == [3]int{} {
		return value{}
	}
	return value{kind: hexversion, n: w.Version[0]<<16 | w.Version[1]<<8 | w.Version[2]}
}

func major(w *world, n int) value {
	if w.Version[0] == 0 {
		return value{}
	}
	return boolean(truth(w.Version[0] == n))
}

func isPyPy(w *world) value {
	if w.Implementation == "" {
		return value{}
	}
	return boolean(truth(w.Implementation == "pypy"))
}

func system(w *world) value {
	switch {
	case strings.HasPrefix(w.Platform, "linux"):
		return known("Linux")
	case w.Platform == "darwin":
		return known("Darwin")
	case w.Platform == "win32":
		return known("Windows")
	}
	return value{}
}

func moduleName(w *world) value {
	switch w.main {
	case Yes:
		return known("__main__")
	case No:
		return value{kind: notMain}
	}
	return value{}
}

func typeChecking(w *world) value {
	if w.checking {
		return value{}
	}
	return boolean(No)
}

// maxCondition is how many tokens of a condition are looked at.
const maxCondition = 200

// condition returns what is understood of the expression in tokens, nil if it is nothing.
func (s *scanner) condition(at span) *expr {
	if at.end-at.start > maxCondition {
		return nil
	}
	p := parser{s: s, local: s.top().depth > 0}
	return p.boolean(at, 0)
}

// parser reads conditions. It splits at the operators that bind least first, so that what it doesn't
// understand spoils nothing else.
type parser struct {
	s     *scanner
	i     int
	end   int
	local bool // in a function, where the module's names may mean something else
}

// maxDepth bounds nested brackets in conditions, each of which is read once more.
const maxDepth = 20

func (p *parser) boolean(at span, depth int) *expr {
	if depth > maxDepth || p.foreign(at) {
		return nil
	}
	for _, op := range []opcode{opOr, opAnd} {
		if parts := p.split(at, logicWords[op]); parts != nil {
			return p.join(op, parts, depth)
		}
	}
	if at.start < at.end && p.s.is(at.start, "not") {
		if e := p.boolean(span{at.start + 1, at.end}, depth+1); e != nil {
			return not(e)
		}
		return nil
	}
	if e := p.comparison(at); e != nil {
		return e
	}
	if p.bracketed(at) {
		return p.boolean(span{at.start + 1, at.end - 1}, depth+1)
	}
	return nil
}

var logicWords = map[opcode]string{opOr: "or", opAnd: "and"}

// foreign reports whether an operator that binds less than or stands outside of brackets.
func (p *parser) foreign(at span) bool {
	depth := 0
	for i := at.start; i < at.end; i++ {
		t := p.s.toks[i]
		if t.Kind == Op {
			depth += nesting[p.s.src[t.Start]]
		}
		if depth > 0 || t.Kind != Name && t.Kind != Op {
			continue
		}
		switch string(p.s.text(i)) {
		case "lambda", "if", "else", "for", ",", ":=", "yield", "await":
			return true
		}
	}
	return false
}

// split cuts at a word outside of brackets; nil if it isn't there.
func (p *parser) split(at span, word string) (parts []span) {
	depth, start := 0, at.start
	for i := at.start; i < at.end; i++ {
		t := p.s.toks[i]
		switch {
		case t.Kind == Op:
			depth += nesting[p.s.src[t.Start]]
		case depth == 0 && p.s.is(i, word):
			parts = append(parts, span{start, i})
			start = i + 1
		}
	}
	if parts == nil {
		return nil
	}
	return append(parts, span{start, at.end})
}

func (p *parser) join(op opcode, parts []span, depth int) *expr {
	e := &expr{op: op, args: make([]*expr, len(parts))}
	understood := false
	for i, part := range parts {
		e.args[i] = p.boolean(part, depth+1)
		understood = understood || e.args[i] != nil
	}
	if !understood {
		return nil
	}
	return e
}

// bracketed reports whether one pair of brackets is around all.
func (p *parser) bracketed(at span) bool {
	if at.end-at.start < 2 || !p.s.is(at.start, "(") {
		return false
	}
	depth := 0
	for i := at.start; i < at.end; i++ {
		if t := p.s.toks[i]; t.Kind == Op {
			if depth += nesting[p.s.src[t.Start]]; depth == 0 {
				return i == at.end-1
			}
		}
	}
	return false
}

// comparison reads a chain of comparisons, or one operand.
func (p *parser) comparison(at span) *expr {
	p.i, p.end = at.start, at.end
	left := p.operand(0)
	if left == nil || p.i == p.end {
		return left
	}
	e := &expr{op: opCompare, args: []*expr{left}}
	for p.i < p.end {
		op := p.comparator()
		if op == "" {
			return nil
		}
		right := p.operand(0)
		if right == nil {
			return nil
		}
		e.args, e.cmp = append(e.args, right), append(e.cmp, op)
	}
	return pypyInModules(e)
}

// pypyInModules understands the usual way to ask for PyPy.
func pypyInModules(e *expr) *expr {
	if len(e.cmp) != 1 || e.args[1].name != "sys.builtin_module_names" {
		return e
	}
	if a := e.args[0]; a.op != opConst || a.val.s != "__pypy__" {
		return nil
	}
	switch e.cmp[0] {
	case "in":
		return knownExpr(pypy)
	case "not in":
		return not(knownExpr(pypy))
	}
	return nil
}

func (p *parser) comparator() string {
	op := p.take()
	switch {
	case op == "not" && p.next("in"):
		return "not in"
	case op == "is" && p.next("not"):
		return "is not"
	case op == "in" || outcomes[op] != 0:
		return op
	}
	return ""
}

// take returns the text of the next token and steps over it, "" at the end.
func (p *parser) take() string {
	if p.i >= p.end {
		return ""
	}
	p.i++
	return string(p.s.text(p.i - 1))
}

// next steps over a token if it is text.
func (p *parser) next(text string) bool {
	if p.i < p.end && p.s.is(p.i, text) {
		p.i++
		return true
	}
	return false
}

// operand reads a name, a literal, and what is done with it; nil if that isn't understood.
func (p *parser) operand(depth int) *expr {
	if p.i >= p.end || depth > maxDepth {
		return nil
	}
	switch t := p.s.toks[p.i]; {
	case t.Kind == Number:
		return p.number(1)
	case t.Kind == String:
		return p.string()
	case t.Kind == Name:
		return p.trailers(p.primary())
	case p.next("-"):
		return p.number(-1)
	case p.next("("):
		return p.sequence(")", tuple, depth)
	case p.next("["):
		return p.sequence("]", list, depth)
	}
	return nil
}

func (p *parser) number(sign int) *expr {
	n, err := strconv.ParseInt(strings.TrimRight(p.take(), "lL"), 0, 0)
	if err != nil {
		return nil
	}
	return constant(value{kind: number, n: sign * int(n)})
}

func not(e *expr) *expr { return &expr{op: opNot, args: []*expr{e}} }

func constant(v value) *expr { return &expr{op: opConst, val: v} }

func (p *parser) string() *expr {
	b, ok := p.s.literal(&p.i)
	if !ok || p.i > p.end {
		return nil
	}
	return constant(value{kind: text, s: string(b)})
}

// sequence reads a tuple or list after its opening bracket, or an operand in brackets.
func (p *parser) sequence(end string, kind valueKind, depth int) *expr {
	e := &expr{op: opTuple, val: value{kind: kind}}
	comma := false
	for !p.next(end) {
		if len(e.args) > 0 && !comma {
			return nil
		}
		item := p.operand(depth + 1)
		if item == nil {
			return nil
		}
		e.args = append(e.args, item)
		comma = p.next(",")
	}
	if kind == tuple && len(e.args) == 1 && !comma {
		return p.trailers(e.args[0])
	}
	return e
}

// primary reads a name, with attributes as far as it is a module.
func (p *parser) primary() *expr {
	name := p.take()
	switch name {
	case "True", "False":
		return constant(boolean(truth(name == "True")))
	case "None":
		return constant(value{kind: none})
	case "hasattr":
		return p.hasattr()
	}
	if p.i+1 < p.end && p.s.is(p.i, ".") && p.s.is(p.i+1, checking) {
		p.i += 2
		return knownExpr(checking)
	}
	e := p.s.names.lookup(name, p.local)
	for e != nil && e.op == opKnown && facts[e.name] == nil {
		if p.next("(") {
			if !p.next(")") {
				return nil
			}
			return knownExpr(e.name + "()")
		}
		if !p.next(".") {
			return e
		}
		e = knownExpr(e.name + "." + p.take())
	}
	return e
}

// hasattr reads `(sys, 'pypy_version_info')`.
func (p *parser) hasattr() *expr {
	if !p.next("(") || p.i >= p.end {
		return nil
	}
	if e := p.s.names.lookup(p.take(), p.local); e == nil || e.name != "sys" || !p.next(",") {
		return nil
	}
	attr := p.string()
	if attr == nil || attr.val.s != "pypy_version_info" || !p.next(")") {
		return nil
	}
	return knownExpr(pypy)
}

var fields = map[string]int{"major": 0, "minor": 1, "micro": 2}

// trailers reads what is done with an operand.
func (p *parser) trailers(e *expr) *expr {
	for e != nil && p.i < p.end {
		switch {
		case p.next("["):
			e = p.subscript(e)
		case p.next("."):
			e = p.attribute(e)
		case p.next("("):
			return nil
		default:
			return e
		}
	}
	return e
}

func (p *parser) attribute(e *expr) *expr {
	name := p.take()
	if i, ok := fields[name]; ok {
		if e.name != "sys.version_info" {
			return nil
		}
		return &expr{op: opIndex, args: []*expr{e}, from: i}
	}
	op := opStarts
	if name == "endswith" {
		op = opEnds
	} else if name != "startswith" {
		return nil
	}
	if !p.next("(") {
		return nil
	}
	arg := p.operand(0)
	if arg == nil || !p.next(")") {
		return nil
	}
	return &expr{op: op, args: []*expr{e, arg}}
}

// subscript reads `1]` or `:2]`.
func (p *parser) subscript(e *expr) *expr {
	from, ok := p.integer(0)
	if !ok {
		return nil
	}
	if p.next("]") {
		return &expr{op: opIndex, args: []*expr{e}, from: from}
	}
	if !p.next(":") {
		return nil
	}
	to, ok := p.integer(math.MaxInt)
	if !ok || !p.next("]") {
		return nil
	}
	return &expr{op: opSlice, args: []*expr{e}, from: from, to: to}
}

// integer reads a number, otherwise if none is there.
func (p *parser) integer(otherwise int) (int, bool) {
	if p.i < p.end && (p.s.is(p.i, ":") || p.s.is(p.i, "]")) {
		return otherwise, true
	}
	if e := p.operand(0); e != nil && e.op == opConst && e.val.kind == number {
		return e.val.n, true
	}
	return 0, false
}

// knownExpr returns the expression for a dotted name, nil if we know nothing by it.
func knownExpr(name string) *expr {
	if facts[name] != nil || namespaces[name] {
		return &expr{op: opKnown, name: name}
	}
	return nil
}

// namespaces are what facts lie in, and sys.builtin_module_names.
var namespaces = func() map[string]bool {
	m := map[string]bool{"sys.builtin_module_names": true}
	for name := range facts {
		for i, c := range name {
			if c == '.' || c == '(' {
				m[name[:i]] = true
			}
		}
	}
	return m
}()

// names are what a module's global names stand for, as far as conditions need it. A nil value is a name that
// may stand for anything.
type names map[string]*expr

// lookup returns nil for what isn't known.
func (n names) lookup(name string, local bool) *expr {
	e, ok := n[name]
	if !ok {
		return knownExpr(name)
	}
	if local && e != nil && e.op != opKnown {
		return nil
	}
	return e
}

// bind notes that a name stands for e, for anything if that is nil. TYPE_CHECKING is what it is: a module
// that can't import it assigns False.
func (n *names) bind(name []byte, e *expr) {
	if e == nil {
		if _, ok := (*n)[string(name)]; !ok && facts[string(name)] == nil && !namespaces[string(name)] {
			return
		}
	}
	if string(name) == checking {
		return
	}
	if *n == nil {
		*n = names{}
	}
	(*n)[string(name)] = e
}

// member notes `from imp.Module import name as bound`.
func (n *names) member(bound []byte, imp Import, name string) {
	var e *expr
	if imp.Level == 0 && namespaces[imp.Module] {
		e = knownExpr(imp.Module + "." + name)
	}
	n.bind(bound, e)
}
