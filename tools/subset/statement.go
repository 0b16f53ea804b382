package main

import (
	"slices"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// statement is a simple statement, or the head of a compound one without its colon.
type statement struct {
	first, end int // indices of tokens
	level      int // of its block; what follows a colon on the same line is one deeper
	head       bool
}

// compound are the names that the head of a block begins with.
var compound = []string{"if", "elif", "else", "while", "for", "try", "except", "finally", "def",
	"class", "with", "async"}

// statements splits the file.
func (c *checker) statements() (all []statement) {
	level, inner := 0, 0
	for i := 0; i < len(c.toks); {
		switch c.toks[i].Kind {
		case pysource.Indent:
			level++
			i++
		case pysource.Dedent:
			level--
			i++
		case pysource.Newline, pysource.EOF:
			inner = 0
			i++
		default:
			if c.is(i, ";") {
				i++
				continue
			}
			s := c.statement(i, level+inner)
			all = append(all, s)
			i = s.end
			if s.head {
				i++
				inner++
			}
		}
	}
	return all
}

// statement returns the statement that begins at i.
func (c *checker) statement(i, level int) statement {
	s := statement{first: i, level: level}
	mayHead := slices.Contains(compound, c.text(c.toks[i]))
	depth, lambdas := 0, 0
	for ; c.toks[i].Kind != pysource.Newline; i++ {
		depth += c.opens(i) - c.closes(i)
		switch {
		case depth > 0:
		case c.is(i, "lambda"):
			lambdas++
		case c.is(i, ":") && lambdas > 0:
			lambdas--
		case c.is(i, ":") && mayHead:
			s.end, s.head = i, true
			return s
		case c.is(i, ";"):
			s.end = i
			return s
		}
	}
	s.end = i
	return s
}

// outside returns the indices of a statement's tokens that stand in no bracket; the brackets are
// among them.
func (c *checker) outside(s statement) (out []int) {
	depth := 0
	for i := s.first; i < s.end; i++ {
		depth -= c.closes(i)
		if depth == 0 {
			out = append(out, i)
		}
		depth += c.opens(i)
	}
	return out
}

// has reports whether one of the tokens is written text, and which is the first.
func (c *checker) has(in []int, text string) (int, bool) {
	for _, i := range in {
		if c.is(i, text) {
			return i, true
		}
	}
	return 0, false
}

// bind notes the names that a statement binds.
func (c *checker) bind(s statement) {
	for i := s.first; i < s.end; i++ {
		if c.toks[i].Kind == pysource.Name && !c.is(i-1, ".") && c.binds(s, i) {
			c.bound[c.text(c.toks[i])] = true
		}
	}
}

func (c *checker) binds(s statement, i int) bool {
	for _, before := range []string{"def", "class", "import", "as", "for", "lambda"} {
		if c.is(i-1, before) {
			return true
		}
	}
	if c.is(s.first, "def") {
		return c.is(i-1, "(") || c.is(i-1, ",") || c.is(i-1, "*") || c.is(i-1, "**")
	}
	out := c.outside(s)
	last := -1
	for _, j := range out {
		if c.is(j, "=") {
			last = j
		}
	}
	return i < last && !s.head
}

// block is an open compound statement.
type block struct {
	kind    string
	level   int
	try     *try
	yields  bool             // def: it is a generator
	returns []pysource.Token // def: returns of a value
	execs   []pysource.Token // def: calls of exec
	nested  bool             // def: it is in another function, or has one
}

// try is the scanner's record of a try statement.
type try struct {
	except, bare bool
	yields       []pysource.Token
}

// blocks checks statements in their nesting.
func (c *checker) blocks(all []statement) {
	var open []*block
	tries := map[int]*try{}
	for n, s := range all {
		open = c.leave(open, s.level)
		c.inside(open, s)
		c.functions(open, s)
		c.shapes(all, n)
		if s.head {
			b := &block{kind: c.text(c.toks[s.first]), level: s.level}
			if around := function(open); around != nil && b.kind == "def" {
				b.nested, around.nested = true, true
			}
			c.trying(b, tries, s)
			open = append(open, b)
		}
	}
	c.leave(open, 0)
}

// leave closes the blocks of a level and deeper.
func (c *checker) leave(open []*block, level int) []*block {
	for n := len(open); n > 0 && open[n-1].level >= level; n-- {
		if b := open[n-1]; b.yields {
			for _, t := range b.returns {
				c.shape(t, "return of a value in a generator")
			}
		}
		if b := open[n-1]; b.nested {
			for _, t := range b.execs {
				c.shape(t, "exec in or around a nested function")
			}
		}
		open = open[:n-1]
	}
	return open
}

// function returns the innermost function of open blocks, or nil.
func function(open []*block) *block {
	for _, b := range slices.Backward(open) {
		if b.kind == "def" {
			return b
		}
	}
	return nil
}

// functions notes what Python 2 does not let stand together in a function: exec and other
// functions.
func (c *checker) functions(open []*block, s statement) {
	b := function(open)
	if b == nil {
		return
	}
	for i := s.first; i < s.end; i++ {
		switch {
		case c.is(i, "lambda"):
			b.nested = true
		case c.is(i, "exec") && c.is(i+1, "(") && !c.is(i-1, "."):
			b.execs = append(b.execs, c.toks[i])
		}
	}
}

// trying follows the parts of try statements.
func (c *checker) trying(b *block, tries map[int]*try, s statement) {
	t := c.toks[s.first]
	if b.kind == "try" {
		tries[b.level] = &try{}
		b.try = tries[b.level]
		return
	}
	of := tries[b.level]
	if of == nil {
		return
	}
	switch b.kind {
	case "except":
		if of.bare {
			c.shape(t, "bare except before another")
		}
		of.except, of.bare = true, s.end == s.first+1
	case "finally":
		if of.except {
			c.shape(t, "try with except and finally")
		}
		for _, y := range of.yields {
			c.shape(y, "yield in try with finally")
		}
	}
}

// inside checks what depends on the blocks around a statement.
func (c *checker) inside(open []*block, s statement) {
	yield, yields := c.has(indices(s), "yield")
	returns := c.is(s.first, "return")
	for n := len(open) - 1; n >= 0; n-- {
		b := open[n]
		if yields && b.try != nil {
			b.try.yields = append(b.try.yields, c.toks[yield])
		}
		if returns && b.kind == "finally" {
			c.shape(c.toks[s.first], "return in finally")
		}
		if b.kind == "def" {
			b.yields = b.yields || yields
			if returns && s.end > s.first+1 {
				b.returns = append(b.returns, c.toks[s.first])
			}
			return
		}
	}
}

func indices(s statement) []int {
	all := make([]int, 0, s.end-s.first)
	for i := s.first; i < s.end; i++ {
		all = append(all, i)
	}
	return all
}
