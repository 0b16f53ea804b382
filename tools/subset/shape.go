package main

import "github.com/mitogen-go/mitogen/internal/pysource"

// shapes checks the form of statement n by what it begins with, then what may stand in any.
func (c *checker) shapes(all []statement, n int) {
	s := all[n]
	first := c.toks[s.first]
	switch out := c.outside(s); c.text(first) {
	case "except":
		c.exceptClause(s, out)
	case "raise":
		c.raiseStatement(first, out)
	case "import", "from":
		c.importStatement(s)
	case "class":
		c.classHead(s)
	case "def":
		c.parameters(s.first + 2)
	case "@":
		if next := n + 1; next < len(all) && c.is(all[next].first, "class") {
			c.shape(first, "decorated class")
		}
	default:
		if i, ok := c.has(out, ":"); ok && !c.lambdaBefore(s.first, i) {
			c.shape(c.toks[i], "annotation")
		}
	}
	for i := s.first; i < s.end; i++ {
		c.expression(s, i)
	}
}

func (c *checker) exceptClause(s statement, out []int) {
	if i, ok := c.has(out, "as"); ok {
		c.shape(c.toks[i], "except … as")
	}
	if i, ok := c.has(out, ","); ok {
		c.shape(c.toks[i], "except X, e")
	}
	if c.is(s.first+1, "*") {
		c.shape(c.toks[s.first], "except*")
	}
}

func (c *checker) raiseStatement(t pysource.Token, out []int) {
	if _, ok := c.has(out, ","); ok {
		c.shape(t, "raise X, y")
	}
	if _, ok := c.has(out, "from"); ok {
		c.shape(t, "raise … from")
	}
}

// importStatement checks the modules that are imported at the margin, and __future__ everywhere.
func (c *checker) importStatement(s statement) {
	t := c.toks[s.first]
	if c.is(s.first, "from") {
		if c.is(s.first+1, ".") || c.is(s.first+1, "...") {
			c.shape(t, "relative import")
		} else if c.is(s.first+1, "__future__") {
			c.future(s)
		} else {
			c.imported(s, s.first+1)
		}
		return
	}
	for i := s.first + 1; i < s.end; i++ {
		if c.is(i-1, "import") || c.is(i-1, ",") {
			c.imported(s, i)
		}
	}
}

func (c *checker) imported(s statement, i int) {
	if r, ok := inner[c.dotted(i)]; ok {
		c.refuse(c.toks[i], "import of "+c.dotted(i), r)
	}
	if r, ok := modules[c.text(c.toks[i])]; ok && s.level == 0 {
		c.refuse(c.toks[i], "import of "+c.text(c.toks[i]), r)
	}
}

// dotted returns the name that begins at i, with what stands behind its dots.
func (c *checker) dotted(i int) string {
	name := c.text(c.toks[i])
	for c.is(i+1, ".") {
		name += "." + c.text(c.toks[i+2])
		i += 2
	}
	return name
}

func (c *checker) future(s statement) {
	for i := s.first; i < s.end; i++ {
		if r, ok := futures[c.text(c.toks[i])]; ok {
			c.refuse(c.toks[i], "from __future__ import "+c.text(c.toks[i]), r)
		}
	}
}

func (c *checker) classHead(s statement) {
	i := s.first + 2
	if !c.is(i, "(") {
		return
	}
	in := c.members(i)
	if len(in) == 0 {
		c.shape(c.toks[i], "class with empty brackets")
	}
	if _, ok := c.has(in, "="); ok {
		c.shape(c.toks[i], "class with keywords")
	}
}

// parameters checks those of a function; its bracket is at i.
func (c *checker) parameters(i int) {
	in := c.members(i)
	star := false
	for _, j := range in {
		begins := c.begins(j)
		switch {
		case c.is(j, ":") && !c.lambdaBefore(i, j):
			c.shape(c.toks[j], "annotation")
		case c.is(j, "/") && begins, begins && star && !c.is(j, "**"),
			c.is(j, "*") && begins && c.is(j+1, ","):
			c.shape(c.toks[j], "keyword-only or positional-only parameters")
		case c.is(j, "*") && begins:
			star = true
		case c.is(j, "(") && begins && j > i:
			c.shape(c.toks[j], "tuple as a parameter")
		}
	}
}

// begins reports whether the token at i, a member of a round bracket, begins a parameter or an
// argument.
func (c *checker) begins(i int) bool {
	return c.closes(i) == 0 && (c.is(i-1, "(") || c.is(i-1, ","))
}

// lambdaBefore reports whether the colon at i belongs to a lambda between from and it.
func (c *checker) lambdaBefore(from, i int) bool {
	open := 0
	for j := from; j < i; j++ {
		if c.is(j, "lambda") {
			open++
		}
		if c.is(j, ":") && open > 0 {
			open--
		}
	}
	return open > 0
}

// expression checks the token at i as a part of expressions of s.
func (c *checker) expression(s statement, i int) {
	t := c.toks[i]
	switch {
	case t.Is(c.src, "else") && i > s.first:
		c.shape(t, "conditional expression")
	case t.Is(c.src, "yield"):
		if i > s.first {
			c.shape(t, "yield as an expression")
		}
		if c.is(i+1, "from") {
			c.shape(t, "yield from")
		}
	case t.Is(c.src, "@") && i > s.first:
		c.shape(t, "matrix multiplication")
	case t.Is(c.src, "{"):
		c.braces(i)
	case t.Is(c.src, "(") && !c.is(s.first, "def") && c.calls(i):
		c.arguments(i)
	case t.Is(c.src, "*"):
		c.star(s, i)
	}
}

// braces tells dicts, which all Pythons have, from sets and comprehensions.
func (c *checker) braces(i int) {
	in := c.members(i)
	if _, ok := c.has(in, "for"); ok {
		c.shape(c.toks[i], "set or dict comprehension")
		return
	}
	for _, j := range in {
		if c.is(j, ":") && !c.lambdaBefore(i, j) {
			return
		}
	}
	if len(in) > 0 && !c.is(i+1, "**") {
		c.shape(c.toks[i], "set literal")
	}
}

// calls reports whether the bracket at i belongs to a call.
func (c *checker) calls(i int) bool {
	if i == 0 {
		return false
	}
	before := c.toks[i-1]
	return before.Kind == pysource.Name && !keywords[c.text(before)] || c.closes(i-1) == 1
}

// keywords may stand before a bracket that is no call's.
var keywords = map[string]bool{
	"and": true, "assert": true, "del": true, "elif": true, "else": true, "except": true, "for": true,
	"from": true, "if": true,
	"import": true, "in": true, "is": true, "lambda": true, "not": true, "or": true, "raise": true,
	"return": true,
	"while":  true, "yield": true,
}

// arguments checks the order of those of a call.
func (c *checker) arguments(i int) {
	star := false
	for _, j := range c.members(i) {
		if !c.begins(j) {
			continue
		}
		if star && !c.is(j, "**") {
			c.shape(c.toks[j], "argument after *args")
		}
		star = star || c.is(j, "*")
	}
}

// star refuses a star that is neither a product nor in parameters or arguments.
func (c *checker) star(s statement, i int) {
	if c.is(s.first, "from") || c.is(s.first, "def") || c.is(s.first, "except") {
		return
	}
	before := c.toks[max(i-1, 0)]
	starts := i == s.first
	for _, p := range []string{"=", ",", "[", "{", "(", "return", "in"} {
		starts = starts || before.Is(c.src, p)
	}
	if open, ok := c.enclosing(s, i); starts && !(ok && c.is(open, "(") && c.calls(open)) {
		c.shape(c.toks[i], "starred expression")
	}
}

// enclosing returns the bracket around the token at i.
func (c *checker) enclosing(s statement, i int) (int, bool) {
	depth := 0
	for j := i - 1; j >= s.first; j-- {
		depth += c.closes(j)
		if c.opens(j) == 1 {
			if depth == 0 {
				return j, true
			}
			depth--
		}
	}
	return 0, false
}
