// Package printable makes text from elsewhere fit to be shown: on a terminal, in a log, in JSON.
// Nothing that it returns moves a cursor, changes the order or the end of a line, or is invisible.
//
// Text is for what may have several lines, Line for what must stay on one, Name for what stands
// before a colon or among other names.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks limits the combining marks after a character. No script needs as many; more of them
// cover other lines.
const maxMarks = 8

// invisible are assigned characters that print nothing, though Unicode calls them letters, marks or
// symbols.
var invisible = []*unicode.RangeTable{
	unicode.Other_Default_Ignorable_Code_Point,
	unicode.Variation_Selector,
}

// Rune tells whether r is a space of ASCII, or something that is seen and stays in its place.
func Rune(r rune) bool {
	if r < 0x7f {
		return r >= ' '
	}
	return unicode.IsPrint(r) && !unicode.In(r, invisible...)
}

// Text returns s with an escape in the place of each byte or character that Rune refuses. Newlines
// and tabs stay, and the return before a newline goes.
func Text(s string) string { return clean(s, true) }

// Line is Text for what must stay on one line: newlines and tabs become escapes too.
func Line(s string) string { return clean(s, false) }

// Name returns s for a place where ": " or a space ends it: quoted, unless it is one word that
// can't be taken for more.
func Name(s string) string {
	if isWord(s) {
		return s
	}
	return Line(strconv.Quote(s))
}

// isWord tells whether s can be told from what stands around it.
func isWord(s string) bool {
	if s == "" || s[0] == '"' || Reserved(s+":") || Line(s) != s {
		return false
	}
	return !strings.ContainsFunc(s, unicode.IsSpace)
}

// reserved are the words that begin lines of this program.
var reserved = map[string]bool{"error": true, "hint": true, "warning": true}

// Reserved tells whether a line begins as this program's own lines to people do.
func Reserved(line string) bool {
	word, _, ok := strings.Cut(line, ":")
	return ok && reserved[word]
}

func clean(s string, lines bool) string {
	if isASCII(s, lines) {
		return s
	}
	if lines {
		s = strings.ReplaceAll(s, "\r\n", "\n")
	}
	var b strings.Builder
	marks := maxMarks // a mark at the beginning would join what stands before
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		isMark := unicode.Is(unicode.M, r)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case lines && (r == '\n' || r == '\t'), Rune(r) && (!isMark || marks < maxMarks):
			b.WriteString(s[i : i+n])
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		switch {
		case isMark:
			marks++
		case r == '\n':
			marks = maxMarks
		default:
			marks = 0
		}
		i += n
	}
	return b.String()
}

// isASCII tells whether s needs no look at its characters.
func isASCII(s string, lines bool) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c >= 0x7f) && !(lines && (c == '\n' || c == '\t')) {
			return false
		}
	}
	return true
}
