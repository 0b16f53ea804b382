package boot

import (
	"bytes"
	"strings"
)

// A Gate finds the line EC0 or EC1 in what a starting context prints, wherever reads cut it. The
// zero value is ready. One goroutine uses it.
type Gate struct {
	Fallback bool // EC2 is such a line, too; set by the caller

	Open  bool // the line has come
	Ahead bool // it was EC1
	Shell bool // it was EC2

	begun bool   // something has come
	extra bool   // held begins with a newline that has not come: the line may be the first
	held  []byte // may be the beginning of the line, from the newline before it on
}

// stem begins these lines, and ends the one before.
var stem = []byte("\n" + EC0[:len(EC0)-1])

// digits returns those that the line may end with.
func (g *Gate) digits() string {
	if g.Fallback {
		return "012"
	}
	return "01"
}

// find returns where the line is, with the newline before it, and where its digit is; begin is
// negative if there is none.
func (g *Gate) find(text []byte) (begin, digit, end int) {
	for {
		i := bytes.Index(text[digit:], stem)
		if i < 0 {
			return -1, 0, 0
		}
		begin = digit + i
		digit = begin + len(stem)
		rest := text[digit:]
		if len(rest) == 0 || !strings.Contains(g.digits(), string(rest[:1])) {
			continue
		}
		if rest = bytes.TrimPrefix(rest[1:], []byte("\r")); bytes.HasPrefix(rest, []byte("\n")) {
			return begin, digit, len(text) - len(rest) + 1
		}
	}
}

// maxHeld is the size of the longest beginning of the line that isn't the whole.
const maxHeld = len("\n" + EC0 + "\r")

// Feed takes what was read, and returns what of it comes before the line, and what behind it.
func (g *Gate) Feed(b []byte) (before, behind []byte) {
	if g.Open || len(b) == 0 {
		return nil, b
	}
	if !g.begun {
		g.begun, g.extra, g.held = true, true, []byte("\n")
	}
	text := append(g.held, b...)
	begin, digit, end := g.find(text)
	if begin < 0 {
		cut := max(0, len(text)-maxHeld)
		g.held = bytes.Clone(text[cut:])
		return g.given(text[:cut]), nil
	}
	g.Open, g.held = true, nil
	g.Ahead, g.Shell = text[digit] == EC1[len(EC1)-1], text[digit] == EC2[len(EC2)-1]
	return g.given(text[:begin]), text[end:]
}

// Rest returns what is held, when there is no more to come.
func (g *Gate) Rest() []byte { return g.given(g.held) }

// given is text without the newline that has not come.
func (g *Gate) given(text []byte) []byte {
	if g.extra && len(text) > 0 {
		g.extra, text = false, text[1:]
	}
	return text
}
