package pysource

import (
	"bytes"
	"strings"
)

// calls notes the imports by function call among the tokens of a statement or head.
func (s *scanner) calls(start, end int) {
	if !s.dynamic {
		return
	}
	c := callFinder{s: s, end: end}
	for c.i = start; c.i < end; c.i++ {
		c.token()
	}
}

// callFinder looks for calls outside of lambdas.
type callFinder struct {
	s       *scanner
	i, end  int
	depth   int   // open brackets
	lambdas []int // depth of each lambda around, -1-depth while its parameters are read
	bodies  int   // lambdas whose bodies are read
}

func (c *callFinder) token() {
	t := c.s.toks[c.i]
	switch t.Kind {
	case Name:
		c.name()
	case Op:
		c.operator(c.s.src[t.Start], t.End-t.Start == 1)
	}
}

func (c *callFinder) operator(b byte, alone bool) {
	d := nesting[b]
	if n := len(c.lambdas); d == 0 && alone && n > 0 && b == ':' && c.lambdas[n-1] == -1-c.depth {
		c.lambdas[n-1] = c.depth
		c.bodies++
		return
	}
	c.depth += d
	if d > 0 || d == 0 && (!alone || b != ',' && b != ':' && b != '=') {
		return
	}
	c.leave()
}

// leave ends the lambdas whose bodies end here.
func (c *callFinder) leave() {
	for n := len(c.lambdas); n > 0 &&
		(c.lambdas[n-1] > c.depth || c.lambdas[n-1] == c.depth && !c.closing()); n-- {
		c.lambdas = c.lambdas[:n-1]
		c.bodies--
	}
}

// closing reports whether a bracket has just been closed, which leaves the lambdas at its own
// depth.
func (c *callFinder) closing() bool { return nesting[c.s.src[c.s.toks[c.i].Start]] < 0 }

func (c *callFinder) name() {
	switch text := c.s.text(c.i); string(text) {
	case "lambda":
		c.lambdas = append(c.lambdas, -1-c.depth)
	case "for":
		c.leave()
	case "__import__":
		c.call(c.i, false)
	case "import_module":
		first := c.i
		if first > 1 && c.s.is(first-1, ".") && c.s.is(first-2, "importlib") {
			first -= 2
		}
		c.call(first, true)
	}
}

// call notes the imports by the call whose function's name begins at first and ends at c.i.
func (c *callFinder) call(first int, relative bool) {
	s := c.s
	if first > 0 && (s.is(first-1, ".") || s.is(first-1, "def")) || !s.is(c.i+1, "(") {
		return
	}
	end := c.i + 2
	names := s.argument(&end)
	if !s.is(end, ")") && !s.is(end, ",") {
		return
	}
	for _, name := range names {
		module := strings.TrimLeft(name, ".")
		level := len(name) - len(module)
		if level > 0 && !(relative && s.packageFollows(end)) || !isModule(module) {
			continue
		}
		imp := Import{Line: int(s.toks[first].Line), Level: level, Module: module, Where: Dynamic}
		if c.bodies > 0 {
			imp.Where |= InFunction
		}
		s.add(imp)
	}
}

// argument returns what the argument at *i can be, a literal text or a name of the loop around, and
// sets *i behind it.
func (s *scanner) argument(i *int) []string {
	if l := s.top().loop; l.name != "" && s.is(*i, l.name) {
		*i++
		return l.texts
	}
	if text, ok := s.literal(i); ok {
		return []string{string(text)}
	}
	return nil
}

// packageFollows reports whether the argument after the comma at i is the module's own package.
func (s *scanner) packageFollows(i int) bool {
	if !s.is(i, ",") {
		return false
	}
	i++
	if s.is(i, "package") && s.is(i+1, "=") {
		i += 2
	}
	return (s.is(i, "__package__") || s.is(i, "__name__")) && (s.is(i+1, ")") || s.is(i+1, ","))
}

// isModule reports whether name could be a dotted name.
func isModule(name string) bool {
	fresh := true
	for _, c := range []byte(name) {
		switch {
		case c == '.' && !fresh:
			fresh = true
		case class[c] == classLetter || !fresh && class[c] == classDigit:
			fresh = false
		default:
			return false
		}
	}
	return !fresh
}

// literal returns the text of the strings at *i and sets *i behind them; false if they don't stand
// for themselves.
func (s *scanner) literal(i *int) (text []byte, ok bool) {
	for n := 0; s.toks[*i].Kind == String; n++ {
		b := s.text(*i)
		q := bytes.IndexAny(b, `'"`)
		p := prefixOf(b[:q])
		size := quoteLen(b, q)
		body := b[q+size : len(b)-size]
		if p&formatted != 0 || bytes.IndexByte(body, '\\') >= 0 || bytes.ContainsAny(b[:q], "bB") {
			return nil, false
		}
		if n == 0 {
			text = body
		} else {
			text = append(text[:len(text):len(text)], body...)
		}
		ok = true
		*i++
	}
	return text, ok
}
