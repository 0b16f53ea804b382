package pylink

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
	"github.com/mitogen-go/mitogen/internal/pysource"
)

// A claimReader finds a source's claims of one registry.
type claimReader struct {
	*text
	*claims
	shared  bool
	numbers map[string]string // of the core
}

// names tells whether a token is the registry's name.
func (s *claimReader) names(i int) bool {
	switch {
	case s.word(i) != s.Name:
		return false
	case s.shared:
		return s.uses[i] == variable && s.scopes[i].owner(s.Name) == s.module
	}
	return s.ofCore(i) || s.uses[i] == variable && s.module.fixed[s.Name]
}

// claim reads what a statement does with the registry whose name is at a token.
func (s *claimReader) claim(i int) {
	c := claim{file: s.name, line: int(s.toks[i].Line), dynamic: s.inFunction(i),
		instead: s.replaced(i)}
	first, next := i, i+1
	if s.ofCore(i) {
		first = i - 2
	}
	switch {
	case s.is(next, "["):
		s.index(i, c)
	case s.is(next, "."):
		s.method(i+2, c)
	case s.is(next, "+=") && !s.Table:
		_, end := s.statement(i)
		s.entries(next+1, end, c)
	case s.target(i):
		s.made = append(s.made, c)
		s.literal(next+1, c)
	case first > 3 && s.is(first-4, "later") && s.is(first-3, "(") && s.is(next, ","):
		c.loads = unquoted(s.word(first - 2))
		s.keys(i+2, s.closing(first-3), c)
	case first > 0 && s.is(first-1, "=") && s.wordEnds(next): // another name for all of it
		s.overwrite(first, next, c)
	}
}

// wordEnds tells whether an expression ends before a token.
func (s *claimReader) wordEnds(i int) bool {
	return s.toks[i].Kind == pysource.Newline || s.is(i, ";") || s.is(i, ",") || s.is(i, ")")
}

// index reads `TABLE[key] = …` and `del TABLE[key]`. A list's entries may be anyone's.
func (s *claimReader) index(i int, c claim) {
	end := s.closing(i + 1)
	from, _ := s.statement(i)
	removed := s.is(from, "del")
	switch {
	case !removed && !s.target(i):
	case !s.Table || removed && !c.dynamic:
		s.overwrite(i, end+1, c)
	case removed:
		s.remove(s.values(i+2, end), c)
	default:
		s.keys(i+2, end, c)
	}
}

// overwrite notes code that may change anyone's entries.
func (s *claimReader) overwrite(from, to int, c claim) {
	c.key = s.expr(from, to)
	s.over = append(s.over, c)
}

// reading are methods that change nothing.
var reading = strings.Fields("get keys values items copy count index")

// method reads `LIST.append(function)` and the like; i is the token of the method's name.
func (s *claimReader) method(i int, c claim) {
	if !s.is(i+1, "(") {
		return
	}
	from, end := i+2, s.closing(i+1)
	switch name := s.word(i); {
	case slices.Contains(reading, name):
	case s.Table && name == "update" && s.is(from, "{") && s.closing(from) == end-1:
		s.literal(from, c)
	case s.Table && name == "setdefault":
		s.keys(from, s.comma(from, end), c)
	case s.Table && name == "pop" && c.dynamic:
		s.remove(s.values(from, s.comma(from, end)), c)
	case !s.Table && (name == "append" || name == "extend"):
		s.entries(from, end, c)
	case !s.Table && name == "insert":
		s.entries(s.comma(from, end)+1, end, c)
	case !s.Table && name == "remove" && c.dynamic:
		s.remove([]string{s.own(from, end)}, c)
	default:
		s.overwrite(i-2, end+1, c)
	}
}

func (s *claimReader) remove(keys []string, c claim) {
	for _, c.key = range keys {
		s.removed = append(s.removed, c)
	}
}

// keys notes the claim of a key. A key that can't be read is refused outside of functions.
func (s *claimReader) keys(from, to int, c claim) {
	values := s.values(from, to)
	if len(values) == 0 && !c.dynamic {
		s.refuse(c, "%s: want a number, a text or the name of a number as key",
			s.entry(s.expr(from, to)))
	}
	for _, c.key = range values {
		s.all = append(s.all, c)
	}
}

// literal notes the keys of a dict or the entries of a list that begins at a token.
func (s *claimReader) literal(i int, c claim) {
	if !s.is(i, "{") && !s.is(i, "[") {
		return
	}
	end := s.closing(i)
	if !s.Table {
		s.entries(i, end+1, c)
		return
	}
	for at := i + 1; at < end; {
		to := s.comma(at, end)
		c.line = int(s.toks[at].Line)
		for colon := at; colon < to; colon++ {
			if s.is(colon, ":") {
				s.keys(at, colon, c)
				break
			}
		}
		at = to + 1
	}
}

// entries notes what is put into a list. Each lambda is one of its own.
func (s *claimReader) entries(from, to int, c claim) {
	if (s.is(from, "[") || s.is(from, "(")) && s.closing(from) == to-1 {
		from, to = from+1, to-1
	}
	for from < to {
		end := s.comma(from, to)
		c.key, c.line = s.own(from, end), int(s.toks[from].Line)
		if s.is(from, "lambda") {
			c.key = c.String()
		}
		s.all = append(s.all, c)
		from = end + 1
	}
}

// own returns what is put into a list, with the file before it if it isn't a global of the core.
func (s *claimReader) own(from, to int) string {
	expr := s.expr(from, to)
	if s.shared && s.uses[from] == variable && s.scopes[from].owner(s.word(from)) == s.module {
		return expr
	}
	if name, ok := strings.CutPrefix(expr, "core."); ok && !s.shared {
		return name
	}
	return s.text.name + ":" + expr
}

// values returns what a key may be: several in a loop over several, none if it can't be read.
func (s *claimReader) values(from, to int) []string {
	if to-from == 3 && s.ofCore(from+2) {
		from += 2
	}
	if to-from != 1 {
		return nil
	}
	word := s.word(from)
	switch s.toks[from].Kind {
	case pysource.String:
		return []string{unquoted(word)}
	case pysource.Number:
		return []string{decimal(word)}
	}
	if v := s.value(from); v != "" {
		return []string{decimal(v)}
	}
	return s.looped(from, word)
}

func unquoted(s string) string { return strings.Trim(s, `'"`) }

// decimal returns one spelling of a number: 0x10 is 16.
func decimal(number string) string {
	if n, err := strconv.ParseInt(number, 0, 64); err == nil {
		return strconv.FormatInt(n, 10)
	}
	return number
}

// value returns the number that a name stands for, "" if that isn't known.
func (s *claimReader) value(i int) string {
	name := s.word(i)
	if s.shared || s.ofCore(i) || s.module.fixed[name] {
		return s.numbers[name]
	}
	for _, a := range s.assignments() {
		if j := slices.Index(a.names, name); j >= 0 && j < len(a.values) {
			return a.values[j]
		}
	}
	return ""
}

// looped returns the values that a variable has in the loop around a token.
func (s *claimReader) looped(i int, name string) (values []string) {
	if s.scopes[i] == nil {
		return nil
	}
	owner := s.scopes[i].owner(name)
	for i--; i >= 0; i-- {
		from, _ := s.line(i)
		if i == from && s.is(i, "for") && s.is(i+1, name) && s.is(i+2, "in") &&
			s.scopes[i+1].owner(name) == owner {
			break
		}
	}
	if i < 0 {
		return nil
	}
	from, to := i+3, i+3
	for !s.is(to, ":") {
		to++
	}
	counted := strings.HasPrefix(s.expr(from, to), "range(")
	if counted {
		from++
	}
	if s.opens(from) && s.closing(from) == to-1 {
		from, to = from+1, to-1
	}
	for from < to {
		end := s.comma(from, to)
		values = append(values, s.values(from, end)...)
		from = end + 1
	}
	if counted {
		return between(values)
	}
	return values
}

// between returns the numbers of range(low, high), or range(high).
func between(bounds []string) (values []string) {
	var low, high int
	switch len(bounds) {
	case 1:
		fmt.Sscan(bounds[0], &high)
	case 2:
		fmt.Sscan(bounds[0]+" "+bounds[1], &low, &high)
	}
	for n := low; n < high; n++ {
		values = append(values, strconv.Itoa(n))
	}
	return values
}

// inFunction tells whether a token stands in a function's body.
func (s *claimReader) inFunction(i int) bool {
	from, to := s.line(i)
	for ; from < to; from++ {
		for at := s.scopes[from]; at != nil; at = at.parent {
			if at.kind == functionScope && at.name != "<lambda>" {
				return true
			}
		}
	}
	return false
}

var insteadPattern = lazyregexp.New(`# instead of ([\w./]+)`)

// replaced returns the file that a comment names, behind the line of a token.
func (s *claimReader) replaced(i int) string {
	return insteadIn(s.src[s.toks[i].End:])
}

// instead returns the file that a comment on a line names, counted from 1.
func (t *text) instead(line int) string {
	for _, tok := range t.toks {
		if int(tok.Line) == line {
			return insteadIn(t.src[tok.End:])
		}
	}
	return ""
}

// insteadIn looks at the first line of source.
func insteadIn(source []byte) string {
	line, _, _ := bytes.Cut(source, []byte("\n"))
	if m := insteadPattern.FindSubmatch(line); m != nil {
		return string(m[1])
	}
	return ""
}

// statement returns the bounds of the simple statement that a token is in.
func (s *claimReader) statement(i int) (from, to int) {
	from, to = s.line(i)
	for j := from; j < to; j++ {
		if s.opens(j) {
			j = s.closing(j)
			continue
		}
		end := s.is(j, ";") || s.is(j, ":")
		if end && j < i {
			from = j + 1
		} else if end {
			return from, j
		}
	}
	return from, to
}

// target tells whether the statement assigns to what begins at a token.
func (s *claimReader) target(i int) bool {
	from, to := s.statement(i)
	depth := 0 // of brackets that are no grouping
	for j := from; j < i; j++ {
		if s.opens(j) && s.closing(j) > i && j > from && s.toks[j-1].Kind == pysource.Name {
			depth++
		}
	}
	for j := i; j < to && depth == 0; j++ {
		if s.opens(j) {
			j = s.closing(j)
			continue
		}
		w := s.word(j)
		if s.toks[j].Kind == pysource.Op && w[len(w)-1] == '=' {
			return w != "==" && w != "!=" && w != "<=" && w != ">="
		}
	}
	return false
}

func (t *text) opens(i int) bool { return t.is(i, "(") || t.is(i, "[") || t.is(i, "{") }

// closing returns the bracket that closes the one at a token.
func (t *text) closing(i int) int {
	for depth := 0; ; i++ {
		switch {
		case t.opens(i):
			depth++
		case t.is(i, ")") || t.is(i, "]") || t.is(i, "}"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
}

// comma returns the next comma outside of brackets, or the end.
func (t *text) comma(from, to int) int {
	for ; from < to && !t.is(from, ","); from++ {
		if t.opens(from) {
			from = t.closing(from)
		}
	}
	return from
}

// expr returns tokens as they are written, without spaces.
func (t *text) expr(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(t.word(i))
	}
	return b.String()
}
