package pysource

import "bytes"

// maxSource keeps offsets within int32.
const maxSource = 1 << 30

// maxWaste bounds, in source lengths, the reading of f-strings that turn out to follow the rules
// before 3.12.
const maxWaste = 16

// bom is UTF-8's byte order mark, which may stand before a source.
const bom = "\xef\xbb\xbf"

// Lexer yields the tokens of one source in one pass. It copies nothing and keeps nothing but its
// position, the open brackets and the open blocks.
type Lexer struct {
	src      []byte
	pos      int
	line     int
	brackets []byte // closing brackets that are waited for
	indents  []int  // columns of the open blocks, 0 first
	dedents  int    // Dedents still to be returned
	fresh    bool   // at the start of a logical line
	open     bool   // the logical line has a token
	wasted   int    // bytes of f-strings that had to be read twice
}

// NewLexer returns a Lexer of src, which must not change while it is used.
func NewLexer(src []byte) *Lexer {
	l := &Lexer{src: src, line: 1, indents: []int{0}, fresh: true}
	if bytes.HasPrefix(src, []byte(bom)) {
		l.pos = len(bom)
	}
	return l
}

// Next returns the next token. After EOF or an error it must not be called again.
func (l *Lexer) Next() (Token, error) {
	if len(l.src) > maxSource {
		return Token{}, l.fail("source is too long")
	}
	if l.fresh {
		if t, ok, err := l.indentation(); ok || err != nil {
			return t, err
		}
	}
	if l.dedents > 0 {
		l.dedents--
		return l.token(Dedent, l.pos, l.pos), nil
	}
	if err := l.blanks(); err != nil {
		return Token{}, err
	}
	if l.pos >= len(l.src) {
		return l.end()
	}
	return l.visible()
}

func (l *Lexer) fail(msg string) error { return &SyntaxError{l.line, msg} }

func (l *Lexer) token(k Kind, start, end int) Token {
	return Token{Kind: k, Line: int32(l.line), Start: int32(start), End: int32(end)}
}

// peek returns the byte i after the current one, or 0 at the end.
func (l *Lexer) peek(i int) byte {
	if l.pos+i < len(l.src) {
		return l.src[l.pos+i]
	}
	return 0
}

// lineEnd returns the length of the line end at pos: 0, 1, or 2 for \r\n.
func lineEnd(src []byte, pos int) int {
	if pos >= len(src) {
		return 0
	}
	switch {
	case src[pos] == '\n':
		return 1
	case src[pos] == '\r' && pos+1 < len(src) && src[pos+1] == '\n':
		return 2
	case src[pos] == '\r':
		return 1
	}
	return 0
}

// indentation reads to the first token of a logical line, past empty lines and comments. It returns
// true with an Indent, and sets dedents.
func (l *Lexer) indentation() (Token, bool, error) {
	for {
		start, col := l.column()
		if l.pos < len(l.src) && l.src[l.pos] == '#' {
			l.comment()
		}
		if n := lineEnd(l.src, l.pos); n > 0 {
			l.pos += n
			l.line++
			continue
		}
		l.fresh = false
		if l.pos >= len(l.src) {
			col = 0
		}
		return l.block(start, col)
	}
}

// column reads blanks and returns where the indentation that counts starts, and its width.
func (l *Lexer) column() (start, col int) {
	start = l.pos
	for ; l.pos < len(l.src); l.pos++ {
		switch l.src[l.pos] {
		case ' ':
			col++
		case '\t':
			col = col/8*8 + 8
		case '\f':
			start, col = l.pos+1, 0
		default:
			return start, col
		}
	}
	return start, col
}

// block compares a line's column with the open blocks.
func (l *Lexer) block(start, col int) (Token, bool, error) {
	top := len(l.indents) - 1
	if col > l.indents[top] {
		l.indents = append(l.indents, col)
		return l.token(Indent, start, l.pos), true, nil
	}
	for ; col < l.indents[top]; top-- {
		l.dedents++
	}
	if col != l.indents[top] {
		return Token{}, false, l.fail("dedent to a column that no block has")
	}
	l.indents = l.indents[:top+1]
	return Token{}, false, nil
}

// blanks skips what separates tokens: blanks, continued lines, and inside brackets comments and
// line ends.
func (l *Lexer) blanks() error {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t' || c == '\f':
			l.pos++
		case c == '#':
			l.comment()
		case c == '\\':
			n := lineEnd(l.src, l.pos+1)
			if n == 0 {
				return l.fail("backslash before something else than a line end")
			}
			l.pos += 1 + n
			l.line++
		case (c == '\n' || c == '\r') && len(l.brackets) > 0:
			l.pos += lineEnd(l.src, l.pos)
			l.line++
		default:
			return nil
		}
	}
	return nil
}

func (l *Lexer) comment() {
	n := bytes.IndexAny(l.src[l.pos:], "\r\n")
	if n < 0 {
		n = len(l.src) - l.pos
	}
	l.pos += n
}

// end returns what comes after the last visible token: Newline if it had none, Dedents, EOF.
func (l *Lexer) end() (Token, error) {
	if len(l.brackets) > 0 {
		return Token{}, l.fail("a bracket is not closed")
	}
	if l.open {
		l.open, l.fresh = false, true
		return l.token(Newline, l.pos, l.pos), nil
	}
	if len(l.indents) > 1 {
		return Token{}, l.fail("a continued line holds nothing")
	}
	return l.token(EOF, l.pos, l.pos), nil
}

// visible returns the token at pos, which is not blank.
func (l *Lexer) visible() (Token, error) {
	start, c := l.pos, l.src[l.pos]
	if n := lineEnd(l.src, l.pos); n > 0 {
		if !l.open {
			return Token{}, l.fail("a continued line holds nothing")
		}
		t := l.token(Newline, start, start+n)
		l.pos += n
		l.line++
		l.open, l.fresh = false, true
		return t, nil
	}
	l.open = true
	switch class[c] {
	case classLetter:
		return l.word()
	case classDigit:
		return l.number()
	case classQuote:
		return l.text(0)
	}
	if c == '.' && isDigit(l.peek(1)) {
		return l.number()
	}
	return l.operator()
}

// word returns a name, or the string that it is the prefix of.
func (l *Lexer) word() (Token, error) {
	end := l.pos + 1
	for end < len(l.src) && class[l.src[end]] >= classDigit {
		end++
	}
	if end < len(l.src) && class[l.src[end]] == classQuote && prefixOf(l.src[l.pos:end]) != notPrefix {
		return l.text(end - l.pos)
	}
	t := l.token(Name, l.pos, end)
	l.pos = end
	return t, nil
}

// text returns the string whose prefix has n bytes.
func (l *Lexer) text(n int) (Token, error) {
	t := l.token(String, l.pos, l.pos)
	end := -1
	if p := prefixOf(l.src[l.pos : l.pos+n]); p&formatted != 0 {
		if end = formattedEnd(l.src, l.pos+n, p, 0); end < 0 {
			l.wasted += len(l.src) - l.pos
		}
	}
	if l.wasted > maxWaste*len(l.src) {
		return Token{}, l.fail("too many f-strings that are hard to read")
	}
	if end < 0 {
		end = stringEnd(l.src, l.pos+n)
	}
	if end < 0 {
		return Token{}, l.fail("a string is not closed")
	}
	t.End = int32(end)
	l.line += countLines(l.src[l.pos:end])
	l.pos = end
	return t, nil
}

// countLines returns the number of line ends in b.
func countLines(b []byte) int {
	n := bytes.Count(b, []byte{'\n'})
	for i := bytes.IndexByte(b, '\r'); i >= 0 && i < len(b); i++ {
		if b[i] == '\r' && lineEnd(b, i) == 1 {
			n++
		}
	}
	return n
}
