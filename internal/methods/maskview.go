package methods

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An unescaper reads an escape at the beginning of s: what it stands for, and its length; 0: there
// is none.
type unescaper func(s string) (stands string, size int)

// read makes the plainest view of a text: without escape sequences, control characters, invisible
// characters, quotes and backslashes.
func read(text string, unescape unescaper) view {
	v := view{readings: []reading{plainest}, text: make([]byte, 0, len(text))}
	for i := 0; i < len(text); {
		if n := terminalEscape(text[i:]); n > 0 {
			i += n
			continue
		}
		stands, n := "", 0
		if unescape != nil {
			stands, n = unescape(text[i:])
		}
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text[i:])
			stands = text[i : i+n]
		}
		if escaped := n > len(stands); !dropped(stands, escaped) {
			for j := range len(stands) {
				v.text = append(v.text, stands[j])
				v.from = append(v.from, span{i, i + n})
			}
		}
		i += n
	}
	return v
}

// dropped tells whether a character is none of those that are searched. A byte that was escaped may
// be a part of a character.
func dropped(s string, escaped bool) bool {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return !escaped && s[0] < 0xa0 // a control character of Latin-1
	}
	return strings.ContainsRune("'\"`\\", r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) ||
		r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Variation_Selector, r)
}

// terminalEscape returns the length of an escape sequence for terminals that s begins with, or 0.
func terminalEscape(s string) int {
	switch {
	case strings.HasPrefix(s, "\x1b["), strings.HasPrefix(s, "\u009b"):
		for i := 2; i < len(s); i++ {
			if s[i] >= '@' && s[i] <= '~' {
				return i + 1
			}
			if s[i] < ' ' || s[i] > '?' {
				return i
			}
		}
		return len(s)
	case strings.HasPrefix(s, "\x1b]"):
		end := strings.IndexAny(s, "\x07\n")
		if st := strings.Index(s, "\x1b\\"); st >= 0 && (end < 0 || st < end) {
			return st + 2
		}
		return end + 1 // 0: no end, so the text counts
	case strings.HasPrefix(s, "\x1b") && len(s) > 1 && s[1] >= '(' && s[1] <= '+' && len(s) > 2:
		return 3 // choice of a character set
	}
	return 0
}

// simpleEscapes stand for control characters, which are dropped.
const simpleEscapes = "abefnrtv0"

// unescapeBytes reads the escapes of shells, Python, C, JSON and URLs; \xHH and \OOO are bytes.
func unescapeBytes(s string) (string, int) {
	return unescapeAny(s, func(n uint64) string { return string([]byte{byte(n)}) })
}

// unescapeRunes is unescapeBytes, with \xHH and \OOO as characters.
func unescapeRunes(s string) (string, int) {
	return unescapeAny(s, func(n uint64) string { return string(rune(n)) })
}

// uncleaned reads what Clean writes, which leaves backslashes as they are.
func uncleaned(s string) (string, int) {
	if !strings.HasPrefix(s, `\`) {
		return "", 0
	}
	for _, form := range [...]struct {
		prefix string
		digits int
	}{{`\x`, 2}, {`\u`, 4}, {`\U`, 8}} {
		if r, ok := digits(s, form.prefix, form.digits, 16); ok {
			return string(rune(r)), len(form.prefix) + form.digits
		}
	}
	return "", 0
}

func unescapeAny(s string, small func(uint64) string) (string, int) {
	if n, ok := digits(s, "%", 2, 16); ok {
		return string([]byte{byte(n)}), 3
	}
	if len(s) < 2 || s[0] != '\\' {
		return "", 0
	}
	if s[1] == '\\' {
		return `\`, 2
	}
	if n, ok := digits(s, `\x`, 2, 16); ok {
		return small(n), 4
	}
	if n, ok := digits(s, `\`, 3, 8); ok && n < 256 {
		return small(n), 4
	}
	if n, ok := digits(s, `\u`, 4, 16); ok {
		return string(rune(n)), 6
	}
	if n, ok := digits(s, `\U`, 8, 16); ok {
		return string(rune(n)), 10
	}
	if strings.IndexByte(simpleEscapes, s[1]) >= 0 {
		return "\x00", 2
	}
	return "", 0
}

// digits reads a number of n digits behind prefix.
func digits(s, prefix string, n, base int) (uint64, bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) < n {
		return 0, false
	}
	value, err := strconv.ParseUint(rest[:n], base, 32)
	return value, err == nil
}
