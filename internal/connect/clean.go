package connect

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text from elsewhere safe for a terminal: whatever isn't printable (escape sequences, control characters,
// direction marks, invalid UTF-8) is shown as an escape. Newlines and tabs stay, and the return before a newline goes.
func Clean(s string) string { return clean(s, true) }

// CleanLine is Clean for what must stay on one line, such as names: newlines and tabs become escapes too.
func CleanLine(s string) string { return clean(s, false) }

func clean(s string, lines bool) string {
	if isClean(s, lines) {
		return s
	}
	if lines {
		s = strings.ReplaceAll(s, "\r\n", "\n")
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case plain(r, lines):
			b.WriteString(s[i : i+n])
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

func isClean(s string, lines bool) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !plain(r, lines) }) < 0
}

func plain(r rune, lines bool) bool {
	return unicode.IsPrint(r) || lines && (r == '\n' || r == '\t')
}
