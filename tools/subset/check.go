package main

import (
	"bytes"
	"fmt"
	"sort"

	"github.com/mitogen-go/mitogen/internal/pysource"
)

// pragma in a comment exempts its line, where something newer stands behind a test for it.
const pragma = "# subset: ok"

// finding is something that a Python from the subset's first on doesn't have.
type finding struct {
	line int
	what string
	rule rule
}

// checker looks at one file.
type checker struct {
	src      []byte
	toks     []pysource.Token
	floor    version
	bound    map[string]bool // names that the file binds
	exempt   map[int]bool    // lines with the pragma
	findings []finding
}

// check returns what in src the Pythons from floor on don't all have, by line.
func check(src []byte, floor version) ([]finding, error) {
	toks, err := pysource.Tokens(src)
	if err != nil {
		return nil, err
	}
	c := &checker{src: src, toks: toks, floor: floor, bound: map[string]bool{}, exempt: map[int]bool{}}
	c.lines()
	statements := c.statements()
	for _, s := range statements {
		c.bind(s)
	}
	for i := range toks {
		c.token(i)
	}
	c.blocks(statements)
	sort.SliceStable(c.findings, func(i, j int) bool {
		return c.findings[i].line < c.findings[j].line
	})
	return c.findings, nil
}

// refuse notes a use of what r is about, if r's version is beyond the floor.
func (c *checker) refuse(t pysource.Token, what string, r rule) {
	if r.since > c.floor && !c.exempt[int(t.Line)] {
		c.findings = append(c.findings, finding{int(t.Line), what, r})
	}
}

// shape refuses by the table of shapes, which must have the name.
func (c *checker) shape(t pysource.Token, name string) {
	r, ok := shapes[name]
	if !ok {
		panic(fmt.Sprintf("subset: no rule %q", name))
	}
	c.refuse(t, name, r)
}

func (c *checker) lines() {
	for i, line := range bytes.Split(c.src, []byte{'\n'}) {
		t := pysource.Token{Line: int32(i + 1)}
		c.exempt[i+1] = bytes.Contains(line, []byte(pragma))
		if bytes.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
			c.shape(t, "character outside ASCII")
		}
	}
}

func (c *checker) text(t pysource.Token) string { return string(t.Text(c.src)) }

func (c *checker) is(i int, s string) bool {
	return i >= 0 && i < len(c.toks) && c.toks[i].Is(c.src, s)
}

// token checks what needs no more than a token and its neighbours.
func (c *checker) token(i int) {
	t := c.toks[i]
	switch t.Kind {
	case pysource.Name:
		c.name(i, c.text(t))
	case pysource.Number:
		c.number(i, c.text(t))
	case pysource.String:
		c.str(t, c.text(t))
		c.literal(i)
	case pysource.Op:
		if r, ok := operators[c.text(t)]; ok {
			c.refuse(t, c.text(t), r)
		}
	case pysource.Indent:
		if bytes.IndexByte(t.Text(c.src), '\t') >= 0 {
			c.shape(t, "tab in indentation")
		}
	}
}

func (c *checker) name(i int, s string) {
	t := c.toks[i]
	if r, ok := words[s]; ok {
		c.refuse(t, s, r)
		return
	}
	if c.is(i-1, ".") {
		c.attribute(i, s)
		return
	}
	keyword := c.is(i+1, "=") && (c.is(i-1, "(") || c.is(i-1, ","))
	if r, ok := builtins[s]; ok && !c.bound[s] && !keyword {
		c.refuse(t, s, r)
	}
	if (s == "min" || s == "max") && c.is(i+1, "(") && c.hasKey(i+1) {
		c.shape(t, "key given to min or max")
	}
	if s == "exec" && !c.is(i+1, "(") {
		c.shape(t, "exec as a statement")
	}
	if s == "faulthandler" && c.is(i+1, ".") && c.is(i+2, "enable") && c.is(i+3, "(") &&
		!c.is(i+4, ")") {
		c.shape(t, "faulthandler.enable given a descriptor")
	}
	if s == "lambda" && c.is(i+1, "(") {
		c.shape(t, "tuple as a parameter")
	}
}

func (c *checker) attribute(i int, s string) {
	if r, ok := attributes[s]; ok {
		c.refuse(c.toks[i], "."+s, r)
	}
	if (s == "startswith" || s == "endswith") && c.is(i+1, "(") && c.is(i+2, "(") {
		c.shape(c.toks[i], "tuple given to startswith or endswith")
	}
}

// hasKey reports whether the call whose bracket is at i has an argument key=.
func (c *checker) hasKey(i int) bool {
	for _, j := range c.members(i) {
		if c.is(j, "key") && c.is(j+1, "=") {
			return true
		}
	}
	return false
}

// members returns the indices of the tokens directly inside the bracket at i, inner brackets left
// out.
func (c *checker) members(i int) (in []int) {
	depth := 0
	for ; i < len(c.toks); i++ {
		depth -= c.closes(i)
		if depth == 0 && c.closes(i) == 1 {
			return in
		}
		if depth == 1 {
			in = append(in, i)
		}
		depth += c.opens(i)
	}
	return in
}

func (c *checker) opens(i int) int {
	if c.is(i, "(") || c.is(i, "[") || c.is(i, "{") {
		return 1
	}
	return 0
}

func (c *checker) closes(i int) int {
	if c.is(i, ")") || c.is(i, "]") || c.is(i, "}") {
		return 1
	}
	return 0
}

func (c *checker) number(i int, s string) {
	t := c.toks[i]
	octal := len(s) > 1 && s[0] == '0' && '0' <= s[1] && s[1] <= '9'
	switch {
	case octal && !bytes.ContainsAny([]byte(s), ".eEjJ"), len(s) > 1 && s[1]|0x20 == 'o':
		c.shape(t, "octal literal")
	case len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'b':
		c.shape(t, "binary literal")
	}
	if bytes.IndexByte([]byte(s), '_') >= 0 {
		c.shape(t, "underscore in a number")
	}
	if s[len(s)-1]|0x20 == 'l' {
		c.shape(t, "long literal")
	}
	if next := c.toks[i+1]; next.Kind == pysource.Name && next.Start == t.End {
		c.shape(t, "number next to a name")
	}
	c.literal(i)
}

// literal checks what stands before a string or number.
func (c *checker) literal(i int) {
	if c.is(i-1, "is") || c.is(i-1, "not") && c.is(i-2, "is") {
		c.shape(c.toks[i], "comparison by is with a literal")
	}
}

func (c *checker) str(t pysource.Token, s string) {
	n := bytes.IndexAny([]byte(s), `'"`)
	prefix := string(bytes.ToLower([]byte(s[:n])))
	if r, ok := prefixes[prefix]; ok {
		c.refuse(t, prefix+"''", r)
	}
	if bytes.IndexByte([]byte(prefix), 'r') < 0 {
		c.escapes(t, s[n:])
	}
}

// escapes checks the backslashes of a string that isn't raw.
func (c *checker) escapes(t pysource.Token, s string) {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		switch {
		case bytes.IndexByte([]byte("NuU"), s[i]) >= 0:
			c.shape(t, "escape that only text has")
		case bytes.IndexByte([]byte("\r\n\\'\"abfnrtv01234567x"), s[i]) < 0:
			c.shape(t, "invalid escape")
		}
	}
}
