package pysource

// prefix says what the letters before a string's quote mean.
type prefix uint8

const (
	raw       prefix = 1 << iota
	formatted        // f or t
	notPrefix prefix = 0xff
)

// prefixes are all that some Python knows, in lower case.
var prefixes = map[string]prefix{
	"": 0, "b": 0, "u": 0, "f": formatted, "t": formatted,
	"r": raw, "br": raw, "rb": raw, "ur": raw,
	"fr": raw | formatted, "rf": raw | formatted, "tr": raw | formatted, "rt": raw | formatted,
}

// prefixOf returns the meaning of b, notPrefix if no Python knows it before a quote.
func prefixOf(b []byte) prefix {
	var lower [2]byte
	if len(b) > len(lower) {
		return notPrefix
	}
	for i, c := range b {
		lower[i] = c | 0x20
	}
	if p, ok := prefixes[string(lower[:len(b)])]; ok {
		return p
	}
	return notPrefix
}

// quoteLen returns 3 for three quotes at pos, else 1.
func quoteLen(src []byte, pos int) int {
	if pos+2 < len(src) && src[pos+1] == src[pos] && src[pos+2] == src[pos] {
		return 3
	}
	return 1
}

// closes reports whether n quotes q stand at pos.
func closes(src []byte, pos, n int, q byte) bool {
	if src[pos] != q {
		return false
	}
	return n == 1 || quoteLen(src, pos) == 3
}

// escaped returns the position after the backslash at pos and what it escapes.
func escaped(src []byte, pos int) int {
	if n := lineEnd(src, pos+1); n > 0 {
		return pos + 1 + n
	}
	return pos + 2
}

// stringEnd returns the end of the string whose opening quote stands at pos, by the rules that hold
// for all strings but f-strings since 3.12; -1 if it has none.
func stringEnd(src []byte, pos int) int {
	q, n := src[pos], quoteLen(src, pos)
	pos += n
	for pos < len(src) {
		switch c := src[pos]; {
		case c == '\\':
			pos = escaped(src, pos)
		case c == q && closes(src, pos, n, q):
			return pos + n
		case n == 1 && (c == '\n' || c == '\r'):
			return -1
		default:
			pos++
		}
	}
	return -1
}

// maxNesting bounds f-strings within f-strings; CPython's own limit.
const maxNesting = 150

// fstring reads one f-string by the rules of 3.12: between braces stands an expression that may
// hold any string, comment and line end.
type fstring struct {
	src   []byte
	quote byte
	n     int // quotes: 1 or 3
	raw   bool
	depth int // of this one among nested ones
}

// formattedEnd is stringEnd for f-strings.
func formattedEnd(src []byte, pos int, p prefix, depth int) int {
	if depth > maxNesting {
		return -1
	}
	f := fstring{src, src[pos], quoteLen(src, pos), p&raw != 0, depth}
	return f.literal(pos+f.n, false)
}

// literal reads the text from pos on: to the end of the string, or as a format spec to the brace
// after it.
func (f *fstring) literal(pos int, spec bool) int {
	for pos >= 0 && pos < len(f.src) {
		switch c := f.src[pos]; {
		case c == f.quote && closes(f.src, pos, f.n, c):
			if spec {
				return -1
			}
			return pos + f.n
		case c == '\\':
			pos = f.backslash(pos)
		case f.n == 1 && (c == '\n' || c == '\r'):
			return -1
		case c == '}' && spec:
			return pos + 1
		case c == '{' && !spec && pos+1 < len(f.src) && f.src[pos+1] == '{':
			pos += 2
		case c == '{':
			pos = f.field(pos + 1)
		default:
			pos++
		}
	}
	return -1
}

// backslash returns the position after the escape at pos. Braces can't be escaped; \N{…} isn't a
// field.
func (f *fstring) backslash(pos int) int {
	if pos+1 >= len(f.src) {
		return -1
	}
	switch c := f.src[pos+1]; {
	case c == '{' || c == '}':
		return pos + 1
	case c == 'N' && !f.raw && pos+2 < len(f.src) && f.src[pos+2] == '{':
		for pos += 3; pos < len(f.src); pos++ {
			switch f.src[pos] {
			case '}':
				return pos + 1
			case f.quote, '\n', '\r':
				return -1
			}
		}
		return -1
	}
	return escaped(f.src, pos)
}

// field reads an expression and what follows it, and returns the position after the closing brace.
func (f *fstring) field(pos int) int {
	open := 0
	for pos >= 0 && pos < len(f.src) {
		switch c := f.src[pos]; {
		case class[c] == classLetter:
			pos = f.word(pos)
		case class[c] == classDigit:
			pos += numberLen(f.src[pos:])
		case class[c] == classQuote:
			pos = stringEnd(f.src, pos)
		case c == '#':
			for pos < len(f.src) && lineEnd(f.src, pos) == 0 {
				pos++
			}
		case c == '\\' && lineEnd(f.src, pos+1) == 0:
			return -1
		case c == '}' && open == 0:
			return pos + 1
		case c == ':' && open == 0:
			return f.spec(pos + 1)
		case c == '(' || c == '[' || c == '{':
			open++
			pos++
		case c == ')' || c == ']' || c == '}':
			open--
			pos++
		default:
			pos++
		}
		if open < 0 {
			return -1
		}
	}
	return -1
}

func (f *fstring) spec(pos int) int {
	f.depth++
	defer func() { f.depth-- }()
	if f.depth > maxNesting {
		return -1
	}
	return f.literal(pos, true)
}

// word reads a name, or the string that it is the prefix of.
func (f *fstring) word(pos int) int {
	start := pos
	for pos < len(f.src) && class[f.src[pos]] >= classDigit {
		pos++
	}
	if pos == len(f.src) || class[f.src[pos]] != classQuote {
		return pos
	}
	switch p := prefixOf(f.src[start:pos]); {
	case p == notPrefix:
		return pos
	case p&formatted != 0:
		return formattedEnd(f.src, pos, p, f.depth+1)
	}
	return stringEnd(f.src, pos)
}
