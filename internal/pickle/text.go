package pickle

import "unicode/utf8"

// badText returns where s stops being UTF-8 in which lone surrogates are allowed, or -1.
func badText[T string | []byte](s T) int {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i++
			continue
		}
		n := runeSize(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if n == 0 {
			return i
		}
		i += n
	}
	return -1
}

// runeSize returns the length of the character or surrogate that s begins with, or 0.
func runeSize(s string) int {
	if r, n := utf8.DecodeRuneInString(s); r != utf8.RuneError || n > 1 {
		return n
	}
	if len(s) >= 3 && s[0] == 0xed && s[1]&0xe0 == 0xa0 && s[2]&0xc0 == 0x80 {
		return 3
	}
	return 0
}

// latin1 returns the bytes whose Latin-1 reading is s.
func latin1(s string) ([]byte, bool) {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, true
}

// appendLatin1 appends the UTF-8 form of b read as Latin-1.
func appendLatin1(dst, b []byte) []byte {
	for _, c := range b {
		if c < utf8.RuneSelf {
			dst = append(dst, c)
		} else {
			dst = append(dst, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return dst
}

// latin1Size returns the length of what appendLatin1 appends.
func latin1Size(b []byte) int {
	n := len(b)
	for _, c := range b {
		n += int(c >> 7)
	}
	return n
}
