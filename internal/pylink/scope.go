package pylink

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mitogen-go/mitogen/internal/boot"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// A scope is the module, a function, a lambda or a class body. What a comprehension binds
// counts as bound by the scope around it, which is right in every Python for a renaming that is
// one to one.
type scope struct {
	kind   scopeKind
	parent *scope
	name   string // of a function or class
	line   int    // of its head
	bound  map[string]bool
	params map[string]bool

	takesAny bool            // with **: any keyword, so that no parameter may get another name
	global   map[string]bool // named in global statements
	fixed    map[string]bool // bound by an import or as a function's name: the text says that name
	order    []string        // bound names, as they come
}

type scopeKind int

const (
	moduleScope scopeKind = iota
	functionScope
	classScope
)

func newScope(kind scopeKind, parent *scope, name string, line int) *scope {
	return &scope{kind: kind, parent: parent, name: name, line: line, bound: map[string]bool{},
		params: map[string]bool{}, global: map[string]bool{}, fixed: map[string]bool{}}
}

func (s *scope) bind(name string) {
	if !s.bound[name] {
		s.bound[name] = true
		s.order = append(s.order, name)
	}
}

// owner returns the scope that a name used in s belongs to: the module's, if no function has it.
func (s *scope) owner(name string) *scope {
	for at := s; at.parent != nil; at = at.parent {
		if at.kind == classScope && at != s {
			continue
		}
		if at.global[name] {
			break
		}
		if at.bound[name] {
			return at
		}
	}
	for s.parent != nil {
		s = s.parent
	}
	return s
}

// use says what a token is.
type use int

const (
	other     use = iota
	variable      // a name that a scope has
	attribute     // behind a dot
	keyword       // of an argument in a call
)

// A text is a parsed source.
type text struct {
	name      string // of the file
	src       []byte
	toks      []pysource.Token
	uses      []use
	scopes    []*scope // of variables
	module    *scope
	functions []boot.Function // and classes
	tops      []boot.Function // of these, those on module level
}

// keywords are those of all Pythons.
var keywords = wordSet(`and as assert break class continue def del elif else except finally for
	from global if import in is lambda not or pass raise return try while with yield None True False
	print exec nonlocal async await`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// parse reads the scopes of a source, which is in the subset that tools/subset holds it to.
func parse(name string, src []byte) (t *text, err error) {
	toks, err := pysource.Tokens(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t = &text{name: name, src: src, toks: toks, uses: make([]use, len(toks)),
		scopes: make([]*scope, len(toks))}
	t.module = newScope(moduleScope, nil, "", 0)
	p := &parser{text: t}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(parseError)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	for !p.at(pysource.EOF) {
		p.statement(t.module)
	}
	return t, nil
}

type parseError error

// A parser walks over the tokens of one source.
type parser struct {
	*text
	pos int
}

func (p *parser) at(k pysource.Kind) bool { return p.toks[p.pos].Kind == k }
func (p *parser) is(s string) bool        { return p.toks[p.pos].Is(p.src, s) }
func (p *parser) word() string            { return string(p.toks[p.pos].Text(p.src)) }

func (p *parser) next() { p.pos++ }

func (p *parser) fail(want string) {
	panic(parseError(fmt.Errorf("%s:%d: got %q, want %s", p.name, p.toks[p.pos].Line, p.word(), want)))
}

func (p *parser) take(s string) {
	if !p.is(s) {
		p.fail(s)
	}
	p.next()
}

// use notes that the token is a name which s sees.
func (p *parser) use(s *scope) {
	p.uses[p.pos], p.scopes[p.pos] = variable, s
}

// bind has s bind the name at the token.
func (p *parser) bind(s *scope) {
	name := p.word()
	if !s.global[name] {
		s.bind(name)
	}
	p.use(s)
}

// block reads what is behind a colon: statements on the line, or an indented block.
func (p *parser) block(s *scope) {
	p.take(":")
	if !p.at(pysource.Newline) {
		p.line(s)
		return
	}
	p.next()
	p.next() // Indent
	for !p.at(pysource.Dedent) {
		p.statement(s)
	}
	p.next()
}

// statement reads a compound statement's head and blocks, or a line.
func (p *parser) statement(s *scope) {
	switch w := p.word(); {
	case !p.at(pysource.Name):
		p.line(s)
	case w == "def":
		p.def(s)
	case w == "class":
		p.class(s)
	case w == "for":
		p.next()
		p.target(s, "in")
		p.take("in")
		p.expr(s)
		p.block(s)
	case slices.Contains(blocks, w):
		p.next()
		p.expr(s)
		p.block(s)
	default:
		p.line(s)
	}
}

// line reads simple statements up to the line's end.
func (p *parser) line(s *scope) {
	for {
		p.simple(s)
		if p.is(";") {
			p.next()
			continue
		}
		if !p.at(pysource.Newline) {
			p.fail("a line's end")
		}
		p.next()
		return
	}
}

func (p *parser) simple(s *scope) {
	switch p.word() {
	case "import":
		p.imports(s)
	case "from":
		p.from(s)
	case "global":
		p.next()
		for {
			s.global[p.word()] = true
			p.use(s)
			p.next()
			if !p.is(",") {
				return
			}
			p.next()
		}
	case "del":
		p.next()
		p.expr(s)
	default:
		p.assignment(s)
	}
}

// assignment reads an expression statement, and binds what stands before an equals sign.
func (p *parser) assignment(s *scope) {
	for {
		from := p.pos
		p.expr(s)
		if p.at(pysource.Newline) || p.is(";") {
			return
		}
		op := p.word()
		if op == ":" || op[len(op)-1] != '=' {
			p.fail("an assignment")
		}
		p.bindTargets(s, from, p.pos)
		p.next()
	}
}

// bindTargets binds the names among tokens that are assigned to.
func (p *parser) bindTargets(s *scope, from, to int) {
	depth := 0 // of brackets that are no grouping
	var stack []bool
	for i := from; i < to; i++ {
		t := p.toks[i]
		text := string(t.Text(p.src))
		switch {
		case t.Kind == pysource.Op && (text == "(" || text == "[" || text == "{"):
			index := i > from && (p.toks[i-1].Kind == pysource.Name ||
				p.toks[i-1].Is(p.src, ")") || p.toks[i-1].Is(p.src, "]"))
			stack = append(stack, index)
			if index {
				depth++
			}
		case t.Kind == pysource.Op && (text == ")" || text == "]" || text == "}"):
			if stack[len(stack)-1] {
				depth--
			}
			stack = stack[:len(stack)-1]
		case p.uses[i] == variable && depth == 0:
			if n := p.toks[i+1]; n.Is(p.src, ".") || n.Is(p.src, "[") || n.Is(p.src, "(") {
				continue
			}
			if !s.global[text] {
				s.bind(text)
			}
		}
	}
}

func (p *parser) imports(s *scope) {
	p.next()
	for {
		first := p.pos
		p.next()
		for p.is(".") {
			p.next()
			p.next()
		}
		if p.is("as") {
			p.next()
			p.bind(s)
			p.next()
		} else {
			name := string(p.toks[first].Text(p.src))
			s.bind(name)
			s.fixed[name] = true
		}
		if !p.is(",") {
			return
		}
		p.next()
	}
}

func (p *parser) from(s *scope) {
	p.next()
	for !p.is("import") {
		p.next()
	}
	p.next()
	for {
		if p.is("(") || p.is(")") {
			p.next()
			continue
		}
		if p.at(pysource.Newline) {
			return
		}
		name := p.word()
		p.next()
		if p.is("as") {
			p.next()
			p.bind(s)
			p.next()
		} else {
			s.bind(name)
			s.fixed[name] = true
		}
		for p.is(",") || p.is(")") {
			p.next()
		}
	}
}

// define notes a function or class of scope s.
func (p *parser) define(s *scope, f boot.Function) {
	p.functions = append(p.functions, f)
	if s.kind == moduleScope {
		p.tops = append(p.tops, f)
	} else {
		s.fixed[f.Name] = true
	}
}

func (p *parser) def(s *scope) {
	line := int(p.toks[p.pos].Line)
	p.next()
	name := p.word()
	p.bind(s)
	p.define(s, boot.Function{Line: line, Name: name})
	p.next()
	f := newScope(functionScope, s, name, line)
	p.take("(")
	p.parameters(s, f, ")")
	p.take(")")
	p.block(f)
}

// parameters reads those of a function or lambda, whose defaults the scope around it sees.
func (p *parser) parameters(s, f *scope, end string) {
	for !p.is(end) {
		keywords := false
		for p.is("*") || p.is("**") || p.is(",") {
			keywords = keywords || p.is("**")
			p.next()
		}
		f.params[p.word()] = true
		f.takesAny = f.takesAny || keywords
		p.bind(f)
		p.next()
		if p.is("=") {
			p.next()
			p.exprTo(s, func() bool { return p.is(",") || p.is(end) })
		}
		if p.is(",") {
			p.next()
		}
	}
}

func (p *parser) class(s *scope) {
	line := int(p.toks[p.pos].Line)
	p.next()
	name := p.word()
	p.bind(s)
	p.define(s, boot.Function{Line: line, Name: name})
	p.next()
	if p.is("(") {
		p.bracket(s)
	}
	p.block(newScope(classScope, s, name, line))
}

// target reads names up to a word, and binds them.
func (p *parser) target(s *scope, end string) {
	from := p.pos
	p.exprTo(s, func() bool { return p.is(end) })
	p.bindTargets(s, from, p.pos)
}

// expr reads up to the end of a statement, a colon or an assignment.
func (p *parser) expr(s *scope) {
	p.exprTo(s, func() bool {
		if p.at(pysource.Newline) || p.is(";") || p.is(":") {
			return true
		}
		w := p.word()
		if !p.at(pysource.Op) || w[len(w)-1] != '=' {
			return false
		}
		return w != "==" && w != "!=" && w != "<=" && w != ">="
	})
}

func (p *parser) exprTo(s *scope, end func() bool) {
	for !end() {
		switch {
		case p.at(pysource.Newline) || p.at(pysource.EOF):
			p.fail("more of an expression")
		case p.is("(") || p.is("[") || p.is("{"):
			p.bracket(s)
		case p.is("lambda"):
			p.lambda(s, end)
		case p.is("."):
			p.next()
			p.uses[p.pos] = attribute
			p.next()
		case p.at(pysource.Name) && !keywords[p.word()]:
			p.use(s)
			p.next()
		case p.is("exec") || p.is("print"):
			p.use(s)
			p.next()
		default:
			p.next()
		}
	}
}

// bracket reads an expression in brackets, and both of them.
func (p *parser) bracket(s *scope) {
	open := p.word()
	shut := map[string]string{"(": ")", "[": "]", "{": "}"}[open]
	p.next()
	for !p.is(shut) {
		switch {
		case p.is("for"):
			p.next()
			p.target(s, "in")
		case p.is("=") || p.is(",") || p.is(":"):
			p.next()
		case p.at(pysource.Name) && !keywords[p.word()] && p.toks[p.pos+1].Is(p.src, "="):
			p.uses[p.pos] = keyword
			p.next()
		default:
			p.exprTo(s, func() bool {
				return p.is(shut) || p.is("for") || p.is("=") || p.is(",") || p.is(":") ||
					p.at(pysource.Name) && !keywords[p.word()] && p.toks[p.pos+1].Is(p.src, "=")
			})
		}
	}
	p.next()
}

func (p *parser) lambda(s *scope, end func() bool) {
	f := newScope(functionScope, s, "<lambda>", int(p.toks[p.pos].Line))
	p.next()
	p.parameters(s, f, ":")
	p.take(":")
	p.exprTo(f, func() bool { return end() || p.is(",") || p.is(")") || p.is("]") || p.is("}") })
}
