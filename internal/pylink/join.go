package pylink

import (
	"bytes"
	"slices"
	"strings"
)

// A row is a line of a minified text: one statement, or several.
type row struct {
	depth int
	text  string
	line  int // of the source, on which it begins
}

// blocks are the words that a compound statement, or a part of one, begins with.
var blocks = strings.Fields("if elif else for while try except finally def class")

// compound tells whether a row begins a block, or goes on with one's statement.
func (r row) compound() bool {
	word := r.text
	if i := strings.IndexFunc(word, func(c rune) bool { return c < 'a' || c > 'z' }); i >= 0 {
		word = word[:i]
	}
	return slices.Contains(blocks, word)
}

// join puts simple statements that follow each other on one line, and a block of such behind
// the colon before it. lines are those of the source that lines of text begin on; no string has
// a line's end.
func join(text []byte, lines []int) ([]byte, []int) {
	if len(lines) == 0 {
		return text, lines
	}
	var rows []row
	for i, l := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		body := strings.TrimLeft(l, " ")
		r := row{len(l) - len(body), body, lines[i]}
		if n := len(rows); n > 0 && rows[n-1].depth == r.depth && !rows[n-1].compound() && !r.compound() {
			rows[n-1].text += ";" + r.text
			continue
		}
		rows = append(rows, r)
	}
	var out bytes.Buffer
	var begun []int
	for i := 0; i < len(rows); i++ {
		r := rows[i]
		out.WriteString(strings.Repeat(" ", r.depth) + r.text)
		begun = append(begun, r.line)
		if strings.HasSuffix(r.text, ":") && i+1 < len(rows) && !rows[i+1].compound() &&
			(i+2 == len(rows) || rows[i+2].depth <= r.depth) {
			i++
			out.WriteString(rows[i].text)
			if strings.HasPrefix(r.text, "def ") { // the head has run before
				begun[len(begun)-1] = rows[i].line
			}
		}
		out.WriteByte('\n')
	}
	return out.Bytes(), begun
}
