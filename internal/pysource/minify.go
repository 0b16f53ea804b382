package pysource

import (
	"bytes"
	"errors"
	"strings"

	"github.com/mitogen-go/mitogen/internal/lazyregexp"
)

// Options say what Minify does. The zero value keeps every statement on its line.
type Options struct {
	// drop empty lines and join what brackets and backslashes continue: line numbers change
	DropLines      bool
	Reindent       bool // one blank per block
	Tight          bool // no blanks around operators, outside brackets too
	KeepDocstrings bool
}

// ErrCoding is returned for a source whose encoding isn't a superset of ASCII byte by byte.
var ErrCoding = errors.New("encoding is not a superset of ASCII")

// Minify returns src without comments, docstrings, trailing blanks and blanks inside brackets.
// A compiler makes the same of it but for __doc__ and columns. Shebang and coding lines stay,
// and so do the docstrings of a source that mentions __doc__. With an error, which says why src
// wasn't understood, the result is src itself; it is never nil or an alias of a changed src.
func Minify(src []byte, o Options) ([]byte, error) {
	min := src
	err := withTokens(src, func(toks []Token) (err error) {
		min, err = minify(src, toks, look(src, toks), o)
		return err
	})
	return min, err
}

// MinifyLines is Minify with DropLines set, which drops docstrings even of a source that mentions
// __doc__. It returns besides the line of src on which each line of the result begins.
func MinifyLines(src []byte, o Options) (min []byte, lines []int, err error) {
	min = src
	o.DropLines = true
	err = withTokens(src, func(toks []Token) error {
		m := minifier{src: src, toks: toks, opts: o, line: 1, indents: [][]byte{nil}, fresh: true}
		m.run()
		min, lines = m.out, m.lines
		return nil
	})
	return min, lines, err
}

func minify(src []byte, toks []Token, seen marks, o Options) ([]byte, error) {
	head, err := header(src)
	if err != nil {
		return src, err
	}
	m := minifier{src: src, toks: toks, opts: o, line: 1, indents: [][]byte{nil}, fresh: true}
	m.out = make([]byte, 0, len(src)+1)
	m.opts.KeepDocstrings = o.KeepDocstrings || seen.doc
	m.header(head)
	m.run()
	return m.out, nil
}

var coding = lazyregexp.New(`^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)`)

// asciiSupersets are the encodings in which a byte below 128 always means the ASCII character.
var asciiSupersets = lazyregexp.New(
	`^(utf-?8.*|u8|latin-?[0-9]+|l1|iso-?(ir|8859)-.*|(us-?)?ascii|646|cp?125[0-9]|windows-125[0-9]|` +
		`koi8-.*|euc-.*|cp(437|85[0-9]|866)|mac-?.*)$`)

// header returns the comments on lines 1 and 2 that mean something: shebang and coding.
func header(src []byte) (keep [2][]byte, err error) {
	if bytes.IndexByte(src, 0) >= 0 {
		return keep, ErrCoding
	}
	rest := bytes.TrimPrefix(src, []byte(bom))
	for i := range keep {
		n := bytes.IndexAny(rest, "\r\n")
		if n < 0 {
			n = len(rest)
		}
		line := rest[:n]
		if m := coding.FindSubmatch(line); m != nil {
			name := strings.ReplaceAll(strings.ToLower(string(m[1])), "_", "-")
			if !asciiSupersets.MatchString(name) {
				return keep, ErrCoding
			}
			keep[i] = line
			return keep, nil
		}
		if i == 0 && bytes.HasPrefix(line, []byte("#!")) {
			keep[i] = line
		}
		if blank := bytes.TrimLeft(line, " \t\f"); len(blank) > 0 && blank[0] != '#' {
			return keep, nil // the second line's coding doesn't count
		}
		rest = rest[n+lineEnd(rest, n):]
	}
	return keep, nil
}

// minifier writes tokens with as little between them as they need.
type minifier struct {
	src     []byte
	toks    []Token
	opts    Options
	out     []byte
	line    int      // of the source, that out has reached
	indents [][]byte // of the open blocks
	fresh   bool     // the next token starts a logical line
	prev    Token    // the last one written
	depth   int      // open brackets
	lines   []int    // with DropLines, of the source, that lines of out begin on
}

func (m *minifier) header(keep [2][]byte) {
	if bytes.HasPrefix(m.src, []byte(bom)) {
		m.out = append(m.out, bom...)
	}
	for i, line := range keep {
		if line != nil {
			m.breakLines(i + 1)
			m.out = append(m.out, bytes.TrimRight(line, " \t\f")...)
		}
	}
}

func (m *minifier) run() {
	define := false // the logical line is the head of a function or class
	for i := m.docstrings(0, true); i < len(m.toks); i++ {
		switch t := m.toks[i]; t.Kind {
		case Newline:
			m.fresh = true
		case Indent:
			m.indent(t)
			if define {
				i = m.docstrings(i+1, false) - 1
			}
		case Dedent:
			m.indents = m.indents[:len(m.indents)-1]
		case EOF:
			if len(m.out) > 0 {
				m.out = append(m.out, '\n')
			}
		default:
			if m.fresh {
				define = m.defines(i)
			}
			m.write(t, t.Text(m.src))
		}
	}
}

func (m *minifier) indent(t Token) {
	text := t.Text(m.src)
	if m.opts.Reindent {
		text = bytes.Repeat([]byte{' '}, len(m.indents))
	}
	m.indents = append(m.indents, text)
}

// defines reports whether the statement at i defines a function or a class.
func (m *minifier) defines(i int) bool {
	t := m.toks[i]
	if t.Is(m.src, "async") {
		t = m.toks[i+1]
	}
	return t.Is(m.src, "def") || t.Is(m.src, "class")
}

// docstrings returns the index after the string statements that a block or the module begins
// with, and puts pass in their place where nothing else is in the block.
func (m *minifier) docstrings(start int, module bool) int {
	end := start
	for next := m.docstring(end); next > end; next = m.docstring(end) {
		end = next
	}
	if end == start || m.opts.KeepDocstrings || m.stringFirst(end) {
		return start
	}
	if t := m.toks[end]; !module && (t.Kind == Dedent || t.Kind == EOF) {
		m.write(Token{Kind: Name, Line: m.toks[start].Line}, []byte("pass"))
		m.fresh = true
	}
	return end
}

// docstring returns the index after the statement at i if that consists of strings only, else i.
func (m *minifier) docstring(i int) int {
	j := i
	for m.toks[j].Kind == String && !m.isFormatted(m.toks[j]) {
		j++
	}
	if j > i && m.toks[j].Kind == Newline {
		return j + 1
	}
	return i
}

// stringFirst reports whether the statement at i could become a docstring when it comes first.
func (m *minifier) stringFirst(i int) bool {
	for m.toks[i].Is(m.src, "(") {
		i++
	}
	return m.toks[i].Kind == String
}

func (m *minifier) isFormatted(t Token) bool {
	text := t.Text(m.src)
	return prefixOf(text[:bytes.IndexAny(text, `'"`)])&formatted != 0
}

// write appends one token and what must stand before it.
func (m *minifier) write(t Token, text []byte) {
	if m.fresh {
		m.breakLines(int(t.Line))
		m.out = append(m.out, m.indents[len(m.indents)-1]...)
		m.fresh = false
	} else {
		m.separate(t, text)
	}
	m.out = append(m.out, text...)
	m.prev = t
	if t.Kind == String {
		m.line += countLines(text)
	}
	m.nest(t, text)
}

func (m *minifier) nest(t Token, text []byte) {
	if t.Kind == Op {
		switch text[0] {
		case '(', '[', '{':
			m.depth++
		case ')', ']', '}':
			m.depth--
		}
	}
}

// breakLines appends line ends up to the source's line.
func (m *minifier) breakLines(line int) {
	if m.opts.DropLines {
		if n := len(m.out); n > 0 && m.out[n-1] != '\n' && m.line < line {
			m.out = append(m.out, '\n')
		}
		m.lines = append(m.lines, line)
		m.line = line
		return
	}
	for ; m.line < line; m.line++ {
		m.out = append(m.out, '\n')
	}
}

// separate appends what must stand between the last token and t, which belong to one logical line.
func (m *minifier) separate(t Token, text []byte) {
	if line := int(t.Line); m.line < line && !m.opts.DropLines {
		for ; m.line < line; m.line++ {
			if m.depth == 0 {
				m.out = append(m.out, '\\')
			}
			m.out = append(m.out, '\n')
		}
		return
	}
	m.line = int(t.Line)
	gap := m.depth == 0 && !m.opts.Tight && m.prev.End < t.Start
	if gap || mustPart(m.prev, m.prev.Text(m.src), t, text) {
		m.out = append(m.out, ' ')
	}
}

// mustPart reports whether a and b would be read otherwise without a blank between them.
func mustPart(a Token, at []byte, b Token, bt []byte) bool {
	last, first := at[len(at)-1], bt[0]
	switch {
	case a.Kind == Name && b.Kind == String:
		return class[first] != classQuote || prefixOf(at) != notPrefix
	case a.Kind == Number:
		return b.Kind != Op || first == '.'
	case a.Kind == String:
		return b.Kind == String
	case a.Kind == Op && b.Kind == Op:
		return joins(last, first)
	case a.Kind == Op:
		return last == '.' && b.Kind == Number
	}
	return b.Kind != Op
}

// joins reports whether two operators, one ending in a and one beginning with b, could be read
// as a longer one.
func joins(a, b byte) bool {
	for _, op := range operators[a] {
		if op[1] == b {
			return true
		}
	}
	return false
}
