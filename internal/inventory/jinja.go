package inventory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// A node is an expression of Jinja that was read. It is evaluated only where its value is needed.
type node func(e *evaluation) any

// jinjaToken matches one token and the space before it. Strings with a backslash are left out.
var jinjaToken = lazyregexp.New(`^\s*('[^'\\]*'|"[^"\\]*"|[A-Za-z_]\w*|(?:0+|` +
	`[1-9]\d*)(?:\.\d+)?\b|==|!=|-?\}\}|[-+~|.,:()\[\]=])`)

// A jinjaParser reads an expression. After a form that it doesn't know it is bad, and has no more
// tokens.
type jinjaParser struct {
	text  string // the rest
	token string // the next one; "": there is none
	whole string
	bad   bool
	depth int
}

// compile reads an expression up to its closing braces, and returns what is behind them. ok is
// false for what only Jinja knows.
func compile(text string) (n node, rest string, ok bool) {
	p := &jinjaParser{text: text, whole: text}
	p.next()
	n = p.ternary()
	if p.token == "-}}" { // which removes the space behind
		return n, strings.TrimLeft(p.text, " \t\r\n"), !p.bad
	}
	return n, p.text, !p.bad && p.token == "}}"
}

func (p *jinjaParser) next() {
	m := jinjaToken.FindStringSubmatch(p.text)
	if m == nil || p.bad {
		p.token, p.bad = "", true
		return
	}
	p.token, p.text = m[1], p.text[len(m[0]):]
}

// take goes on if the next token is one of some, and returns it.
func (p *jinjaParser) take(tokens ...string) string {
	if p.bad || !slices.Contains(tokens, p.token) {
		return ""
	}
	token := p.token
	p.next()
	return token
}

func (p *jinjaParser) want(token string) {
	if p.take(token) == "" {
		p.refuse()
	}
}

// refuse says that Jinja alone knows the form.
func (p *jinjaParser) refuse() node {
	p.token, p.bad = "", true
	return func(*evaluation) any { return undefined("") }
}

// at returns how far the text was read, the next token excluded.
func (p *jinjaParser) at() int { return len(p.whole) - len(p.text) - len(p.token) }

func (p *jinjaParser) ternary() node {
	if p.depth++; p.depth > maxDepth {
		return p.refuse()
	}
	defer func() { p.depth-- }()
	n := p.either()
	if p.take("if") == "" {
		return n
	}
	condition := p.either()
	otherwise := node(func(*evaluation) any { return undefined("a value without else") })
	if p.take("else") != "" {
		otherwise = p.ternary()
	}
	return func(e *evaluation) any {
		switch yes, known := e.truth(condition); {
		case !known:
			return undefined("the condition of an if")
		case yes:
			return n(e)
		}
		return otherwise(e)
	}
}

func (p *jinjaParser) either() node {
	n := p.both()
	for p.take("or") != "" {
		n = shortcut(n, p.both(), true)
	}
	return n
}

func (p *jinjaParser) both() node {
	n := p.not()
	for p.take("and") != "" {
		n = shortcut(n, p.not(), false)
	}
	return n
}

func (p *jinjaParser) not() node {
	if p.take("not") == "" {
		return p.compare()
	}
	if p.depth++; p.depth > maxDepth {
		return p.refuse()
	}
	defer func() { p.depth-- }()
	n := p.not()
	return func(e *evaluation) any {
		yes, known := e.truth(n)
		if !known {
			return n(e)
		}
		return !yes
	}
}

func (p *jinjaParser) compare() node {
	n := p.sum()
	switch op := p.take("==", "!=", "in", "not"); op {
	case "==", "!=":
		other := p.sum()
		return binary(n, other, func(e *evaluation, a, b any) any {
			return e.equal(a, b) == (op == "==")
		})
	case "not", "in":
		if op == "not" {
			p.want("in")
		}
		other := p.sum()
		return binary(n, other, func(e *evaluation, a, b any) any {
			return e.contains(b, a) == (op == "in")
		})
	}
	return n
}

// sum is values with + between, which binds less than ~ does.
func (p *jinjaParser) sum() node {
	n := p.joined()
	for p.take("+") != "" {
		n = binary(n, p.joined(), (*evaluation).plus)
	}
	return n
}

// joined is values with ~ between.
func (p *jinjaParser) joined() node {
	n := p.value()
	for p.take("~") != "" {
		n = binary(n, p.value(), (*evaluation).joined)
	}
	return n
}

// test is "is defined" and the like.
func (p *jinjaParser) test(n node) node {
	negate := p.take("not") != ""
	name := p.take("defined", "undefined", "none", "string", "number")
	if name == "" || p.token == "is" {
		return p.refuse()
	}
	return func(e *evaluation) any { return e.is(n(e), name) != negate }
}

// value is a literal or variable with what follows it: attributes, places, methods; then filters
// and tests, which bind more than any operator.
func (p *jinjaParser) value() node {
	begin := p.at()
	n := p.primary()
	behind := []string{".", "[", "|", "is"}
	for !p.bad {
		end := p.at()
		what := strings.TrimSpace(p.whole[min(begin, end):end])
		switch p.take(behind...) {
		case ".":
			n = p.attribute(n, what)
		case "[":
			n = p.place(n, what)
		case "|":
			n, behind = p.filter(n), []string{"|", "is"}
		case "is":
			n, behind = p.test(n), []string{"|", "is"}
		default:
			return n
		}
	}
	return n
}

func (p *jinjaParser) primary() node {
	token := p.token
	switch {
	case token == "(":
		p.next()
		n := p.ternary()
		p.want(")")
		return n
	case token == "[":
		p.next()
		all, named := p.arguments("]")
		if len(named) > 0 {
			return p.refuse()
		}
		return func(e *evaluation) any { return e.list(all) }
	case token == "":
		return p.refuse()
	case token == "-":
		p.next()
		if p.token == "" || !isDigit(p.token[0]) {
			return p.refuse()
		}
		return p.number("-")
	case isDigit(token[0]):
		return p.number("")
	case token[0] == '\'' || token[0] == '"':
		p.next()
		return func(*evaluation) any { return token[1 : len(token)-1] }
	case !isName(token):
		return p.refuse()
	}
	p.next()
	if p.take("(") != "" {
		return p.lookup(token)
	}
	return func(e *evaluation) any { return e.variable(token) }
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isName(token string) bool {
	return token != "" && (token[0] == '_' || token[0]|0x20 >= 'a' && token[0]|0x20 <= 'z')
}

func (p *jinjaParser) number(sign string) node {
	text := sign + p.token
	p.next()
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return func(*evaluation) any { return n }
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return p.refuse()
	}
	return func(*evaluation) any { return f }
}

// arguments reads values up to the closing bracket, and those with a name.
func (p *jinjaParser) arguments(shut string) (all []node, named map[string]node) {
	named = map[string]node{}
	for !p.bad && p.take(shut) == "" {
		begin := *p
		if name := p.token; isName(name) {
			if p.next(); p.take("=") != "" {
				named[name] = p.ternary()
				if p.token != shut {
					p.want(",")
				}
				continue
			}
			*p = begin
		}
		all = append(all, p.ternary())
		if p.token != shut {
			p.want(",")
		}
	}
	return all, named
}

// attribute is ".name" or ".method(…)" behind a value.
func (p *jinjaParser) attribute(n node, what string) node {
	name := p.token
	if !isName(name) {
		return p.refuse()
	}
	p.next()
	if p.take("(") == "" {
		return func(e *evaluation) any { return e.member(n(e), name, what+"."+name) }
	}
	args, named := p.arguments(")")
	call, known := valueMethods[name]
	if !known || len(named) > 0 || len(args) < call.least || len(args) > call.most {
		return p.refuse()
	}
	return applied(n, args, func(e *evaluation, x any, all []any) any { return call.do(e, x, all) })
}

// applied evaluates a value and arguments, and calls f if all are known.
func applied(n node, args []node, f func(e *evaluation, x any, all []any) any) node {
	return func(e *evaluation) any {
		x := n(e)
		if _, ok := x.(undefined); ok {
			return x
		}
		list := e.list(args)
		all, ok := list.([]any)
		if !ok {
			return list
		}
		return f(e, x, all)
	}
}

// place is "[key]" or "[from:to]" behind a value.
func (p *jinjaParser) place(n node, what string) node {
	var from, to node
	slice := false
	if p.token != ":" {
		from = p.ternary()
	}
	if p.take(":") != "" {
		if slice = true; p.token != "]" {
			to = p.ternary()
		}
	}
	p.want("]")
	if slice {
		return func(e *evaluation) any { return e.slice(n(e), from, to) }
	}
	return func(e *evaluation) any {
		key := from(e)
		if _, ok := key.(undefined); ok {
			return key
		}
		x := n(e)
		if i, ok := key.(int64); ok {
			return e.element(x, i, what)
		}
		return e.member(x, e.text(key), what+"['"+e.text(key)+"']")
	}
}
