package pysource

// The classes of bytes that the lexer tells apart. Those from classDigit on continue a name.
const (
	classOther = iota
	classQuote
	classDigit
	classLetter // and _, and every byte of a character outside ASCII
)

var class = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c == '\'' || c == '"':
			t[c] = classQuote
		case '0' <= c && c <= '9':
			t[c] = classDigit
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= 0x80:
			t[c] = classLetter
		}
	}
	return t
}()

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// operators of more than one byte, by their first; longer ones first.
var operators = [256][]string{
	'*': {"**=", "**", "*="},
	'/': {"//=", "//", "/="},
	'<': {"<<=", "<<", "<=", "<>"},
	'>': {">>=", ">>", ">="},
	'=': {"=="},
	'!': {"!="},
	'-': {"->", "-="},
	'+': {"+="},
	'%': {"%="},
	'&': {"&="},
	'|': {"|="},
	'^': {"^="},
	'@': {"@="},
	':': {":="},
	'.': {"..."},
}

// single says which bytes are operators by themselves.
var single = func() (t [256]bool) {
	for _, c := range []byte("+-*/%&|^~<>()[]{},:;.=@`") {
		t[c] = true
	}
	return t
}()

var closing = [256]byte{'(': ')', '[': ']', '{': '}'}

// operator returns the operator at pos, and keeps account of brackets.
func (l *Lexer) operator() (Token, error) {
	c := l.src[l.pos]
	for _, op := range operators[c] {
		if next := l.peek(1); next != '=' && next != '>' && next != c {
			break // no operator goes on like this
		}
		if len(l.src)-l.pos >= len(op) && string(l.src[l.pos:l.pos+len(op)]) == op {
			return l.advance(Op, len(op)), nil
		}
	}
	if !single[c] {
		return Token{}, l.fail("a character that no token begins with")
	}
	switch c {
	case '(', '[', '{':
		l.brackets = append(l.brackets, closing[c])
	case ')', ']', '}':
		top := len(l.brackets) - 1
		if top < 0 || l.brackets[top] != c {
			return Token{}, l.fail("a bracket that closes none")
		}
		l.brackets = l.brackets[:top]
	}
	return l.advance(Op, 1), nil
}

// advance returns the next n bytes as a token within one line.
func (l *Lexer) advance(k Kind, n int) Token {
	t := l.token(k, l.pos, l.pos+n)
	l.pos += n
	return t
}

// number returns the number at pos. What follows without a blank, as in 1if, is not part of it.
func (l *Lexer) number() (Token, error) {
	return l.advance(Number, numberLen(l.src[l.pos:])), nil
}

func numberLen(b []byte) int {
	n := 0
	if len(b) > 1 && b[0] == '0' {
		switch b[1] | 0x20 {
		case 'x':
			n = 2 + digits(b[2:], isHex)
		case 'o', 'b':
			n = 2 + digits(b[2:], isDigit)
		}
	}
	if n == 0 {
		n = decimalLen(b)
	}
	if n < len(b) {
		switch b[n] {
		case 'j', 'J', 'l', 'L':
			n++
		}
	}
	return n
}

func decimalLen(b []byte) int {
	n := digits(b, isDigit)
	if n < len(b) && b[n] == '.' {
		n++
		n += digits(b[n:], isDigit)
	}
	if n < len(b) && b[n]|0x20 == 'e' {
		e := n + 1
		if e < len(b) && (b[e] == '+' || b[e] == '-') {
			e++
		}
		if e < len(b) && isDigit(b[e]) {
			n = e + digits(b[e:], isDigit)
		}
	}
	return n
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// digits returns how many bytes of b are digits, or underscores before a digit.
func digits(b []byte, is func(byte) bool) int {
	n := 0
	for n < len(b) && (is(b[n]) || b[n] == '_' && n+1 < len(b) && is(b[n+1])) {
		n++
	}
	return n
}
