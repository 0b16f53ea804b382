package secret

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrJSON says that bytes are no JSON string.
var ErrJSON = errors.New("not a JSON string")

// escapes are those of JSON that stand for one byte.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n',
	'r': '\r', 't': '\t'}

// FromJSON reads a JSON string, and keeps no copy of what is in it but the Secret. null is "".
func FromJSON(b []byte) (Secret, error) {
	b = bytes.Trim(b, " \t\r\n") // which may be around any value
	if string(b) == "null" {
		return "", nil
	}
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return "", ErrJSON
	}
	b = b[1 : len(b)-1]
	// never grows: no escape is shorter than what it stands for
	text := make([]byte, 0, len(b)+utf8.UTFMax)
	defer func() { clear(text[:cap(text)]) }()
	for len(b) > 0 {
		if b[0] != '\\' {
			text, b = append(text, b[0]), b[1:]
			continue
		}
		var n int
		if text, n = appendEscape(text, b); n == 0 {
			return "", ErrJSON
		}
		b = b[n:]
	}
	return Hold(text), nil
}

// appendEscape appends what the escape at the beginning of b stands for. n is its length; 0: it is
// none.
func appendEscape(text, b []byte) (more []byte, n int) {
	if len(b) < 2 {
		return text, 0
	}
	if c, known := escapes[b[1]]; known {
		return append(text, c), 2
	}
	r, ok := codeUnit(b)
	if !ok {
		return text, 0
	}
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(text, r), 6
	}
	if low, ok := codeUnit(b[6:]); ok {
		if whole := utf16.DecodeRune(r, low); whole != utf8.RuneError {
			return utf8.AppendRune(text, whole), 12
		}
	}
	return utf8.AppendRune(text, utf8.RuneError), 6
}

// codeUnit reads \uXXXX.
func codeUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}
