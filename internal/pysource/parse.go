package pysource

import (
	"math"
	"strconv"
	"strings"
)

// maxCondition is the size of the largest condition that is read, in tokens.
const maxCondition = 200

// condition returns what is understood of the expression in tokens, nil if it is nothing.
func (s *scanner) condition(at span) *expr {
	if at.end-at.start > maxCondition {
		return nil
	}
	p := parser{s: s, local: s.top().depth > 0}
	return p.boolean(at, 0)
}

// parser reads conditions. It splits at the operators that bind least first, so that what it
// doesn't understand spoils nothing else.
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
	case "getattr":
		return p.getattr()
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

// getattr reads `(ssl, "HAS_SNI", False)`. Programs set ssl to None where it is missing: that is
// rare enough.
func (p *parser) getattr() *expr {
	if !p.next("(") || !p.next("ssl") || !p.next(",") {
		return nil
	}
	attr := p.string()
	if attr == nil || attr.val.s != "HAS_SNI" || !p.next(",") || !p.next("False") || !p.next(")") {
		return nil
	}
	return &expr{op: opKnown, name: sni}
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
